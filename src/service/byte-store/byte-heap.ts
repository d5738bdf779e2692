// Hot file: every change of an entry that does not fit its line comes here. No allocation, except of a further chunk.
// Watched by bench/byte-store.mjs.
import { assert } from "../../base/index.js";
import { ChunkKind, ChunkOwner, type Roots } from "./chunk-memory.js";
import type { PartitionMemory } from "./partition-memory.js";
import { NO_REGION, type Region } from "./region.js";

/** Blocks are whole units; a reference is the number of a block's first unit. */
const UNIT_BYTES = 16;
/** Units that the references of a chunk reach, 8 MiB. A block lies within one chunk. */
const CHUNK_SHIFT = 19;
const CHUNK_UNITS = 1 << CHUNK_SHIFT;
const UNIT_MASK = CHUNK_UNITS - 1;
/** What a u32 can refer to: 64 GiB. */
const CHUNKS_MAX = 2 ** 32 / CHUNK_UNITS;
/** Nothing smaller is asked for, so that a smaller rest of a block is left with it. */
const BLOCK_UNITS_MIN = 4;
/** The first unit of a chunk, since reference 0 means none, and the last, which ends the walk to a next block. */
const BOUND_UNITS = 2;
/** The first chunk has 64 KiB and each further one doubles the whole, so that a small store is small and soon made. */
const FIRST_CHUNK_UNITS = 4096;

/** Flags in the first word of a block, beside its size in units. */
const FREE = 0x8000_0000;
const FREE_BEFORE = 0x4000_0000;
const SIZE_MASK = 0x3fff_ffff;

/** Sizes below this have a list of their own; from here on there are eight lists for each doubling. */
const EXACT_UNITS = 16;
const LISTS = EXACT_UNITS + (CHUNK_SHIFT + 1 - 4) * 8;

/** Bytes of a block that the heap keeps for itself, at its beginning. */
export const BLOCK_HEADER_BYTES = 4;
/** Longest block, header included: shorter than a chunk by so much that a size can be rounded up to the next list. */
export const BLOCK_BYTES_MAX = (CHUNK_UNITS / 2) * UNIT_BYTES;

const none = new Uint32Array(0);

/**
 * Blocks of bytes in chunks of shared memory. Free blocks are kept in lists by size, twice segregated, so that both taking and
 * giving back take constant time; a block given back is joined with free neighbours at once, and a chunk that is wholly free
 * is let go, except one.
 *
 * The first word of a block holds its size in units and two flags: whether it is free, and whether the block before it is.
 * A free block holds in its second and third word the next and the previous one of its list, and in its last word its size,
 * by which the block behind it finds its beginning. What the other words of a used block hold is its owner's business.
 */
export class ByteHeap extends ChunkOwner {
  /** The chunks: the block of reference r begins in `chunks[chunkOf(r)]` at byte `byteOf(r)`. */
  readonly chunks: Region[] = [];
  /** The same as unsigned words. */
  readonly #words: Uint32Array[] = [];
  /** Head of each list. */
  readonly #heads = unsigned(this.memory.table(LISTS));
  /** Bit i % 32 of word i / 32: list i is not empty. */
  readonly #filled = this.memory.table(Math.ceil(LISTS / 32));
  /** Numbers of chunks that were let go. */
  readonly #vacant: number[] = [];
  /** A chunk that is wholly free, -1 if there is none. */
  #spare = -1;
  #usedUnits = 0;
  #reservedUnits = 0;

