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
 * | exec | [operation, argument…]… on different keys | list of their results, taken at one moment |
 *
 * Values and numbers may be JSON texts or numbers. A key that is ever added to is a counter and starts at 0.
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
  /** No state gives this result. */
  | { readonly kind: "never" };

export type Effect =
  | { readonly kind: "none" }
  | { readonly kind: "assign"; readonly value: string | null }
  | { readonly kind: "add"; readonly delta: bigint }
  | { readonly kind: "append"; readonly value: string };

/** The key under which the counter without a name is kept. */
export const COUNTER_KEY = "(counter)";

const any: Requirement = { kind: "any" };
const never: Requirement = { kind: "never" };
const present: Requirement = { kind: "present" };
const absent: Requirement = { kind: "equals", value: null };
const none: Effect = { kind: "none" };
const remove: Effect = { kind: "assign", value: null };

/** Why an operation can't be checked. */
export class NotModelledError extends Error {
  override readonly name = "NotModelledError";
}

/** Results that a client can have: a known one, or nothing because the outcome is unknown. */
type Result = { readonly known: true; readonly value: unknown } | { readonly known: false };

/**
 * The meaning of an operation with outcome `ok` or `info`; for `info` it says what the operation does if it takes effect
 * and changes something. Throws `NotModelledError`.
 */
export function meaningOf(operation: Operation): Meaning {
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
      return transaction(operation, result);
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
      throw new NotModelledError(`the option ${flag} of "set" is not modelled`);
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

function transaction(operation: Operation, result: Result): Meaning {
  const results: unknown = result.known ? result.value : null;
  if (result.known && (!Array.isArray(results) || results.length !== operation.args.length)) {
    throw new NotModelledError(
      `"exec" of ${operation.args.length} operations has the result ${JSON.stringify(results)}`,
    );
  }
  const touches = operation.args.flatMap((arg, index) => {
    if (!Array.isArray(arg) || typeof arg[0] !== "string")
      throw new NotModelledError(`"exec" of ${JSON.stringify(arg)}`);
    const part = { ...operation, op: arg[0], args: arg.slice(1) as unknown[] };
    const meaning = meaningOf(result.known ? { ...part, result: (results as unknown[])[index] } : part);
    if (meaning.presentMin > 0 || meaning.presentMax < Infinity) throw new NotModelledError(`"exec" of "${part.op}"`);
    return meaning.touches;
  });
  if (new Set(touches.map(({ key }) => key)).size < touches.length) {
    throw new NotModelledError(`"exec" of several operations on one key`);
  }
  return { touches, presentMin: 0, presentMax: Infinity, counter: false };
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
