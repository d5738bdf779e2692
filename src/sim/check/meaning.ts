import type { Operation } from "./history.js";
import { inRange, parseInteger } from "./values.js";

/**
 * What an operation together with its result says about the keys it touched: what each must have held just before, and
 * what each holds afterwards. Operations are named as in the Redis protocol, in any case:
 *
 * | operation | arguments | result |
 * |---|---|---|
 * | get | key | value or null |
 * | set | key, value, then any of NX XX GET KEEPTTL | "OK", or null if not set; the old value or null with GET |
 * | setnx | key, value | 1 or 0 |
 * | getset, getdel | key, value; key | old value or null |
 * | del, unlink | key… | how many existed, or null if the client was not told |
 * | exists | key… | how many exist, repeated keys counted each time |
 * | incr, decr | key | new number |
 * | incrby, decrby | key, integer | new number |
 * | append | key, value | new length in bytes |
 * | strlen | key | length in bytes, 0 if absent |
 * | mget | key… | list of values or nulls |
 * | mset, msetnx | key, value, … | "OK"; 1 or 0 |
 * | add | delta, or name, delta | the counter's new number, or null if the client was not told |
 * | get | (nothing) | the number of the counter without a name |
 * | expired | key, value | none, outcome `info`: the key is gone if it still holds this value, which was set to expire |
 * | cas | key, old value, new value | 1, or 0 if nothing was done, for whatever reason |
 * | exec | [operation, argument…]… | list of their results, taken at one moment; null if a watch was broken |
 * | touch | key… | as exists |
 * | getrange, substr | key, first, last | the piece of the value |
 * | setrange | key, offset, piece | new length in bytes |
 * | incrbyfloat | key, number | the sum |
 * | type | key | "string" or "none" |
 * | ttl, pttl, expiretime, pexpiretime | key | -2: there is no such key; anything else: there is |
 * | persist, getex without a time | key | 1 or 0; value or null |
 * | range | from, to, then any of LIMIT n, REV | list of keys and their values in turn |
 * | rangecount, delrange | from, to, and for delrange LIMIT n | how many keys |
 * | keys, dbsize, randomkey, scan | as in Redis | as in Redis; a step of scan says that its keys are there |
 * | flushall, flushdb | anything | "OK" |
 * | multi, discard, watch, unwatch, ping, echo | anything | anything: they say nothing about keys |
 *
 * Values and numbers may be JSON texts or numbers. A key that is ever added to is a counter and starts at 0. What lets keys
 * expire (setex, psetex, expire and its like, set and getex with a time) and what moves a value from key to key (rename,
 * renamenx) is not modelled: then the keys named, and those which they are tied to, are not judged.
 */
export interface Meaning {
  /** One entry per distinct key. */
  readonly touches: readonly Touch[];
  /** The number of `touches` keys that exist just before, each counted `weight` times, lies in [presentMin, presentMax]. */
  readonly presentMin: number;
  readonly presentMax: number;
  /** True for operations on counters. */
  readonly counter: boolean;
}

export interface Touch {
  readonly key: string;
  readonly requirement: Requirement;
  readonly effect: Effect;
  readonly weight: number;
}

export type Requirement =
  | { readonly kind: "any" }
  | { readonly kind: "equals"; readonly value: string | null }
  /** `value`, or absent: what an increment that ends at its own delta found. */
  | { readonly kind: "equals-or-absent"; readonly value: string }
  | { readonly kind: "present" }
  | { readonly kind: "length"; readonly bytes: number }
  /** Absent keys count as 0, so they are integers. */
  | { readonly kind: "not-integer" }
  | { readonly kind: "overflows"; readonly delta: bigint }
  /** Whatever `test` accepts. Equal names mean equal tests. */
  | { readonly kind: "fits"; readonly name: string; readonly test: (value: string | null) => boolean }
  /** No state gives this result. */
  | { readonly kind: "never" };

export type Effect =
  | { readonly kind: "none" }
  | { readonly kind: "assign"; readonly value: string | null }
  | { readonly kind: "add"; readonly delta: bigint }
  | { readonly kind: "append"; readonly value: string }
  /** Equal names mean equal maps. Only asked for values that the requirement accepts. */
  | { readonly kind: "maps"; readonly name: string; readonly map: (value: string | null) => string | null };

/** The key under which the counter without a name is kept. */
export const COUNTER_KEY = "(counter)";

