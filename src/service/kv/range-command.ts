import {
  beginArray,
  endArray,
  endArrayOf,
  replyBulk,
  replyBulkLatin1,
  replyError,
  replyNumber,
} from "../command/index.js";
import { RANGE_DELETED_MAX, RangeFlag, SCAN_COUNT_MAX, ScanFlag } from "./command.js";
import { type Execution, REPLIES_TOO_LONG, SYNTAX } from "./execution.js";
import { globFits, globPrefix, globSteps } from "./glob.js";
import { nearInteger, NOT_AN_INTEGER } from "./integer.js";

const TOO_MANY_DELETED = `ERR the range holds more than ${RANGE_DELETED_MAX} keys; give it a LIMIT of at most that many`;
const NEGATIVE_LIMIT = "ERR value is out of range, must be positive";
const INVALID_CURSOR = "ERR invalid cursor";

export function keys(x: Execution): void {
  const { store, bytes, spans, replies, scratch } = x;
  const patternStart = spans[0] as number;
  const patternEnd = spans[1] as number;
  scratch.clear();
  scratch.reserve(patternEnd - patternStart);
  const prefix = globPrefix(bytes, patternStart, patternEnd, scratch.bytes);
  const at = beginArray(replies, 0);
  let found = 0;
  for (let entry = store.first(scratch.bytes, 0, prefix, false); entry !== 0; entry = store.next(entry)) {
    store.locateKey(entry);
    if (!startsWith(store.bytes, store.start, store.end, scratch.bytes, prefix)) break;
    const fits = fitsPattern(x, patternStart, patternEnd);
    if (fits === Fit.spent) {
      replies.length = at;
      return x.refuseVisits("; use SCAN, or a pattern with a longer beginning");
    }
    if (fits === Fit.no || x.hasExpired(entry)) continue;
    if (!replyKey(x, entry, at)) return;
    found++;
  }
  endArrayOf(replies, at, found);
}

/** So many steps of matching take as long as coming to another key. */
const STEPS_PER_KEY = 128;

const Fit = { no: 0, yes: 1, spent: 2 } as const;
type Fit = (typeof Fit)[keyof typeof Fit];

/**
 * Whether the key that the store has located fits the pattern `bytes[start, end)`. It counts as visited, and as more keys if
 * the pattern takes long: that can be the product of two lengths, and then it is given up in between.
 */
function fitsPattern(x: Execution, start: number, end: number): Fit {
  const { store } = x;
  if (!x.visit(1)) return Fit.spent;
  // The steps that are left over to a whole key are free.
  const stepsMax = STEPS_PER_KEY * (x.visitsLeft + 1) - 1;
  const fits = globFits(x.bytes, start, end, store.bytes, store.start, store.end, stepsMax);
  if (!x.visit(Math.floor(globSteps() / STEPS_PER_KEY))) return Fit.spent;
  return fits ? Fit.yes : Fit.no;
}

/** Replies a key as part of the array at `at`; false if it replied the error of a reply too long in the array's place. */
function replyKey(x: Execution, entry: number, at: number): boolean {
  const { store, replies } = x;
  store.locateKey(entry);
  if (!x.fits(store.end - store.start)) {
    replies.length = at;
    replyError(replies, REPLIES_TOO_LONG);
    return false;
  }
  replyBulk(replies, store.bytes, store.start, store.end);
  return true;
}

function startsWith(key: Uint8Array, start: number, end: number, prefix: Uint8Array, length: number): boolean {
  if (end - start < length) return false;
  for (let i = 0; i < length; i++) if (key[start + i] !== prefix[i]) return false;
  return true;
}

/** "string", the only type there is. */
const STRING = [0x73, 0x74, 0x72, 0x69, 0x6e, 0x67];

export function scan(x: Execution, _count: number, flags: number): void {
  const { store, bytes, spans, replies, found } = x;
  const cursor = nearInteger(bytes, spans[0] as number, spans[1] as number);
  const wanted = nearInteger(bytes, spans[2] as number, spans[3] as number);
  if (Number.isNaN(cursor) || cursor < 0) return replyError(replies, INVALID_CURSOR);
  if (Number.isNaN(wanted)) return replyError(replies, NOT_AN_INTEGER);
  if (wanted < 1) return replyError(replies, SYNTAX);
  const pattern = (flags & ScanFlag.pattern) !== 0 ? 2 : 0;
  const type = (flags & ScanFlag.type) !== 0 ? (pattern === 0 ? 2 : 3) : 0;
  found.length = 0;
  // A cursor that was never given out ends the walk.
  const next = cursor > Number.MAX_SAFE_INTEGER ? 0 : store.scan(cursor, Math.min(wanted, SCAN_COUNT_MAX), found);
  if (type > 0 && !isWord(x, type, STRING)) found.length = 0;
  const at = beginArray(replies, 2);
  replyBulkLatin1(replies, String(next));
  let spent = !x.visit(pattern > 0 ? 0 : found.length);
  const list = beginArray(replies, 0);
  let count = 0;
  for (const entry of found) {
    if (pattern > 0 && !spent) {
      store.locateKey(entry);
      const fits = fitsPattern(x, spans[2 * pattern] as number, spans[2 * pattern + 1] as number);
      if (fits === Fit.no) continue;
      spent = fits === Fit.spent;
    }
    if (spent) {
      replies.length = at;
      found.length = 0;
      return x.refuseVisits("; use a simpler pattern, or a smaller COUNT");
    }
    if (x.hasExpired(entry)) continue;
    if (!replyKey(x, entry, at)) {
      found.length = 0;
      return;
    }
    count++;
  }
  found.length = 0;
  endArrayOf(replies, list, count);
  endArray(replies, at);
}

