import { assert, ByteQueue, type ByteWriter, hashBytes, hashText, latin1 } from "#src/base/index.js";
import {
  CheckpointDamagedError,
  type Digest,
  type SnapshotSink,
  type SnapshotSource,
  type UndoLog,
} from "#src/model/index.js";
import { type EntryStore, KEY_BYTES_MAX, VALUE_BYTES_MAX } from "#src/service/index.js";

interface Entry {
  readonly number: number;
  /** One character a byte, so that strings compare as bytes do. */
  readonly key: string;
  readonly keyBytes: Uint8Array;
  readonly value: Uint8Array;
  readonly expiry: number;
}

/**
 * The entry store as plainly as it can be written: a map and sorted arrays. What other implementations are compared with;
 * adding a key costs time in proportion to the number of keys.
 */
export class PlainStore implements EntryStore {
  #byKey = new Map<string, Entry>();
  readonly #byNumber = new Map<number, Entry>();
  /** In the order of keys. */
  #sorted: Entry[] = [];
  /** In the order of (expiry, key). */
  #expiring: Entry[] = [];
  #numbers = 0;
  size = 0;
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  end = 0;

  get count(): number {
    return this.#sorted.length;
  }

  get expiring(): number {
    return this.#expiring.length;
  }

  locateKey(entry: number): void {
    this.#locate(this.#entry(entry).keyBytes);
  }

  locateValue(entry: number): void {
    this.#locate(this.#entry(entry).value);
  }

  valueLength(entry: number): number {
    return this.#entry(entry).value.length;
  }

  expiry(entry: number): number {
    return this.#entry(entry).expiry;
  }

  hasRoom(): boolean {
    return true;
  }

  readAhead(): void {}

  find(bytes: Uint8Array, start: number, end: number): number {
    return this.#byKey.get(latin1(bytes, start, end))?.number ?? 0;
  }