const any: Requirement = { kind: "any" };
const never: Requirement = { kind: "never" };
const present: Requirement = { kind: "present" };
const absent: Requirement = { kind: "equals", value: null };
const none: Effect = { kind: "none" };
const remove: Effect = { kind: "assign", value: null };
const nothing: Meaning = { touches: [], presentMin: 0, presentMax: Infinity, counter: false };

/** Why an operation can't be checked. */
export class NotModelledError extends Error {
  override readonly name = "NotModelledError";
  /** The keys of which it is not known what became; null: it may be any. */
  readonly keys: readonly string[] | null;
  constructor(message: string, keys: readonly string[] | null = null) {
    super(message);
    this.keys = keys;
  }
}

/** Operations that concern keys which they do not name: their meaning depends on which keys there can be. */
const spanning: ReadonlySet<string> = new Set([
  "range",
  "rangecount",
  "delrange",
  "keys",
  "dbsize",
  "randomkey",
  "flushall",
  "flushdb",
]);
const spanningWrites: ReadonlySet<string> = new Set(["delrange", "flushall", "flushdb"]);

/** "writes" if an operation may change keys which it does not name, "reads" if it may depend on such keys, else null. */
export function spanOf(operation: Pick<Operation, "op" | "args">): "reads" | "writes" | null {
  const name = operation.op.toLowerCase();
  if (name !== "exec") return !spanning.has(name) ? null : spanningWrites.has(name) ? "writes" : "reads";
  let span: "reads" | "writes" | null = null;
  for (const part of operation.args) {
    const own = Array.isArray(part) ? spanOf({ op: String(part[0]), args: [] }) : null;
    if (own === "writes" || span === null) span = own;
  }
  return span;
}

/** Results that a client can have: a known one, or nothing because the outcome is unknown. */
type Result = { readonly known: true; readonly value: unknown } | { readonly known: false };

/**
 * The meaning of an operation with outcome `ok` or `info`; for `info` it says what the operation does if it takes effect
 * and changes something. `keys`: all keys that the history names, for operations that span keys (`spanOf`). Throws
 * `NotModelledError`.
 */
