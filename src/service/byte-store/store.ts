// Hot file: every command of a store passes here. No allocation, except of undo records. Watched by bench/byte-store.mjs.
import { assert, MiB } from "../../base/index.js";
import type { Digest, SnapshotSink, SnapshotSource, UndoLog } from "../../model/index.js";
import { Change, type Changeable, takeBackChanges } from "./change.js";
import { Contents } from "./contents.js";
import type { EntryStore } from "./entry-store.js";
import { checkLimits, STORE_LIMITS, type StoreLimits } from "./limits.js";
import { NO_REGION, type Region, RegionCache } from "./region.js";
import { StoreSink, StoreSource } from "./snapshot.js";

/**
 * A store of so many entries or fewer is cleared entry by entry: another set of entries costs more than that, and memory that
 * is given back late, which a client that clears over and over could make much of.
 */
const CLEARED_SINGLY_MAX = 1024;
/** With more memory set aside it is given back. */
const CLEARED_RESERVED_MAX = 16 * MiB;

/** A base for the reason that `ChunkOwner` is one. */
class FirstContents {
  protected readonly initial: Contents;

  constructor(contents: Contents) {
    this.initial = contents;
  }
}

/** Entries, and the undo of their changes. */
export class ByteStore extends FirstContents implements EntryStore, Changeable {
  /** For records of the undo log. */
  contents = this.initial;
  readonly #limits: StoreLimits;
  readonly #regions = new RegionCache();
  /** What `bytes` belongs to. */
  #located = NO_REGION;
  bytes = NO_REGION.bytes;
  start = 0;
  end = 0;

  constructor(limits: StoreLimits, contents = new Contents()) {
    super(contents);
    this.#limits = checkLimits(limits);
  }

  get count(): number {
    return this.contents.count;
  }

  get expiring(): number {
    return this.contents.expiring;
  }

  get size(): number {
    return this.contents.size;
  }

  /** Bytes of memory set aside; replicas differ in it. */
  get reserved(): number {
    return this.contents.reserved;
  }

  hasRoom(entries: number, bytes: number): boolean {
    const { count, size } = this.contents;
    return count + entries <= this.#limits.entriesMax && size + bytes <= this.#limits.bytesMax;
  }

  locateKey(entry: number): void {
    const { entries } = this.contents;
    entries.locate(entry);
    this.#located = entries.region;
    this.bytes = entries.region.bytes;
    this.start = entries.at;
    this.end = entries.at + entries.keyLength(entry);
  }

  locateValue(entry: number): void {
    const { entries } = this.contents;
    entries.locate(entry);
    this.#located = entries.region;
    this.bytes = entries.region.bytes;
    this.start = entries.at + entries.keyLength(entry);
    this.end = this.start + entries.valueLength(entry);
  }

  valueLength(entry: number): number {
    return this.contents.entries.valueLength(entry);
  }

  expiry(entry: number): number {
    return this.contents.expiry(entry);
  }

  readAhead(keys: Uint8Array, spans: Uint32Array, count: number): void {
    this.contents.readAhead(this.#regionOf(keys), spans, count);
  }

  find(bytes: Uint8Array, start: number, end: number): number {
    return this.contents.find(this.#regionOf(bytes), start, end);
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
    checkExpiry(expiry);
    const entry = this.contents.add(
      this.#regionOf(key),
      keyStart,
      keyEnd,
      this.#regionOf(value),
      valueStart,
      valueEnd,
      expiry,
    );
    if (undo !== null) undo.push(Change.add(this, entry));
    return entry;
  }

  replace(
    entry: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    expiry: number,
    undo: UndoLog | null,
  ): number {
    checkExpiry(expiry);
    if (undo !== null) undo.push(Change.replace(this, entry));
    this.contents.replace(entry, this.#regionOf(value), valueStart, valueEnd, expiry);
    return entry;
  }

  write(entry: number, offset: number, bytes: Uint8Array, start: number, end: number, undo: UndoLog | null): number {
    if (undo !== null) undo.push(Change.write(this, entry, offset, end - start));
    this.contents.write(entry, offset, this.#regionOf(bytes), start, end);
    return entry;
  }

  setExpiry(entry: number, expiry: number, undo: UndoLog | null): void {
    checkExpiry(expiry);
    if (undo !== null) undo.push(Change.expiry(this, entry));
    this.contents.setExpiry(entry, expiry);
  }

  remove(entry: number, undo: UndoLog | null): void {
    if (undo !== null) undo.push(Change.remove(this, entry));
    this.contents.remove(entry);
  }

  /** What was there is let go as a whole; the engine gives its memory back beside the thread. */
  clear(undo: UndoLog | null): void {
    const { contents } = this;
    if (undo === null && contents.count <= CLEARED_SINGLY_MAX && contents.reserved <= CLEARED_RESERVED_MAX) {
      for (let entry = contents.smallest(); entry !== 0; entry = contents.smallest()) contents.remove(entry);
      return;
    }
    if (undo !== null) undo.push(Change.clear(this));
    this.contents = new Contents();
  }

  first(bytes: Uint8Array, start: number, end: number, after: boolean): number {
    return this.contents.first(this.#regionOf(bytes), start, end, after);
  }

  last(bytes: Uint8Array, start: number, end: number, before: boolean): number {
    return this.contents.last(this.#regionOf(bytes), start, end, before);
  }

  next(entry: number): number {
    return this.contents.next(entry);
  }

  previous(entry: number): number {
    return this.contents.previous(entry);
  }

  smallest(): number {
    return this.contents.smallest();
  }

  largest(): number {
    return this.contents.largest();
  }

  scan(cursor: number, wanted: number, into: number[]): number {
    // No walk hands out such a cursor; a client may make one up, and its walk is over.
    if (!(cursor >= 0 && cursor < 2 ** 32)) return 0;
    return this.contents.scan(cursor, wanted, into);
  }

  pick(random: number): number {
    return this.contents.pick(random);
  }

  firstToExpire(): number {
    return this.contents.firstToExpire();
  }

  rollback(undo: UndoLog, mark: number): void {
    takeBackChanges(undo, mark);
  }

  readDigest(into: Digest): void {
    this.contents.readDigest(into);
  }

  snapshot(): SnapshotSource {
    return new StoreSource(this.contents);
  }

  restore(): SnapshotSink {
    return new StoreSink(this.#limits, new Contents(), (contents) => {
      this.contents = contents;
    });
  }

  /** Checks every invariant by a walk over everything; for tests. Throws `AssertionError`. */
  check(): void {
    this.contents.check();
  }

  /** A source in the store itself must be known as such: what it is copied to may overlap it. */
  #regionOf(bytes: Uint8Array): Region {
    return bytes === this.#located.bytes ? this.#located : this.#regions.of(bytes);
  }
}

/** An empty store. */
export function createByteStore(limits: StoreLimits = STORE_LIMITS): ByteStore {
  return new ByteStore(limits);
}

function checkExpiry(expiry: number): void {
  assert(expiry >= 0 && Number.isSafeInteger(expiry), "an expiry is no whole number of ms");
}
