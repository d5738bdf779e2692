// Hot file: every lookup and every change passes here. No allocation, except of further chunks and, for long copies, of one
// view. Watched by bench/byte-store.mjs.
import { assert } from "../../base/index.js";
import { BLOCK_HEADER_BYTES, ByteHeap, byteOf, chunkOf } from "./byte-heap.js";

/** Lines of a chunk: 1 MiB. */
const CHUNK_SHIFT = 14;
const CHUNK_MASK = (1 << CHUNK_SHIFT) - 1;
const LINE_SHIFT = 4;
const LINE_BYTES = 64;

/** What the words of a line hold. From `DATA` on: key and value, or the reference of the block that holds them. */
const NEXT = 0;
const HASH = 1;
const KEY_LENGTH = 2;
const VALUE_LENGTH = 3;
const EXPIRY_PLACE = 4;
const DATA = 5;
const DATA_BYTES = DATA * 4;
/** Key and value of up to so many bytes together stand in the line itself. */
const INLINE_BYTES_MAX = LINE_BYTES - DATA_BYTES;
/** A block holds, behind the heap's header, the two sums of the value (see ByteSums), then key and value. */
const BLOCK_SUMS_BYTES = 8;
const BLOCK_DATA_BYTES = BLOCK_HEADER_BYTES + BLOCK_SUMS_BYTES;
/** Key length of a line that is free. */
const FREE = 0xffff_ffff;

/** Most entries: 4 GiB of lines. */
export const ENTRIES_MAX = 2 ** 26 - 1;

/**
 * The entries by number. Each has a *line* of 64 bytes, one cache line, which also serves the hash index (`next` and `hash`)
 * and the expiry index (`expiryPlace`); a short key and value stand in the line, longer ones in a block of the heap. A number
 * stays with its entry whatever happens to the value.
 */
export class Entries {
  readonly heap = new ByteHeap();
  readonly #lines: Uint32Array[] = [];
  readonly #lineBytes: Uint8Array[] = [];
  /** The first free line; each names the next. */
  #free = 0;
  /** Numbers below this have been in use; 0 never is. */
  limit = 1;

  /** Where `locate` found the key; the value stands directly behind it. */
  bytes: Uint8Array = new Uint8Array(0);
  at = 0;

  /** Bytes of memory set aside. */
  get reserved(): number {
    return this.#lines.length * LINE_BYTES * (CHUNK_MASK + 1) + this.heap.reserved;
  }

  isFree(entry: number): boolean {
    return this.#word(entry, KEY_LENGTH) === FREE;
  }

  next(entry: number): number {
    return this.#word(entry, NEXT);
  }

  setNext(entry: number, next: number): void {
    this.#setWord(entry, NEXT, next);
  }

  hash(entry: number): number {
    return this.#word(entry, HASH);
  }

  keyLength(entry: number): number {
    return this.#word(entry, KEY_LENGTH);
  }

  valueLength(entry: number): number {
    return this.#word(entry, VALUE_LENGTH);
  }

  expiryPlace(entry: number): number {
    return this.#word(entry, EXPIRY_PLACE);
  }

  setExpiryPlace(entry: number, place: number): void {
    this.#setWord(entry, EXPIRY_PLACE, place);
  }

  /** Finds the key: sets `bytes` and `at`. */
  locate(entry: number): void {
    const chunk = entry >>> CHUNK_SHIFT;
    const line = this.#lines[chunk] as Uint32Array;
    const at = (entry & CHUNK_MASK) << LINE_SHIFT;
    if ((line[at + KEY_LENGTH] as number) + (line[at + VALUE_LENGTH] as number) <= INLINE_BYTES_MAX) {
      this.bytes = this.#lineBytes[chunk] as Uint8Array;
      this.at = (at << 2) + DATA_BYTES;
    } else {
      const ref = line[at + DATA] as number;
      this.bytes = this.heap.bytes[chunkOf(ref)] as Uint8Array;
      this.at = byteOf(ref) + BLOCK_DATA_BYTES;
    }
  }

  keyEquals(entry: number, key: Uint8Array, start: number, end: number): boolean {
    const length = end - start;
    if (this.keyLength(entry) !== length) return false;
    this.locate(entry);
    const bytes = this.bytes;
    const shift = this.at - start;
    for (let i = start; i < end; i++) if (key[i] !== bytes[i + shift]) return false;
    return true;
  }