export function meaningOf(operation: Operation, keys: readonly string[] = []): Meaning {
  const result: Result = operation.outcome === "ok" ? { known: true, value: operation.result } : { known: false };
  const name = operation.op.toLowerCase();
  const { args } = operation;
  if (result.known) {
    const error = errorOf(result.value);
    if (error !== null) return failed(name, args, error);
  }
  switch (name) {
    case "get":
      if (args.length === 0) return one(COUNTER_KEY, valueRead(name, result), none, true);
      return one(textArgument(name, args, 0, 1), valueRead(name, result), none);
    case "set":
      return set(args, result);
    case "setnx": {
      const key = textArgument(name, args, 0, 2);
      return setIf(key, textArgument(name, args, 1, 2), absent, present, result, name);
    }
    case "getset": {
      const key = textArgument(name, args, 0, 2);
      return one(key, valueRead(name, result), { kind: "assign", value: textArgument(name, args, 1, 2) });
    }
    case "getdel":
      return one(textArgument(name, args, 0, 1), valueRead(name, result), remove);
    case "getex":
      if (args.length === 1 || (args.length === 2 && String(args[1]).toUpperCase() === "PERSIST")) {
        return one(textArgument(name, args, 0, 1, 2), valueRead(name, result), none);
      }
      throw expiring(name, args);
    case "touch":
      return counted(name, distinct(name, args), none, result, null);
    case "getrange":
    case "substr":
      return piece(name, args, result);
    case "setrange":
      return patch(args, result);
    case "incrbyfloat":
      return incrementFloat(args, result);
    case "type": {
      const key = textArgument(name, args, 0, 1);
      return one(key, !result.known ? any : result.value === "none" ? absent : present, none);
    }
    case "ttl":
    case "pttl":
    case "expiretime":
    case "pexpiretime": {
      const key = textArgument(name, args, 0, 1);
      return one(key, !result.known ? any : integerResult(name, result.value) === -2 ? absent : present, none);
    }
    case "persist": {
      const key = textArgument(name, args, 0, 1);
      return one(key, result.known && integerResult(name, result.value) === 1 ? present : any, none);
    }
    case "setex":
    case "psetex":
    case "expire":
    case "pexpire":
    case "expireat":
    case "pexpireat":
      throw expiring(name, args);
    case "rename":
    case "renamenx":
      throw new NotModelledError(`"${name}" is not modelled`, args.map(String));
    case "range":
      return range(args, result, keys);
    case "rangecount":
      return countedKeys(name, between(args, keys), none, result);
    case "delrange":
      return deleteRange(args, result, keys);
    case "keys":
      return listed(name, matching(args, keys), result);
    case "dbsize":
      return countedKeys(name, keys, none, result);
    case "randomkey":
      if (!result.known) return nothing;
      if (result.value === null) return manyOf(new Map(keys.map((key) => [key, 1])), absent, none);
      return one(textArgument(name, [result.value], 0, 1), present, none);
    case "scan":
      return result.known ? manyOf(new Map(scanned(result.value).map((key) => [key, 1])), present, none) : nothing;
    case "flushall":
    case "flushdb":
      return manyOf(new Map(keys.map((key) => [key, 1])), any, remove);
    case "multi":
    case "discard":
    case "watch":
    case "unwatch":
    case "ping":
    case "echo":
      return nothing;
    case "del":
    case "unlink":
      return counted(name, distinct(name, args), remove, result, 1);
    case "exists":
      return counted(name, distinct(name, args), none, result, null);
    case "incr":
    case "decr":
      return increment(name, textArgument(name, args, 0, 1), name === "incr" ? 1n : -1n, result, false);
    case "incrby":
    case "decrby": {
      const delta = integerArgument(name, args, 1, 2);
      return increment(name, textArgument(name, args, 0, 2), name === "incrby" ? delta : -delta, result, false);
    }
    case "append":
      return append(textArgument(name, args, 0, 2), textArgument(name, args, 1, 2), result);
    case "strlen": {
      const key = textArgument(name, args, 0, 1);
      return one(key, result.known ? { kind: "length", bytes: integerResult(name, result.value) } : any, none);
    }
    case "mget":
      return readMany(args, result);
    case "mset":
      return writeMany(name, args, any);
    case "msetnx":
      if (result.known && integerResult(name, result.value) === 0) {
        const keys = distinct(
          name,
          pairs(name, args).map(([key]) => key),
        );
        return keys.size === 1 ? manyOf(keys, present, none) : { ...manyOf(keys, any, none), presentMin: 1 };
      }
      return writeMany(name, args, absent);
    case "add":
      if (args.length <= 1) return increment(name, COUNTER_KEY, integerArgument(name, args, 0, 1), result, true);
      return increment(name, textArgument(name, args, 0, 2), integerArgument(name, args, 1, 2), result, true);
    case "expired":
      return one(textArgument(name, args, 0, 2), { kind: "equals", value: textArgument(name, args, 1, 2) }, remove);
    case "cas":
      return compareAndSet(args, result);
    case "exec":
      return transaction(operation, result, keys);
    default:
      throw new NotModelledError(`the operation "${operation.op}" is not modelled`);
  }
}

function one(key: string, requirement: Requirement, effect: Effect, counter = false): Meaning {
  return { touches: [{ key, requirement, effect, weight: 1 }], presentMin: 0, presentMax: Infinity, counter };
}

function manyOf(keys: ReadonlyMap<string, number>, requirement: Requirement, effect: Effect): Meaning {
  const touches = [...keys].map(([key, weight]) => ({ key, requirement, effect, weight }));
  return { touches, presentMin: 0, presentMax: Infinity, counter: false };
}

/** `key` takes `value` if `condition` holds, and the result says whether it did. */
function setIf(
  key: string,
  value: string,
  condition: Requirement,
  otherwise: Requirement,
  result: Result,
  name: string,
): Meaning {
  const done = !result.known || (result.value === "OK" ? 1 : integerResult(name, result.value)) === 1;
  return done ? one(key, condition, { kind: "assign", value }) : one(key, otherwise, none);
}

