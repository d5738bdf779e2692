import type { Digest, SnapshotSink, SnapshotSource, UndoLog } from "../../model/index.js";

/**
 * The entries of a byte-string store: key → value and expiry, ordered by key bytes. What the service's commands are made of.
 *
 * An entry is a small whole number above 0, 0 for none, that means the entry until it is removed or its value is replaced
 * (`put` and `replace` return the number that stands for it then). Numbers differ between replicas: nothing that a client or
 * another replica can see may depend on them, or on memory. Nothing here knows the time: whether an entry has expired is its
 * caller's business, and such entries are found, counted and ranged over like any other.
 *
 * Reading never allocates. `locateKey` and `locateValue` leave the bytes in `bytes[start, end)`, valid until the next call of
 * any method. Changes copy what they are given; the source may lie in the store itself.
 */
export interface EntryStore {
  /** Entries, expired ones included. */
  readonly count: number;
  /** Entries with an expiry. */
  readonly expiring: number;
  /** Bytes of all keys and values. */
  readonly size: number;
  /**
   * Whether so many more entries and bytes of keys and values may be there (either may be negative). Depends on `count` and
   * `size` alone, so that all replicas answer alike; to be asked before a change, which relies on it.
   */
  hasRoom(entries: number, bytes: number): boolean;

  /** Where `locateKey` and `locateValue` found what they were asked for. */
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  locateKey(entry: number): void;
  locateValue(entry: number): void;
  /** Length of the value in bytes. */
  valueLength(entry: number): number;
  /** Agreed time in ms from which the entry has expired, 0 for never. */
  expiry(entry: number): number;

  /**
   * Tells that the keys at `keys[spans[2i], spans[2i + 1])`, for i below `count`, will be looked for next. Changes nothing but
   * the time it takes, where there are so many entries that they are not in the processor's cache.
   */
  readAhead(keys: Uint8Array, spans: Uint32Array, count: number): void;
  find(bytes: Uint8Array, start: number, end: number): number;
  /** Adds an entry whose key is not there yet. */
  add(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    expiry: number,
    undo: UndoLog | null,
  ): number;
  /** Gives an entry another value and expiry. */
  replace(
    entry: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    expiry: number,
    undo: UndoLog | null,
  ): number;
  /**
   * Overwrites the value from byte `offset` on with the bytes given, which may reach past its end; a gap is filled with
   * zeros. In place where the room of the entry suffices: appending to a long value costs the length of what is appended,
   * amortised.
   */
  write(entry: number, offset: number, bytes: Uint8Array, start: number, end: number, undo: UndoLog | null): number;
  setExpiry(entry: number, expiry: number, undo: UndoLog | null): void;
  remove(entry: number, undo: UndoLog | null): void;
  /** Removes all entries. Costs no more than an instant, however many there are; memory is given back in later slices. */
  clear(undo: UndoLog | null): void;

  /** The first entry whose key is at or above the bytes given (above them: `after`), 0 if there is none. */
  first(bytes: Uint8Array, start: number, end: number, after: boolean): number;
  /** The last entry whose key is at or below the bytes given (below them: `before`), 0 if there is none. */
  last(bytes: Uint8Array, start: number, end: number, before: boolean): number;
  /** The entry behind this one in the order of keys, 0 behind the last. */
  next(entry: number): number;
  previous(entry: number): number;
  /** Number of entries with lower ≤ key ≤ upper may be counted by the caller with `first` and `next`. The smallest key: */
  smallest(): number;
  largest(): number;

  /**
   * One step of a walk over all entries in an order of its own, which depends on the keys alone (SCAN): appends entries to
   * `into` and returns the cursor to go on with, 0 when the walk is over. An entry that is there during the whole walk is
   * visited at least once, whatever is added and removed meanwhile, and on whichever replica each step is made. `wanted` is
   * how many entries a step should bring; it may bring a few more.
   */
  scan(cursor: number, wanted: number, into: number[]): number;
  /** An entry chosen by a random u32, the same on every replica; 0 if there is none. */
  pick(random: number): number;

  /** The entry that expires first, by (expiry, key), 0 if none does. */
  firstToExpire(): number;

  /**
   * Takes back everything recorded since `mark`, newest first. Each record is one `Change`; a log that others write to as well
   * is rolled back by its owner, who calls `takeBack` of the records that are changes.
   */
  rollback(undo: UndoLog, mark: number): void;
  readDigest(into: Digest): void;
  /** The entries as they are now, in slices, while changes go on. */
  snapshot(): SnapshotSource;
  /** Replaces all entries on `finish`. */
  restore(): SnapshotSink;
}
