/** The table of the operations: what each may look like, which keys it touches, and what it does. */
import {
  ARGUMENTS_MAX,
  ExpireFlag,
  KvOperation,
  RangeFlag,
  RenameFlag,
  ScanFlag,
  SetFlag,
  SetManyFlag,
  TimeFlag,
} from "./command.js";
import type { Execution } from "./execution.js";
import * as key from "./key-command.js";
import * as range from "./range-command.js";
import * as string from "./string-command.js";
import * as watch from "./watch-command.js";

/** Which arguments of an operation are keys, and what it depends on. */
export const Keys = {
  /** Argument 0; the others are values. */
  first: 0,
  /** All. */
  all: 1,
  /** Every other one, from argument 0 on; the others are values. */
  pairs: 2,
  /** All but argument 0; it depends on more than these keys. */
  behindFirst: 3,
  /** No argument is a key, and it depends on any number of keys. */
  unnamed: 4,
  /** It depends on no state. */
  none: 5,
} as const;
export type Keys = (typeof Keys)[keyof typeof Keys];

export interface Operation {
  readonly run: (x: Execution, count: number, flags: number) => void;
  /** It never changes the state. */
  readonly read: boolean;
  /** It may add entries or bytes. */
  readonly grows: boolean;
  /** What it costs is counted by `Execution.visit`, which may refuse it. */
  readonly visits: boolean;
  /** A transaction may hold it. */
  readonly nests: boolean;
  readonly argumentsMin: number;
  readonly argumentsMax: number;
  readonly keys: Keys;
  /** Whether these flags go together, with so many arguments. */
  readonly legal: (flags: number, count: number) => boolean;
}

type Count = readonly [min: number, max: number];

function operation(
  run: Operation["run"],
  kind: "read" | "write" | "grow" | "outer",
  [argumentsMin, argumentsMax]: Count,
  keys: Keys,
  legal: Operation["legal"] = noFlags,
): Operation {
  const read = kind === "read";
  const grows = kind === "grow";
  const visits = visiting.has(run);
  return Object.freeze({ run, read, grows, visits, nests: kind !== "outer", argumentsMin, argumentsMax, keys, legal });
}

const visiting: ReadonlySet<Operation["run"]> = new Set([
  range.keys,
  range.scan,
  range.range,
  range.rangeCount,
  range.rangeDelete,
  key.randomKey,
  key.rename,
  string.setRange,
]);

const none: Count = [0, 0];
const one: Count = [1, 1];
const two: Count = [2, 2];
const three: Count = [3, 3];
const some: Count = [1, ARGUMENTS_MAX];

const hasAll = (flags: number, wanted: number): boolean => (flags & wanted) === wanted;
const hasOnly = (flags: number, allowed: number): boolean => (flags & ~allowed) === 0;
const noFlags = (flags: number): boolean => flags === 0;
const within =
  (allowed: number) =>
  (flags: number): boolean =>
    hasOnly(flags, allowed);

const UNIT = SetFlag.seconds | SetFlag.absolute;

/** Neither both conditions nor both kinds of reply, and a number exactly when the flags speak of one. */
function legalSet(flags: number, count: number): boolean {
  const expires = hasAll(flags, SetFlag.expires);
  return (
    count === (expires ? 3 : 2) &&
    (expires ? !hasAll(flags, SetFlag.keepExpiry) : (flags & UNIT) === 0) &&
    !hasAll(flags, SetFlag.onlyNew | SetFlag.onlyOld) &&
    !hasAll(flags, SetFlag.returnOld | SetFlag.integerReply)
  );
}

function legalGetExpire(flags: number, count: number): boolean {
  if (!hasAll(flags, SetFlag.expires)) return count === 1 && hasOnly(flags, SetFlag.persist);
  return count === 2 && hasOnly(flags, SetFlag.expires | UNIT);
}

