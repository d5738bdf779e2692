// Hot file: see execution.ts.
import { latin1 } from "../../base/index.js";
import {
  beginArray,
  endArray,
  replyBulk,
  replyError,
  replyInteger,
  replyNil,
  replyNumber,
  replyOk,
  writeDecimal,
} from "../command/index.js";
import { BYTES_VISIT_SHIFT, SetFlag, SetManyFlag, VALUE_BYTES_MAX } from "./command.js";
import { type Execution, REPLIES_TOO_LONG, STRING_TOO_LONG } from "./execution.js";
import { absoluteMs, isBelowOne, Unusable } from "./expiry-time.js";
import { exactInteger, INT64_MAX, INT64_MIN, nearInteger, NOT_AN_INTEGER, OVERFLOW, wideInteger } from "./integer.js";
import { addFloats, FLOAT_BYTES_MAX, NOT_A_FLOAT } from "./long-double.js";

const NOTHING = new Uint8Array(0);

export function get(x: Execution): void {
  x.replyValue(x.look(0));
}

export function set(x: Execution, _count: number, flags: number): void {
  if (flags === 0) {
    // What SET does most: the old value, expired or not, is of no interest.
    x.raw = x.store.find(x.bytes, x.spans[0] as number, x.spans[1] as number);
    x.putArgument(0, 1, 0);
    return replyOk(x.replies);
  }
  let expiry = 0;
  if ((flags & SetFlag.expires) !== 0) {
    expiry = expiryArgument(x, 2, flags);
    if (expiry < 0) return refuseExpiry(x, expiry, flags, "set");
  }
  const before = x.look(0);
  const wanted = (flags & SetFlag.onlyNew) !== 0 ? before === 0 : (flags & SetFlag.onlyOld) === 0 || before !== 0;
  if ((flags & SetFlag.keepExpiry) !== 0 && before !== 0) expiry = x.store.expiry(before);
  // The reply can be refused, and then the command must not have happened.
  if ((flags & SetFlag.returnOld) !== 0 && !x.replyValue(before)) return;
  if (wanted) x.putArgument(0, 1, expiry);
  if ((flags & SetFlag.returnOld) !== 0) return;
  if ((flags & (SetFlag.integerReply | SetFlag.expires)) === SetFlag.integerReply)
    replyNumber(x.replies, wanted ? 1 : 0);
  else if (wanted) replyOk(x.replies);
  else replyNil(x.replies);
}

const NOT_INTEGER = -1;
const OUT_OF_RANGE = -2;

/** The expiry that argument i asks for, in ms since the epoch; negative if it can't be one. */
function expiryArgument(x: Execution, i: number, flags: number): number {
  const start = x.spans[2 * i] as number;
  const end = x.spans[2 * i + 1] as number;
  const absolute = (flags & SetFlag.absolute) !== 0;
  const time = absoluteMs(x.bytes, start, end, (flags & SetFlag.seconds) !== 0, absolute, x.time);
  if (time === Unusable.notInteger) return NOT_INTEGER;
  return time === Unusable.outOfRange || isBelowOne(x.bytes, start, end) ? OUT_OF_RANGE : time;
}

function refuseExpiry(x: Execution, outcome: number, flags: number, name: string): void {
  if (outcome === NOT_INTEGER) return replyError(x.replies, NOT_AN_INTEGER);
  const named = (flags & SetFlag.integerReply) === 0 ? name : (flags & SetFlag.seconds) !== 0 ? "setex" : "psetex";
  replyError(x.replies, `ERR invalid expire time in '${named}' command`);
}

export function getDelete(x: Execution): void {
  const entry = x.look(0);
  if (x.replyValue(entry) && entry !== 0) x.remove(0, entry);
}