  save(roots: Roots): void {
    roots.put(this.#spare);
    roots.put(this.#usedUnits);
    roots.put(this.#reservedUnits);
  }

  /** `chunks` unless no chunk has come or gone. */
  load(roots: Roots, chunks: PartitionMemory | null): void {
    this.#spare = roots.get();
    this.#usedUnits = roots.get() >>> 0;
    this.#reservedUnits = roots.get() >>> 0;
    if (chunks === null) return;
    const length = chunks.refresh(ChunkKind.blocks, (index, region) => {
      this.chunks[index] = region ?? NO_REGION;
      this.#words[index] = region === null ? none : unsigned(region.bytes);
    });
    this.chunks.length = this.#words.length = length;
    this.#vacant.length = 0;
    for (let chunk = 0; chunk < length; chunk++) if (this.#words[chunk] === none) this.#vacant.push(chunk);
  }

  /** Bytes in used blocks. */
  get used(): number {
    return this.#usedUnits * UNIT_BYTES;
  }

  /** Bytes of all chunks. */
  get reserved(): number {
    return this.#reservedUnits * UNIT_BYTES;
  }

  /** A block that holds `bytes` bytes, header included. Its content is undefined. */
  allocate(bytes: number): number {
    assert(bytes <= BLOCK_BYTES_MAX, "a block was asked for that is longer than the longest");
    const units = unitsOf(bytes);
    let ref = this.#takeFit(units);
    if (ref === 0) {
      this.#addChunk(units);
      ref = this.#takeFit(units);
    }
    this.#cut(ref, units);
    return ref;
  }

  /** Gives a block back. */
  free(ref: number): void {
    const words = this.#words[ref >>> CHUNK_SHIFT] as Uint32Array;
    let at = (ref & UNIT_MASK) << 2;
    const header = words[at] as number;
    let size = header & SIZE_MASK;
    assert((header & FREE) === 0 && size > 0, "a block was given back that is not in use");
    this.#usedUnits -= size;
    const behind = at + (size << 2);
    const following = words[behind] as number;
    if ((following & FREE) !== 0) {
      this.#unlist(ref + size, words, behind);
      size += following & SIZE_MASK;
    }
    if ((header & FREE_BEFORE) !== 0) {
      const before = words[at - 1] as number;
      ref -= before;
      at -= before << 2;
      this.#unlist(ref, words, at);
      size += before;
    }
    this.#list(ref, words, at, size);
    if (size + BOUND_UNITS === words.length >> 2) this.#onChunkFree(ref >>> CHUNK_SHIFT);
  }

  /** Bytes that a block holds, header included. */
  capacity(ref: number): number {
    const header = (this.#words[ref >>> CHUNK_SHIFT] as Uint32Array)[(ref & UNIT_MASK) << 2] as number;
    return (header & SIZE_MASK) * UNIT_BYTES;
  }

  /** Makes a block hold `bytes` bytes where it is, if what lies behind it is free; false, and nothing happens, if not. */
  extend(ref: number, bytes: number): boolean {
    const words = this.#words[ref >>> CHUNK_SHIFT] as Uint32Array;
    const at = (ref & UNIT_MASK) << 2;
    const header = words[at] as number;
    const size = header & SIZE_MASK;
    const units = unitsOf(bytes);
    if (units <= size) return true;
    const behind = at + (size << 2);
    const following = words[behind] as number;
    const joined = size + (following & SIZE_MASK);
    if ((following & FREE) === 0 || joined < units) return false;
    this.#unlist(ref + size, words, behind);
    words[at] = (header & FREE_BEFORE) | joined;
    const next = at + (joined << 2);
    words[next] = (words[next] as number) & ~FREE_BEFORE;
    this.#usedUnits += joined - size;
    this.#cut(ref, units);
    return true;
  }

  /** Gives back what a block has beyond `bytes` bytes. */
  trim(ref: number, bytes: number): void {
    this.#cut(ref, unitsOf(bytes));
  }

  /** Checks every invariant; for tests. Throws `AssertionError`. */
  check(): void {
    let used = 0;
    let listed = 0;
    let free = 0;
    for (const words of this.#words) {
      if (words.length === 0) continue;
      const last = (words.length >> 2) - 1;
      let before = 0;
      let at = 4;
      while (at >> 2 < last) {
        const header = words[at] as number;
        const size = header & SIZE_MASK;
        assert(size > 0 && (at >> 2) + size <= last, "a block reaches beyond its chunk");
        assert(((header & FREE_BEFORE) !== 0) === (before !== 0), "a block is wrong about the one before it");
        assert(before === 0 || (header & FREE) === 0, "two free blocks side by side");
        if ((header & FREE) === 0) {
          used += size;
          before = 0;
        } else {
          assert(words[at + (size << 2) - 1] === size, "a free block does not end with its size");
          before = size;
          free++;
        }
        at += size << 2;
      }
      assert(at >> 2 === last, "the blocks do not fill their chunk");
      assert((((words[at] as number) & FREE_BEFORE) !== 0) === (before !== 0), "the end of a chunk is wrong");
    }
    for (let list = 0; list < LISTS; list++) {
      const filled = ((this.#filled[list >> 5] as number) & (1 << (list & 31))) !== 0;
      assert(filled === ((this.#heads[list] as number) !== 0), "the map of the lists is wrong");
      for (let ref = this.#heads[list] as number; ref !== 0; listed++) {
        const words = this.#words[ref >>> CHUNK_SHIFT] as Uint32Array;
        const at = (ref & UNIT_MASK) << 2;
        const header = words[at] as number;
        assert(
          (header & FREE) !== 0 && listOf(header & SIZE_MASK) === list,
          "a block is in a list that is not its own",
        );
        ref = words[at + 1] as number;
      }
    }
    assert(listed === free, `${listed} free blocks are in lists, ${free} in chunks`);
    assert(used === this.#usedUnits, `${used} units are used, ${this.#usedUnits} counted`);
  }

  /** Takes a free block of at least so many units out of its list and marks it used; 0 if there is none. */
  #takeFit(units: number): number {
    const list = this.#findList(listOf(roundUp(units)));
    if (list < 0) return 0;
    const ref = this.#heads[list] as number;
    const words = this.#words[ref >>> CHUNK_SHIFT] as Uint32Array;
    const at = (ref & UNIT_MASK) << 2;
    const size = (words[at] as number) & SIZE_MASK;
    this.#unlist(ref, words, at);
    if (size + BOUND_UNITS === words.length >> 2 && ref >>> CHUNK_SHIFT === this.#spare) this.#spare = -1;
    // Before a free block there is none that is free, else they would be one.
    words[at] = size;
    const behind = at + (size << 2);
    words[behind] = (words[behind] as number) & ~FREE_BEFORE;
    this.#usedUnits += size;
    return ref;
  }

  /** The first list from `list` on that is not empty, -1 if all are. */
  #findList(list: number): number {
    const filled = this.#filled;
    let word = list >> 5;
    let bits = (filled[word] as number) & (-1 << (list & 31));
    while (bits === 0) {
      word++;
      if (word === filled.length) return -1;
      bits = filled[word] as number;
    }
    return (word << 5) + 31 - Math.clz32(bits & -bits);
  }

  /** Gives back the end of a used block beyond `units` units, unless that is too little to be of use. */
  #cut(ref: number, units: number): void {
    const words = this.#words[ref >>> CHUNK_SHIFT] as Uint32Array;
    const at = (ref & UNIT_MASK) << 2;
    const header = words[at] as number;
    const rest = (header & SIZE_MASK) - units;
    if (rest < BLOCK_UNITS_MIN) return;
    words[at] = (header & FREE_BEFORE) | units;
    words[at + (units << 2)] = rest;
    this.free(ref + units);
  }

  #list(ref: number, words: Uint32Array, at: number, size: number): void {
    const list = listOf(size);
    const head = this.#heads[list] as number;
    words[at] = (FREE | size) >>> 0;
    words[at + 1] = head;
    words[at + 2] = 0;
    words[at + (size << 2) - 1] = size;
    const behind = at + (size << 2);
    words[behind] = (words[behind] as number) | FREE_BEFORE;
    if (head !== 0) (this.#words[head >>> CHUNK_SHIFT] as Uint32Array)[((head & UNIT_MASK) << 2) + 2] = ref;
    this.#heads[list] = ref;
    this.#filled[list >> 5] = (this.#filled[list >> 5] as number) | (1 << (list & 31));
  }

  #unlist(ref: number, words: Uint32Array, at: number): void {
    const next = words[at + 1] as number;
    const previous = words[at + 2] as number;
    if (next !== 0) (this.#words[next >>> CHUNK_SHIFT] as Uint32Array)[((next & UNIT_MASK) << 2) + 2] = previous;
    if (previous !== 0) {
      (this.#words[previous >>> CHUNK_SHIFT] as Uint32Array)[((previous & UNIT_MASK) << 2) + 1] = next;
      return;
    }
    const list = listOf((words[at] as number) & SIZE_MASK);
    assert(this.#heads[list] === ref, "a free block is not in its list");
    this.#heads[list] = next;
    if (next === 0) this.#filled[list >> 5] = (this.#filled[list >> 5] as number) & ~(1 << (list & 31));
  }

  /** Adds a chunk with room for a block of so many units. */
  #addChunk(units: number): void {
    // A chunk that is kept although it is free is too small, or this one would not be needed.
    if (this.#spare >= 0) this.#letGo(this.#spare);
    const chunk = this.#vacant.pop() ?? this.#words.length;
    assert(chunk < CHUNKS_MAX, "the byte heap is larger than its references reach");
    const least = Math.max(roundUp(units) + BOUND_UNITS, Math.min(this.#reservedUnits, CHUNK_UNITS));
    let size = FIRST_CHUNK_UNITS;
    while (size < least) size *= 2;
    const region = this.memory.take(ChunkKind.blocks, chunk, size * UNIT_BYTES);
    const words = unsigned(region.bytes);
    this.chunks[chunk] = region;
    this.#words[chunk] = words;
    this.#reservedUnits += size;
    // The last unit counts as used for ever, so that nothing is joined beyond it.
    words[(size - 1) << 2] = 1;
    this.#list(chunk * CHUNK_UNITS + 1, words, 4, size - BOUND_UNITS);
    this.#spare = chunk;
  }

  /** One free chunk is kept, so that a store around the limit of a chunk does not make and drop one over and over. */
  #onChunkFree(chunk: number): void {
    if (this.#spare < 0) this.#spare = chunk;
    else this.#letGo(chunk);
  }

  #letGo(chunk: number): void {
    const words = this.#words[chunk] as Uint32Array;
    this.#unlist(chunk * CHUNK_UNITS + 1, words, 4);
    this.#reservedUnits -= words.length >> 2;
    this.#words[chunk] = none;
    this.chunks[chunk] = NO_REGION;
    this.#vacant.push(chunk);
    this.memory.drop(ChunkKind.blocks, chunk);
  }
}

function unsigned(words: Uint8Array | Int32Array): Uint32Array {
  return new Uint32Array(words.buffer, words.byteOffset, words.byteLength >>> 2);
}

/** Which of the chunks a block lies in. */
export function chunkOf(ref: number): number {
  return ref >>> CHUNK_SHIFT;
}

/** Where it begins in there, in bytes. */
export function byteOf(ref: number): number {
  return (ref & UNIT_MASK) * UNIT_BYTES;
}

function unitsOf(bytes: number): number {
  return Math.max(BLOCK_UNITS_MIN, (bytes + UNIT_BYTES - 1) >>> 4);
}

/** The list that a free block of so many units belongs to. */
function listOf(units: number): number {
  if (units < EXACT_UNITS) return units;
  const power = 31 - Math.clz32(units);
  return EXACT_UNITS + (power - 4) * 8 + ((units >>> (power - 3)) & 7);
}

/** The least size from which on every block of a list is large enough. */
function roundUp(units: number): number {
  if (units < EXACT_UNITS) return units;
  return units + (1 << (28 - Math.clz32(units))) - 1;
}
