// Hot file: every command looks a key up here. No allocation, except of further segments. Watched by bench/byte-store.mjs.
import { assert } from "../../base/index.js";
import { ChunkKind, type ChunkMemory, ownMemory, type Roots } from "./chunk-memory.js";
import type { Entries } from "./entries.js";
import * as layout from "./entry-layout.js";
import type { PartitionMemory } from "./partition-memory.js";
import type { Region } from "./region.js";

// Constants of this module are part of the compiled code, see `entry-layout.ts`.
const { HASH, KEY_LENGTH, LINES_MASK, LINES_SHIFT, LINE_SHIFT, NEXT } = layout;

/** Buckets of a segment: 64 KiB. */
const SEGMENT_SHIFT = 14;
const SEGMENT_MASK = (1 << SEGMENT_SHIFT) - 1;
const BUCKETS_MIN = 16;
/** Most buckets made or merged by one change, which is enough to keep pace with any sequence of changes. */
const GROW_STEPS_MAX = 2;
const SHRINK_STEPS_MAX = 4;

/** Most keys to read ahead at a time: more than a processor waits for at once, and few enough to stay in its nearest cache. */
export const READ_AHEAD_MAX = 32;

/**
 * Linear hashing: from entries by key. The number of buckets follows the number of entries by at most a few buckets a change,
 * so that nothing ever pauses.
 *
 * A bucket is chosen by the low bits of the hash. All entries are in an order of their own, which depends on the keys alone:
 * by the bits of the hash, the lowest first, then by key. Each bucket is a stretch of that order and its chain is sorted by
 * it, so that a bucket is split by cutting its chain in two and two are merged by joining theirs. A walk along the order is
 * at a position that means the same whatever the number of buckets; positions are bit-reversed hashes, which ascend along it.
 *
 * Equal hashes make long chains, and whoever chooses keys can make them: the hash is no secret, because it must be equal on
 * all replicas.
 */
export class HashIndex {
  readonly #entries: Entries;
  readonly #memory: ChunkMemory;
  readonly #segments: Int32Array[] = [];
  #buckets = BUCKETS_MIN;
  /** All ones below the highest bit of the number of buckets; a bucket at or above `buckets` is one of those below. */
  #lowMask = BUCKETS_MIN - 1;
  #highMask = 2 * BUCKETS_MIN - 1;
  #count = 0;
  /** Of the hashes read ahead, the entries to be looked at next. */
  readonly #ahead = new Int32Array(READ_AHEAD_MAX);

  constructor(entries: Entries, memory: ChunkMemory = ownMemory) {
    this.#entries = entries;
    this.#memory = memory;
    if (memory.fresh) this.#addSegment();
  }

