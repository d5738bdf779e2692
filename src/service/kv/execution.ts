// Hot file: every command passes here. Nothing may be allocated for GET, SET, DEL, EXISTS and INCR, nothing may throw for
// bad input, and nothing may wait. Watched by bench/kv.mjs.
import { ByteWriter, mix32 } from "../../base/index.js";
import { REPLIES_BYTES_MAX, type UndoLog } from "../../model/index.js";
import { replyBulk, replyError, replyNil, REPLY_VALUE_HEADER_BYTES } from "../command/index.js";
import { ARGUMENTS_MAX, BATCH_VISITED_KEYS_MAX, VISITED_KEYS_MAX } from "./command.js";
import type { EntryStore } from "../byte-store/index.js";
import { type Watching, WatchTable } from "./watch-table.js";

export const SYNTAX = "ERR syntax error";
export const STRING_TOO_LONG = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
const TOO_MANY_KEYS = `ERR the command would have to look at more than ${VISITED_KEYS_MAX} keys`;
export const BATCH_SPENT = "ERR too many commands at once look at many keys or move long values; send fewer at a time";
export const REPLIES_TOO_LONG = `ERR the replies of one block exceed ${REPLIES_BYTES_MAX} bytes; send fewer commands at once`;

/** Commands of one thread run one after the other, whichever service is theirs, and none needs what another has left here. */
const spansOfAll = new Uint32Array(2 * ARGUMENTS_MAX);

/**
 * What a command works on: the state, its arguments in place, the agreed time, and where its reply goes. One object lives as
 * long as the service; the functions of the operations get it for each command.
 */
export class Execution {
  store: EntryStore;
  /** The watches, and what is told of keys that change: the same, or where other threads find it. */
  table = new WatchTable();
  watches: Watching = this.table;
  /** Argument i is `bytes[spans[2i], spans[2i + 1])`. */
  readonly spans = spansOfAll;
  bytes: Uint8Array = new Uint8Array(0);
  view: DataView = new DataView(new ArrayBuffer(0));
  replies = new ByteWriter(0);
  /** Agreed time in whole ms. */
  time = 0;
  /** Length that the replies of the present run may reach. */
  repliesEnd = 0;
  /** A command of the present run was refused its value because of that, or because of `visited`. */
  overflowed = false;
  /** Keys that the commands of the present batch have looked at, or those of the present run of reads. */
  visited = 0;
  /** How many there may be. */
  visitedMax = BATCH_VISITED_KEYS_MAX;
  /** How many there were when the present command began, a transaction being one. */
  visitedBefore = 0;
  /** Where changes of the entries and of the watches are recorded, null if nobody takes them back. */
  storeUndo: UndoLog | null = null;
  watchUndo: UndoLog | null = null;
  /** Room for digits, and for the literal beginning of a pattern. */
  readonly scratch = new ByteWriter(64);
  /** Entries that a command has collected; empty between commands. */
  readonly found: number[] = [];
  /** The entry that `look` found, expired or not. */
  raw = 0;
  #seed = 0;

  constructor(store: EntryStore) {
    this.store = store;
  }

  /** Begins a run with its own sequence of random numbers. */
  seed(seed: number): void {
    this.#seed = seed;
  }

  random(): number {
    this.#seed = mix32(this.#seed + 0x9e3779b9);
    return this.#seed;
  }

  /** The entry of the key that is argument i, 0 if there is none or it has expired; `raw` is the entry in any case. */
  look(i: number): number {
    const { spans } = this;
    const entry = this.store.find(this.bytes, spans[2 * i] as number, spans[2 * i + 1] as number);
    this.raw = entry;
    return entry !== 0 && this.hasExpired(entry) ? 0 : entry;
  }

  hasExpired(entry: number): boolean {
    const { store } = this;
    if (store.expiring === 0) return false;
    const expiry = store.expiry(entry);
    return expiry !== 0 && expiry <= this.time;
  }

  /** Gives the key that is argument i, of which `look` found `raw`, a value and an expiry. */
  put(i: number, value: Uint8Array, start: number, end: number, expiry: number): void {
    const { store, spans, bytes } = this;
    if (this.raw !== 0) {
      store.replace(this.raw, value, start, end, expiry, this.storeUndo);
    } else {
      const key = spans[2 * i] as number;
      store.add(bytes, key, spans[2 * i + 1] as number, value, start, end, expiry, this.storeUndo);
    }
    this.touch(i);
  }

  /** As `put`, the value being argument j. */
  putArgument(i: number, j: number, expiry: number): void {
    this.put(i, this.bytes, this.spans[2 * j] as number, this.spans[2 * j + 1] as number, expiry);
  }

  /** Removes the entry of the key that is argument i. */
  remove(i: number, entry: number): void {
    this.store.remove(entry, this.storeUndo);
    this.touch(i);
  }

  /** The key that is argument i changes. */
  touch(i: number): void {
    if (this.watches.keys === 0) return;
    const { spans } = this;
    this.watches.touch(this.bytes, spans[2 * i] as number, spans[2 * i + 1] as number, this.watchUndo);
  }

  /** Replies the value of an entry, nil for entry 0; false if it replied the error of a reply too long instead. */
  replyValue(entry: number): boolean {
    if (entry === 0) {
      replyNil(this.replies);
      return true;
    }
    const { store } = this;
    store.locateValue(entry);
    return this.replyBytes(store.bytes, store.start, store.end);
  }

  replyBytes(bytes: Uint8Array, start: number, end: number): boolean {
    if (!this.fits(end - start)) {
      replyError(this.replies, REPLIES_TOO_LONG);
      return false;
    }
    replyBulk(this.replies, bytes, start, end);
    return true;
  }

  /** Counts keys that the present command looks at; false, and the command is to be refused, if they become too many. */
  visit(keys: number): boolean {
    this.visited += keys;
    if (this.visited - this.visitedBefore <= VISITED_KEYS_MAX && this.visited <= this.visitedMax) return true;
    this.overflowed = true;
    return false;
  }

  /** How many keys more the present command may look at. */
  get visitsLeft(): number {
    return Math.min(this.visitedBefore + VISITED_KEYS_MAX, this.visitedMax) - this.visited;
  }

  /** Refuses the command for what `visit` said; `advice` is what to do if it looks at too many keys for itself alone. */
  refuseVisits(advice: string): void {
    const own = this.visited - this.visitedBefore > VISITED_KEYS_MAX;
    replyError(this.replies, own ? `${TOO_MANY_KEYS}${advice}` : BATCH_SPENT);
  }

  /** Whether a value of so many bytes can still be replied in this run. */
  fits(length: number): boolean {
    if (this.replies.length + REPLY_VALUE_HEADER_BYTES + length <= this.repliesEnd) return true;
    this.overflowed = true;
    return false;
  }
}
