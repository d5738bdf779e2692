// Hot file: see execution.ts.
import { type ByteWriter, hashBytes } from "../../base/index.js";
import {
  type Digest,
  READ_REPLIES_BYTES_TARGET,
  REPLIES_BYTES_MAX,
  type Run,
  type Service,
  type SnapshotSink,
  type SnapshotSource,
  UndoLog,
} from "../../model/index.js";
import {
  beginArray,
  COMMAND_HEADER_BYTES,
  commandFlags,
  commandOperation,
  endArray,
  readArguments,
  replyError,
  replyNil,
} from "../command/index.js";
import { BATCH_VISITED_KEYS_MAX, KEY_BYTES_MAX, KvOperation, VALUE_BYTES_MAX, VISITED_KEYS_MAX } from "./command.js";
import { READ_AHEAD_MAX } from "../byte-store/index.js";
import type { EntryStore } from "../byte-store/index.js";
import { BATCH_SPENT, Execution, REPLIES_TOO_LONG, SYNTAX } from "./execution.js";
import { Keys, type Operation, operations } from "./operation.js";
import { KvSink, KvSource } from "./snapshot.js";
import { MALFORMED_ID, takeWatch, touchEntry, watchId } from "./watch-command.js";

const MALFORMED = "ERR malformed command";
const UNKNOWN_OPERATION = "ERR unknown operation";
const WRONG_COUNT = "ERR wrong number of arguments";
const READ_ONLY = "ERR a command that writes was sent as an unordered read";
const KEY_TOO_LONG = `ERR key exceeds the maximum of ${KEY_BYTES_MAX} bytes`;
const VALUE_TOO_LONG = `ERR value exceeds the maximum of ${VALUE_BYTES_MAX} bytes`;
const STORE_FULL = "OOM command not allowed, the store holds as much as it may";
const NOT_IN_TRANSACTION = "ERR malformed transaction";

/** Entries removed per batch at most, so that many keys expiring together stop nothing. */
const EXPIRED_PER_BATCH_MAX = 256;
/** Longer keys are not read ahead: hashing them twice costs more. */
const READ_AHEAD_KEY_BYTES_MAX = 64;
/** So many keys, as a power of two, are looked at in the time of a short command. */
const VISITS_WORK_SHIFT = 3;
/** What a reply without a value takes at most. */
const SHORT_REPLY_BYTES = 128;

/** The byte-string store as a replicated service; see `./command.ts` for its operations. */
export class Kv implements Service {
  readonly name = "kv";
  protected readonly x: Execution;
  /**
   * The records of the entries and those of the watches, while the caller's log holds, per call that changed something, how
   * long both were before it.
   */
  readonly #storeUndo = new UndoLog();
  readonly #watchUndo = new UndoLog();
  /** Sets the random numbers of reads apart, which are nobody's state. */
  #reads = 0;

  constructor(store: EntryStore) {
    this.x = new Execution(store);
  }

  advance(time: number, undo: UndoLog | null): void {
    const x = this.x;
    const { store } = x;
    x.time = Math.floor(time);
    x.visited = 0;
    this.#beginUndo(undo);
    for (let i = 0; i < EXPIRED_PER_BATCH_MAX; i++) {
      const entry = store.firstToExpire();
      if (entry === 0 || !x.hasExpired(entry)) break;
      touchEntry(x, entry);
      store.remove(entry, x.storeUndo);
    }
    this.#endUndo(undo);
  }

  due(): number {
    const { store } = this.x;
    const entry = store.firstToExpire();
    return entry === 0 ? Infinity : store.expiry(entry);
  }

