import { ConfigError } from "../../model/index.js";
import { commandNumber, COMMANDS_MAX, TABLES_MAX } from "./command.js";

/** A declared table, ordered by key: `table<V>()`. The type is all it holds; the framework owns the entries. */
export interface TableDefinition<V> {
  readonly kind: "table";
  /** Never there; it lets the compiler know V. */
  readonly values?: (value: V) => V;
}

/** Declares a table of values of type V: anything that MessagePack carries, see docs/guide.md. */
export function table<V>(): TableDefinition<V> {
  return Object.freeze({ kind: "table" });
}

/** Gives a command's argument its type where no `keys` does: `args: args<{ limit: number }>()`. */
export interface ArgumentType<A> {
  readonly kind: "args";
  readonly values?: (value: A) => A;
}

export function args<A>(): ArgumentType<A> {
  return Object.freeze({ kind: "args" });
}

export interface RangeOptions {
  /** Entries at most. No limit by default. */
  readonly limit?: number;
  /** Descending instead of ascending keys. */
  readonly reverse?: boolean;
}

/** A table inside a command that reads. Keys are text in the order of their UTF-8 bytes; values are copies. */
export interface ReadableTable<V> {
  /** The value of a key, a copy of its own each time; undefined if there is none. */
  get(key: string): V | undefined;
  has(key: string): boolean;
  /**
   * The entries with from ≤ key < to, all without bounds, in ascending order of keys. For commands that declare all keys.
   * Entries that are changed ahead of where the iteration stands are met as they are then.
   */
  range(from?: string, to?: string, options?: RangeOptions): IterableIterator<[key: string, value: V]>;
}

/** A table inside a command. */
export interface Table<V> extends ReadableTable<V> {
  /** Stores a copy of the value. */
  set(key: string, value: V): void;
  /** True if the key was there. */
  delete(key: string): boolean;
}

/** What a command may know besides its argument and the tables: the same on every replica. */
export interface CommandContext {
  /**
   * Agreed time in ms since the epoch. It never goes back from one command to the next. A command that only reads, and so is
   * not ordered, has that of the last one that was.
   */
  readonly time: number;
  /** An agreed random number in [0, 1); each call gives another. Not for secrets: a client can work it out. */
  random(): number;
}

type ValueOf<D> = D extends TableDefinition<infer V> ? V : never;
/** The tables of a definition as its commands get them. */
export type Tables<T> = { readonly [N in keyof T]: Table<ValueOf<T[N]>> };
export type ReadableTables<T> = { readonly [N in keyof T]: ReadableTable<ValueOf<T[N]>> };

/** The keys that a command touches, in any table: a function of its argument, or all. */
export type KeysOf<A> = "all" | ((args: A) => readonly string[]);

/**
 * What a command may say about its usual case, for clusters that execute optimistically (docs/optimism.md). Results never depend on it.
 */
interface Optimism<T, A> {
  /**
   * The keys that it touches if all goes well: a few of `keys`. If these are of one group, the command executes beside those of other
   * groups, and as soon as it touches an entry of another group everything it has changed is taken back and it executes anew, alone among
   * all groups that `keys` names. A function of the argument alone, like `keys`.
   */
  readonly likely?: ((args: A) => readonly string[]) | undefined;
  /**
   * Called first, with what `execute` gets but only to read, and with `likely` only: unless it returns true the command executes alone at
   * once, so that nothing has to be taken back. What it throws counts as false.
   */
  readonly check?: ((tables: ReadableTables<T>, args: A, ctx: CommandContext) => boolean) | undefined;
}

/** A command: its keys, and what it does. It runs on every replica, so the same input must give the same outcome. */
export type CommandDefinition<T, A> =
  /** Reads and writes the keys declared. */
  | ({
      readonly args?: ArgumentType<A>;
      readonly keys: KeysOf<A>;
      readonly read?: false | undefined;
      readonly reads?: undefined;
      readonly execute: (tables: Tables<T>, args: A, ctx: CommandContext) => unknown;
      readonly partial?: undefined;
      readonly combine?: undefined;
    } & Optimism<T, A>)
  /** Only reads, so that it need not be ordered: one replica executes it, when it is up to date. */
  | ({
      readonly args?: ArgumentType<A>;
      readonly keys: KeysOf<A>;
      readonly read: true;
      readonly reads?: undefined;
      readonly execute: (tables: ReadableTables<T>, args: A, ctx: CommandContext) => unknown;
      readonly partial?: undefined;
      readonly combine?: undefined;
    } & Optimism<T, A>)
  /**
   * Reads everything: `partial` for each part of the keys (one part in this version), `combine` makes the result of the
   * parts' results, which come in no particular order.
   */
  | {
      readonly args?: ArgumentType<A>;
      readonly keys?: undefined;
      readonly read?: undefined;
      readonly reads: "all";
      readonly likely?: undefined;
      readonly check?: undefined;
      readonly execute?: undefined;
      readonly partial: (tables: ReadableTables<T>, args: A, ctx: CommandContext) => unknown;
      // The compiler can't infer what `partial` returns in time for `combine`; annotate it there: (sums: number[]) => …
      // oxlint-disable-next-line typescript/no-explicit-any
      readonly combine: (partials: any[], args: A) => unknown;
    };

