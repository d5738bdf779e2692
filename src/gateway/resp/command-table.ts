import { KvOperation, SetFlag } from "../../service/kv/index.js";
import {
  auth,
  client,
  commandContainer,
  config,
  echo,
  hello,
  info,
  type LocalCommand,
  ping,
  quit,
  reset,
  select,
} from "./local-command.js";
import { upperCase } from "./request.js";

/** How the arguments of a request become those of a command of the store. */
export const Mapping = {
  /** Not a command of the store: answered here. */
  local: 0,
  /** As they are. */
  same: 1,
  /** Key, value, and options that become flags. */
  set: 2,
  /** As they are, and 1 behind them. */
  plusOne: 3,
  /** As they are, and -1 behind them. */
  minusOne: 4,
  /** Key, and the number with the opposite sign. */
  negated: 5,
  /** Keys and values in pairs. */
  pairs: 6,
} as const;
export type Mapping = (typeof Mapping)[keyof typeof Mapping];

/** One command, as COMMAND shows it and as it is executed. */
export interface CommandRow {
  /** In small letters. */
  readonly name: string;
  /** Arguments with the name; negative: at least so many. */
  readonly arity: number;
  /** Redis's flags, in Redis's order. */
  readonly flags: readonly string[];
  readonly keyFirst: number;
  /** Negative: from the end. */
  readonly keyLast: number;
  readonly keyStep: number;
  readonly group: "string" | "generic" | "server" | "connection";
  readonly since: string;
  readonly summary: string;
  readonly mapping: Mapping;
  readonly operation: number;
  readonly operationFlags: number;
  /** It never changes the store. */
  readonly read: boolean;
  readonly run: LocalCommand | null;
  readonly upperName: Uint8Array;
}

type Keys = readonly [first: number, last: number, step: number];
const NO_KEYS: Keys = [0, 0, 0];
const ONE_KEY: Keys = [1, 1, 1];
const ALL_KEYS: Keys = [1, -1, 1];

function row(
  name: string,
  arity: number,
  flags: string,
  [keyFirst, keyLast, keyStep]: Keys,
  group: CommandRow["group"],
  since: string,
  summary: string,
  execution: Pick<CommandRow, "mapping" | "operation" | "operationFlags" | "run">,
): CommandRow {
  const words = flags === "" ? [] : flags.split(" ");
  return Object.freeze({
    name,
    arity,
    flags: Object.freeze(words),
    keyFirst,
    keyLast,
    keyStep,
    group,
    since,
    summary,
    mapping: execution.mapping,
    operation: execution.operation,
    operationFlags: execution.operationFlags,
    read: words.includes("readonly"),
    run: execution.run,
    upperName: Uint8Array.from(name.toUpperCase(), (character) => character.charCodeAt(0)),
  });
}

const store = (operation: KvOperation, mapping: Mapping = Mapping.same, operationFlags = 0) => ({
  mapping,
  operation,
  operationFlags,
  run: null,
});
const local = (run: LocalCommand) => ({ mapping: Mapping.local, operation: 0, operationFlags: 0, run });

const O = KvOperation;
const M = Mapping;
const CONNECTION = "noscript loading stale fast no_auth allow_busy";