export function getExpire(x: Execution, _count: number, flags: number): void {
  const entry = x.look(0);
  if (entry === 0) return replyNil(x.replies);
  let expiry = 0;
  if ((flags & SetFlag.expires) !== 0) {
    expiry = expiryArgument(x, 1, flags);
    if (expiry < 0) return refuseExpiry(x, expiry, flags, "getex");
  }
  if (!x.replyValue(entry)) return;
  if ((flags & SetFlag.expires) !== 0) {
    if (expiry <= x.time) return x.remove(0, entry);
  } else if ((flags & SetFlag.persist) === 0 || x.store.expiry(entry) === 0) {
    return;
  }
  x.store.setExpiry(entry, expiry, x.storeUndo);
  x.touch(0);
}

export function getMany(x: Execution, count: number): void {
  const { replies } = x;
  const at = beginArray(replies, count);
  for (let i = 0; i < count; i++) {
    const entry = x.look(i);
    // Absent values count too: there may be many more of them than of commands.
    if (!x.fits(entry === 0 ? 0 : x.store.valueLength(entry))) {
      // All or nothing: an array with an error inside would read as a value that is not there.
      replies.length = at;
      return replyError(replies, REPLIES_TOO_LONG);
    }
    x.replyValue(entry);
  }
  endArray(replies, at);
}

export function setMany(x: Execution, count: number, flags: number): void {
  const onlyNew = (flags & SetManyFlag.onlyNew) !== 0;
  if (onlyNew) {
    for (let i = 0; i < count; i += 2) if (x.look(i) !== 0) return replyNumber(x.replies, 0);
  }
  for (let i = 0; i < count; i += 2) {
    x.look(i);
    x.putArgument(i, i + 1, 0);
  }
  if (onlyNew) replyNumber(x.replies, 1);
  else replyOk(x.replies);
}

export function append(x: Execution): void {
  const entry = x.look(0);
  const start = x.spans[2] as number;
  const end = x.spans[3] as number;
  const before = entry === 0 ? 0 : x.store.valueLength(entry);
  const length = before + end - start;
  if (length > VALUE_BYTES_MAX) return replyError(x.replies, STRING_TOO_LONG);
  // Redis creates the key even when nothing is appended to it.
  if (entry === 0) {
    x.putArgument(0, 1, 0);
  } else {
    x.store.write(entry, before, x.bytes, start, end, x.storeUndo);
    x.touch(0);
  }
  replyNumber(x.replies, length);
}

export function length(x: Execution): void {
  const entry = x.look(0);
  replyNumber(x.replies, entry === 0 ? 0 : x.store.valueLength(entry));
}

export function getRange(x: Execution): void {
  const { spans, bytes, store } = x;
  let first = nearInteger(bytes, spans[2] as number, spans[3] as number);
  let last = nearInteger(bytes, spans[4] as number, spans[5] as number);
  if (Number.isNaN(first) || Number.isNaN(last)) return replyError(x.replies, NOT_AN_INTEGER);
  const entry = x.look(0);
  const count = entry === 0 ? 0 : store.valueLength(entry);
  let empty = count === 0;
  if (first < 0 && last < 0) empty ||= first > last || (first === last && isAbove(x, 1, 2));
  if (first < 0) first = Math.max(0, count + first);
  if (last < 0) last = Math.max(0, count + last);
  last = Math.min(last, count - 1);
  if (empty || first > last) {
    x.replyBytes(NOTHING, 0, 0);
    return;
  }
  store.locateValue(entry);
  x.replyBytes(store.bytes, store.start + first, store.start + last + 1);
}

/** Whether argument i is a larger number than argument j; both are integers that may be too long for doubles. */
function isAbove({ bytes, spans }: Execution, i: number, j: number): boolean {
  const a = wideInteger(bytes, spans[2 * i] as number, spans[2 * i + 1] as number);
  const b = wideInteger(bytes, spans[2 * j] as number, spans[2 * j + 1] as number);
  return a !== null && b !== null && a > b;
}