  execute(run: Run, replies: ByteWriter, undo: UndoLog | null): void {
    const x = this.x;
    const { view, offsets, count, readOnly } = run;
    const start = replies.length;
    x.bytes = run.bytes;
    x.view = view;
    x.replies = replies;
    x.time = Math.floor(run.time);
    x.seed(readOnly ? run.seed + ++this.#reads : run.seed);
    x.repliesEnd = start + REPLIES_BYTES_MAX;
    x.overflowed = false;
    x.visitedMax = readOnly ? VISITED_KEYS_MAX : BATCH_VISITED_KEYS_MAX;
    const visited = x.visited;
    if (readOnly) x.visited = 0;
    this.#beginUndo(undo);
    for (let i = 0; i < count; i++) {
      const end = replies.length;
      if (i % READ_AHEAD_MAX === 0) this.#readAhead(run, i);
      x.visitedBefore = x.visited;
      this.#command(offsets[i] as number, readOnly);
      if (!readOnly) continue;
      // The first command may be as long as any, or keeps its error; the others are answered once the rest is asked for.
      if (i === 0) {
        x.repliesEnd = start + READ_REPLIES_BYTES_TARGET;
        x.overflowed = false;
      }
      if (!x.overflowed) continue;
      replies.length = end;
      run.answered = i;
      break;
    }
    run.work = (x.visited - (readOnly ? 0 : visited)) >>> VISITS_WORK_SHIFT;
    // Reads come between the batches, and must not count there.
    if (readOnly) x.visited = visited;
    this.#endUndo(undo);
  }

  rollback(undo: UndoLog, mark: number): void {
    const x = this.x;
    while (undo.mark() > mark) {
      const watches = undo.pop() as number;
      x.store.rollback(this.#storeUndo, undo.pop() as number);
      x.table.rollback(this.#watchUndo, watches);
    }
  }

  isRead(view: DataView, at: number): boolean {
    return view.getUint32(at, true) >= COMMAND_HEADER_BYTES && operations[commandOperation(view, at)]?.read === true;
  }

  /** One group: every command belongs to it. */
  groups(run: Run, _mode: 0 | 1, masks: Uint32Array): void {
    masks.fill(1, 0, run.count);
  }

  /** With one group no other thread can be in the way: everything passes. */
  safetyCheck(run: Run, _thread: number, pass: Uint8Array): void {
    pass.fill(1, 0, run.count);
  }

  /**
   * The range of a command is that of the hashes of its keys, so that different keys may seem to conflict and equal keys
   * always do. What depends on keys that it does not name has the whole range. A command that is answered by an error
   * whatever the state is conflicts with none.
   */
  conflicts(run: Run, low: Float64Array, high: Float64Array, writes: Uint8Array): void {
    const { spans } = this.x;
    for (let i = 0; i < run.count; i++) {
      const at = run.offsets[i] as number;
      low[i] = Infinity;
      high[i] = -Infinity;
      writes[i] = 0;
      const count = readArguments(run.view, at, spans);
      if (count < 0) continue;
      const number = commandOperation(run.view, at);
      const operation = operations[number];
      if (operation === undefined && number !== KvOperation.transaction) continue;
      writes[i] = operation?.read === true ? 0 : 1;
      const keys = operation?.keys ?? Keys.unnamed;
      if (keys === Keys.unnamed || keys === Keys.behindFirst) {
        low[i] = -Infinity;
        high[i] = Infinity;
        continue;
      }
      const named = keys === Keys.none ? 0 : keys === Keys.first ? Math.min(1, count) : count;
      for (let k = 0; k < named; k += keys === Keys.pairs ? 2 : 1) {
        const hash = hashBytes(run.bytes, spans[2 * k] as number, spans[2 * k + 1] as number, 0x5e0d);
        if (hash < (low[i] as number)) low[i] = hash;
        if (hash > (high[i] as number)) high[i] = hash;
      }
    }
  }

  digest(into: Digest): void {
    this.x.store.readDigest(into);
    this.x.table.mixInto(into);
  }

  snapshot(): SnapshotSource {
    return new KvSource(this.x.table, this.x.store.snapshot());
  }

  restore(): SnapshotSink {
    return new KvSink(this.x.store.restore(), (watches) => {
      this.x.table = watches;
      this.x.watches = watches;
    });
  }

  size(): { readonly entries: number; readonly bytes: number } {
    const { store } = this.x;
    return { entries: store.count, bytes: store.size };
  }

  #beginUndo(undo: UndoLog | null): void {
    const x = this.x;
    if (undo === null) {
      x.storeUndo = null;
      x.watchUndo = null;
      return;
    }
    // An empty log has confirmed everything.
    if (undo.mark() === 0) {
      this.#storeUndo.confirm();
      this.#watchUndo.confirm();
    }
    x.storeUndo = this.#storeUndo;
    x.watchUndo = this.#watchUndo;
    undo.push(this.#storeUndo.mark(), this.#watchUndo.mark());
  }

  #endUndo(undo: UndoLog | null): void {
    if (undo === null) return;
    const watches = undo.pop() as number;
    const entries = undo.pop() as number;
    if (this.#storeUndo.mark() > entries || this.#watchUndo.mark() > watches) undo.push(entries, watches);
  }

  /** Lets the store read ahead for the first arguments of the next commands, which are keys in most of them. */
  #readAhead(run: Run, from: number): void {
    const { view, offsets } = run;
    const { spans, store } = this.x;
    const end = Math.min(run.count, from + READ_AHEAD_MAX);
    let count = 0;
    for (let i = from; i < end; i++) {
      const at = offsets[i] as number;
      const start = at + COMMAND_HEADER_BYTES + 4;
      const commandEnd = at + view.getUint32(at, true);
      if (start > commandEnd) continue;
      const keyEnd = start + view.getUint32(start - 4, true);
      if (keyEnd > commandEnd || keyEnd - start > READ_AHEAD_KEY_BYTES_MAX) continue;
      spans[2 * count] = start;
      spans[2 * count + 1] = keyEnd;
      count++;
    }
    store.readAhead(run.bytes, spans, count);
  }

  #command(at: number, readOnly: boolean): void {
    const x = this.x;
    const { view, replies } = x;
    const count = readArguments(view, at, x.spans);
    if (count < 0) return replyError(replies, MALFORMED);
    const number = commandOperation(view, at);
    const flags = commandFlags(view, at);
    const operation = operations[number];
    if (operation === undefined) {
      if (number !== KvOperation.transaction) return replyError(replies, UNKNOWN_OPERATION);
      if (readOnly) return replyError(replies, READ_ONLY);
      return this.#transaction(at, count, flags);
    }
    if (readOnly && !operation.read) return replyError(replies, READ_ONLY);
    if (count < operation.argumentsMin || count > operation.argumentsMax) return replyError(replies, WRONG_COUNT);
    if (!operation.legal(flags, count)) return replyError(replies, flags === 0 ? WRONG_COUNT : SYNTAX);
    const objection = checkLengths(operation, x.spans, count);
    if (objection !== null) return replyError(replies, objection);
    if (operation.grows) {
      // No command makes the store larger than by what it brings and the zeros of a gap.
      const entries = operation.keys === Keys.pairs ? count >> 1 : 1;
      const bytes = view.getUint32(at, true) + VALUE_BYTES_MAX;
      if (!x.store.hasRoom(entries, bytes)) return replyError(replies, STORE_FULL);
    }
    operation.run(x, count, flags);
  }

  /** Executes the commands of a transaction one behind the other, unless its watch is broken. */
  #transaction(at: number, count: number, flags: number): void {
    const x = this.x;
    const { view, replies } = x;
    if (flags !== 0 || count < 1) return replyError(replies, NOT_IN_TRANSACTION);
    const id = watchId(x);
    if (id < 0) return replyError(replies, MALFORMED_ID);
    let visits = false;
    for (let i = 1; i < count; i++) {
      const start = x.spans[2 * i] as number;
      const bytes = (x.spans[2 * i + 1] as number) - start;
      const whole = bytes >= COMMAND_HEADER_BYTES && view.getUint32(start, true) === bytes;
      const operation = whole ? operations[commandOperation(view, start)] : undefined;
      if (operation?.nests !== true) return replyError(replies, NOT_IN_TRANSACTION);
      visits ||= operation.visits;
    }
    // It counts as one command. What others in its batch have done must not make a part of it fail, so it begins only if there
    // is as much left as one command may need.
    if (visits && x.visitsLeft < VISITED_KEYS_MAX) return replyError(replies, BATCH_SPENT);
    const short = SHORT_REPLY_BYTES * count;
    if (!x.fits(short)) return replyError(replies, REPLIES_TOO_LONG);
    if (id !== 0 && !takeWatch(x, id)) return replyNil(replies);
    // Each of the commands can always reply something short: the values leave room for that.
    x.repliesEnd -= short;
    const array = beginArray(replies, count - 1);
    // The commands use the spans of the arguments for their own: what is left of the transaction is walked by lengths.
    let next = at + COMMAND_HEADER_BYTES + 4 + view.getUint32(at + COMMAND_HEADER_BYTES, true);
    for (let i = 1; i < count; i++) {
      this.#command(next + 4, false);
      next += 4 + view.getUint32(next, true);
    }
    endArray(replies, array);
    x.repliesEnd += short;
  }
}

/** An error unless keys and values are within their limits. */
function checkLengths({ keys }: Operation, spans: Uint32Array, count: number): string | null {
  if (keys >= Keys.unnamed) return null;
  for (let i = 0; i < count; i++) {
    const length = (spans[2 * i + 1] as number) - (spans[2 * i] as number);
    if (length <= KEY_BYTES_MAX) continue;
    const isKey = keys === Keys.first ? i === 0 : keys !== Keys.pairs || (i & 1) === 0;
    if (isKey) return KEY_TOO_LONG;
    if (length > VALUE_BYTES_MAX) return VALUE_TOO_LONG;
  }
  return null;
}