function set(args: readonly unknown[], result: Result): Meaning {
  const key = textArgument("set", args, 0, 2, Infinity);
  const value = textArgument("set", args, 1, 2, Infinity);
  const flags = new Set(args.slice(2).map((flag) => String(flag).toUpperCase()));
  for (const flag of flags) {
    if (!["NX", "XX", "GET", "KEEPTTL"].includes(flag)) {
      throw new NotModelledError(`the option ${flag} of "set" is not modelled`, [key]);
    }
  }
  const [onlyNew, onlyOld, old] = [flags.has("NX"), flags.has("XX"), flags.has("GET")];
  if (onlyNew && onlyOld) throw new NotModelledError(`"set" with both NX and XX is not modelled`);
  const assign: Effect = { kind: "assign", value };
  const condition = onlyNew ? absent : onlyOld ? present : any;
  if (!result.known) return one(key, condition, assign);
  if (old) {
    const before = valueRead("set", result);
    const wasAbsent = before.kind === "equals" && before.value === null;
    const written = onlyNew ? wasAbsent : onlyOld ? !wasAbsent : true;
    return one(key, before, written ? assign : none);
  }
  // A plain set can't be refused, whatever a client library answers for it.
  if (condition === any) return one(key, any, assign);
  const done = result.value !== null && result.value !== 0 && result.value !== false;
  return done ? one(key, condition, assign) : one(key, onlyNew ? present : absent, none);
}

/** `limit`: the most that one key counts for, null for as often as it is named. */
function counted(
  name: string,
  keys: ReadonlyMap<string, number>,
  effect: Effect,
  result: Result,
  limit: number | null,
): Meaning {
  if (!result.known || (result.value === null && effect === remove)) return manyOf(keys, any, effect);
  const count = integerResult(name, result.value);
  const weighted = new Map([...keys].map(([key, weight]) => [key, Math.min(weight, limit ?? weight)]));
  let all = 0;
  for (const weight of weighted.values()) all += weight;
  if (count < 0 || count > all) return manyOf(weighted, never, none);
  // Nothing existed, or everything did: then it is known of each key alone.
  if (count === 0) return manyOf(weighted, absent, none);
  if (count === all) return manyOf(weighted, present, effect);
  if (weighted.size === 1) return manyOf(weighted, never, none);
  return { ...manyOf(weighted, any, effect), presentMin: count, presentMax: count };
}

function increment(name: string, key: string, delta: bigint, result: Result, counter: boolean): Meaning {
  if (!result.known || (counter && (result.value === null || result.value === "OK"))) {
    return one(key, any, { kind: "add", delta }, counter);
  }
  const text = textOf(result.value);
  const after = text === undefined || text === null ? null : parseInteger(text);
  if (after === null) throw new NotModelledError(`"${name}" has the result ${JSON.stringify(result.value)}`);
  const before = after - delta;
  const assign: Effect = { kind: "assign", value: after.toString() };
  if (!inRange(before)) return one(key, never, none, counter);
  const value = before.toString();
  const requirement: Requirement =
    before === 0n && !counter ? { kind: "equals-or-absent", value } : { kind: "equals", value };
  return one(key, requirement, assign, counter);
}

function append(key: string, value: string, result: Result): Meaning {
  const effect: Effect = { kind: "append", value };
  if (!result.known) return one(key, any, effect);
  const bytes = integerResult("append", result.value) - Buffer.byteLength(value);
  return bytes < 0 ? one(key, never, none) : one(key, { kind: "length", bytes }, effect);
}

function readMany(args: readonly unknown[], result: Result): Meaning {
  const keys = [...args].map((_, index) => textArgument("mget", args, index, 1, Infinity));
  if (!result.known) return manyOf(new Map(keys.map((key) => [key, 1])), any, none);
  const { value } = result;
  if (!Array.isArray(value) || value.length !== keys.length) {
    throw new NotModelledError(`"mget" of ${keys.length} keys has the result ${JSON.stringify(value)}`);
  }
  const touches = new Map<string, Touch>();
  for (const [index, key] of keys.entries()) {
    let requirement = valueRead("mget", { known: true, value: (value as unknown[])[index] });
    const earlier = touches.get(key)?.requirement;
    if (earlier !== undefined && JSON.stringify(earlier) !== JSON.stringify(requirement)) requirement = never;
    touches.set(key, { key, requirement, effect: none, weight: 1 });
  }
  return { touches: [...touches.values()], presentMin: 0, presentMax: Infinity, counter: false };
}

function compareAndSet(args: readonly unknown[], result: Result): Meaning {
  const key = textArgument("cas", args, 0, 3);
  if (result.known && integerResult("cas", result.value) === 0) return one(key, any, none);
  const before = textOf(args[1]);
  if (before === undefined) throw new NotModelledError(`"cas" has the argument ${JSON.stringify(args[1])}`);
  return one(key, { kind: "equals", value: before }, { kind: "assign", value: textArgument("cas", [args[2]], 0, 1) });
}

