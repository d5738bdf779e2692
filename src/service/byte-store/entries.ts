// Hot file: every lookup and every change passes here. No allocation, except of further chunks and, for long copies, of one
// view. Watched by bench/byte-store.mjs.
import { assert } from "../../base/index.js";
import { ChunkKind, ChunkOwner, ownMemory, type Roots } from "./chunk-memory.js";
import * as layout from "./entry-layout.js";
import type { PartitionMemory } from "./partition-memory.js";
import { BLOCK_HEADER_BYTES, ByteHeap, byteOf, chunkOf } from "./byte-heap.js";
import { compareBytes, copyBytes, equalBytes, NO_REGION, type Region } from "./region.js";

// Constants of this module are part of the compiled code, see `entry-layout.ts`.
const {
  CHUNK_BYTES,
  DATA,
  DATA_BYTES,
  EXPIRY_PLACE,
  HASH,
  INLINE_BYTES_MAX,
  KEY_LENGTH,
  LINE_SHIFT,
  LINES_MASK,
  LINES_SHIFT,
  NEXT,
  PASSED_BEGIN,
  PASSED_BYTES,
  VALUE_LENGTH,
} = layout;
/** A block holds, behind the heap's header, the two sums of the value (see ByteSums), then key and value. */
const BLOCK_SUMS_BYTES = 8;
const BLOCK_DATA_BYTES = BLOCK_HEADER_BYTES + BLOCK_SUMS_BYTES;
/** Key length of a line that is free. */
const FREE = -1;

/** Most entries: 4 GiB of lines. */
export const ENTRIES_MAX = 64 * 1024 * 1024 - 1;

/**
 * The entries by number. Each has a *line* of 64 bytes, one cache line, which also serves the hash index (`next` and `hash`)
 * and the expiry index (`expiryPlace`); a short key and value stand in the line, longer ones in a block of the heap. A number
 * stays with its entry whatever happens to the value.
 */
export class Entries extends ChunkOwner {
  readonly heap = new ByteHeap(this.memory);
  readonly #chunkBytes = this.memory === ownMemory ? CHUNK_BYTES : CHUNK_BYTES + PASSED_BYTES;
  /** Words are signed, since a number above 2^31 would be boxed between functions; references are unsigned all the same. */
  readonly lines: Region[] = [];
  /** The first free line; each names the next. */
  #free = 0;
  /** Numbers below this have been in use; 0 never is. */
  limit = 1;

  /** Where `locate` found the key; the value stands directly behind it. */
  region = NO_REGION;
  at = 0;