/** The type of what a command returns. */
export type ResultOf<C> = C extends { readonly execute: (...args: never) => infer R }
  ? R
  : C extends { readonly combine: (...args: never) => infer R }
    ? R
    : never;

export interface ServiceShape<T, C, A> {
  /** `import.meta.url`, or `__filename` in CommonJS: where other processes find the definition. */
  readonly module?: string;
  /** A letter, then letters, digits and hyphens; 63 characters at most. */
  readonly name: string;
  /** Tables by name. Later versions of a service may add tables behind these, not remove or reorder them. */
  readonly tables: T;
  readonly commands: C & { readonly [N in keyof A]: CommandDefinition<T, A[N]> };
}

/** A command as the framework keeps it. */
export interface DefinedCommand {
  readonly name: string;
  readonly number: number;
  /** For messages: "service bank, command deposit". */
  readonly label: string;
  /** Null: all keys. */
  readonly keys: ((args: unknown) => unknown) | null;
  readonly read: boolean;
  readonly run: (tables: object, args: unknown, ctx: CommandContext) => unknown;
  /** Absent where nothing is said, and in definitions of versions that did not know it. */
  readonly likely?: (args: unknown) => unknown;
  readonly check?: (tables: object, args: unknown, ctx: CommandContext) => unknown;
}

/**
 * A service as `defineService` made it: plain frozen data, so that a replica can run what another copy of this package
 * defined. A maps each command to its argument, R to its result.
 */
export interface ServiceDefinition<A = unknown, R = unknown> {
  readonly name: string;
  /** URL of the module that defines it, or null: such a service runs in this process only. */
  readonly module: string | null;
  readonly tables: readonly string[];
  readonly commands: readonly DefinedCommand[];
  /** Never there; it lets the compiler know the commands. */
  readonly types?: { readonly args: A; readonly results: R };
}

/** Marks definitions of any copy of this package that the present format can read. */
const BRAND = Symbol.for("synod.service.1");

const NAME = /^[A-Za-z][A-Za-z0-9_]{0,62}$/;
const SERVICE_NAME = /^[A-Za-z][A-Za-z0-9-]{0,62}$/;
/** Names that objects have already, or that would make a client look like a promise. */
const RESERVED: ReadonlySet<string> = new Set(["close", "then", "constructor", "toString", "toJSON", "valueOf"]);

/** Defines a service; docs/guide.md shows how. Throws `ConfigError` that names the service, the command and the field. */
export function defineService<T, A, C extends Record<string, object>>(
  shape: ServiceShape<T, C, A>,
): ServiceDefinition<A, { readonly [N in keyof C]: ResultOf<C[N]> }> {
  const given = shape as Partial<ServiceShape<unknown, Record<string, object>, unknown>> | undefined;
  const name = given?.name;
  if (typeof name !== "string" || !SERVICE_NAME.test(name)) {
    throw new ConfigError(
      `the name of a service is a letter, then letters, digits and hyphens, got ${JSON.stringify(name)}`,
    );
  }
  const definition: ServiceDefinition = {
    name,
    module: moduleUrl(name, given?.module),
    tables: Object.freeze(checkedTables(name, given?.tables)),
    commands: Object.freeze(checkedCommands(name, given?.commands)),
  };
  Object.defineProperty(definition, BRAND, { value: true });
  return Object.freeze(definition) as ServiceDefinition<A, { readonly [N in keyof C]: ResultOf<C[N]> }>;
}

/** True for what `defineService` of any copy of this package returned. */
export function isServiceDefinition(value: unknown): value is ServiceDefinition {
  return typeof value === "object" && value !== null && (value as Record<symbol, unknown>)[BRAND] === true;
}

function moduleUrl(service: string, module: unknown): string | null {
  if (module === undefined) return null;
  if (typeof module === "string" && module.startsWith("file:")) return module;
  if (typeof module === "string" && /^(?:\/|[A-Za-z]:[\\/])/.test(module)) {
    const path = module.replaceAll("\\", "/");
    return `file://${path.startsWith("/") ? "" : "/"}${encodeURI(path).replaceAll("?", "%3F").replaceAll("#", "%23")}`;
  }
  throw new ConfigError(`service ${service}: module is import.meta.url or __filename, got ${JSON.stringify(module)}`);
}