/** Every command there is; the documentation's table is made from it. */
export const commandRows: readonly CommandRow[] = Object.freeze([
  row("get", 2, "readonly fast", ONE_KEY, "string", "1.0.0", "The value of a key", store(O.get)),
  row("set", -3, "write denyoom", ONE_KEY, "string", "1.0.0", "Sets the value of a key", store(O.set, M.set)),
  row(
    "setnx",
    3,
    "write denyoom fast",
    ONE_KEY,
    "string",
    "1.0.0",
    "Sets the value of a key unless it exists",
    store(O.set, M.same, SetFlag.onlyNew | SetFlag.integerReply),
  ),
  row(
    "getset",
    3,
    "write denyoom fast",
    ONE_KEY,
    "string",
    "1.0.0",
    "Sets the value of a key and returns the old one",
    store(O.set, M.same, SetFlag.returnOld),
  ),
  row("del", -2, "write", ALL_KEYS, "generic", "1.0.0", "Deletes keys", store(O.delete)),
  row("unlink", -2, "write fast", ALL_KEYS, "generic", "4.0.0", "Deletes keys", store(O.delete)),
  row("exists", -2, "readonly fast", ALL_KEYS, "generic", "1.0.0", "Counts which keys exist", store(O.exists)),
  row("incr", 2, "write denyoom fast", ONE_KEY, "string", "1.0.0", "Adds 1 to a number", store(O.increment, M.plusOne)),
  row(
    "decr",
    2,
    "write denyoom fast",
    ONE_KEY,
    "string",
    "1.0.0",
    "Subtracts 1 from a number",
    store(O.increment, M.minusOne),
  ),
  row("incrby", 3, "write denyoom fast", ONE_KEY, "string", "1.0.0", "Adds to a number", store(O.increment)),
  row(
    "decrby",
    3,
    "write denyoom fast",
    ONE_KEY,
    "string",
    "1.0.0",
    "Subtracts from a number",
    store(O.increment, M.negated),
  ),
  row("mget", -2, "readonly fast", ALL_KEYS, "string", "1.0.0", "The values of keys, at one moment", store(O.getMany)),
  row(
    "mset",
    -3,
    "write denyoom",
    [1, -1, 2],
    "string",
    "1.0.1",
    "Sets the values of keys, at one moment",
    store(O.setMany, M.pairs),
  ),
  row("append", 3, "write denyoom fast", ONE_KEY, "string", "2.0.0", "Appends to the value of a key", store(O.append)),
  row("strlen", 2, "readonly fast", ONE_KEY, "string", "2.2.0", "The length of the value of a key", store(O.length)),
  row("dbsize", 1, "readonly fast", NO_KEYS, "server", "1.0.0", "The number of keys", store(O.count)),
  row("ping", -1, "fast", NO_KEYS, "connection", "1.0.0", "Answers PONG, or its argument", local(ping)),
  row("echo", 2, "loading stale fast", NO_KEYS, "connection", "1.0.0", "Answers its argument", local(echo)),
  row("hello", -1, CONNECTION, NO_KEYS, "connection", "6.0.0", "Chooses RESP2 or RESP3", local(hello)),
  row("auth", -2, CONNECTION, NO_KEYS, "connection", "1.0.0", "Authenticates the connection", local(auth)),
  row("client", -2, "", NO_KEYS, "connection", "2.4.0", "About the connections", local(client)),
  row("command", -1, "loading stale", NO_KEYS, "server", "2.8.13", "About the commands", local(commandContainer)),
  row("info", -1, "loading stale", NO_KEYS, "server", "1.0.0", "About the server", local(info)),
  row("config", -2, "", NO_KEYS, "server", "2.0.0", "About the configuration", local(config)),
  row("select", 2, "loading stale fast", NO_KEYS, "connection", "1.0.0", "Chooses the database: 0", local(select)),
  row("quit", -1, CONNECTION, NO_KEYS, "connection", "1.0.0", "Ends the connection", local(quit)),
  row("reset", 1, CONNECTION, NO_KEYS, "connection", "6.2.0", "Makes the connection as new", local(reset)),
]);

const NAME_BYTES_MAX = Math.max(...commandRows.map((one) => one.name.length));
/** A power of two, with room enough that few names meet. */
const BUCKETS = 256;

function bucketOf(name: Uint8Array, start: number, end: number): number {
  let hash = end - start;
  for (let at = start; at < end; at++) hash = Math.imul(hash, 31) + upperCase(name[at] as number);
  return (hash ^ (hash >>> 7)) & (BUCKETS - 1);
}

/** Open addressing: a row stands in the bucket of its name's hash or in the next free one. */
const buckets: (CommandRow | null)[] = Array.from({ length: BUCKETS }, () => null);
for (const one of commandRows) {
  let bucket = bucketOf(one.upperName, 0, one.upperName.length);
  while (buckets[bucket] !== null) bucket = (bucket + 1) & (BUCKETS - 1);
  buckets[bucket] = one;
}

/** The command named by `bytes[start, end)` in any case, or null. Allocates nothing. */
export function findCommand(bytes: Uint8Array, start: number, end: number): CommandRow | null {
  const length = end - start;
  if (length > NAME_BYTES_MAX) return null;
  for (let bucket = bucketOf(bytes, start, end); ; bucket = (bucket + 1) & (BUCKETS - 1)) {
    const candidate = buckets[bucket] as CommandRow | null;
    if (candidate === null) return null;
    const name = candidate.upperName;
    if (name.length !== length) continue;
    let i = 0;
    while (i < length && upperCase(bytes[start + i] as number) === name[i]) i++;
    if (i === length) return candidate;
  }
}

/** True if a request of `count` arguments, the name included, fits the row. */
export function arityFits(command: CommandRow, count: number): boolean {
  return command.arity >= 0 ? count === command.arity : count >= -command.arity;
}