  save(roots: Roots): void {
    roots.put(this.#free);
    roots.put(this.limit);
    this.heap.save(roots);
  }

  /** `chunks` unless no chunk has come or gone. */
  load(roots: Roots, chunks: PartitionMemory | null): void {
    this.#free = roots.get();
    this.limit = roots.get();
    if (chunks !== null) {
      this.lines.length = chunks.refresh(ChunkKind.lines, (index, region) => {
        if (region !== null) this.lines[index] = region;
      });
    }
    this.heap.load(roots, chunks);
  }

  /** Bytes of memory set aside. */
  get reserved(): number {
    return this.lines.length * CHUNK_BYTES + this.heap.reserved;
  }

  isFree(entry: number): boolean {
    return (
      (this.lines[entry >>> LINES_SHIFT] as Region).words[((entry & LINES_MASK) << LINE_SHIFT) + KEY_LENGTH] === FREE
    );
  }

  next(entry: number): number {
    return (this.lines[entry >>> LINES_SHIFT] as Region).words[((entry & LINES_MASK) << LINE_SHIFT) + NEXT] as number;
  }

  setNext(entry: number, next: number): void {
    this.#setWord(entry, NEXT, next);
  }

  hash(entry: number): number {
    return (this.lines[entry >>> LINES_SHIFT] as Region).words[((entry & LINES_MASK) << LINE_SHIFT) + HASH] as number;
  }

  keyLength(entry: number): number {
    return (this.lines[entry >>> LINES_SHIFT] as Region).words[
      ((entry & LINES_MASK) << LINE_SHIFT) + KEY_LENGTH
    ] as number;
  }

  valueLength(entry: number): number {
    return (this.lines[entry >>> LINES_SHIFT] as Region).words[
      ((entry & LINES_MASK) << LINE_SHIFT) + VALUE_LENGTH
    ] as number;
  }

  expiryPlace(entry: number): number {
    return (this.lines[entry >>> LINES_SHIFT] as Region).words[
      ((entry & LINES_MASK) << LINE_SHIFT) + EXPIRY_PLACE
    ] as number;
  }

  setExpiryPlace(entry: number, place: number): void {
    this.#setWord(entry, EXPIRY_PLACE, place);
  }

  /** Of entries that threads share: whether one is marked as passed, and marking it. */
  hasPassed(entry: number): boolean {
    const { words } = this.lines[entry >>> LINES_SHIFT] as Region;
    const line = entry & LINES_MASK;
    return ((words[PASSED_BEGIN + (line >>> 5)] as number) & (1 << (line & 31))) !== 0;
  }

  pass(entry: number): void {
    const { words } = this.lines[entry >>> LINES_SHIFT] as Region;
    const at = PASSED_BEGIN + ((entry & LINES_MASK) >>> 5);
    words[at] = (words[at] as number) | (1 << (entry & 31));
  }

  /** No entry is marked. */
  unpass(): void {
    for (const { words } of this.lines) words.fill(0, PASSED_BEGIN, PASSED_BEGIN + PASSED_BYTES / 4);
  }

  /** Finds the key: sets `region` and `at`. */
  locate(entry: number): void {
    const chunk = entry >>> LINES_SHIFT;
    const lines = this.lines[chunk] as Region;
    const line = lines.words;
    const at = (entry & LINES_MASK) << LINE_SHIFT;
    if ((line[at + KEY_LENGTH] as number) + (line[at + VALUE_LENGTH] as number) <= INLINE_BYTES_MAX) {
      this.region = lines;
      this.at = (at << 2) + DATA_BYTES;
    } else {
      const ref = (line[at + DATA] as number) >>> 0;
      this.region = this.heap.chunks[chunkOf(ref)] as Region;
      this.at = byteOf(ref) + BLOCK_DATA_BYTES;
    }
  }

  /** Whether the key of an entry, which has that length, is this. */
  keyEquals(entry: number, key: DataView, start: number, length: number): boolean {
    this.locate(entry);
    return equalBytes(key, start, this.region.view, this.at, length);
  }

  /** Below 0 if the key of `a` comes before that of `b`, 0 if they are equal, above 0 otherwise. */
  compareKeys(a: number, b: number): number {
    this.locate(a);
    const { view } = this.region;
    const at = this.at;
    this.locate(b);
    return compareBytes(view, at, this.keyLength(a), this.region.view, this.at, this.keyLength(b));
  }

  /** True if the value stands in a block, which keeps its sums. */
  inBlock(entry: number): boolean {
    return this.keyLength(entry) + this.valueLength(entry) > INLINE_BYTES_MAX;
  }

  /** The sums that the block of the value keeps; `inBlock` must hold. */
  firstSum(entry: number): number {
    const ref = this.#reference(entry);
    return (this.heap.chunks[chunkOf(ref)] as Region).words[(byteOf(ref) + BLOCK_HEADER_BYTES) >> 2] as number;
  }

  secondSum(entry: number): number {
    const ref = this.#reference(entry);
    return (this.heap.chunks[chunkOf(ref)] as Region).words[(byteOf(ref) + BLOCK_HEADER_BYTES + 4) >> 2] as number;
  }

  keepSums(entry: number, first: number, second: number): void {
    const ref = this.#reference(entry);
    const { words } = this.heap.chunks[chunkOf(ref)] as Region;
    const at = (byteOf(ref) + BLOCK_HEADER_BYTES) >> 2;
    words[at] = first;
    words[at + 1] = second;
  }

  create(
    hash: number,
    key: Region,
    keyStart: number,
    keyEnd: number,
    value: Region,
    valueStart: number,
    valueEnd: number,
  ): number {
    const keyLength = keyEnd - keyStart;
    const valueLength = valueEnd - valueStart;
    const total = keyLength + valueLength;
    const ref = total <= INLINE_BYTES_MAX ? 0 : this.heap.allocate(BLOCK_DATA_BYTES + total);
    const entry = this.#takeLine();
    const chunk = entry >>> LINES_SHIFT;
    const lines = this.lines[chunk] as Region;
    const line = lines.words;
    const at = (entry & LINES_MASK) << LINE_SHIFT;
    line[at + NEXT] = 0;
    line[at + HASH] = hash;
    line[at + KEY_LENGTH] = keyLength;
    line[at + VALUE_LENGTH] = valueLength;
    line[at + EXPIRY_PLACE] = 0;
    let bytes: Region;
    let to: number;
    if (ref === 0) {
      bytes = lines;
      to = (at << 2) + DATA_BYTES;
    } else {
      line[at + DATA] = ref;
      bytes = this.heap.chunks[chunkOf(ref)] as Region;
      to = byteOf(ref) + BLOCK_DATA_BYTES;
    }
    copyBytes(bytes, to, key, keyStart, keyEnd);
    copyBytes(bytes, to + keyLength, value, valueStart, valueEnd);
    return entry;
  }

  release(entry: number): void {
    if (this.inBlock(entry)) this.heap.free(this.#reference(entry));
    this.#setWord(entry, KEY_LENGTH, FREE);
    this.#setWord(entry, NEXT, this.#free);
    this.#free = entry;
  }

  /** Gives an entry another value. The source may be part of the old one. Sums are the caller's to keep. */
  setValue(entry: number, value: Region, start: number, end: number): void {
    const chunk = entry >>> LINES_SHIFT;
    const lines = this.lines[chunk] as Region;
    const line = lines.words;
    const at = (entry & LINES_MASK) << LINE_SHIFT;
    const keyLength = line[at + KEY_LENGTH] as number;
    const total = keyLength + end - start;
    if (total <= INLINE_BYTES_MAX) {
      const bytes = lines;
      const to = (at << 2) + DATA_BYTES;
      if (keyLength + (line[at + VALUE_LENGTH] as number) <= INLINE_BYTES_MAX) {
        copyBytes(bytes, to + keyLength, value, start, end);
      } else {
        const ref = (line[at + DATA] as number) >>> 0;
        const from = byteOf(ref) + BLOCK_DATA_BYTES;
        copyBytes(bytes, to, this.heap.chunks[chunkOf(ref)] as Region, from, from + keyLength);
        copyBytes(bytes, to + keyLength, value, start, end);
        this.heap.free(ref);
      }
      line[at + VALUE_LENGTH] = end - start;
      return;
    }
    const needed = BLOCK_DATA_BYTES + total;
    if (keyLength + (line[at + VALUE_LENGTH] as number) > INLINE_BYTES_MAX) {
      const ref = (line[at + DATA] as number) >>> 0;
      const capacity = this.heap.capacity(ref);
      // A value that shrinks to a small part moves, lest it hold the chunk of a long one that nothing else needs.
      if (capacity >= needed ? capacity < 4 * needed : this.heap.extend(ref, needed)) {
        const to = byteOf(ref) + BLOCK_DATA_BYTES + keyLength;
        copyBytes(this.heap.chunks[chunkOf(ref)] as Region, to, value, start, end);
        line[at + VALUE_LENGTH] = end - start;
        this.heap.trim(ref, needed);
        return;
      }
    }
    this.#move(entry, needed, value, start, end);
    line[at + VALUE_LENGTH] = end - start;
  }

  /**
   * Overwrites the value from `offset` on, fills a gap with zeros, and leaves a growing value an eighth of room, so that
   * appending costs the length of what is appended, amortised. The source may be part of the value.
   */
  write(entry: number, offset: number, source: Region, start: number, end: number): void {
    const chunk = entry >>> LINES_SHIFT;
    const lines = this.lines[chunk] as Region;
    const line = lines.words;
    const at = (entry & LINES_MASK) << LINE_SHIFT;
    const keyLength = line[at + KEY_LENGTH] as number;
    const before = line[at + VALUE_LENGTH] as number;
    const after = Math.max(before, offset + end - start);
    const total = keyLength + after;
    if (total > INLINE_BYTES_MAX) {
      const needed = BLOCK_DATA_BYTES + total;
      const roomy = needed + (needed >>> 3);
      const ref = keyLength + before > INLINE_BYTES_MAX ? (line[at + DATA] as number) >>> 0 : 0;
      if (ref === 0 || (this.heap.capacity(ref) < needed && !this.heap.extend(ref, roomy))) {
        this.#grow(entry, roomy, before, offset, source, start, end);
        line[at + VALUE_LENGTH] = after;
        return;
      }
    }
    this.locate(entry);
    const bytes = this.region;
    const value = this.at + keyLength;
    if (offset > before) bytes.bytes.fill(0, value + before, value + offset);
    copyBytes(bytes, value + offset, source, start, end);
    line[at + VALUE_LENGTH] = after;
  }

  /** Puts the key and another value into a new block. */
  #move(entry: number, bytes: number, value: Region, start: number, end: number): void {
    const ref = this.heap.allocate(bytes);
    const to = byteOf(ref) + BLOCK_DATA_BYTES;
    const target = this.heap.chunks[chunkOf(ref)] as Region;
    const keyLength = this.keyLength(entry);
    this.locate(entry);
    copyBytes(target, to, this.region, this.at, this.at + keyLength);
    copyBytes(target, to + keyLength, value, start, end);
    // Only now, since the source may lie in what is given back or overwritten here.
    if (this.inBlock(entry)) this.heap.free(this.#reference(entry));
    this.#setWord(entry, DATA, ref);
  }

  /** The same for a value that is the old one of length `before`, overwritten from `offset` on. */
  #grow(
    entry: number,
    bytes: number,
    before: number,
    offset: number,
    source: Region,
    start: number,
    end: number,
  ): void {
    const ref = this.heap.allocate(bytes);
    const to = byteOf(ref) + BLOCK_DATA_BYTES;
    const target = this.heap.chunks[chunkOf(ref)] as Region;
    const keyLength = this.keyLength(entry);
    this.locate(entry);
    copyBytes(target, to, this.region, this.at, this.at + keyLength + before);
    const value = to + keyLength;
    if (offset > before) target.bytes.fill(0, value + before, value + offset);
    copyBytes(target, value + offset, source, start, end);
    if (this.inBlock(entry)) this.heap.free(this.#reference(entry));
    this.#setWord(entry, DATA, ref);
  }

  #takeLine(): number {
    const entry = this.#free;
    if (entry !== 0) {
      this.#free = this.#word(entry, NEXT);
      return entry;
    }
    const fresh = this.limit;
    assert(fresh <= ENTRIES_MAX, "there are more entries than lines");
    if (fresh >>> LINES_SHIFT === this.lines.length) {
      this.lines.push(this.memory.take(ChunkKind.lines, this.lines.length, this.#chunkBytes));
    }
    this.limit = fresh + 1;
    return fresh;
  }

  #reference(entry: number): number {
    return this.#word(entry, DATA) >>> 0;
  }

  #word(entry: number, word: number): number {
    return (this.lines[entry >>> LINES_SHIFT] as Region).words[((entry & LINES_MASK) << LINE_SHIFT) + word] as number;
  }

  #setWord(entry: number, word: number, value: number): void {
    (this.lines[entry >>> LINES_SHIFT] as Region).words[((entry & LINES_MASK) << LINE_SHIFT) + word] = value;
  }
}
