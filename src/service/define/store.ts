import { assert, ByteQueue, ByteWriter, decodeUtf8, encodeUtf8, hashText, latin1, mix32 } from "../../base/index.js";
import {
  CheckpointDamagedError,
  type Digest,
  type SnapshotSink,
  type SnapshotSource,
  type UndoLog,
} from "../../model/index.js";
import { CowTree, type TreeCursor } from "../cow-tree/index.js";
import { TABLE_KEY_BYTES_MAX, TABLE_VALUE_BYTES_MAX } from "./command.js";

/**
 * The entries of all tables of a service in one ordered tree: a key there is the number of its table in one byte, then the
 * UTF-8 bytes of the user's key, so that tables follow each other and each is in the order of its keys' bytes.
 */
export class TableStore {
  #tree = new CowTree<string>();
  readonly #lanes = new Int32Array(4);
  readonly #value = new ByteWriter(256, 2 * TABLE_VALUE_BYTES_MAX);
  /** Bytes of all keys and values. */
  bytes = 0;

  get count(): number {
    return this.#tree.size;
  }

  /** Where the value that was found last stands in `value.bytes`: from the start, `value.length` bytes. */
  get value(): ByteWriter {
    return this.#value;
  }

  /** Finds a key and its value. */
  find(table: number, key: string): boolean {
    const value = this.#tree.get(rawKey(table, key));
    if (value === undefined) return false;
    this.#locate(value);
    return true;
  }

  has(table: number, key: string): boolean {
    return this.#tree.get(rawKey(table, key)) !== undefined;
  }

  put(table: number, key: string, bytes: Uint8Array, start: number, end: number, undo: UndoLog | null): void {
    this.#set(rawKey(table, key), latin1(bytes, start, end), undo);
  }

  /** True if the key was there. */
  remove(table: number, key: string, undo: UndoLog | null): boolean {
    return this.#delete(rawKey(table, key), undo);
  }

  /**
   * The first key of a table at or above `from` (above it: `after`), null if there is none; its value is found as by `find`.
   */
  ascend(table: number, from: string, after: boolean): string | null {
    const bound = rawKey(table, from);
    const cursor = this.#tree.cursor(bound);
    if (!cursor.next() || (after && cursor.key === bound && !cursor.next())) return null;
    return this.#reached(table, cursor.key, cursor.value as string);
  }

  /** The last key of a table below `to`, or of the whole table; its value is found as by `find`. */
  descend(table: number, to: string | null): string | null {
    const bound = to === null ? String.fromCharCode(table + 1) : rawKey(table, to);
    const cursor = this.#tree.cursor(String.fromCharCode(table));
    let key: string | null = null;
    let value = "";
    while (cursor.next() && cursor.key < bound) {
      key = cursor.key;
      value = cursor.value as string;
    }
    return key === null ? null : this.#reached(table, key, value);
  }

  /** Takes back everything recorded since `mark`, newest first. */
  rollback(undo: UndoLog, mark: number): void {
    while (undo.mark() > mark) {
      const before = undo.pop() as string | undefined;
      const key = undo.pop();
      assert(typeof key === "string", "the undo log holds records of another service");
      if (before === undefined) this.#delete(key, null);
      else this.#set(key, before, null);
    }
  }

  readDigest(into: Digest): void {
    for (let i = 0; i < 4; i++) into[i] = this.#lanes[i] as number;
  }

  snapshot(): SnapshotSource {
    return new TableSource(this.#tree.mark(), this.count, this.#lanes);
  }

  restore(): SnapshotSink {
    return new TableSink(new TableStore(), (store) => {
      this.#tree = store.#tree;
      this.#lanes.set(store.#lanes);
      this.bytes = store.bytes;
    });
  }

  /** For the restoring of a snapshot: an entry by its key in the tree. */
  adopt(key: string, value: string): void {
    this.#set(key, value, null);
  }

  #set(key: string, value: string, undo: UndoLog | null): void {
    const before = this.#tree.set(key, value);
    if (before === undefined) this.bytes += key.length;
    else this.#fold(key, before, -1);
    this.bytes += value.length - (before?.length ?? 0);
    this.#fold(key, value, 1);
    if (undo !== null) undo.push(key, before);
  }

  #delete(key: string, undo: UndoLog | null): boolean {
    const before = this.#tree.delete(key);
    if (before === undefined) return false;
    this.#fold(key, before, -1);
    this.bytes -= key.length + before.length;
    if (undo !== null) undo.push(key, before);
    return true;
  }

  /** The digest is four sums of hashes of the entries, so that it follows changes and knows no order of insertion. */
  #fold(key: string, value: string, sign: 1 | -1): void {
    const lanes = this.#lanes;
    for (let i = 0; i < 4; i++) {
      lanes[i] = (lanes[i] as number) + sign * mix32(Math.imul(hashText(key, i), 0x85ebca6b) + hashText(value, ~i));
    }
  }

  #reached(table: number, key: string, value: string): string | null {
    if (key.charCodeAt(0) !== table) return null;
    this.#locate(value);
    return userKey(key);
  }

  #locate(value: string): void {
    this.#value.clear();
    this.#value.latin1(value);
  }
}

