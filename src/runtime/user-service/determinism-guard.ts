import { createRequire } from "node:module";
import { DeterminismError, type UserCode } from "../../service/index.js";
import { moduleRefusal } from "./module-refusal.js";

/** Whether a module of the user's is being loaded: between its parts, code of the replica runs too. */
export interface Loading {
  now: boolean;
}

/**
 * The guard against what differs between replicas: clocks, chance, timers, the network, the machine, its language and its
 * time zone. It stands in the way only while code of the user runs (`userCode.running`); the replica around it goes on using
 * all of this. What is trapped is replaced before the user's module is evaluated, so that no reference gets past it.
 *
 * `onViolation` is told each time, and where it was. What clients are answered says nothing of the place: replies are the same on
 * all replicas, and paths are not.
 *
 * It finds mistakes, it is no sandbox: a service that differs in another way is found when replicas compare their digests.
 */
export function installDeterminismGuard(
  userCode: UserCode,
  loading: Loading,
  onViolation: (violation: Violation) => void = () => undefined,
): void {
  const fail = (what: string, advice: string): never => {
    const error = new DeterminismError(`${userCode.running ?? ""}: ${what} differs between replicas; ${advice}`);
    onViolation({ message: error.message, at: placeOf(error) });
    // A command that catches this has failed all the same.
    userCode.violation ??= error;
    throw error;
  };
  const objects = (): boolean => userCode.running !== null && !(loading.now && isCalledByReplica());
  const guard: Guard = { userCode, objects, fail };
  guardDate(guard);
  guardMethods(guard);
  guardGlobals(guard);
  guardRequire(guard);
}

/** Something that the guard has refused, for whoever looks for it. */
export interface Violation {
  readonly message: string;
  /** The user's line, as `file:line:column`; null if the stack does not show it. */
  readonly at: string | null;
}

/** A frame of this file, by whichever of its names: stacks can be shown by the sources' lines. */
const OWN_FRAME = /user-service[\\/]determinism-guard\.[jt]s:/;