function legalExpire(flags: number): boolean {
  const { seconds, absolute, onlyNew, onlyOld, later, earlier } = ExpireFlag;
  const others = onlyOld | later | earlier;
  return (
    hasOnly(flags, seconds | absolute | onlyNew | others) &&
    ((flags & onlyNew) === 0 || (flags & others) === 0) &&
    !hasAll(flags, later | earlier)
  );
}

function legalScan(flags: number, count: number): boolean {
  const { pattern, type } = ScanFlag;
  const given = (hasAll(flags, pattern) ? 1 : 0) + (hasAll(flags, type) ? 1 : 0);
  return hasOnly(flags, pattern | type) && count === 2 + given;
}

const withLimit =
  (allowed: number) =>
  (flags: number, count: number): boolean =>
    hasOnly(flags, allowed) && count === (hasAll(flags, RangeFlag.limit) ? 3 : 2);

const legalSetMany = (flags: number, count: number): boolean =>
  hasOnly(flags, SetManyFlag.onlyNew) && (count & 1) === 0;

const O = KvOperation;

/** Every operation but `transaction`, whose commands are of this table. */
const entries: readonly (readonly [KvOperation, Operation])[] = [
  [O.get, operation(string.get, "read", one, Keys.first)],
  [O.set, operation(string.set, "grow", [2, 3], Keys.first, legalSet)],
  [O.delete, operation(key.remove, "write", some, Keys.all)],
  [O.exists, operation(key.exists, "read", some, Keys.all)],
  [O.increment, operation(string.increment, "grow", two, Keys.first)],
  [O.getMany, operation(string.getMany, "read", some, Keys.all)],
  [O.setMany, operation(string.setMany, "grow", some, Keys.pairs, legalSetMany)],
  [O.append, operation(string.append, "grow", two, Keys.first)],
  [O.length, operation(string.length, "read", one, Keys.first)],
  [O.count, operation(key.count, "read", none, Keys.unnamed)],
  [O.getDelete, operation(string.getDelete, "write", one, Keys.first)],
  [O.getExpire, operation(string.getExpire, "write", [1, 2], Keys.first, legalGetExpire)],
  [O.getRange, operation(string.getRange, "read", three, Keys.first)],
  [O.setRange, operation(string.setRange, "grow", three, Keys.first)],
  [O.incrementFloat, operation(string.incrementFloat, "grow", two, Keys.first)],
  [O.expire, operation(key.expire, "write", two, Keys.first, legalExpire)],
  [O.timeToLive, operation(key.timeToLive, "read", one, Keys.first, within(TimeFlag.seconds | TimeFlag.absolute))],
  [O.persist, operation(key.persist, "write", one, Keys.first)],
  [O.type, operation(key.type, "read", one, Keys.first)],
  [O.rename, operation(key.rename, "grow", two, Keys.all, within(RenameFlag.onlyNew))],
  [O.keys, operation(range.keys, "read", one, Keys.unnamed)],
  [O.scan, operation(range.scan, "read", [2, 4], Keys.unnamed, legalScan)],
  [O.clear, operation(key.clear, "write", none, Keys.unnamed)],
  [O.randomKey, operation(key.randomKey, "read", none, Keys.unnamed)],
  [O.range, operation(range.range, "read", [2, 3], Keys.unnamed, withLimit(RangeFlag.limit | RangeFlag.reverse))],
  [O.rangeCount, operation(range.rangeCount, "read", two, Keys.unnamed)],
  [O.rangeDelete, operation(range.rangeDelete, "write", [2, 3], Keys.unnamed, withLimit(RangeFlag.limit))],
  [O.watch, operation(watch.watch, "outer", [2, ARGUMENTS_MAX], Keys.behindFirst)],
  [O.unwatch, operation(watch.unwatch, "outer", one, Keys.unnamed)],
  [O.fail, operation(watch.fail, "read", one, Keys.none)],
];

/** By number. */
export const operations: readonly (Operation | undefined)[] = Object.freeze(
  Array.from({ length: 256 }, (_, number) => entries.find(([one]) => one === number)?.[1]),
);
