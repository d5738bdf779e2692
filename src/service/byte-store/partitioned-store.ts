// What commands see that concern several partitions. They run while the threads of these wait, so that a step of a merge may cost
// as many comparisons as there are partitions.
import { assert, mix32 } from "../../base/index.js";
import type { Digest, SnapshotSink, SnapshotSource } from "../../model/index.js";
import type { EntryStore } from "./entry-store.js";
import { ENTRIES_MAX } from "./entries.js";
import { partitionOf } from "./partition.js";
import type { PartitionStore } from "./partition-store.js";
import { compareBytes } from "./region.js";

/** An entry is that of its partition, with the number of the partition above it. */
const ENTRY_MASK = ENTRIES_MAX;
const PARTITION_SHIFT = 31 - Math.clz32(ENTRIES_MAX + 1);

/** Positions of a walk within one partition. */
const POSITIONS = 2 ** 32;

/** Which way a merge goes. */
const Way = { none: 0, up: 1, down: -1 } as const;
type Way = (typeof Way)[keyof typeof Way];

/**
 * Several partitions of a store as one. What is asked about more than one key answers for the partitions that take part; the
 * digest is that of a store with all their entries, and so is the order of keys.
 */
export class PartitionedStore implements EntryStore {
  readonly #stores: readonly PartitionStore[];
  readonly #keyPrefixBytes: number;
  /** The numbers of the partitions that take part. */
  #members: number[] = [];
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  end = 0;
  /** Where a walk in the order of keys is: its last entry, and of each partition the next candidate, 0 behind its end. */
  #way: Way = Way.none;
  #last = 0;
  readonly #next: Int32Array;
  readonly #lanes: Digest = new Uint32Array(4);

  constructor(stores: readonly PartitionStore[], keyPrefixBytes: number) {
    this.#stores = stores;
    this.#keyPrefixBytes = keyPrefixBytes;
    this.#next = new Int32Array(stores.length);
  }

  /** From now on the partitions of this mask take part. */
  use(mask: number): void {
    this.#members.length = 0;
    for (let left = mask; left !== 0; left &= left - 1) this.#members.push(31 - Math.clz32(left & -left));
    this.#way = Way.none;
  }

  get count(): number {
    return this.#sum((store) => store.count);
  }

  get expiring(): number {
    return this.#sum((store) => store.expiring);
  }

  get size(): number {
    return this.#sum((store) => store.size);
  }

  /** Whether each partition has the room, since which one will need it is not asked. */
  hasRoom(entries: number, bytes: number): boolean {
    return this.#members.every((member) => this.#store(member).hasRoom(entries, bytes));
  }

  locateKey(entry: number): void {
    const store = this.#storeOf(entry);
    store.locateKey(entry & ENTRY_MASK);
    this.#located(store);
  }

  locateValue(entry: number): void {
    const store = this.#storeOf(entry);
    store.locateValue(entry & ENTRY_MASK);
    this.#located(store);
  }

  valueLength(entry: number): number {
    return this.#storeOf(entry).valueLength(entry & ENTRY_MASK);
  }

  expiry(entry: number): number {
    return this.#storeOf(entry).expiry(entry & ENTRY_MASK);
  }

  readAhead(): void {}