  /** Below 0 if the key of `a` comes before that of `b`, 0 if they are equal, above 0 otherwise. */
  compareKeys(a: number, b: number): number {
    this.locate(a);
    const bytes = this.bytes;
    const at = this.at;
    const length = this.keyLength(a);
    this.locate(b);
    const others = this.bytes;
    const otherAt = this.at;
    const otherLength = this.keyLength(b);
    const shared = length < otherLength ? length : otherLength;
    for (let i = 0; i < shared; i++) {
      const difference = (bytes[at + i] as number) - (others[otherAt + i] as number);
      if (difference !== 0) return difference;
    }
    return length - otherLength;
  }

  /** True if the value stands in a block, which keeps its sums. */
  inBlock(entry: number): boolean {
    return this.keyLength(entry) + this.valueLength(entry) > INLINE_BYTES_MAX;
  }

  /** The sums that the block of the value keeps; `inBlock` must hold. */
  firstSum(entry: number): number {
    const ref = this.#word(entry, DATA);
    return (this.heap.words[chunkOf(ref)] as Uint32Array)[(byteOf(ref) + BLOCK_HEADER_BYTES) >> 2] as number;
  }

  secondSum(entry: number): number {
    const ref = this.#word(entry, DATA);
    return (this.heap.words[chunkOf(ref)] as Uint32Array)[(byteOf(ref) + BLOCK_HEADER_BYTES + 4) >> 2] as number;
  }

  keepSums(entry: number, first: number, second: number): void {
    const ref = this.#word(entry, DATA);
    const words = this.heap.words[chunkOf(ref)] as Uint32Array;
    const at = (byteOf(ref) + BLOCK_HEADER_BYTES) >> 2;
    words[at] = first;
    words[at + 1] = second;
  }

  create(
    hash: number,
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): number {
    const keyLength = keyEnd - keyStart;
    const valueLength = valueEnd - valueStart;
    const total = keyLength + valueLength;
    const ref = total <= INLINE_BYTES_MAX ? 0 : this.heap.allocate(BLOCK_DATA_BYTES + total);
    const entry = this.#takeLine();
    const chunk = entry >>> CHUNK_SHIFT;
    const line = this.#lines[chunk] as Uint32Array;
    const at = (entry & CHUNK_MASK) << LINE_SHIFT;
    line[at + NEXT] = 0;
    line[at + HASH] = hash;
    line[at + KEY_LENGTH] = keyLength;
    line[at + VALUE_LENGTH] = valueLength;
    line[at + EXPIRY_PLACE] = 0;
    let bytes: Uint8Array;
    let to: number;
    if (ref === 0) {
      bytes = this.#lineBytes[chunk] as Uint8Array;
      to = (at << 2) + DATA_BYTES;
    } else {
      line[at + DATA] = ref;
      bytes = this.heap.bytes[chunkOf(ref)] as Uint8Array;
      to = byteOf(ref) + BLOCK_DATA_BYTES;
    }
    copyBytes(bytes, to, key, keyStart, keyEnd);
    copyBytes(bytes, to + keyLength, value, valueStart, valueEnd);
    return entry;
  }

