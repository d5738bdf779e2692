import { mix32 } from "../../base/index.js";
import { replyError, replyNil, replyNumber, replyOk, replyWord } from "../command/index.js";
import { BYTES_VISIT_SHIFT, ExpireFlag, RenameFlag, TimeFlag } from "./command.js";
import type { Execution } from "./execution.js";
import { absoluteMs, Unusable } from "./expiry-time.js";
import { NOT_AN_INTEGER } from "./integer.js";

export function remove(x: Execution, count: number): void {
  let removed = 0;
  for (let i = 0; i < count; i++) {
    const entry = x.look(i);
    if (entry === 0) continue;
    x.remove(i, entry);
    removed++;
  }
  replyNumber(x.replies, removed);
}

export function exists(x: Execution, count: number): void {
  let found = 0;
  for (let i = 0; i < count; i++) if (x.look(i) !== 0) found++;
  replyNumber(x.replies, found);
}

export function count(x: Execution): void {
  replyNumber(x.replies, x.store.count);
}

export function type(x: Execution): void {
  replyWord(x.replies, x.look(0) === 0 ? "none" : "string");
}

export function expire(x: Execution, _count: number, flags: number): void {
  const { store, spans } = x;
  const seconds = (flags & ExpireFlag.seconds) !== 0;
  const absolute = (flags & ExpireFlag.absolute) !== 0;
  const time = absoluteMs(x.bytes, spans[2] as number, spans[3] as number, seconds, absolute, x.time);
  if (time === Unusable.notInteger) return replyError(x.replies, NOT_AN_INTEGER);
  if (time === Unusable.outOfRange) {
    const name = `${seconds ? "" : "p"}expire${absolute ? "at" : ""}`;
    return replyError(x.replies, `ERR invalid expire time in '${name}' command`);
  }
  const entry = x.look(0);
  if (entry === 0 || !meetsCondition(store.expiry(entry), time, flags)) return replyNumber(x.replies, 0);
  if (time <= x.time) {
    x.remove(0, entry);
  } else {
    store.setExpiry(entry, time, x.storeUndo);
    x.touch(0);
  }
  replyNumber(x.replies, 1);
}

/** Without expiry, which is 0, a key lives for ever: nothing is later, everything is earlier. */
function meetsCondition(present: number, time: number, flags: number): boolean {
  if ((flags & ExpireFlag.onlyNew) !== 0 && present !== 0) return false;
  if ((flags & ExpireFlag.onlyOld) !== 0 && present === 0) return false;
  if ((flags & ExpireFlag.later) !== 0 && (present === 0 || time <= present)) return false;
  return (flags & ExpireFlag.earlier) === 0 || present === 0 || time < present;
}

export function timeToLive(x: Execution, _count: number, flags: number): void {
  const entry = x.look(0);
  const expiry = entry === 0 ? 0 : x.store.expiry(entry);
  if (expiry === 0) return replyNumber(x.replies, entry === 0 ? -2 : -1);
  const ms = (flags & TimeFlag.absolute) !== 0 ? expiry : expiry - x.time;
  replyNumber(x.replies, (flags & TimeFlag.seconds) !== 0 ? Math.floor((ms + 500) / 1000) : ms);
}

export function persist(x: Execution): void {
  const entry = x.look(0);
  if (entry === 0 || x.store.expiry(entry) === 0) return replyNumber(x.replies, 0);
  x.store.setExpiry(entry, 0, x.storeUndo);
  x.touch(0);
  replyNumber(x.replies, 1);
}

export function rename(x: Execution, _count: number, flags: number): void {
  const { store } = x;
  const onlyNew = (flags & RenameFlag.onlyNew) !== 0;
  const from = x.look(0);
  if (from === 0) return replyError(x.replies, "ERR no such key");
  const to = x.look(1);
  if (onlyNew && to !== 0) return replyNumber(x.replies, 0);
  if (to !== from) {
    if (!x.visit(store.valueLength(from) >>> BYTES_VISIT_SHIFT)) return x.refuseVisits("");
    // The value is copied out of the store into the store; `put` finds in `raw` what `look(1)` has left there.
    store.locateValue(from);
    x.put(1, store.bytes, store.start, store.end, store.expiry(from));
    x.remove(0, from);
  }
  if (onlyNew) replyNumber(x.replies, 1);
  else replyOk(x.replies);
}

export function clear(x: Execution): void {
  const { store, table } = x;
  if (table.keys > 0) {
    const bytes = x.scratch;
    table.touchAll((key) => {
      bytes.clear();
      bytes.latin1(key);
      return store.find(bytes.bytes, 0, bytes.length) !== 0;
    }, x.watchUndo);
  }
  store.clear(x.storeUndo);
  replyOk(x.replies);
}

/** Tries before the keys are walked through: with more than half of them alive, all fail once in 2^64 commands. */
const PICKS_MAX = 64;

export function randomKey(x: Execution): void {
  const { store } = x;
  let entry = 0;
  for (let i = 0; i < PICKS_MAX; i++) {
    entry = store.pick(mix32(x.random()));
    if (entry === 0 || !x.hasExpired(entry)) break;
  }
  // In the order of keys, round its end, so that nil is answered only if none is alive.
  const begin = entry;
  while (entry !== 0 && x.hasExpired(entry)) {
    if (!x.visit(1)) return x.refuseVisits("");
    entry = store.next(entry);
    if (entry === 0) entry = store.smallest();
    if (entry === begin) entry = 0;
  }
  if (entry === 0) return replyNil(x.replies);
  store.locateKey(entry);
  x.replyBytes(store.bytes, store.start, store.end);
}