  add(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    expiry: number,
    undo: UndoLog | null,
  ): number {
    const text = latin1(key, keyStart, keyEnd);
    assert(!this.#byKey.has(text), "a key is added once");
    return this.#change(text, value.slice(valueStart, valueEnd), expiry, undo);
  }

  replace(
    entry: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    expiry: number,
    undo: UndoLog | null,
  ): number {
    return this.#change(this.#entry(entry).key, value.slice(valueStart, valueEnd), expiry, undo);
  }

  write(entry: number, offset: number, bytes: Uint8Array, start: number, end: number, undo: UndoLog | null): number {
    const { key, value, expiry } = this.#entry(entry);
    const written = new Uint8Array(Math.max(value.length, offset + end - start));
    written.set(value);
    written.set(bytes.subarray(start, end), offset);
    return this.#change(key, written, expiry, undo);
  }

  setExpiry(entry: number, expiry: number, undo: UndoLog | null): void {
    const before = this.#entry(entry);
    undo?.push(() => this.#put(before.key, before));
    this.#put(before.key, { ...before, expiry });
  }

  remove(entry: number, undo: UndoLog | null): void {
    const before = this.#entry(entry);
    undo?.push(() => this.#put(before.key, before));
    this.#put(before.key, undefined);
  }

  clear(undo: UndoLog | null): void {
    const before = this.#sorted;
    undo?.push(() => {
      for (const entry of before) this.#put(entry.key, entry);
    });
    this.#empty();
  }

  first(bytes: Uint8Array, start: number, end: number, after: boolean): number {
    const key = latin1(bytes, start, end);
    return this.#at(below(this.#sorted, (one) => one.key < key || (after && one.key === key)));
  }

  last(bytes: Uint8Array, start: number, end: number, before: boolean): number {
    const key = latin1(bytes, start, end);
    return this.#at(below(this.#sorted, (one) => one.key < key || (!before && one.key === key)) - 1);
  }

  next(entry: number): number {
    return this.#at(this.#place(entry) + 1);
  }

  previous(entry: number): number {
    return this.#at(this.#place(entry) - 1);
  }

  smallest(): number {
    return this.#at(0);
  }

  largest(): number {
    return this.#at(this.count - 1);
  }

  scan(cursor: number, wanted: number, into: number[]): number {
    const order = this.#sorted
      .map((entry) => ({ entry, hash: scanHash(entry.key) }))
      .filter(({ hash }) => hash >= cursor)
      .sort((a, b) => a.hash - b.hash || (a.entry.key < b.entry.key ? -1 : 1));
    let i = 0;
    // Keys of equal hash come together, since the cursor can't tell them apart.
    for (; i < order.length && (i < wanted || order[i]?.hash === order[i - 1]?.hash); i++) {
      into.push((order[i] as { entry: Entry }).entry.number);
    }
    return order[i]?.hash ?? 0;
  }

  pick(random: number): number {
    return this.count === 0 ? 0 : this.#at(random % this.count);
  }

  firstToExpire(): number {
    return this.#expiring[0]?.number ?? 0;
  }

  rollback(undo: UndoLog, mark: number): void {
    while (undo.mark() > mark) (undo.pop() as () => void)();
  }

  readDigest(into: Digest): void {
    into.fill(0);
    for (const { key, value, expiry } of this.#sorted) {
      const text = latin1(value, 0, value.length);
      for (let i = 0; i < 4; i++) {
        into[i] = (into[i] as number) + hashText(`${key.length} ${key}${expiry} ${text}`, i * 0x9e3779b1);
      }
    }
  }

  snapshot(): SnapshotSource {
    let at = -1;
    let entries = this.#sorted.slice();
    const digest: Digest = new Uint32Array(4);
    this.readDigest(digest);
    return {
      next: (writer: ByteWriter, bytesTarget: number): boolean => {
        const stop = writer.length + bytesTarget;
        if (at < 0) {
          at = 0;
          writer.u32(entries.length);
          for (const lane of digest) writer.u32(lane);
        }
        while (at < entries.length) {
          if (writer.length >= stop) return true;
          const { keyBytes, value, expiry } = entries[at++] as Entry;
          writer.u32(keyBytes.length);
          writer.u32(value.length);
          writer.f64(expiry);
          writer.copy(keyBytes, 0, keyBytes.length);
          writer.copy(value, 0, value.length);
        }
        return false;
      },
      close: () => {
        entries = [];
      },
    };
  }

  restore(): SnapshotSink {
    const input = new ByteQueue();
    const store = new PlainStore();
    const digest: Digest = new Uint32Array(4);
    let announced = -1;
    const readEntry = (): boolean => {
      const { view, at } = input;
      const keyBytes = view.getUint32(at, true);
      const valueBytes = view.getUint32(at + 4, true);
      const expiry = view.getFloat64(at + 8, true);
      if (keyBytes > KEY_BYTES_MAX || valueBytes > VALUE_BYTES_MAX) throw damaged("an entry is too long");
      if (!Number.isSafeInteger(expiry) || expiry < 0 || Object.is(expiry, -0)) throw damaged(`an expiry is ${expiry}`);
      if (!input.has(16 + keyBytes + valueBytes)) return false;
      const from = input.at + 16;
      const middle = from + keyBytes;
      if (store.find(input.bytes, from, middle) !== 0) throw damaged("a key is there twice");
      store.add(input.bytes, from, middle, input.bytes, middle, middle + valueBytes, expiry, null);
      input.at = middle + valueBytes;
      return true;
    };
    return {
      write: (bytes: Uint8Array, start: number, end: number): void => {
        input.push(bytes, start, end);
        if (announced < 0) {
          if (!input.has(20)) return;
          announced = input.view.getUint32(input.at, true);
          for (let i = 0; i < 4; i++) digest[i] = input.view.getUint32(input.at + 4 + 4 * i, true);
          input.at += 20;
        }
        while (input.has(16)) {
          if (store.count === announced) throw damaged("bytes follow the last entry");
          if (!readEntry()) return;
        }
      },
      finish: (): void => {
        if (announced < 0 || store.count !== announced || input.size !== 0) throw damaged("it ends early");
        const found: Digest = new Uint32Array(4);
        store.readDigest(found);
        if (!found.every((lane, i) => lane === digest[i])) throw damaged("the digest does not match the entries");
        this.#empty();
        for (const entry of store.#sorted) this.#put(entry.key, entry);
      },
    };
  }

  #change(key: string, value: Uint8Array, expiry: number, undo: UndoLog | null): number {
    const before = this.#byKey.get(key);
    undo?.push(() => this.#put(key, before));
    const keyBytes = Uint8Array.from(key, (character) => character.charCodeAt(0));
    const entry: Entry = { number: ++this.#numbers, key, keyBytes, value, expiry };
    this.#put(key, entry);
    return entry.number;
  }

  /** Makes `entry` that of the key, or takes the key away. */
  #put(key: string, entry: Entry | undefined): void {
    const before = this.#byKey.get(key);
    const place = below(this.#sorted, (one) => one.key < key);
    if (before !== undefined) {
      this.#byNumber.delete(before.number);
      this.#byKey.delete(key);
      this.size -= key.length + before.value.length;
      this.#sorted.splice(place, 1);
      if (before.expiry > 0)
        this.#expiring.splice(
          below(this.#expiring, (one) => isSooner(one, before)),
          1,
        );
    }
    if (entry !== undefined) {
      this.#byNumber.set(entry.number, entry);
      this.#byKey.set(key, entry);
      this.size += key.length + entry.value.length;
      this.#sorted.splice(place, 0, entry);
      if (entry.expiry > 0)
        this.#expiring.splice(
          below(this.#expiring, (one) => isSooner(one, entry)),
          0,
          entry,
        );
    }
  }

  #empty(): void {
    this.#byKey = new Map();
    this.#byNumber.clear();
    this.#sorted = [];
    this.#expiring = [];
    this.size = 0;
  }

  #locate(bytes: Uint8Array): void {
    this.bytes = bytes;
    this.start = 0;
    this.end = bytes.length;
  }

  #entry(number: number): Entry {
    const entry = this.#byNumber.get(number);
    assert(entry !== undefined, `${number} is the number of no entry`);
    return entry;
  }

  #at(place: number): number {
    return this.#sorted[place]?.number ?? 0;
  }

  #place(number: number): number {
    const { key } = this.#entry(number);
    return below(this.#sorted, (one) => one.key < key);
  }
}

/** How many elements at the beginning of a sorted list are below some point. */
function below<T>(list: readonly T[], isBelow: (one: T) => boolean): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBelow(list[middle] as T)) low = middle + 1;
    else high = middle;
  }
  return low;
}

function isSooner(a: Entry, b: Entry): boolean {
  return a.expiry < b.expiry || (a.expiry === b.expiry && a.key < b.key);
}

/** Where a walk meets the key; not 0, which is where walks begin and end. */
function scanHash(key: string): number {
  const bytes = Uint8Array.from(key, (character) => character.charCodeAt(0));
  return hashBytes(bytes, 0, bytes.length, 0x5ca9) || 1;
}

function damaged(reason: string): CheckpointDamagedError {
  return new CheckpointDamagedError(`the snapshot of the store is damaged: ${reason}`);
}