/** The innermost place on the stack of an error that is not of this file, of the engine or of Node. */
function placeOf(error: Error): string | null {
  for (const frame of (error.stack ?? "").split("\n").slice(1)) {
    const place = /(?:\(|at )((?:file:\/\/)?\/?[^()]*:\d+:\d+)\)?$/.exec(frame)?.[1];
    if (place !== undefined && !place.startsWith("node:") && !OWN_FRAME.test(frame))
      return place.replace(/^file:\/\//, "");
  }
  return null;
}

interface Guard {
  readonly userCode: UserCode;
  /** True if what is trapped was reached by code of the user. */
  objects(): boolean;
  fail(what: string, advice: string): never;
}

/** Folder of this package's code. */
const OWN_CODE = new URL("../../", import.meta.url).href;

/**
 * True if the innermost caller outside of this file is code of this package or of Node. Only asked while a module is being
 * loaded, which is asynchronous: commands are not, and while one runs nobody else does.
 */
function isCalledByReplica(): boolean {
  const frames = (new Error().stack ?? "").split("\n").slice(1);
  const caller = frames.find((frame) => !OWN_FRAME.test(frame));
  return caller === undefined || caller.includes(OWN_CODE) || /\(?node:/.test(caller);
}

type AnyFunction = (this: unknown, ...args: unknown[]) => unknown;
type Holder = Record<PropertyKey, unknown>;

const TIME = "use ctx.time, the agreed time of the command";
const CHANCE = "use ctx.random(), which is agreed";
const LATER = "a command is synchronous: what happens later is a command of its own";
const LOCAL = "it depends on the machine's language or time zone; compute with numbers, or use the UTC methods";
const OUTSIDE = "a service has its arguments, its tables and ctx; pass in what it needs as an argument";
const COLLECTED = "it depends on the garbage collector";

/** Puts a function in the place of another, which it calls unless code of the user runs. */
function trap(guard: Guard, holder: object | undefined, name: string, shown: string, advice: string): void {
  const original = holder === undefined ? undefined : (holder as Holder)[name];
  if (holder === undefined || typeof original !== "function") return;
  const { userCode } = guard;
  const trapped = function (this: unknown, ...args: unknown[]): unknown {
    if (userCode.running !== null && guard.objects()) guard.fail(shown, advice);
    return Reflect.apply(original as AnyFunction, this, args);
  };
  const descriptor = Object.getOwnPropertyDescriptor(holder, name);
  Object.defineProperty(holder, name, {
    value: trapped,
    writable: true,
    configurable: true,
    enumerable: descriptor?.enumerable ?? false,
  });
}

/** The same for a property that tells the time when it is read. */
function trapGetter(guard: Guard, holder: object, name: string, shown: string): void {
  const original = Object.getOwnPropertyDescriptor(holder, name);
  if (original?.get === undefined) return;
  const trapped = function (this: unknown): unknown {
    if (guard.objects()) guard.fail(shown, TIME);
    return original.get?.call(this);
  };
  Object.defineProperty(holder, name, { ...original, get: trapped });
}

/** Text that names a moment whatever the time zone: with an offset, or a date alone. */
const ZONED = /(?:Z|[+-]\d\d:?\d\d)$|^[+-]?\d{4,6}(?:-\d\d(?:-\d\d)?)?$/;

function guardDate(guard: Guard): void {
  const { userCode } = guard;
  const { Date: OriginalDate } = globalThis;
  const checkText = (text: unknown): void => {
    if (userCode.running === null || typeof text !== "string" || ZONED.test(text) || !guard.objects()) return;
    guard.fail("a date read from text without a time zone", 'end it with "Z"');
  };
  const parse = (text: string): number => {
    checkText(text);
    return OriginalDate.parse(text);
  };
  const GuardedDate = function (...args: unknown[]): unknown {
    const made = new.target as unknown;
    if (userCode.running !== null && guard.objects()) {
      if (made === undefined) guard.fail("Date()", TIME);
      if (args.length === 0) guard.fail("new Date()", TIME);
      if (args.length > 1) guard.fail("new Date(year, month, …)", "it is local time; use new Date(Date.UTC(…))");
      checkText(args[0]);
    }
    if (made === undefined) return OriginalDate();
    return Reflect.construct(OriginalDate, args, made as new () => unknown);
  };
  const { prototype } = OriginalDate;
  Object.defineProperty(GuardedDate, "prototype", { value: prototype });
  Object.defineProperty(GuardedDate, "name", { value: "Date" });
  Object.defineProperty(GuardedDate, "length", { value: 7 });
  Object.defineProperties(GuardedDate, {
    now: { value: OriginalDate.now, writable: true, configurable: true },
    UTC: { value: OriginalDate.UTC, writable: true, configurable: true },
    parse: { value: parse, writable: true, configurable: true },
  });
  Object.defineProperty(prototype, "constructor", { value: GuardedDate, writable: true, configurable: true });
  trap(guard, GuardedDate, "now", "Date.now()", TIME);
  for (const name of Object.getOwnPropertyNames(prototype)) {
    const local = /^(?:get|set)(?!UTC|Time$)/.test(name) || /^to(?:Date|Time|Locale\w*)?String$/.test(name);
    if (local) trap(guard, prototype, name, `Date.prototype.${name}()`, LOCAL);
  }
  Object.defineProperty(globalThis, "Date", { value: GuardedDate, writable: true, configurable: true });
}

function guardMethods(guard: Guard): void {
  trap(guard, Math, "random", "Math.random()", CHANCE);
  for (const name of ["setTimeout", "setInterval", "setImmediate", "queueMicrotask"]) {
    trap(guard, globalThis, name, `${name}()`, LATER);
  }
  for (const name of ["now", "mark", "measure", "toJSON", "eventLoopUtilization"]) {
    trap(guard, globalThis.performance, name, `performance.${name}()`, TIME);
  }
  trapGetter(guard, Object.getPrototypeOf(globalThis.performance) as object, "timeOrigin", "performance.timeOrigin");
  trapGetter(guard, Event.prototype, "timeStamp", "Event.prototype.timeStamp");
  trap(guard, AbortSignal, "timeout", "AbortSignal.timeout()", LATER);
  for (const name of ["randomUUID", "getRandomValues"]) {
    trap(guard, globalThis.crypto, name, `crypto.${name}()`, CHANCE);
  }
  for (const name of ["fetch", "WebSocket", "EventSource", "BroadcastChannel", "MessageChannel", "Worker"]) {
    trapGlobal(guard, name, OUTSIDE);
  }
  for (const name of ["WeakRef", "FinalizationRegistry"]) trapGlobal(guard, name, COLLECTED);
  // A file has the time of its making.
  trapGlobal(guard, "File", TIME);
  trap(guard, URL, "createObjectURL", "URL.createObjectURL()", CHANCE);
  for (const name of ["wait", "waitAsync"]) trap(guard, Atomics, name, `Atomics.${name}()`, LATER);
  for (const type of [Array, BigInt, Number, Object]) {
    trap(guard, type.prototype, "toLocaleString", `${type.name}.prototype.toLocaleString()`, LOCAL);
  }
  for (const name of ["localeCompare", "toLocaleLowerCase", "toLocaleUpperCase"]) {
    trap(guard, String.prototype, name, `String.prototype.${name}()`, LOCAL);
  }
}

/** A function or class of the global object: calling and constructing it fails while code of the user runs. */
function trapGlobal(guard: Guard, name: string, advice: string): void {
  const original = (globalThis as unknown as Holder)[name];
  if (typeof original !== "function") return;
  const check = (): void => {
    if (guard.objects()) guard.fail(name, advice);
  };
  const value = new Proxy(original, {
    apply: (target, self, args) => {
      check();
      return Reflect.apply(target as AnyFunction, self, args) as unknown;
    },
    construct: (target, args, made) => {
      check();
      return Reflect.construct(target as never, args, made) as object;
    },
  });
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
}

/** What libraries look at to find out where they run; equal wherever the same version of Node runs. */
const HARMLESS: ReadonlySet<PropertyKey> = new Set(["version", "versions", "release", Symbol.toStringTag]);

/** Objects that are refused as wholes: code of the user finds a stand-in under their names. */
function guardGlobals(guard: Guard): void {
  for (const [name, advice] of [
    ["process", OUTSIDE],
    ["navigator", OUTSIDE],
    ["Intl", LOCAL],
  ] as const) {
    const original = (globalThis as unknown as Holder)[name];
    if (typeof original !== "object" || original === null) continue;
    const refuse = (property: PropertyKey): never => guard.fail(`${name}.${String(property)}`, advice);
    const standIn = new Proxy(Object.freeze({}), {
      get: (_target, property) =>
        HARMLESS.has(property) ? ((original as Holder)[property] as unknown) : refuse(property),
      set: (_target, property) => refuse(property),
      has: (_target, property) => property in original,
    });
    const descriptor = Object.getOwnPropertyDescriptor(globalThis, name);
    let present: unknown = original;
    Object.defineProperty(globalThis, name, {
      get: () => (guard.objects() ? standIn : present),
      set: (value: unknown) => {
        present = value;
      },
      configurable: true,
      enumerable: descriptor?.enumerable ?? false,
    });
  }
}

/** `require` of a module that reaches outside; `import` is refused where modules are resolved (module-graph.ts). */
function guardRequire(guard: Guard): void {
  const { Module } = createRequire(import.meta.url)("node:module") as { Module: { prototype: Holder } };
  const original = Module.prototype["require"] as AnyFunction;
  Module.prototype["require"] = function (this: { filename?: string }, id: unknown): unknown {
    const { running } = guard.userCode;
    if (running !== null && typeof id === "string") {
      const refusal = moduleRefusal(id);
      if (refusal !== null) {
        const error = new DeterminismError(`${running}: ${this.filename ?? "a module"} requires ${refusal}`);
        guard.userCode.violation ??= error;
        throw error;
      }
    }
    return Reflect.apply(original, this, [id]);
  };
}