  save(roots: Roots): void {
    roots.put(this.#buckets);
    roots.put(this.#lowMask);
    roots.put(this.#highMask);
    roots.put(this.#count);
  }

  /** `chunks` unless no chunk has come or gone. */
  load(roots: Roots, chunks: PartitionMemory | null): void {
    this.#buckets = roots.get();
    this.#lowMask = roots.get();
    this.#highMask = roots.get();
    this.#count = roots.get();
    if (chunks === null) return;
    this.#segments.length = chunks.refresh(ChunkKind.buckets, (index, region) => {
      if (region !== null) this.#segments[index] = region.words;
    });
  }

  get buckets(): number {
    return this.#buckets;
  }

  /** Bytes of memory set aside. */
  get reserved(): number {
    return this.#segments.length * (SEGMENT_MASK + 1) * 4;
  }

  find(hash: number, key: DataView, start: number, end: number): number {
    const entries = this.#entries;
    const { lines } = entries;
    const length = end - start;
    let bucket = hash & this.#highMask;
    if (bucket >= this.#buckets) bucket &= this.#lowMask;
    let entry = (this.#segments[bucket >>> SEGMENT_SHIFT] as Int32Array)[bucket & SEGMENT_MASK] as number;
    while (entry !== 0) {
      const { words } = lines[entry >>> LINES_SHIFT] as Region;
      const at = (entry & LINES_MASK) << LINE_SHIFT;
      if (words[at + HASH] === hash && words[at + KEY_LENGTH] === length) {
        if (entries.keyEquals(entry, key, start, length)) return entry;
      }
      entry = words[at + NEXT] as number;
    }
    return 0;
  }

  /**
   * Reads what finding these hashes will read, all at a time: a processor waits for many places of memory as long as for one if
   * it need not know what is in one to ask for the next.
   */
  readAhead(hashes: Int32Array, count: number): void {
    const { lines } = this.#entries;
    const ahead = this.#ahead;
    for (let i = 0; i < count; i++) {
      let bucket = (hashes[i] as number) & this.#highMask;
      if (bucket >= this.#buckets) bucket &= this.#lowMask;
      ahead[i] = (this.#segments[bucket >>> SEGMENT_SHIFT] as Int32Array)[bucket & SEGMENT_MASK] as number;
    }
    // Line 0 stands for the empty bucket. Chains of more than two are rare.
    for (let step = 0; step < 2; step++) {
      for (let i = 0; i < count; i++) {
        const entry = ahead[i] as number;
        const { words } = lines[entry >>> LINES_SHIFT] as Region;
        const at = (entry & LINES_MASK) << LINE_SHIFT;
        ahead[i] = words[at + HASH] === hashes[i] ? 0 : (words[at + NEXT] as number);
      }
    }
  }

  insert(entry: number): void {
    const entries = this.#entries;
    const hash = entries.hash(entry);
    const bucket = this.#bucketOf(hash);
    let before = 0;
    let behind = this.#head(bucket);
    while (behind !== 0 && this.#comesBefore(behind, entry, hash)) {
      before = behind;
      behind = entries.next(behind);
    }
    entries.setNext(entry, behind);
    if (before === 0) this.#setHead(bucket, entry);
    else entries.setNext(before, entry);
    this.#count++;
    // Half as many entries as buckets: the second entry of a chain costs a cache miss, a bucket 4 bytes.
    for (let step = 0; step < GROW_STEPS_MAX && this.#buckets < 2 * this.#count; step++) this.#split();
  }

  remove(entry: number): void {
    const entries = this.#entries;
    const bucket = this.#bucketOf(entries.hash(entry));
    const behind = entries.next(entry);
    let before = 0;
    for (let other = this.#head(bucket); other !== entry; other = entries.next(other)) {
      assert(other !== 0, "an entry is not in the bucket of its hash");
      before = other;
    }
    if (before === 0) this.#setHead(bucket, behind);
    else entries.setNext(before, behind);
    this.#count--;
    for (
      let step = 0;
      step < SHRINK_STEPS_MAX && this.#buckets > 4 * this.#count && this.#buckets > BUCKETS_MIN;
      step++
    ) {
      this.#merge();
    }
  }

  /**
   * The first entry at or behind a position, a u32, in the order of this index; 0 if there is none. Passes by no more than a
   * few empty buckets on average.
   */
  firstFrom(position: number): number {
    const entries = this.#entries;
    let from = position;
    for (;;) {
      const bucket = this.#bucketOf(reverseBits(from));
      let entry = this.#head(bucket);
      while (entry !== 0 && reverseBits(entries.hash(entry)) < from) entry = entries.next(entry);
      if (entry !== 0) return entry;
      from = this.#endOf(bucket);
      if (from === 2 ** 32) return 0;
    }
  }

  /** Where an entry is in the order of this index. Entries with equal hashes have the same position. */
  positionOf(entry: number): number {
    return reverseBits(this.#entries.hash(entry));
  }

  /** The entry behind this one in the order of this index, 0 behind the last. */
  behind(entry: number): number {
    const next = this.#entries.next(entry);
    if (next !== 0) return next;
    const from = this.#endOf(this.#bucketOf(this.#entries.hash(entry)));
    return from === 2 ** 32 ? 0 : this.firstFrom(from);
  }

  /** Checks every invariant; for tests. Throws `AssertionError`. */
  check(): void {
    const entries = this.#entries;
    let count = 0;
    for (let bucket = 0; bucket < this.#buckets; bucket++) {
      const begin = reverseBits(bucket);
      let before = 0;
      for (let entry = this.#head(bucket); entry !== 0; entry = entries.next(entry)) {
        const position = this.positionOf(entry);
        assert(position >= begin && position < this.#endOf(bucket), "an entry is in a bucket that is not its own");
        assert(before === 0 || this.#comesBefore(before, entry, entries.hash(entry)), "a chain is out of order");
        before = entry;
        count++;
      }
    }
    assert(count === this.#count, `${count} entries are in chains, ${this.#count} counted`);
    assert(this.#buckets <= Math.max(BUCKETS_MIN, 4 * count), `${this.#buckets} buckets for ${count} entries`);
    assert(count <= this.#buckets, `${count} entries in ${this.#buckets} buckets`);
  }

  #bucketOf(hash: number): number {
    const bucket = hash & this.#highMask;
    return bucket < this.#buckets ? bucket : bucket & this.#lowMask;
  }

  #head(bucket: number): number {
    return (this.#segments[bucket >>> SEGMENT_SHIFT] as Int32Array)[bucket & SEGMENT_MASK] as number;
  }

  #setHead(bucket: number, entry: number): void {
    (this.#segments[bucket >>> SEGMENT_SHIFT] as Int32Array)[bucket & SEGMENT_MASK] = entry;
  }

  /** The first position behind a bucket. */
  #endOf(bucket: number): number {
    // A bucket that has been split in this round, or was made by it, is chosen by one bit more than the others.
    const partner = bucket & this.#lowMask;
    const isSplit = partner + this.#lowMask + 1 < this.#buckets;
    const span = 2 ** 32 / ((isSplit ? this.#highMask : this.#lowMask) + 1);
    return reverseBits(bucket) + span;
  }

  /** Whether an entry of a chain comes before one that has this hash. */
  #comesBefore(there: number, entry: number, hash: number): boolean {
    const other = this.#entries.hash(there);
    const difference = other ^ hash;
    if (difference === 0) return this.#entries.compareKeys(there, entry) < 0;
    // The lowest bit in which they differ decides.
    return (hash & difference & -difference) !== 0;
  }

  /** Makes one bucket more, out of the entries of another which have the next bit of the hash set. */
  #split(): void {
    const entries = this.#entries;
    const made = this.#buckets;
    const bit = this.#lowMask + 1;
    const split = made - bit;
    let before = 0;
    let entry = this.#head(split);
    while (entry !== 0 && (entries.hash(entry) & bit) === 0) {
      before = entry;
      entry = entries.next(entry);
    }
    if (made >>> SEGMENT_SHIFT === this.#segments.length) {
      this.#addSegment();
    }
    this.#setHead(made, entry);
    if (before === 0) this.#setHead(split, 0);
    else if (entry !== 0) entries.setNext(before, 0);
    this.#buckets = made + 1;
    if (this.#buckets > this.#highMask) {
      this.#lowMask = this.#highMask;
      this.#highMask = 2 * this.#highMask + 1;
    }
  }

  /** Takes the last split back. */
  #merge(): void {
    const entries = this.#entries;
    if (this.#buckets === this.#lowMask + 1) {
      this.#highMask = this.#lowMask;
      this.#lowMask = this.#lowMask >>> 1;
    }
    const last = this.#buckets - 1;
    const into = last - (this.#lowMask + 1);
    const moved = this.#head(last);
    this.#setHead(last, 0);
    this.#buckets = last;
    if (moved !== 0) {
      let entry = this.#head(into);
      if (entry === 0) this.#setHead(into, moved);
      else {
        for (let next = entries.next(entry); next !== 0; next = entries.next(entry)) entry = next;
        entries.setNext(entry, moved);
      }
    }
    // One segment is kept beyond the one in use, so that a number of entries around its limit does not make and drop it.
    if ((last >>> SEGMENT_SHIFT) + 2 < this.#segments.length) {
      this.#segments.pop();
      this.#memory.drop(ChunkKind.buckets, this.#segments.length);
    }
  }

  #addSegment(): void {
    const segment = this.#segments.length;
    this.#segments.push(this.#memory.take(ChunkKind.buckets, segment, (SEGMENT_MASK + 1) * 4).words);
  }
}

/** The bits of a u32 in reverse, as a u32. */
export function reverseBits(value: number): number {
  let bits = value;
  bits = ((bits >>> 1) & 0x55555555) | ((bits & 0x55555555) << 1);
  bits = ((bits >>> 2) & 0x33333333) | ((bits & 0x33333333) << 2);
  bits = ((bits >>> 4) & 0x0f0f0f0f) | ((bits & 0x0f0f0f0f) << 4);
  bits = ((bits >>> 8) & 0x00ff00ff) | ((bits & 0x00ff00ff) << 8);
  return ((bits >>> 16) | (bits << 16)) >>> 0;
}