function transaction(operation: Operation, result: Result, keys: readonly string[]): Meaning {
  const results: unknown = result.known ? result.value : null;
  // A watch was broken, and nothing was done.
  if (result.known && results === null) return nothing;
  if (result.known && (!Array.isArray(results) || results.length !== operation.args.length)) {
    throw new NotModelledError(
      `"exec" of ${operation.args.length} operations has the result ${JSON.stringify(results)}`,
    );
  }
  const parts = new Map<string, Touch[]>();
  for (const [index, arg] of operation.args.entries()) {
    if (!Array.isArray(arg) || typeof arg[0] !== "string")
      throw new NotModelledError(`"exec" of ${JSON.stringify(arg)}`);
    const part = { ...operation, op: arg[0], args: arg.slice(1) as unknown[] };
    const meaning = meaningOf(result.known ? { ...part, result: (results as unknown[])[index] } : part, keys);
    if (meaning.presentMin > 0 || meaning.presentMax < Infinity) {
      // Which of the arguments are keys makes no difference: a value that is taken for a key is the key of nothing.
      throw new NotModelledError(
        `"exec" of "${part.op}" that found some of its keys`,
        operation.args.flat().map(String),
      );
    }
    if (!result.known && meaning.touches.length > 1 && meaning.touches.some(({ requirement }) => requirement !== any)) {
      throw new NotModelledError(`"exec" of "${part.op}" without a known result`, operation.args.flat().map(String));
    }
    for (const one of meaning.touches) {
      const touch = result.known ? one : attempt(one);
      const earlier = parts.get(touch.key);
      if (earlier === undefined) parts.set(touch.key, [touch]);
      else earlier.push(touch);
    }
  }
  const touches = [...parts.values()].map((list) => (list.length === 1 ? (list[0] as Touch) : inTurn(list)));
  return { touches, presentMin: 0, presentMax: Infinity, counter: false };
}

/** An operation in a transaction of unknown outcome: what it can't do to a value it leaves undone, and the others go on. */
function attempt(touch: Touch): Touch {
  const { key, requirement, effect, weight } = touch;
  if (effect.kind === "none") return { key, requirement: any, effect, weight };
  if (requirement.kind === "any" && (effect.kind === "assign" || effect.kind === "append")) return touch;
  const map = (value: string | null): string | null => {
    const left = holds(requirement, value) ? after(effect, value) : undefined;
    return left === undefined ? value : left;
  };
  return { key, requirement: any, effect: { kind: "maps", name: `attempt ${nameOf([touch])}`, map }, weight };
}

/** A text that tells any two lists of touches apart. */
function nameOf(parts: readonly Touch[]): string {
  return JSON.stringify(parts, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value));
}

/** What several operations one behind the other require of a key, and do to it. */
function inTurn(parts: readonly Touch[]): Touch {
  const { key } = parts[0] as Touch;
  const run = (value: string | null): string | null | undefined => {
    let now: string | null | undefined = value;
    for (const { requirement, effect } of parts) {
      if (now === undefined || !holds(requirement, now)) return undefined;
      now = after(effect, now);
    }
    return now;
  };
  const first = (parts[0] as Touch).requirement;
  // Where it is known what was found it is known what was left: searching is easy then.
  if (first.kind === "equals") {
    const left = run(first.value);
    if (left === undefined) return { key, requirement: never, effect: none, weight: 1 };
    const effect: Effect = left === first.value ? none : { kind: "assign", value: left };
    return { key, requirement: first, effect, weight: 1 };
  }
  const blind = parts.every(({ requirement }) => requirement.kind === "any");
  const left = blind && parts.some(({ effect }) => effect.kind === "assign") ? run(null) : undefined;
  if (left !== undefined) return { key, requirement: any, effect: { kind: "assign", value: left }, weight: 1 };
  const name = nameOf(parts);
  const reads = parts.every(({ effect }) => effect.kind === "none");
  const effect: Effect = reads ? none : { kind: "maps", name, map: (value) => run(value) ?? null };
  return { key, requirement: { kind: "fits", name, test: (value) => run(value) !== undefined }, effect, weight: 1 };
}

