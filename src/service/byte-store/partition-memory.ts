import { assert, CapacityError } from "../../base/index.js";
import { CHUNK_KINDS, ChunkKind, type ChunkMemory, Roots } from "./chunk-memory.js";
import { Region } from "./region.js";
import { PAGE_BYTES, type SharedPages } from "./shared-pages.js";

/** Most chunks of each kind, by what numbers of entries and references reach. */
const CHUNKS_MAX: readonly number[] = Object.freeze([4096, 8192, 8192, 8192, 512]);
/** Words of a chunk in a directory: its first page, counted from 1, and its length in bytes. 0 and anything for none. */
const PLACE_WORDS = 2;

/** A chunk begins so far behind the beginning of its first page, as it does in a buffer of its own (see `entry-layout.ts`). */
const CHUNK_BEGIN = 16;

/**
 * The words that views of a partition share, beside its chunks. First those of the partition: which of its two sets of entries is
 * the present one, the set that is kept for a snapshot alone (counted from 1, 0 for none), and lists of chunks that are free.
 */
const CURRENT = 0;
const KEPT = 1;
/** What it holds, for whoever only wants to know about how much: entries, and bytes as a double. */
export const COUNT_WORD = 2;
const SIZE_DOUBLE = 2;
/** Lists of free chunks, for each number of pages one: that number, and the first page of the first chunk, counted from 1. */
const FREE_LISTS = 16;
const FREE_LISTS_MAX = 48;
const PARTITION_WORDS = FREE_LISTS + 2 * FREE_LISTS_MAX;

/** Then for each of the two sets: how often its directories have changed, the lengths of these, its roots, tables, directories. */
const VERSION = 0;
const LENGTHS = 1;
const ROOTS = 8;
const ROOTS_MAX = 56;
const TABLES = ROOTS + ROOTS_MAX;
const TABLES_MAX = 192;
const DIRECTORIES = TABLES + TABLES_MAX;
const SET_WORDS = DIRECTORIES + PLACE_WORDS * CHUNKS_MAX.reduce((sum, most) => sum + most, 0);

/** Words that a partition's views share. */
export const CONTROL_WORDS = PARTITION_WORDS + 2 * SET_WORDS;

/** Where the directory of each kind begins. */
const DIRECTORY_AT: readonly number[] = CHUNKS_MAX.map(
  (_, kind) => DIRECTORIES + PLACE_WORDS * CHUNKS_MAX.slice(0, kind).reduce((sum, most) => sum + most, 0),
);

/**
 * The chunks of one of the two sets of entries of a partition, as one thread sees them. Whoever may touch the partition may take
 * and drop chunks; others learn of it when they load the set, by its directories. Chunks that were dropped are kept in lists of the
 * partition for the next that need as many pages.
 */
export class PartitionMemory implements ChunkMemory {
  readonly fresh: boolean;
  readonly roots: Roots;
  readonly #pages: SharedPages;
  /** The words of the partition, and those of the set. */
  readonly #partition: Int32Array;
  readonly #set: Int32Array;
  #tables = 0;
  /** The state of the directories that this view knows of. */
  #known: number;
  /** Of each chunk that this view knows: its first page, counted from 1, and its length. */
  readonly #places: number[][] = Array.from({ length: CHUNK_KINDS }, () => []);