function rawKey(table: number, key: string): string {
  const prefix = String.fromCharCode(table);
  for (let i = 0; i < key.length; i++) {
    if (key.charCodeAt(i) > 0x7f) {
      const bytes = encodeUtf8(key);
      return prefix + latin1(bytes, 0, bytes.length);
    }
  }
  return prefix + key;
}

function userKey(raw: string): string {
  for (let i = 1; i < raw.length; i++) {
    if (raw.charCodeAt(i) > 0x7f) {
      const writer = new ByteWriter(raw.length);
      writer.latin1(raw);
      return decodeUtf8(writer.bytes, 1, raw.length);
    }
  }
  return raw.slice(1);
}

/**
 * A snapshot of the tables, little-endian: `f64 number of entries`, four u32 of digest, then per entry, in ascending order,
 * `u32 key length`, `u32 value length`, key, value. Nothing follows the last entry.
 */
const HEADER_BYTES = 24;
const ENTRY_HEADER_BYTES = 8;

class TableSource implements SnapshotSource {
  #cursor: TreeCursor<string> | null;
  readonly #count: number;
  readonly #lanes: Int32Array;
  #begun = false;

  constructor(cursor: TreeCursor<string>, count: number, lanes: Int32Array) {
    this.#cursor = cursor;
    this.#count = count;
    this.#lanes = lanes.slice();
  }

  next(writer: ByteWriter, bytesTarget: number): boolean {
    const cursor = this.#cursor;
    if (cursor === null) return false;
    const stop = writer.length + bytesTarget;
    if (!this.#begun) {
      this.#begun = true;
      writer.f64(this.#count);
      for (const lane of this.#lanes) writer.u32(lane >>> 0);
    }
    while (cursor.next()) {
      const value = cursor.value as string;
      writer.u32(cursor.key.length);
      writer.u32(value.length);
      writer.latin1(cursor.key);
      writer.latin1(value);
      if (writer.length >= stop) return true;
    }
    this.close();
    return false;
  }

  close(): void {
    this.#cursor = null;
  }
}

class TableSink implements SnapshotSink {
  readonly #input = new ByteQueue();
  readonly #store: TableStore;
  readonly #install: (store: TableStore) => void;
  readonly #digest: Digest = new Uint32Array(4);
  #entries = -1;
  #last = "";

  constructor(store: TableStore, install: (store: TableStore) => void) {
    this.#store = store;
    this.#install = install;
  }

  write(bytes: Uint8Array, start: number, end: number): void {
    const input = this.#input;
    input.push(bytes, start, end);
    if (this.#entries < 0) {
      if (!input.has(HEADER_BYTES)) return;
      const entries = input.view.getFloat64(input.at, true);
      if (!Number.isSafeInteger(entries) || entries < 0) throw damaged(`its number of entries is ${entries}`);
      this.#entries = entries;
      for (let i = 0; i < 4; i++) this.#digest[i] = input.view.getUint32(input.at + 8 + 4 * i, true);
      input.at += HEADER_BYTES;
    }
    while (input.has(ENTRY_HEADER_BYTES)) {
      if (this.#store.count === this.#entries) throw damaged("bytes follow the last entry");
      if (!this.#entry()) return;
    }
  }

  finish(): void {
    if (this.#entries < 0 || this.#store.count !== this.#entries || this.#input.size !== 0) {
      throw damaged(`it ends after ${this.#store.count} of ${Math.max(0, this.#entries)} entries`);
    }
    const digest = new Uint32Array(4);
    this.#store.readDigest(digest);
    if (digest.some((lane, i) => lane !== this.#digest[i])) throw damaged("the digest does not match the entries");
    this.#install(this.#store);
  }

  /** False if the rest of the entry has not arrived. */
  #entry(): boolean {
    const input = this.#input;
    const keyBytes = input.view.getUint32(input.at, true);
    const valueBytes = input.view.getUint32(input.at + 4, true);
    if (keyBytes < 1 || keyBytes > TABLE_KEY_BYTES_MAX + 1) throw damaged(`a key has ${keyBytes} bytes`);
    if (valueBytes > TABLE_VALUE_BYTES_MAX) throw damaged(`a value has ${valueBytes} bytes`);
    if (!input.has(ENTRY_HEADER_BYTES + keyBytes + valueBytes)) return false;
    const middle = input.at + ENTRY_HEADER_BYTES + keyBytes;
    const key = latin1(input.bytes, middle - keyBytes, middle);
    if (this.#store.count > 0 && key <= this.#last) throw damaged("its keys do not ascend");
    this.#store.adopt(key, latin1(input.bytes, middle, middle + valueBytes));
    this.#last = key;
    input.at = middle + valueBytes;
    return true;
  }
}

function damaged(reason: string): CheckpointDamagedError {
  return new CheckpointDamagedError(`the snapshot of the tables is damaged: ${reason}`);
}