/** Whether a value is what a requirement asks for. */
export function holds(requirement: Requirement, value: string | null): boolean {
  switch (requirement.kind) {
    case "any":
      return true;
    case "equals":
      return value === requirement.value;
    case "equals-or-absent":
      return value === null || value === requirement.value;
    case "present":
      return value !== null;
    case "length":
      return Buffer.byteLength(value ?? "") === requirement.bytes;
    case "not-integer":
      return value !== null && parseInteger(value) === null;
    case "overflows": {
      const integer = parseInteger(value ?? "0");
      return integer !== null && !inRange(integer + requirement.delta);
    }
    case "fits":
      return requirement.test(value);
    case "never":
      return false;
  }
}

/** What an effect leaves of a value; undefined if it is not possible. */
export function after(effect: Effect, value: string | null): string | null | undefined {
  switch (effect.kind) {
    case "none":
      return value;
    case "assign":
      return effect.value;
    case "add": {
      const integer = parseInteger(value ?? "0");
      return integer === null || !inRange(integer + effect.delta) ? undefined : String(integer + effect.delta);
    }
    case "append":
      return (value ?? "") + effect.value;
    case "maps":
      return effect.map(value);
  }
}

function expiring(name: string, args: readonly unknown[]): NotModelledError {
  return new NotModelledError(`"${name}" with a time after which the key expires is not modelled`, [String(args[0])]);
}

/** Offsets count bytes; negative ones from the end. */
function piece(name: string, args: readonly unknown[], result: Result): Meaning {
  const key = textArgument(name, args, 0, 3);
  const first = Number(integerArgument(name, args, 1, 3));
  const last = Number(integerArgument(name, args, 2, 3));
  const told = result.known ? textOf(result.value) : "";
  if (!result.known) return one(key, any, none);
  if (typeof told !== "string") throw new NotModelledError(`"${name}" has the result ${JSON.stringify(result.value)}`);
  const test = (value: string | null): boolean => {
    const bytes = Buffer.from(value ?? "");
    const place = (offset: number): number => (offset < 0 ? Math.max(0, bytes.length + offset) : offset);
    if (first < 0 && last < 0 && first > last) return told === "";
    return bytes.subarray(place(first), Math.max(place(first), place(last) + 1)).toString() === told;
  };
  return one(key, { kind: "fits", name: `piece ${first} ${last} ${told}`, test }, none);
}

function patch(args: readonly unknown[], result: Result): Meaning {
  const key = textArgument("setrange", args, 0, 3);
  const offset = Number(integerArgument("setrange", args, 1, 3));
  const text = textArgument("setrange", args, 2, 3);
  const bytes = Buffer.byteLength(text);
  const length = result.known ? integerResult("setrange", result.value) : -1;
  const before = (value: string | null): number => Buffer.byteLength(value ?? "");
  const long = (value: string | null): number =>
    bytes === 0 ? before(value) : Math.max(before(value), offset + bytes);
  const test = (value: string | null): boolean => length < 0 || long(value) === length;
  const map = (value: string | null): string => {
    const whole = Buffer.alloc(long(value));
    whole.write(value ?? "");
    whole.write(text, offset);
    return whole.toString();
  };
  const requirement: Requirement = { kind: "fits", name: `patch ${offset} ${bytes} ${length}`, test };
  return one(key, requirement, bytes === 0 ? none : { kind: "maps", name: `patch ${offset} ${text}`, map });
}

/** Sums are compared as doubles, and with room for the digits that a client's own conversion has cost. */
function incrementFloat(args: readonly unknown[], result: Result): Meaning {
  const key = textArgument("incrbyfloat", args, 0, 2);
  const delta = Number(textArgument("incrbyfloat", args, 1, 2));
  if (!result.known) throw new NotModelledError(`"incrbyfloat" without a known sum is not modelled`, [key]);
  const sum = textArgument("incrbyfloat", [result.value], 0, 1);
  const test = (value: string | null): boolean => {
    const expected = Number(value ?? "0") + delta;
    return Math.abs(Number(sum) - expected) <= 1e-9 * Math.max(1, Math.abs(expected), Math.abs(delta));
  };
  return one(key, { kind: "fits", name: `sum ${delta} ${sum}`, test }, { kind: "assign", value: sum });
}

// Keys that are not named.