  /** `fresh`: the set is made anew, and must have no chunks. */
  constructor(pages: SharedPages, partition: Int32Array, set: number, fresh: boolean) {
    this.#pages = pages;
    this.#partition = partition;
    const begin = PARTITION_WORDS + set * SET_WORDS;
    this.#set = partition.subarray(begin, begin + SET_WORDS);
    this.fresh = fresh;
    this.roots = new Roots(this.#set.subarray(ROOTS, ROOTS + ROOTS_MAX));
    // Whoever comes to a set that is there knows none of its chunks.
    this.#known = fresh ? (this.#set[VERSION] as number) : (this.#set[VERSION] as number) - 1;
    if (!fresh) return;
    for (let kind = 0; kind < CHUNK_KINDS; kind++) assert(this.#set[LENGTHS + kind] === 0, "a fresh set has chunks");
    this.#set.fill(0, TABLES, TABLES + TABLES_MAX);
    this.#touch();
  }

  take(kind: ChunkKind, index: number, bytes: number): Region {
    if (index >= (CHUNKS_MAX[kind] as number)) {
      throw new CapacityError(`a partition has at most ${CHUNKS_MAX[kind]} chunks of kind ${kind}`);
    }
    const set = this.#set;
    const at = (DIRECTORY_AT[kind] as number) + PLACE_WORDS * index;
    assert(index >= (set[LENGTHS + kind] as number) || set[at] === 0, "a chunk is taken twice");
    const count = pagesOf(bytes);
    let page = this.#takeFree(count);
    const recycled = page >= 0;
    if (!recycled) page = this.#pages.take(count);
    set[at] = page + 1;
    set[at + 1] = bytes;
    if (index >= (set[LENGTHS + kind] as number)) set[LENGTHS + kind] = index + 1;
    this.#note(kind, index, page + 1, bytes);
    this.#touch();
    const region = this.#regionOf(page, bytes);
    if (recycled && kind === ChunkKind.buckets) region.bytes.fill(0);
    return region;
  }

  drop(kind: ChunkKind, index: number): void {
    const set = this.#set;
    const directory = DIRECTORY_AT[kind] as number;
    const at = directory + PLACE_WORDS * index;
    const place = set[at] as number;
    assert(index < (set[LENGTHS + kind] as number) && place !== 0, "a chunk is dropped that is not there");
    this.#giveBack(place - 1, pagesOf(set[at + 1] as number));
    set[at] = 0;
    this.#note(kind, index, 0, 0);
    let length = set[LENGTHS + kind] as number;
    while (length > 0 && set[directory + PLACE_WORDS * (length - 1)] === 0) length--;
    set[LENGTHS + kind] = length;
    this.#touch();
  }

  /** Drops all chunks. */
  dropAll(): void {
    for (let kind = 0; kind < CHUNK_KINDS; kind++) {
      for (let index = (this.#set[LENGTHS + kind] as number) - 1; index >= 0; index--) {
        if (this.#set[(DIRECTORY_AT[kind] as number) + PLACE_WORDS * index] !== 0) this.drop(kind as ChunkKind, index);
      }
    }
  }

  /** Tables are asked for in the same order by all views. */
  table(words: number): Int32Array {
    const begin = TABLES + this.#tables;
    this.#tables += words;
    assert(this.#tables <= TABLES_MAX, "the tables of a set are longer than planned");
    return this.#set.subarray(begin, begin + words);
  }

  /** Whether another view has taken or dropped chunks since this one last knew all; from now on it does. */
  changed(): boolean {
    const version = this.#set[VERSION] as number;
    if (version === this.#known) return false;
    this.#known = version;
    return true;
  }

  /** Tells all chunks of a kind that are not what this view knew them as, null for one that is gone; returns how many there are. */
  refresh(kind: ChunkKind, changed: (index: number, region: Region | null) => void): number {
    const set = this.#set;
    const directory = DIRECTORY_AT[kind] as number;
    const length = set[LENGTHS + kind] as number;
    const places = this.#places[kind] as number[];
    for (let index = 0; index < length; index++) {
      const page = set[directory + PLACE_WORDS * index] as number;
      const bytes = page === 0 ? 0 : (set[directory + PLACE_WORDS * index + 1] as number);
      if (places[2 * index] === page && places[2 * index + 1] === bytes) continue;
      this.#note(kind, index, page, bytes);
      changed(index, page === 0 ? null : this.#regionOf(page - 1, bytes));
    }
    if (places.length > 2 * length) places.length = 2 * length;
    return length;
  }

  #note(kind: ChunkKind, index: number, page: number, bytes: number): void {
    const places = this.#places[kind] as number[];
    while (places.length < 2 * index) places.push(0);
    places[2 * index] = page;
    places[2 * index + 1] = bytes;
  }

  #touch(): void {
    assert(this.#known === this.#set[VERSION], "a view changes directories that it has not loaded");
    this.#known = (this.#known + 1) | 0;
    this.#set[VERSION] = this.#known;
  }

  #regionOf(page: number, bytes: number): Region {
    const buffer = this.#pages.bufferOf(page);
    const offset = this.#pages.offsetOf(page) + CHUNK_BEGIN;
    return new Region(new Uint8Array(buffer, offset, bytes), new Int32Array(buffer, offset, bytes >>> 2));
  }

  /** The first of so many pages that a dropped chunk had, -1 if there is none. */
  #takeFree(count: number): number {
    const words = this.#partition;
    const list = this.#listOf(count);
    const page = (words[list + 1] as number) - 1;
    if (page < 0) return -1;
    words[list + 1] = this.#linkOf(page)[0] as number;
    return page;
  }

  #giveBack(page: number, count: number): void {
    const words = this.#partition;
    const list = this.#listOf(count);
    this.#linkOf(page)[0] = words[list + 1] as number;
    words[list + 1] = page + 1;
  }

  /** Where the list of chunks with so many pages is, which may be a new one. */
  #listOf(count: number): number {
    const words = this.#partition;
    for (let list = FREE_LISTS; list < FREE_LISTS + 2 * FREE_LISTS_MAX; list += 2) {
      if (words[list] === count) return list;
      if (words[list] !== 0) continue;
      words[list] = count;
      return list;
    }
    throw new CapacityError(`a partition has chunks of more than ${FREE_LISTS_MAX} lengths`);
  }

  /** The first word of a free chunk's pages names the next one. */
  #linkOf(page: number): Int32Array {
    return new Int32Array(this.#pages.bufferOf(page), this.#pages.offsetOf(page), 1);
  }
}

/** The words of a partition that are about no set in particular. */
export class PartitionControl {
  readonly words: Int32Array;
  readonly #doubles: Float64Array;

  constructor(control: SharedArrayBuffer, partition: number) {
    const offset = 4 * CONTROL_WORDS * partition;
    this.words = new Int32Array(control, offset, CONTROL_WORDS);
    this.#doubles = new Float64Array(control, offset, FREE_LISTS / 2);
  }

  /** Bytes of control for so many partitions. */
  static bytesFor(partitions: number): number {
    return 4 * CONTROL_WORDS * partitions;
  }

  /** Which of the two sets is the present one. */
  get current(): number {
    return this.words[CURRENT] as number;
  }

  set current(set: number) {
    this.words[CURRENT] = set;
  }

  /** The set that a snapshot alone needs, -1 for none. */
  get kept(): number {
    return (this.words[KEPT] as number) - 1;
  }

  set kept(set: number) {
    this.words[KEPT] = set + 1;
  }

  get count(): number {
    return this.words[COUNT_WORD] as number;
  }

  get size(): number {
    return this.#doubles[SIZE_DOUBLE] as number;
  }

  tell(count: number, size: number): void {
    this.words[COUNT_WORD] = count;
    this.#doubles[SIZE_DOUBLE] = size;
  }
}

function pagesOf(bytes: number): number {
  return Math.ceil((bytes + CHUNK_BEGIN) / PAGE_BYTES);
}