export function setRange(x: Execution): void {
  const { spans, bytes, store } = x;
  const offset = nearInteger(bytes, spans[2] as number, spans[3] as number);
  if (Number.isNaN(offset)) return replyError(x.replies, NOT_AN_INTEGER);
  if (offset < 0) return replyError(x.replies, "ERR offset is out of range");
  const start = spans[4] as number;
  const end = spans[5] as number;
  const entry = x.look(0);
  const before = entry === 0 ? 0 : store.valueLength(entry);
  if (start === end) return replyNumber(x.replies, before);
  if (offset + end - start > VALUE_BYTES_MAX) return replyError(x.replies, STRING_TOO_LONG);
  const added = offset + end - start - before;
  if (added > 0 && !x.visit(added >>> BYTES_VISIT_SHIFT)) return x.refuseVisits("");
  if (entry === 0) x.put(0, NOTHING, 0, 0, 0);
  // An entry just added or emptied is found again by its key.
  const target = entry === 0 ? x.look(0) : entry;
  store.write(target, offset, bytes, start, end, x.storeUndo);
  x.touch(0);
  replyNumber(x.replies, Math.max(before, offset + end - start));
}

export function increment(x: Execution): void {
  const { spans, bytes, store, scratch } = x;
  const entry = x.look(0);
  const expiry = entry === 0 ? 0 : store.expiry(entry);
  const delta = exactInteger(bytes, spans[2] as number, spans[3] as number);
  let before = 0;
  if (entry !== 0) {
    store.locateValue(entry);
    before = exactInteger(store.bytes, store.start, store.end);
  }
  const sum = before + delta;
  if (sum !== sum) return incrementLarge(x, entry, expiry);
  scratch.clear();
  writeDecimal(scratch, sum);
  x.put(0, scratch.bytes, 0, scratch.length, expiry);
  replyNumber(x.replies, sum);
}

/** What is no number, or too long for a double. */
function incrementLarge(x: Execution, entry: number, expiry: number): void {
  const { store } = x;
  const delta = wideInteger(x.bytes, x.spans[2] as number, x.spans[3] as number);
  let before: bigint | null = 0n;
  if (entry !== 0) {
    store.locateValue(entry);
    before = wideInteger(store.bytes, store.start, store.end);
  }
  if (delta === null || before === null) return replyError(x.replies, NOT_AN_INTEGER);
  const sum = before + delta;
  if (sum < INT64_MIN || sum > INT64_MAX) return replyError(x.replies, OVERFLOW);
  const digits = sum.toString();
  putText(x, digits, expiry);
  replyInteger(x.replies, digits);
}

export function incrementFloat(x: Execution): void {
  const { store } = x;
  const entry = x.look(0);
  let before = "0";
  // What is too long for a number is not even made a text of.
  const long = entry !== 0 && store.valueLength(entry) > FLOAT_BYTES_MAX;
  if (long || (x.spans[3] as number) - (x.spans[2] as number) > FLOAT_BYTES_MAX) {
    return replyError(x.replies, NOT_A_FLOAT);
  }
  const delta = latin1(x.bytes, x.spans[2] as number, x.spans[3] as number);
  if (entry !== 0) {
    store.locateValue(entry);
    before = latin1(store.bytes, store.start, store.end);
  }
  const sum = addFloats(before, delta);
  if (sum.startsWith("ERR")) return replyError(x.replies, sum);
  // The reply can be refused, and then the command must not have happened.
  if (!x.fits(sum.length)) return replyError(x.replies, REPLIES_TOO_LONG);
  putText(x, sum, entry === 0 ? 0 : store.expiry(entry));
  replyBulk(x.replies, x.scratch.bytes, 0, x.scratch.length);
}

/** Gives the key that is argument 0 a value of one byte a character, which stands in `scratch` afterwards. */
function putText(x: Execution, text: string, expiry: number): void {
  const { scratch } = x;
  scratch.clear();
  scratch.latin1(text);
  x.put(0, scratch.bytes, 0, scratch.length, expiry);
}
