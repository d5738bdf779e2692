// Hot file: every access of a user's command to an entry passes here. Watched by bench/define.mjs.
import { ByteWriter, decodeUtf8, encodeUtf8, latin1 } from "../../base/index.js";
import type { Digest, SnapshotSink, SnapshotSource, UndoLog } from "../../model/index.js";
import { createByteStore, type EntryStore, partitionOf } from "../byte-store/index.js";
import { TABLE_KEY_BYTES_MAX, TABLE_VALUE_BYTES_MAX } from "./command.js";
import { StrayedError, ValueError } from "./errors.js";
import { Journal } from "./journal.js";

/** Bytes of the number of a table in front of its keys. */
export const TABLE_PREFIX_BYTES = 1;

/**
 * The entries of all tables of a service in one byte store: a key there is the number of its table in one byte, then the
 * UTF-8 bytes of the user's key, so that tables follow each other and each is in the order of its keys' bytes.
 */
export class TableStore {
  #entries: EntryStore;
  /** The key that is looked for. */
  readonly #key = new Uint8Array(TABLE_PREFIX_BYTES + TABLE_KEY_BYTES_MAX);
  #keyEnd = 0;
  #fault: Error | null = null;
  /** Of how many partitions the entries are one, and which. */
  #partitions = 1;
  #partition = 0;
  /** Nobody may ask for entries of other partitions than that. */
  #confined = false;
  #strayed = false;
  /** What the present command changed, where no undo log records it. */
  readonly #journal = new Journal();
  /** The value that was found last: a copy, since the store may keep its bytes in memory of another kind. */
  readonly value = new ByteWriter(256, 2 * TABLE_VALUE_BYTES_MAX);

  constructor(entries: EntryStore = createByteStore()) {
    this.#entries = entries;
  }

  /** From now on the entries are those of this store; between commands. */
  use(entries: EntryStore): void {
    this.#entries = entries;
  }

  /** The entries are those of one partition of so many. */
  partition(partition: number, partitions: number): void {
    this.#partition = partition;
    this.#partitions = partitions;
  }

  /**
   * From now on until `release` whoever asks for an entry of another partition, whether it is there or not, gets a `StrayedError`, and
   * `strayed` says so from then on. A command that catches the error is found out none the less.
   */
  confine(): void {
    this.#confined = this.#partitions > 1;
    this.#strayed = false;
  }

  get strayed(): boolean {
    return this.#strayed;
  }

  release(): void {
    this.#confined = false;
    this.#strayed = false;
  }

  get count(): number {
    return this.#entries.count;
  }

  /** Bytes of all keys and values. */
  get bytes(): number {
    return this.#entries.size;
  }

  /**
   * A change failed half way, for want of memory or stack: another replica may have had enough, so this is no outcome of the
   * command, and what the store holds now is nothing to go on with.
   */
  get fault(): Error | null {
    return this.#fault;
  }

  /** Finds a key and puts its value in `value`. */
  find(table: number, key: string): boolean {
    const entry = this.#find(table, key);
    if (entry === 0) return false;
    this.#take(entry);
    return true;
  }

  has(table: number, key: string): boolean {
    return this.#find(table, key) !== 0;
  }