  release(entry: number): void {
    if (this.inBlock(entry)) this.heap.free(this.#word(entry, DATA));
    this.#setWord(entry, KEY_LENGTH, FREE);
    this.#setWord(entry, NEXT, this.#free);
    this.#free = entry;
  }

  /** Gives an entry another value. The source may be part of the old one. Sums are the caller's to keep. */
  setValue(entry: number, value: Uint8Array, start: number, end: number): void {
    const chunk = entry >>> CHUNK_SHIFT;
    const line = this.#lines[chunk] as Uint32Array;
    const at = (entry & CHUNK_MASK) << LINE_SHIFT;
    const keyLength = line[at + KEY_LENGTH] as number;
    const total = keyLength + end - start;
    if (total <= INLINE_BYTES_MAX) {
      const bytes = this.#lineBytes[chunk] as Uint8Array;
      const to = (at << 2) + DATA_BYTES;
      if (keyLength + (line[at + VALUE_LENGTH] as number) <= INLINE_BYTES_MAX) {
        copyBytes(bytes, to + keyLength, value, start, end);
      } else {
        const ref = line[at + DATA] as number;
        const from = byteOf(ref) + BLOCK_DATA_BYTES;
        copyBytes(bytes, to, this.heap.bytes[chunkOf(ref)] as Uint8Array, from, from + keyLength);
        copyBytes(bytes, to + keyLength, value, start, end);
        this.heap.free(ref);
      }
      line[at + VALUE_LENGTH] = end - start;
      return;
    }
    const needed = BLOCK_DATA_BYTES + total;
    if (keyLength + (line[at + VALUE_LENGTH] as number) > INLINE_BYTES_MAX) {
      const ref = line[at + DATA] as number;
      if (this.heap.capacity(ref) >= needed || this.heap.extend(ref, needed)) {
        const to = byteOf(ref) + BLOCK_DATA_BYTES + keyLength;
        copyBytes(this.heap.bytes[chunkOf(ref)] as Uint8Array, to, value, start, end);
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
  write(entry: number, offset: number, source: Uint8Array, start: number, end: number): void {
    const chunk = entry >>> CHUNK_SHIFT;
    const line = this.#lines[chunk] as Uint32Array;
    const at = (entry & CHUNK_MASK) << LINE_SHIFT;
    const keyLength = line[at + KEY_LENGTH] as number;
    const before = line[at + VALUE_LENGTH] as number;
    const after = Math.max(before, offset + end - start);
    const total = keyLength + after;
    if (total > INLINE_BYTES_MAX) {
      const needed = BLOCK_DATA_BYTES + total;
      const roomy = needed + (needed >>> 3);
      const ref = keyLength + before > INLINE_BYTES_MAX ? (line[at + DATA] as number) : 0;
      if (ref === 0 || (this.heap.capacity(ref) < needed && !this.heap.extend(ref, roomy))) {
        this.#grow(entry, roomy, before, offset, source, start, end);
        line[at + VALUE_LENGTH] = after;
        return;
      }
    }
    this.locate(entry);
    const bytes = this.bytes;
    const value = this.at + keyLength;
    if (offset > before) bytes.fill(0, value + before, value + offset);
    copyBytes(bytes, value + offset, source, start, end);
    line[at + VALUE_LENGTH] = after;
  }

  /** Puts the key and another value into a new block. */
  #move(entry: number, bytes: number, value: Uint8Array, start: number, end: number): void {
    const ref = this.heap.allocate(bytes);
    const to = byteOf(ref) + BLOCK_DATA_BYTES;
    const target = this.heap.bytes[chunkOf(ref)] as Uint8Array;
    const keyLength = this.keyLength(entry);
    this.locate(entry);
    copyBytes(target, to, this.bytes, this.at, this.at + keyLength);
    copyBytes(target, to + keyLength, value, start, end);
    // Only now, since the source may lie in what is given back or overwritten here.
    if (this.inBlock(entry)) this.heap.free(this.#word(entry, DATA));
    this.#setWord(entry, DATA, ref);
  }

  /** The same for a value that is the old one of length `before`, overwritten from `offset` on. */
  #grow(
    entry: number,
    bytes: number,
    before: number,
    offset: number,
    source: Uint8Array,
    start: number,
    end: number,
  ): void {
    const ref = this.heap.allocate(bytes);
    const to = byteOf(ref) + BLOCK_DATA_BYTES;
    const target = this.heap.bytes[chunkOf(ref)] as Uint8Array;
    const keyLength = this.keyLength(entry);
    this.locate(entry);
    copyBytes(target, to, this.bytes, this.at, this.at + keyLength + before);
    const value = to + keyLength;
    if (offset > before) target.fill(0, value + before, value + offset);
    copyBytes(target, value + offset, source, start, end);
    if (this.inBlock(entry)) this.heap.free(this.#word(entry, DATA));
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
    if (fresh >>> CHUNK_SHIFT === this.#lines.length) {
      const buffer = new SharedArrayBuffer((CHUNK_MASK + 1) * LINE_BYTES);
      this.#lines.push(new Uint32Array(buffer));
      this.#lineBytes.push(new Uint8Array(buffer));
    }
    this.limit = fresh + 1;
    return fresh;
  }

  #word(entry: number, word: number): number {
    return (this.#lines[entry >>> CHUNK_SHIFT] as Uint32Array)[((entry & CHUNK_MASK) << LINE_SHIFT) + word] as number;
  }

  #setWord(entry: number, word: number, value: number): void {
    (this.#lines[entry >>> CHUNK_SHIFT] as Uint32Array)[((entry & CHUNK_MASK) << LINE_SHIFT) + word] = value;
  }
}

/** Up to here a loop is cheaper than a call into the engine, which needs a view of its own. */
const LOOPED_BYTES_MAX = 96;

/** Copies `source[start, end)` to `target` at `at`, also if they overlap. */
export function copyBytes(target: Uint8Array, at: number, source: Uint8Array, start: number, end: number): void {
  if (source === target) target.copyWithin(at, start, end);
  else if (end - start <= LOOPED_BYTES_MAX) for (let i = start; i < end; i++) target[at++] = source[i] as number;
  else target.set(source.subarray(start, end), at);
}
