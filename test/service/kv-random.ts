/** Commands of kv for random tests, over a few keys so that they meet. */

import fc from "fast-check";
import { ByteWriter } from "#src/base/index.js";
import type { Service, UndoLog } from "#src/model/index.js";
import {
  ExpireFlag,
  KvOperation as O,
  RangeFlag,
  ScanFlag,
  SetFlag,
  SetManyFlag,
  TimeFlag,
} from "#src/service/index.js";
import { type Command, executeRun, type Reply, runOf, writeCommand } from "./kv-command.js";

export const START = 1_700_000_000_000;

export const command = (operation: number, args: readonly string[], flags = 0): Command => ({ operation, flags, args });
export const set = (key: string, value: string): Command => command(O.set, [key, value]);
export const get = (key: string): Command => command(O.get, [key]);
export const setMs = (key: string, value: string, ms: number): Command =>
  command(O.set, [key, value, String(ms)], SetFlag.expires);
const watchOf = (id: number): string => (id === 0 ? "" : bytesOfDouble(id));
export const watch = (id: number, ...keys: string[]): Command => command(O.watch, [watchOf(id), ...keys]);
export const unwatch = (id: number): Command => command(O.unwatch, [watchOf(id)]);

function bytesOfDouble(value: number): string {
  return String.fromCharCode(...new Uint8Array(new Float64Array([value]).buffer));
}

export function transaction(id: number, ...commands: Command[]): Command {
  const texts = commands.map((one) => {
    const writer = new ByteWriter();
    writeCommand(writer, one);
    return String.fromCharCode(...writer.toBytes());
  });
  return command(O.transaction, [watchOf(id), ...texts]);
}

/** Executes at an agreed time, as a batch does. */
export function at(service: Service, time: number, commands: readonly Command[], undo: UndoLog | null = null): Reply[] {
  service.advance(time, undo);
  const run = runOf(commands);
  run.time = time;
  run.seed = commands.length;
  return executeRun(service, run, undo);
}

const key = fc.constantFrom("a", "b", "c", "ab", "", "k:1", "k:2");
const keys = fc.array(key, { minLength: 1, maxLength: 3 });
const number = fc.oneof(
  fc.integer({ min: -3, max: 12 }).map(String),
  fc.constantFrom("x", "", "9223372036854775807", "-9223372036854775808", "1.5", "100000000000000"),
);
const value = fc.oneof(number, fc.constantFrom("v", "w".repeat(70), "\u0000\u00ff"));
const duration = fc.constantFrom("1", "5", "20", "0", "-1", "x", "9223372036854775807", "100000");
const bit = (flag: number): fc.Arbitrary<number> => fc.constantFrom(0, flag);
const bits = (...flags: number[]): fc.Arbitrary<number> =>
  fc.tuple(...flags.map(bit)).map((list) => list.reduce((all, one) => all | one, 0));
const pattern = fc.constantFrom("*", "a*", "k:?", "[ab]", "?", "b", "\\a", "**b");

const simple: fc.Arbitrary<Command> = fc.oneof(
  fc.tuple(key, value).map(([k, v]) => set(k, v)),
  fc
    .tuple(key, value, duration, bits(...Object.values(SetFlag)))
    .map(([k, v, d, flags]) => command(O.set, (flags & SetFlag.expires) === 0 ? [k, v] : [k, v, d], flags)),
  fc
    .tuple(key, duration, bits(SetFlag.persist, SetFlag.expires, SetFlag.seconds, SetFlag.absolute))
    .map(([k, d, flags]) => command(O.getExpire, (flags & SetFlag.expires) === 0 ? [k] : [k, d], flags)),
  fc.tuple(key, duration, bits(...Object.values(ExpireFlag))).map(([k, d, flags]) => command(O.expire, [k, d], flags)),
  fc
    .tuple(fc.constantFrom(O.get, O.getDelete, O.length, O.persist, O.type), key)
    .map(([operation, k]) => command(operation, [k])),
  fc.tuple(key, bits(...Object.values(TimeFlag))).map(([k, flags]) => command(O.timeToLive, [k], flags)),
  fc.tuple(fc.constantFrom(O.delete, O.exists, O.getMany), keys).map(([operation, list]) => command(operation, list)),
  fc
    .tuple(fc.array(fc.tuple(key, value), { minLength: 1, maxLength: 3 }), bit(SetManyFlag.onlyNew))
    .map(([pairs, flags]) => command(O.setMany, pairs.flat(), flags)),
  fc
    .tuple(fc.constantFrom(O.append, O.increment, O.incrementFloat), key, value)
    .map(([operation, k, v]) => command(operation, [k, v])),
  fc.tuple(key, number, number).map(([k, a, b]) => command(O.getRange, [k, a, b])),
  fc.tuple(key, number, value).map(([k, a, v]) => command(O.setRange, [k, a.length > 4 ? "9" : a, v])),
  fc.tuple(key, key, fc.constantFrom(0, 1)).map(([a, b, flags]) => command(O.rename, [a, b], flags)),
  pattern.map((one) => command(O.keys, [one])),
  fc
    .tuple(pattern, bit(ScanFlag.pattern))
    .map(([one, flags]) => command(O.scan, flags === 0 ? ["0", "1000"] : ["0", "1000", one], flags)),
  fc
    .tuple(key, key, number, bits(...Object.values(RangeFlag)))
    .map(([a, b, n, flags]) => command(O.range, (flags & RangeFlag.limit) === 0 ? [a, b] : [a, b, n], flags)),
  fc.tuple(key, key).map(([a, b]) => command(O.rangeCount, [a, b])),
  fc
    .tuple(key, key, number, bit(RangeFlag.limit))
    .map(([a, b, n, flags]) => command(O.rangeDelete, flags === 0 ? [a, b] : [a, b, n], flags)),
  fc.constant(command(O.count, [])),
  fc.constant(command(O.fail, ["ERR no\r\n"])),
  { arbitrary: fc.constant(command(O.clear, [])), weight: 1 },
);
const id = fc.integer({ min: 0, max: 6 });
export const any: fc.Arbitrary<Command> = fc.oneof(
  { weight: 8, arbitrary: simple },
  { weight: 1, arbitrary: fc.tuple(id, keys).map(([one, list]) => watch(one, ...list)) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 6 }).map(unwatch) },
  {
    weight: 1,
    arbitrary: fc.tuple(id, fc.array(simple, { maxLength: 4 })).map(([one, list]) => transaction(one, ...list)),
  },
);