/** Whether argument i is a word, given in small letters, in any case. */
function isWord({ bytes, spans }: Execution, i: number, word: readonly number[]): boolean {
  const start = spans[2 * i] as number;
  if ((spans[2 * i + 1] as number) - start !== word.length) return false;
  return word.every((letter, k) => ((bytes[start + k] as number) | 0x20) === letter);
}

/** First and last entry of the range that arguments 0 and 1 bound; both are 0 when it is empty. */
const ends = { low: 0, high: 0 };

function findEnds({ store, bytes, spans }: Execution): void {
  const to = spans[2] as number;
  const end = spans[3] as number;
  ends.low = store.first(bytes, spans[0] as number, spans[1] as number, false);
  ends.high = to === end ? store.largest() : store.last(bytes, to, end, false);
  if (ends.low === 0) {
    // The last key up to the upper bound, if there is one, lies below the lower bound.
    ends.high = 0;
    return;
  }
  if (to === end) return;
  // With no key between the bounds, which may stand the wrong way round, the first one from the lower bound on is too high.
  store.locateKey(ends.low);
  if (isAbove(store.bytes, store.start, store.end, bytes, to, end)) ends.low = ends.high = 0;
}

/** Whether the first byte string is above the second. */
function isAbove(a: Uint8Array, aStart: number, aEnd: number, b: Uint8Array, bStart: number, bEnd: number): boolean {
  const length = Math.min(aEnd - aStart, bEnd - bStart);
  for (let i = 0; i < length; i++) {
    const difference = (a[aStart + i] as number) - (b[bStart + i] as number);
    if (difference !== 0) return difference > 0;
  }
  return aEnd - aStart > bEnd - bStart;
}

/** The limit that is argument 2 if there is one, else Infinity; NaN when it replied that it is none. */
function limitArgument(x: Execution, flags: number): number {
  if ((flags & RangeFlag.limit) === 0) return Infinity;
  const limit = nearInteger(x.bytes, x.spans[4] as number, x.spans[5] as number);
  if (limit >= 0) return limit;
  replyError(x.replies, Number.isNaN(limit) ? NOT_AN_INTEGER : NEGATIVE_LIMIT);
  return NaN;
}

export function range(x: Execution, _count: number, flags: number): void {
  const { store, replies } = x;
  const limit = limitArgument(x, flags);
  if (Number.isNaN(limit)) return;
  const reverse = (flags & RangeFlag.reverse) !== 0;
  findEnds(x);
  const last = reverse ? ends.low : ends.high;
  const at = beginArray(replies, 0);
  let found = 0;
  let entry = limit === 0 ? 0 : reverse ? ends.high : ends.low;
  while (entry !== 0) {
    if (!x.visit(1)) {
      replies.length = at;
      return x.refuseVisits("; give it a LIMIT");
    }
    if (!x.hasExpired(entry)) {
      if (!replyKey(x, entry, at)) return;
      store.locateValue(entry);
      if (!x.fits(store.end - store.start)) {
        replies.length = at;
        return replyError(replies, REPLIES_TOO_LONG);
      }
      replyBulk(replies, store.bytes, store.start, store.end);
      if (++found >= limit) break;
    }
    if (entry === last) break;
    entry = reverse ? store.previous(entry) : store.next(entry);
  }
  endArrayOf(replies, at, 2 * found);
}

export function rangeCount(x: Execution): void {
  const { store, replies } = x;
  findEnds(x);
  const { high } = ends;
  let found = 0;
  for (let entry = ends.low; entry !== 0; entry = store.next(entry)) {
    if (!x.visit(1)) return x.refuseVisits("");
    if (!x.hasExpired(entry)) found++;
    if (entry === high) break;
  }
  replyNumber(replies, found);
}

export function rangeDelete(x: Execution, _count: number, flags: number): void {
  const { store, replies, found, watches } = x;
  const limit = limitArgument(x, flags);
  if (Number.isNaN(limit)) return;
  findEnds(x);
  const { high } = ends;
  found.length = 0;
  for (let entry = limit === 0 ? 0 : ends.low; entry !== 0; entry = store.next(entry)) {
    if (!x.hasExpired(entry)) found.push(entry);
    const many = found.length > RANGE_DELETED_MAX;
    if (many || !x.visit(1)) {
      found.length = 0;
      return many ? replyError(replies, TOO_MANY_DELETED) : x.refuseVisits("");
    }
    if (entry === high || found.length >= limit) break;
  }
  for (const entry of found) {
    if (watches.keys > 0) {
      store.locateKey(entry);
      watches.touch(store.bytes, store.start, store.end, x.watchUndo);
    }
    store.remove(entry, x.storeUndo);
  }
  replyNumber(replies, found.length);
  found.length = 0;
}