/** By bytes, as the store orders its keys. */
function compareKeys(a: string, b: string): number {
  // Only above this do UTF-16 and UTF-8 order differently.
  if (/[\ud800-\uffff]/.test(a) || /[\ud800-\uffff]/.test(b)) return Buffer.compare(Buffer.from(a), Buffer.from(b));
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Of the keys there can be, those of the range that the first two arguments bound. */
function between(args: readonly unknown[], keys: readonly string[]): string[] {
  const from = textArgument("range", args, 0, 2, Infinity);
  const to = textArgument("range", args, 1, 2, Infinity);
  return keys.filter((key) => compareKeys(key, from) >= 0 && (to === "" || compareKeys(key, to) <= 0));
}

function rangeOptions(name: string, args: readonly unknown[]): { readonly limit: number; readonly reverse: boolean } {
  let limit = Infinity;
  let reverse = false;
  for (let i = 2; i < args.length; i++) {
    const option = String(args[i]).toUpperCase();
    if (option === "REV") reverse = true;
    else if (option === "LIMIT" && i + 1 < args.length) limit = integerResult(name, args[++i]);
    else throw new NotModelledError(`the option ${option} of "${name}" is not modelled`);
  }
  return { limit, reverse };
}

function range(args: readonly unknown[], result: Result, keys: readonly string[]): Meaning {
  const { limit, reverse } = rangeOptions("range", args);
  if (!result.known) return nothing;
  const list: readonly unknown[] = Array.isArray(result.value) ? (result.value as unknown[]) : [null];
  const found = new Map(list.length === 0 ? [] : pairs("range", list));
  const names = [...found.keys()];
  const [from, to] = [String(args[0]), String(args[1])];
  const wrong = names.some((key, index) => {
    const next = names[index + 1];
    const inside = compareKeys(key, from) >= 0 && (to === "" || compareKeys(key, to) <= 0);
    return !inside || (next !== undefined && compareKeys(key, next) > 0 !== reverse);
  });
  if (wrong || names.length > limit) return one(names[0] ?? from, never, none);
  // A range that ended because of its limit says nothing about what lies beyond its last key.
  const last = names.length === limit ? names.at(-1) : undefined;
  const seen = (key: string): boolean => {
    if (names.length < limit) return true;
    return last !== undefined && (reverse ? compareKeys(key, last) >= 0 : compareKeys(key, last) <= 0);
  };
  const touches: Touch[] = names.map((key) => touched(key, { kind: "equals", value: found.get(key) ?? null }));
  for (const key of between(args, keys)) if (!found.has(key) && seen(key)) touches.push(touched(key, absent));
  return { touches, presentMin: 0, presentMax: Infinity, counter: false };
}

const touched = (key: string, requirement: Requirement): Touch => ({ key, requirement, effect: none, weight: 1 });

function deleteRange(args: readonly unknown[], result: Result, keys: readonly string[]): Meaning {
  const { limit } = rangeOptions("delrange", args);
  const inside = between(args, keys);
  const full = !result.known || integerResult("delrange", result.value) >= limit;
  if (limit < Infinity && full && limit < inside.length) {
    throw new NotModelledError(`"delrange" that its limit has ended is not modelled`, inside);
  }
  return countedKeys("delrange", inside, remove, result);
}

function countedKeys(name: string, keys: readonly string[], effect: Effect, result: Result): Meaning {
  if (keys.length > 0) return counted(name, new Map(keys.map((key) => [key, 1])), effect, result, 1);
  if (!result.known || integerResult(name, result.value) === 0) return nothing;
  // There can be no such keys.
  return one(COUNTER_KEY, never, none);
}

function matching(args: readonly unknown[], keys: readonly string[]): string[] {
  const pattern = textArgument("keys", args, 0, 1);
  if (/[[\\]/.test(pattern)) throw new NotModelledError(`the pattern ${JSON.stringify(pattern)} is not modelled`);
  const source = pattern
    .replace(/[.+^${}()|\]]/g, "\\$&")
    .replace(/\*/g, ".*")
    .replace(/\?/g, ".");
  const expression = new RegExp(`^${source}$`, "su");
  return keys.filter((key) => expression.test(key));
}

/** A complete list of those of `keys` that are present, in any order. */
function listed(name: string, keys: readonly string[], result: Result): Meaning {
  if (!result.known) return nothing;
  if (!Array.isArray(result.value)) {
    throw new NotModelledError(`"${name}" has the result ${JSON.stringify(result.value)}`);
  }
  const found = new Set(result.value.map(String));
  const touches = [...found].map((key) => touched(key, present));
  for (const key of keys) if (!found.has(key)) touches.push(touched(key, absent));
  return { touches, presentMin: 0, presentMax: Infinity, counter: false };
}

function scanned(value: unknown): string[] {
  const list: unknown = Array.isArray(value) ? value[1] : null;
  if (!Array.isArray(list)) throw new NotModelledError(`"scan" has the result ${JSON.stringify(value)}`);
  return list.map(String);
}

function writeMany(name: string, args: readonly unknown[], requirement: Requirement): Meaning {
  const last = new Map(pairs(name, args));
  const touches = [...last].map(([key, value]) => ({
    key,
    requirement,
    effect: { kind: "assign", value } as const,
    weight: 1,
  }));
  return { touches, presentMin: 0, presentMax: Infinity, counter: false };
}

/** An error reply: it changes nothing, and says something about the key if the value was not a number or too large a one. */
function failed(name: string, args: readonly unknown[], message: string): Meaning {
  const sign = name === "incr" || name === "incrby" ? 1n : name === "decr" || name === "decrby" ? -1n : 0n;
  if (sign === 0n) throw new NotModelledError(`"${name}" was answered with the error "${message}"`);
  const arity = name.endsWith("by") ? 2 : 1;
  const key = textArgument(name, args, 0, arity);
  if (/not an integer/i.test(message)) return one(key, { kind: "not-integer" }, none);
  if (/overflow/i.test(message)) {
    return one(key, { kind: "overflows", delta: sign * (arity === 2 ? integerArgument(name, args, 1, 2) : 1n) }, none);
  }
  throw new NotModelledError(`"${name}" was answered with the error "${message}"`);
}

function errorOf(value: unknown): string | null {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  const { error } = value as { error?: unknown };
  if (typeof error === "string") return error;
  throw new NotModelledError(`a result is the object ${JSON.stringify(value).slice(0, 60)}`);
}

function valueRead(name: string, result: Result): Requirement {
  if (!result.known) return any;
  const value = textOf(result.value);
  if (value === undefined) throw new NotModelledError(`"${name}" has the result ${JSON.stringify(result.value)}`);
  return { kind: "equals", value };
}

/** A value as the text it is compared by; undefined if it is no value. */
function textOf(value: unknown): string | null | undefined {
  if (value === null || typeof value === "string") return value;
  // A whole number beyond 2^53 has lost digits on its way through JSON, so nothing may be concluded from it.
  if (typeof value === "number" && (Number.isSafeInteger(value) || !Number.isInteger(value))) return String(value);
  return undefined;
}

function integerResult(name: string, value: unknown): number {
  if (typeof value === "boolean") return value ? 1 : 0;
  const number = typeof value === "string" && value !== "" ? Number(value) : value;
  if (typeof number === "number" && Number.isSafeInteger(number)) return number;
  throw new NotModelledError(`"${name}" has the result ${JSON.stringify(value)}`);
}

function textArgument(
  name: string,
  args: readonly unknown[],
  index: number,
  countMin: number,
  countMax = countMin,
): string {
  if (args.length < countMin || args.length > countMax) {
    throw new NotModelledError(`"${name}" with ${args.length} arguments is not modelled`);
  }
  const text = textOf(args[index]);
  if (typeof text === "string") return text;
  throw new NotModelledError(`"${name}" has the argument ${JSON.stringify(args[index])}`);
}

function integerArgument(name: string, args: readonly unknown[], index: number, count: number): bigint {
  const integer = parseInteger(textArgument(name, args, index, count));
  if (integer === null) throw new NotModelledError(`"${name}" has the argument ${JSON.stringify(args[index])}`);
  return integer;
}

/** The keys named, and how often each is. */
function distinct(name: string, args: readonly unknown[]): Map<string, number> {
  const keys = new Map<string, number>();
  for (let index = 0; index < args.length; index++) {
    const key = textArgument(name, args, index, 1, Infinity);
    keys.set(key, (keys.get(key) ?? 0) + 1);
  }
  if (keys.size === 0) throw new NotModelledError(`"${name}" without arguments is not modelled`);
  return keys;
}

function pairs(name: string, args: readonly unknown[]): [string, string][] {
  if (args.length === 0 || args.length % 2 !== 0) {
    throw new NotModelledError(`"${name}" with ${args.length} arguments is not modelled`);
  }
  const list: [string, string][] = [];
  for (let index = 0; index < args.length; index += 2) {
    list.push([textArgument(name, args, index, 2, Infinity), textArgument(name, args, index + 1, 2, Infinity)]);
  }
  return list;
}