  find(bytes: Uint8Array, start: number, end: number): number {
    const partition = this.#partitionOf(bytes, start, end);
    return numbered(partition, this.#store(partition).find(bytes, start, end));
  }

  add(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    expiry: number,
  ): number {
    const partition = this.#partitionOf(key, keyStart, keyEnd);
    const store = this.#store(partition);
    this.#way = Way.none;
    return numbered(partition, store.add(key, keyStart, keyEnd, value, valueStart, valueEnd, expiry, null));
  }

  replace(entry: number, value: Uint8Array, valueStart: number, valueEnd: number, expiry: number): number {
    this.#storeOf(entry).replace(entry & ENTRY_MASK, value, valueStart, valueEnd, expiry, null);
    return entry;
  }

  write(entry: number, offset: number, bytes: Uint8Array, start: number, end: number): number {
    this.#storeOf(entry).write(entry & ENTRY_MASK, offset, bytes, start, end, null);
    return entry;
  }

  setExpiry(entry: number, expiry: number): void {
    this.#storeOf(entry).setExpiry(entry & ENTRY_MASK, expiry, null);
  }

  remove(entry: number): void {
    this.#way = Way.none;
    this.#storeOf(entry).remove(entry & ENTRY_MASK, null);
  }

  clear(): void {
    this.#way = Way.none;
    for (const member of this.#members) this.#store(member).clear(null);
  }

  first(bytes: Uint8Array, start: number, end: number, after: boolean): number {
    for (const member of this.#members) this.#next[member] = this.#store(member).first(bytes, start, end, after);
    return this.#choose(Way.up);
  }

  last(bytes: Uint8Array, start: number, end: number, before: boolean): number {
    for (const member of this.#members) this.#next[member] = this.#store(member).last(bytes, start, end, before);
    return this.#choose(Way.down);
  }

  next(entry: number): number {
    if (this.#way !== Way.up || entry !== this.#last) {
      this.locateKey(entry);
      return this.first(this.bytes, this.start, this.end, true);
    }
    const partition = entry >>> PARTITION_SHIFT;
    this.#next[partition] = this.#store(partition).next(entry & ENTRY_MASK);
    return this.#choose(Way.up);
  }

  previous(entry: number): number {
    if (this.#way !== Way.down || entry !== this.#last) {
      this.locateKey(entry);
      return this.last(this.bytes, this.start, this.end, true);
    }
    const partition = entry >>> PARTITION_SHIFT;
    this.#next[partition] = this.#store(partition).previous(entry & ENTRY_MASK);
    return this.#choose(Way.down);
  }

  smallest(): number {
    for (const member of this.#members) this.#next[member] = this.#store(member).smallest();
    return this.#choose(Way.up);
  }

  largest(): number {
    for (const member of this.#members) this.#next[member] = this.#store(member).largest();
    return this.#choose(Way.down);
  }

  /** Walks the partitions one behind the other: a cursor is the number of the partition times 2^32 and the position within. */
  scan(cursor: number, wanted: number, into: number[]): number {
    const begin = into.length;
    if (!Number.isSafeInteger(cursor) || cursor < 0) return 0;
    let position = cursor % POSITIONS;
    for (let partition = Math.floor(cursor / POSITIONS); partition < this.#stores.length; partition++) {
      if (into.length - begin >= wanted) return partition * POSITIONS;
      const from = into.length;
      const next = this.#store(partition).scan(position, wanted - (from - begin), into);
      for (let i = from; i < into.length; i++) into[i] = numbered(partition, into[i] as number);
      if (next !== 0) return partition * POSITIONS + next;
      position = 0;
    }
    return 0;
  }

  /** A partition by its share of the entries, and one of them. */
  pick(random: number): number {
    let index = Math.floor(((random >>> 0) / POSITIONS) * this.count);
    for (const member of this.#members) {
      const store = this.#store(member);
      if (index < store.count) return numbered(member, store.pick(mix32(random)));
      index -= store.count;
    }
    return 0;
  }

  firstToExpire(): number {
    let first = 0;
    for (const member of this.#members) {
      const entry = numbered(member, this.#store(member).firstToExpire());
      if (entry !== 0 && (first === 0 || this.expiry(entry) < this.expiry(first))) first = entry;
    }
    return first;
  }

  rollback(): never {
    throw new TypeError("nothing is taken back in a store that threads share");
  }

  readDigest(into: Digest): void {
    into.fill(0);
    for (const member of this.#members) {
      this.#store(member).readDigest(this.#lanes);
      for (let i = 0; i < 4; i++) into[i] = (into[i] as number) + (this.#lanes[i] as number);
    }
  }

  snapshot(): SnapshotSource {
    throw new TypeError("each partition has a snapshot of its own");
  }

  restore(): SnapshotSink {
    throw new TypeError("each partition is restored on its own");
  }

  #store(partition: number): PartitionStore {
    return this.#stores[partition] as PartitionStore;
  }

  #storeOf(entry: number): PartitionStore {
    return this.#stores[entry >>> PARTITION_SHIFT] as PartitionStore;
  }

  #partitionOf(bytes: Uint8Array, start: number, end: number): number {
    const partition = partitionOf(bytes, start + this.#keyPrefixBytes, end, this.#stores.length);
    assert(this.#members.includes(partition), "a command touches a key whose group it does not concern");
    return partition;
  }

  #located(store: PartitionStore): void {
    this.bytes = store.bytes;
    this.start = store.start;
    this.end = store.end;
  }

  #sum(of: (store: PartitionStore) => number): number {
    let sum = 0;
    for (const member of this.#members) sum += of(this.#store(member));
    return sum;
  }

  /** The first of the candidates, on the way up or down. */
  #choose(way: Way): number {
    let chosen = -1;
    for (const member of this.#members) {
      if (this.#next[member] === 0) continue;
      if (chosen < 0 || way * this.#compare(member, chosen) < 0) chosen = member;
    }
    this.#way = way;
    this.#last = chosen < 0 ? 0 : numbered(chosen, this.#next[chosen] as number);
    return this.#last;
  }

  /** Orders the candidates of two partitions by their keys. */
  #compare(a: number, b: number): number {
    const left = this.#store(a).contents.entries;
    const right = this.#store(b).contents.entries;
    const one = this.#next[a] as number;
    const other = this.#next[b] as number;
    left.locate(one);
    right.locate(other);
    const { view } = left.region;
    return compareBytes(view, left.at, left.keyLength(one), right.region.view, right.at, right.keyLength(other));
  }
}

function numbered(partition: number, entry: number): number {
  return entry === 0 ? 0 : (partition << PARTITION_SHIFT) | entry;
}
