// Hot file: every command of the store runs here. Apart from the key and a new value as strings, nothing may be allocated
// per command, nothing may throw for bad input, and nothing may wait. Watched by bench/kv.mjs.
import { type ByteWriter, hashBytes, latin1 } from "../../base/index.js";
import {
  type Digest,
  READ_REPLIES_BYTES_TARGET,
  REPLIES_BYTES_MAX,
  type Run,
  type Service,
  type SnapshotSink,
  type SnapshotSource,
  type UndoLog,
} from "../../model/index.js";
import {
  beginArray,
  COMMAND_HEADER_BYTES,
  commandFlags,
  commandOperation,
  endArray,
  readArguments,
  REPLY_VALUE_HEADER_BYTES,
  replyBulkLatin1,
  replyError,
  replyInteger,
  replyNil,
  replyOk,
} from "../command/index.js";
import { ARGUMENTS_MAX, KEY_BYTES_MAX, KvOperation, SetFlag, VALUE_BYTES_MAX } from "./command.js";
import { addIntegers, NOT_AN_INTEGER } from "./integer.js";
import { StoreSink, StoreSource } from "./snapshot.js";
import { Store } from "./store.js";

const MALFORMED = "ERR malformed command";
const UNKNOWN_OPERATION = "ERR unknown operation";
const SYNTAX = "ERR syntax error";
const WRONG_COUNT = "ERR wrong number of arguments";
const READ_ONLY = "ERR a command that writes was sent as an unordered read";
const KEY_TOO_LONG = `ERR key exceeds the maximum of ${KEY_BYTES_MAX} bytes`;
const VALUE_TOO_LONG = `ERR value exceeds the maximum of ${VALUE_BYTES_MAX} bytes`;
const STRING_TOO_LONG = `ERR string exceeds maximum allowed size (${VALUE_BYTES_MAX} bytes)`;
const REPLIES_TOO_LONG = `ERR the replies of one block exceed ${REPLIES_BYTES_MAX} bytes; send fewer commands at once`;

const SET_FLAGS = SetFlag.onlyNew | SetFlag.onlyOld | SetFlag.returnOld | SetFlag.integerReply;
/** An integer reply with the longest number, an error, or an array header: what the reply limit always leaves room for. */
const INTEGER_DIGITS_MAX = 20;

/** What each operation is; index is the operation. */
const READS: readonly boolean[] = listOperations([
  KvOperation.get,
  KvOperation.exists,
  KvOperation.getMany,
  KvOperation.length,
  KvOperation.count,
]);
const TAKES_KEYS: readonly boolean[] = listOperations([
  KvOperation.get,
  KvOperation.delete,
  KvOperation.exists,
  KvOperation.getMany,
  KvOperation.length,
]);
/** Fixed number of arguments, 0 for "at least one" and, in setMany, pairs. */
const ARGUMENT_COUNTS: readonly number[] = [-1, 1, 2, 0, 0, 2, 0, 0, 2, 1, -1];

function listOperations(operations: readonly KvOperation[]): readonly boolean[] {
  return Array.from({ length: KvOperation.count + 1 }, (_, operation) => operations.includes(operation as KvOperation));
}

/** The byte-string store as a replicated service; see `./command.ts` for its operations. */
export class Kv implements Service {
  readonly name = "kv";
  #store = new Store();
  /** Where the arguments of the present command stand: start and end in turn. */
  readonly #spans = new Uint32Array(2 * ARGUMENTS_MAX);
  #bytes: Uint8Array = new Uint8Array(0);
  /** Length that the replies of the present run may reach. */
  #repliesEnd = 0;
  /** A command of the present run was refused its value because of that. */
  #overflowed = false;

  /** Nothing depends on the time alone. */
  advance(): void {}

  due(): number {
    return Infinity;
  }

