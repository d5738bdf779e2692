import { latin1 } from "../../base/index.js";
import { replyError, replyNumber, replyOk } from "../command/index.js";
import { FAIL_BYTES_MAX } from "./command.js";
import type { Execution } from "./execution.js";

const ID_BYTES = 8;
export const MALFORMED_ID = "ERR malformed id of a watch";

/** The id that argument 0 is, 0 if it is empty, -1 if it is none. */
export function watchId(x: Execution): number {
  const start = x.spans[0] as number;
  const bytes = (x.spans[1] as number) - start;
  if (bytes === 0) return 0;
  if (bytes !== ID_BYTES) return -1;
  const id = x.view.getFloat64(start, true);
  return Number.isSafeInteger(id) && id > 0 ? id : -1;
}

/**
 * A key that has expired by now is removed, so that it is watched as one that does not exist; one that expires later breaks
 * the watch when it does.
 */
export function watch(x: Execution, count: number): void {
  const id = watchId(x);
  if (id < 0) return replyError(x.replies, MALFORMED_ID);
  const keys: string[] = [];
  for (let i = 1; i < count; i++) {
    if (x.look(i) === 0 && x.raw !== 0) x.remove(i, x.raw);
    keys.push(latin1(x.bytes, x.spans[2 * i] as number, x.spans[2 * i + 1] as number));
  }
  replyNumber(x.replies, x.table.add(id, keys, x.watchUndo));
}

export function unwatch(x: Execution): void {
  const id = watchId(x);
  if (id < 0) return replyError(x.replies, MALFORMED_ID);
  const present = x.table.get(id);
  if (present !== undefined) x.table.remove(present, x.watchUndo);
  replyOk(x.replies);
}

/** Ends the watch with this id and says whether it held: nothing changed what it watches, and no key of it expired. */
export function takeWatch(x: Execution, id: number): boolean {
  const present = x.table.get(id);
  if (present === undefined) return false;
  const holds = ![...present.keys].some((key) => isExpiredKey(x, key));
  x.table.remove(present, x.watchUndo);
  return holds;
}

function isExpiredKey(x: Execution, key: string): boolean {
  const { scratch, store } = x;
  scratch.clear();
  scratch.latin1(key);
  const entry = store.find(scratch.bytes, 0, scratch.length);
  return entry !== 0 && x.hasExpired(entry);
}

/** Watches of the key of an entry that goes because it has expired break. */
export function touchEntry(x: Execution, entry: number): void {
  const { store, watches } = x;
  if (watches.keys === 0) return;
  store.locateKey(entry);
  watches.touch(store.bytes, store.start, store.end, x.watchUndo);
}

/** The message of a command that was found wrong before it was sent, as its reply in a transaction. */
export function fail(x: Execution): void {
  const start = x.spans[0] as number;
  const text = latin1(x.bytes, start, Math.min(x.spans[1] as number, start + FAIL_BYTES_MAX));
  replyError(x.replies, text.replace(/[\r\n]/g, " "));
}
