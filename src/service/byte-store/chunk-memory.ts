import { Region } from "./region.js";

/** What the chunks of a store are for. */
export const ChunkKind = { lines: 0, blocks: 1, buckets: 2, expiries: 3, nodes: 4 } as const;
export type ChunkKind = (typeof ChunkKind)[keyof typeof ChunkKind];
export const CHUNK_KINDS = 5;

/** Where the chunks of one set of entries come from. The chunks of a kind are numbered from 0 on by who takes them. */
export interface ChunkMemory {
  /** Whether the entries are yet to be made; else they are there, and who comes to them loads where they are. */
  readonly fresh: boolean;
  /** Memory that is zeroed for chunks of buckets, and holds anything in the others. */
  take(kind: ChunkKind, index: number, bytes: number): Region;
  /** A chunk is needed no more. */
  drop(kind: ChunkKind, index: number): void;
  /** So many words for tables that never grow; zeros where the entries are fresh. */
  table(words: number): Int32Array;
}

/** Memory of one thread's own, for each chunk a buffer, which the engine takes back. */
export const ownMemory: ChunkMemory = Object.freeze({
  fresh: true,
  take: (_kind: ChunkKind, _index: number, bytes: number): Region => Region.ofLength(bytes),
  drop: (): void => {},
  table: (words: number): Int32Array => new Int32Array(words),
});

/**
 * A base of what is made of chunks: its fields are initialised where they are declared, so that they never hold anything else and
 * the engine knows their type, which one that is set by a constructor costs it a check at each use.
 */
export class ChunkOwner {
  protected readonly memory: ChunkMemory;

  constructor(memory: ChunkMemory = ownMemory) {
    this.memory = memory;
  }
}

/** Whole numbers that a set of entries keeps beside its chunks, on their way to another view of them and from it. */
export class Roots {
  readonly #words: Int32Array;
  #at = 0;

  constructor(words: Int32Array) {
    this.#words = words;
  }

  /** Back to the first. */
  begin(): this {
    this.#at = 0;
    return this;
  }

  put(value: number): void {
    this.#words[this.#at++] = value;
  }

  get(): number {
    return this.#words[this.#at++] as number;
  }
}