  execute(run: Run, replies: ByteWriter, undo: UndoLog | null): void {
    this.#bytes = run.bytes;
    const start = replies.length;
    this.#repliesEnd = start + REPLIES_BYTES_MAX;
    this.#overflowed = false;
    const { view, offsets, count, readOnly } = run;
    for (let i = 0; i < count; i++) {
      const end = replies.length;
      this.#command(view, offsets[i] as number, readOnly, replies, undo);
      if (!readOnly) continue;
      // The first command may be as long as any, or keeps its error; the others are answered once the rest is asked for.
      if (i === 0) {
        this.#repliesEnd = start + READ_REPLIES_BYTES_TARGET;
        this.#overflowed = false;
      }
      if (!this.#overflowed) continue;
      replies.length = end;
      run.answered = i;
      return;
    }
  }

  rollback(undo: UndoLog, mark: number): void {
    this.#store.rollback(undo, mark);
  }

  isRead(view: DataView, at: number): boolean {
    return view.getUint32(at, true) >= COMMAND_HEADER_BYTES && READS[commandOperation(view, at)] === true;
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
   * always do. `count` depends on all keys. A command that is answered by an error whatever the state is conflicts with none.
   */
  conflicts(run: Run, low: Float64Array, high: Float64Array, writes: Uint8Array): void {
    for (let i = 0; i < run.count; i++) {
      const at = run.offsets[i] as number;
      low[i] = Infinity;
      high[i] = -Infinity;
      writes[i] = 0;
      const count = readArguments(run.view, at, this.#spans);
      if (count < 0) continue;
      const operation = commandOperation(run.view, at);
      if (operation === KvOperation.count) {
        low[i] = -Infinity;
        high[i] = Infinity;
        continue;
      }
      if (operation < KvOperation.get || operation > KvOperation.count) continue;
      writes[i] = READS[operation] === true ? 0 : 1;
      const step = operation === KvOperation.setMany ? 2 : 1;
      const keys = TAKES_KEYS[operation] === true || step === 2 ? count : Math.min(1, count);
      for (let k = 0; k < keys; k += step) {
        const hash = hashBytes(run.bytes, this.#spans[2 * k] as number, this.#spans[2 * k + 1] as number, 0x5e0d);
        if (hash < (low[i] as number)) low[i] = hash;
        if (hash > (high[i] as number)) high[i] = hash;
      }
    }
  }

  digest(into: Digest): void {
    this.#store.readDigest(into);
  }

  snapshot(): SnapshotSource {
    return new StoreSource(this.#store);
  }

  restore(): SnapshotSink {
    return new StoreSink((store) => {
      this.#store = store;
    });
  }

  size(): { readonly entries: number; readonly bytes: number } {
    return { entries: this.#store.count, bytes: this.#store.bytes };
  }

  #command(view: DataView, at: number, readOnly: boolean, replies: ByteWriter, undo: UndoLog | null): void {
    const count = readArguments(view, at, this.#spans);
    if (count < 0) return replyError(replies, MALFORMED);
    const operation = commandOperation(view, at);
    const flags = commandFlags(view, at);
    if (operation < KvOperation.get || operation > KvOperation.count) return replyError(replies, UNKNOWN_OPERATION);
    if (readOnly && READS[operation] !== true) return replyError(replies, READ_ONLY);
    if (flags !== 0 && (operation !== KvOperation.set || !legalFlags(flags))) return replyError(replies, SYNTAX);
    if (!legalCount(operation, count)) return replyError(replies, WRONG_COUNT);
    const objection = this.#checkLengths(operation, count);
    if (objection !== null) return replyError(replies, objection);
    switch (operation) {
      case KvOperation.get:
        this.#replyValue(replies, this.#store.get(this.#text(0)));
        return;
      case KvOperation.set:
        return this.#set(flags, replies, undo);
      case KvOperation.delete:
        return this.#delete(count, replies, undo);
      case KvOperation.exists:
        return this.#exists(count, replies);
      case KvOperation.increment:
        return this.#increment(replies, undo);
      case KvOperation.getMany:
        return this.#getMany(count, replies);
      case KvOperation.setMany:
        for (let i = 0; i < count; i += 2) this.#store.set(this.#text(i), this.#text(i + 1), undo);
        return replyOk(replies);
      case KvOperation.append:
        return this.#append(replies, undo);
      case KvOperation.length:
        return replyInteger(replies, String(this.#store.get(this.#text(0))?.length ?? 0));
      default:
        return replyInteger(replies, String(this.#store.count));
    }
  }

  /** Argument i as a string. */
  #text(i: number): string {
    return latin1(this.#bytes, this.#spans[2 * i] as number, this.#spans[2 * i + 1] as number);
  }

  /** An error unless keys and values are within their limits. */
  #checkLengths(operation: number, count: number): string | null {
    const spans = this.#spans;
    const allKeys = TAKES_KEYS[operation];
    for (let i = 0; i < count; i++) {
      const length = (spans[2 * i + 1] as number) - (spans[2 * i] as number);
      if (allKeys === true || (i & 1) === 0) {
        if (length > KEY_BYTES_MAX) return KEY_TOO_LONG;
      } else if (length > VALUE_BYTES_MAX) return VALUE_TOO_LONG;
    }
    return null;
  }

  #set(flags: number, replies: ByteWriter, undo: UndoLog | null): void {
    const key = this.#text(0);
    if (flags === 0) {
      this.#store.set(key, this.#text(1), undo);
      return replyOk(replies);
    }
    const before = this.#store.get(key);
    const wanted =
      (flags & SetFlag.onlyNew) !== 0 ? before === undefined : (flags & SetFlag.onlyOld) === 0 || before !== undefined;
    if ((flags & SetFlag.returnOld) !== 0) {
      // The reply can be refused, and then the command must not have happened.
      if (!this.#replyValue(replies, before)) return;
      if (wanted) this.#store.set(key, this.#text(1), undo);
      return;
    }
    if (wanted) this.#store.set(key, this.#text(1), undo);
    if ((flags & SetFlag.integerReply) !== 0) replyInteger(replies, wanted ? "1" : "0");
    else if (wanted) replyOk(replies);
    else replyNil(replies);
  }

  #delete(count: number, replies: ByteWriter, undo: UndoLog | null): void {
    let deleted = 0;
    for (let i = 0; i < count; i++) if (this.#store.delete(this.#text(i), undo)) deleted++;
    replyInteger(replies, String(deleted));
  }

  #exists(count: number, replies: ByteWriter): void {
    let found = 0;
    for (let i = 0; i < count; i++) if (this.#store.get(this.#text(i)) !== undefined) found++;
    replyInteger(replies, String(found));
  }

  #increment(replies: ByteWriter, undo: UndoLog | null): void {
    const deltaBytes = (this.#spans[3] as number) - (this.#spans[2] as number);
    if (deltaBytes > INTEGER_DIGITS_MAX) return replyError(replies, NOT_AN_INTEGER);
    const key = this.#text(0);
    const before = this.#store.get(key);
    if (before !== undefined && before.length > INTEGER_DIGITS_MAX) return replyError(replies, NOT_AN_INTEGER);
    const sum = addIntegers(before ?? "0", this.#text(1));
    if (sum.charCodeAt(0) === 0x45) return replyError(replies, sum);
    this.#store.set(key, sum, undo);
    replyInteger(replies, sum);
  }

  #getMany(count: number, replies: ByteWriter): void {
    const at = beginArray(replies, count);
    for (let i = 0; i < count; i++) {
      const value = this.#store.get(this.#text(i));
      // Absent values count too: there may be many more of them than of commands.
      if (!this.#fits(replies, value ?? "")) {
        // All or nothing: an array with an error inside would read as a value that is not there.
        replies.length = at;
        return replyError(replies, REPLIES_TOO_LONG);
      }
      if (value === undefined) replyNil(replies);
      else replyBulkLatin1(replies, value);
    }
    endArray(replies, at);
  }

  #append(replies: ByteWriter, undo: UndoLog | null): void {
    const key = this.#text(0);
    const before = this.#store.get(key) ?? "";
    const more = (this.#spans[3] as number) - (this.#spans[2] as number);
    if (before.length + more > VALUE_BYTES_MAX) return replyError(replies, STRING_TOO_LONG);
    // Redis creates the key even when nothing is appended to it.
    this.#store.set(key, before + this.#text(1), undo);
    replyInteger(replies, String(before.length + more));
  }

  /** Replies a value or nil; false if it replied the error of a reply too long instead. */
  #replyValue(replies: ByteWriter, value: string | undefined): boolean {
    if (value === undefined) {
      replyNil(replies);
      return true;
    }
    if (!this.#fits(replies, value)) {
      replyError(replies, REPLIES_TOO_LONG);
      return false;
    }
    replyBulkLatin1(replies, value);
    return true;
  }

  #fits(replies: ByteWriter, value: string): boolean {
    if (replies.length + REPLY_VALUE_HEADER_BYTES + value.length <= this.#repliesEnd) return true;
    this.#overflowed = true;
    return false;
  }
}

function legalCount(operation: number, count: number): boolean {
  const wanted = ARGUMENT_COUNTS[operation] as number;
  if (wanted > 0) return count === wanted;
  if (wanted < 0) return count === 0;
  return count > 0 && (operation !== KvOperation.setMany || (count & 1) === 0);
}

/** Neither both conditions nor both kinds of reply at once, and no flag that this version does not know. */
function legalFlags(flags: number): boolean {
  return (
    (flags & ~SET_FLAGS) === 0 &&
    (flags & (SetFlag.onlyNew | SetFlag.onlyOld)) !== (SetFlag.onlyNew | SetFlag.onlyOld) &&
    (flags & (SetFlag.returnOld | SetFlag.integerReply)) !== (SetFlag.returnOld | SetFlag.integerReply)
  );
}