function checkedTables(service: string, tables: unknown): string[] {
  if (typeof tables !== "object" || tables === null) {
    throw new ConfigError(`service ${service}: tables is an object of table() by name`);
  }
  const names = Object.keys(tables);
  if (names.length < 1 || names.length > TABLES_MAX) {
    throw new ConfigError(`service ${service}: it has 1 to ${TABLES_MAX} tables, got ${names.length}`);
  }
  for (const [name, value] of Object.entries(tables) as [string, { kind?: unknown } | null][]) {
    if (!NAME.test(name)) throw new ConfigError(`service ${service}: "${name}" can't be the name of a table`);
    if (value?.kind !== "table") throw new ConfigError(`service ${service}: tables.${name} is made by table()`);
  }
  return names;
}

function checkedCommands(service: string, commands: unknown): DefinedCommand[] {
  if (typeof commands !== "object" || commands === null) {
    throw new ConfigError(`service ${service}: commands is an object of commands by name`);
  }
  const entries = Object.entries(commands) as [string, unknown][];
  if (entries.length < 1 || entries.length > COMMANDS_MAX) {
    throw new ConfigError(`service ${service}: it has 1 to ${COMMANDS_MAX} commands, got ${entries.length}`);
  }
  const numbers = new Map<number, string>();
  return entries.map(([name, value]) => {
    if (!NAME.test(name) || RESERVED.has(name)) {
      throw new ConfigError(`service ${service}: "${name}" can't be the name of a command`);
    }
    const command = checkedCommand(service, name, value);
    const other = numbers.get(command.number);
    if (other !== undefined) {
      throw new ConfigError(`service ${service}: commands ${other} and ${name} have the same number; rename one`);
    }
    numbers.set(command.number, name);
    return Object.freeze(command);
  });
}

type AnyFunction = (...args: unknown[]) => unknown;

function checkedCommand(service: string, name: string, value: unknown): DefinedCommand {
  const label = `service ${service}, command ${name}`;
  if (typeof value !== "object" || value === null) throw new ConfigError(`${label}: a command is an object`);
  const {
    args: type,
    keys,
    read,
    reads,
    execute,
    partial,
    combine,
    likely,
    check,
    ...rest
  } = value as Record<string, unknown>;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) throw new ConfigError(`${label}: there is no field "${unknown}"`);
  if (type !== undefined && (type as { kind?: unknown } | null)?.kind !== "args") {
    throw new ConfigError(`${label}: args is made by args()`);
  }
  const base = { name, number: commandNumber(name), label };
  if (reads !== undefined) {
    if (reads !== "all") throw new ConfigError(`${label}: reads is "all"`);
    if (keys !== undefined || read !== undefined || execute !== undefined) {
      throw new ConfigError(`${label}: reads goes with partial and combine, not with keys, read or execute`);
    }
    if (likely !== undefined || check !== undefined) {
      throw new ConfigError(
        `${label}: likely and check are for commands that usually touch few keys, not for reads: "all"`,
      );
    }
    const gather = synchronous(label, "partial", partial);
    const join = synchronous(label, "combine", combine);
    // With one group there is one part.
    return { ...base, keys: null, read: true, run: (tables, given, ctx) => join([gather(tables, given, ctx)], given) };
  }
  if (partial !== undefined || combine !== undefined) {
    throw new ConfigError(`${label}: partial and combine go with reads: "all"`);
  }
  if (read !== undefined && typeof read !== "boolean") throw new ConfigError(`${label}: read is true or false`);
  if (keys === undefined) throw new ConfigError(`${label}: it lacks keys, "all" or a function of its argument`);
  if (check !== undefined && likely === undefined) {
    throw new ConfigError(`${label}: check goes with likely; without that nothing can come in between`);
  }
  return {
    ...base,
    keys: keys === "all" ? null : synchronous(label, "keys", keys),
    read: read === true,
    run: synchronous(label, "execute", execute),
    ...(likely === undefined ? {} : { likely: synchronous(label, "likely", likely) }),
    ...(check === undefined ? {} : { check: synchronous(label, "check", check) }),
  };
}

function synchronous(label: string, field: string, value: unknown): AnyFunction {
  if (typeof value !== "function") throw new ConfigError(`${label}: ${field} is a function`);
  const kind = Object.prototype.toString.call(value);
  if (kind !== "[object Function]") {
    throw new ConfigError(`${label}: ${field} is synchronous, neither async nor a generator: it returns its result`);
  }
  return value as AnyFunction;
}