  /** Throws `ValueError` if there is no room for more, the same on every replica. */
  put(table: number, key: string, bytes: Uint8Array, start: number, end: number, undo: UndoLog | null): void {
    const entries = this.#entries;
    const entry = this.#find(table, key);
    const grows = end - start + (entry === 0 ? this.#keyEnd : -entries.valueLength(entry));
    if (!entries.hasRoom(entry === 0 ? 1 : 0, grows)) {
      throw new ValueError(`the tables are full: they hold ${entries.count} entries of ${entries.size} bytes`);
    }
    if (undo === null) this.#note(entry);
    try {
      if (entry === 0) entries.add(this.#key, 0, this.#keyEnd, bytes, start, end, 0, undo);
      else entries.replace(entry, bytes, start, end, 0, undo);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** True if the key was there. */
  remove(table: number, key: string, undo: UndoLog | null): boolean {
    const entry = this.#find(table, key);
    if (entry === 0) return false;
    if (undo === null) this.#note(entry);
    try {
      this.#entries.remove(entry, undo);
    } catch (error) {
      this.#fail(error);
    }
    return true;
  }

  /** The first key of a table at or above `from` (above it: `after`), null if there is none; its value goes to `value`. */
  ascend(table: number, from: string, after: boolean): string | null {
    if (this.#confined) this.#stray();
    this.#encode(table, from);
    return this.#reached(table, this.#entries.first(this.#key, 0, this.#keyEnd, after));
  }

  /** The last key of a table below `to`, null: of all; null if there is none. Its value goes to `value`. */
  descend(table: number, to: string | null): string | null {
    if (this.#confined) this.#stray();
    if (to === null) this.#encode(table + 1, "");
    else this.#encode(table, to);
    return this.#reached(table, this.#entries.last(this.#key, 0, this.#keyEnd, true));
  }

  /** The command is done: what it changed without an undo log stays. */
  keep(): void {
    this.#journal.clear();
  }

  /** Takes back what the command changed without an undo log. */
  takeBack(): void {
    if (this.#journal.length === 0) return;
    const entries = this.#entries;
    this.#journal.takeBack((bytes, key, value, end, wasThere) => {
      const entry = entries.find(bytes, key, value);
      if (!wasThere) entries.remove(entry, null);
      else if (entry === 0) entries.add(bytes, key, value, bytes, value, end, 0, null);
      else entries.replace(entry, bytes, value, end, 0, null);
    });
  }

  /** Takes back everything recorded since `mark`, newest first. */
  rollback(undo: UndoLog, mark: number): void {
    this.#entries.rollback(undo, mark);
  }

  readDigest(into: Digest): void {
    this.#entries.readDigest(into);
  }

  snapshot(): SnapshotSource {
    return this.#entries.snapshot();
  }

  restore(): SnapshotSink {
    return this.#entries.restore();
  }

  #fail(error: unknown): never {
    this.#fault ??= error instanceof Error ? error : new Error(String(error));
    throw error;
  }

  /** Notes the present value of `#key`, which `entry` is, before it changes. */
  #note(entry: number): void {
    const entries = this.#entries;
    if (entry === 0) return this.#journal.added(this.#key, this.#keyEnd);
    entries.locateValue(entry);
    this.#journal.changed(this.#key, this.#keyEnd, entries.bytes, entries.start, entries.end);
  }

  #stray(): never {
    this.#strayed = true;
    throw new StrayedError();
  }

  #find(table: number, key: string): number {
    this.#encode(table, key);
    if (
      this.#confined &&
      partitionOf(this.#key, TABLE_PREFIX_BYTES, this.#keyEnd, this.#partitions) !== this.#partition
    ) {
      this.#stray();
    }
    return this.#entries.find(this.#key, 0, this.#keyEnd);
  }

  /** Writes the bytes of a key, which has been checked, into `#key`. */
  #encode(table: number, key: string): void {
    this.#key[0] = table;
    this.#keyEnd = encodeKey(key, this.#key, TABLE_PREFIX_BYTES);
  }

  #take(entry: number): void {
    const entries = this.#entries;
    entries.locateValue(entry);
    this.value.clear();
    this.value.copy(entries.bytes, entries.start, entries.end);
  }

  #reached(table: number, entry: number): string | null {
    if (entry === 0) return null;
    const entries = this.#entries;
    entries.locateKey(entry);
    const { bytes, start, end } = entries;
    if (bytes[start] !== table) return null;
    let high = 0;
    for (let i = start + 1; i < end; i++) high |= bytes[i] as number;
    const key = high < 0x80 ? latin1(bytes, start + 1, end) : decodeUtf8(bytes, start + 1, end);
    this.#take(entry);
    return key;
  }
}

/** Writes the UTF-8 bytes of a key, which has been checked, at `at`, and returns where they end. */
export function encodeKey(key: string, into: Uint8Array, at: number): number {
  const count = key.length;
  for (let i = 0; i < count; i++) {
    const unit = key.charCodeAt(i);
    if (unit > 0x7f) {
      const encoded = encodeUtf8(key);
      into.set(encoded, at);
      return at + encoded.length;
    }
    into[at + i] = unit;
  }
  return at + count;
}
