// Hot file: every change of an expiry comes here. No allocation, except of further chunks. Watched by bench/byte-store.mjs.
import { assert } from "../../base/index.js";
import { ChunkKind, type ChunkMemory, ownMemory, type Roots } from "./chunk-memory.js";
import type { Entries } from "./entries.js";
import type { PartitionMemory } from "./partition-memory.js";
import type { Region } from "./region.js";

/** Places of a chunk. */
const CHUNK_SHIFT = 13;
const CHUNK_MASK = (1 << CHUNK_SHIFT) - 1;
/** The times, then the entries. */
const CHUNK_BYTES = 12 << CHUNK_SHIFT;
/** Children of a place; they lie side by side, so that a step down reads one or two cache lines. */
const FAN = 4;

/**
 * The entries that expire, as a heap by (expiry, key): constant time for the first, and, as most expiries are later than
 * those there, mostly constant time to add one. The heap's shape depends on history, its first entry on the content alone. Each
 * entry knows its place, counted from 1.
 */
export class ExpiryIndex {
  readonly #entries: Entries;
  readonly #memory: ChunkMemory;
  /** Per place, counted from 0: the expiry in ms, and the entry. */
  readonly #times: Float64Array[] = [];
  readonly #slots: Uint32Array[] = [];
  count = 0;

  constructor(entries: Entries, memory: ChunkMemory = ownMemory) {
    this.#entries = entries;
    this.#memory = memory;
  }

  save(roots: Roots): void {
    roots.put(this.count);
  }

  /** `chunks` unless no chunk has come or gone. */
  load(roots: Roots, chunks: PartitionMemory | null): void {
    this.count = roots.get();
    if (chunks === null) return;
    this.#slots.length = this.#times.length = chunks.refresh(ChunkKind.expiries, (index, region) => {
      if (region !== null) this.#setChunk(index, region);
    });
  }

  /** Bytes of memory set aside. */
  get reserved(): number {
    return this.#slots.length * (CHUNK_MASK + 1) * 12;
  }

  /** The expiry of an entry, 0 for never. */
  expiry(entry: number): number {
    const place = this.#entries.expiryPlace(entry);
    return place === 0 ? 0 : this.#time(place - 1);
  }

  /** The entry that expires first, 0 if none does. */
  first(): number {
    return this.count === 0 ? 0 : this.#slot(0);
  }

  set(entry: number, expiry: number): void {
    const known = this.#entries.expiryPlace(entry);
    if (expiry === 0) {
      if (known !== 0) this.#remove(known - 1);
      this.#entries.setExpiryPlace(entry, 0);
      return;
    }
    if (known === 0) {
      const place = this.count++;
      if (place >>> CHUNK_SHIFT === this.#slots.length) {
        const chunk = this.#slots.length;
        this.#setChunk(chunk, this.#memory.take(ChunkKind.expiries, chunk, CHUNK_BYTES));
      }
      this.#rise(place, entry, expiry);
      return;
    }
    const place = known - 1;
    if (this.#comesBefore(expiry, entry, this.#time(place), entry)) this.#rise(place, entry, expiry);
    else this.#sink(place, entry, expiry);
  }

  /** Checks every invariant; for tests. Throws `AssertionError`. */
  check(): void {
    for (let place = 0; place < this.count; place++) {
      const entry = this.#slot(place);
      assert(this.#entries.expiryPlace(entry) === place + 1, "an entry does not know its place");
      if (place === 0) continue;
      const above = Math.floor((place - 1) / FAN);
      assert(
        !this.#comesBefore(this.#time(place), entry, this.#time(above), this.#slot(above)),
        "an entry expires before the one above it",
      );
    }
  }

  #remove(place: number): void {
    const last = --this.count;
    if (place !== last) {
      const entry = this.#slot(last);
      const expiry = this.#time(last);
      const above = Math.floor((place - 1) / FAN);
      if (place > 0 && this.#comesBefore(expiry, entry, this.#time(above), this.#slot(above)))
        this.#rise(place, entry, expiry);
      else this.#sink(place, entry, expiry);
    }
    if ((last >>> CHUNK_SHIFT) + 2 < this.#slots.length) {
      this.#slots.pop();
      this.#times.pop();
      this.#memory.drop(ChunkKind.expiries, this.#slots.length);
    }
  }

  #setChunk(chunk: number, { bytes }: Region): void {
    this.#times[chunk] = new Float64Array(bytes.buffer, bytes.byteOffset, CHUNK_MASK + 1);
    this.#slots[chunk] = new Uint32Array(bytes.buffer, bytes.byteOffset + 8 * (CHUNK_MASK + 1), CHUNK_MASK + 1);
  }

  /** Puts an entry at a place, or as far above it as it belongs. */
  #rise(from: number, entry: number, expiry: number): void {
    let place = from;
    while (place > 0) {
      const above = Math.floor((place - 1) / FAN);
      if (!this.#comesBefore(expiry, entry, this.#time(above), this.#slot(above))) break;
      this.#put(place, this.#slot(above), this.#time(above));
      place = above;
    }
    this.#put(place, entry, expiry);
  }

  /** Puts an entry at a place, or as far below it as it belongs. */
  #sink(from: number, entry: number, expiry: number): void {
    let place = from;
    for (;;) {
      const below = place * FAN + 1;
      if (below >= this.count) break;
      let least = below;
      const end = Math.min(below + FAN, this.count);
      for (let other = below + 1; other < end; other++) {
        if (this.#comesBefore(this.#time(other), this.#slot(other), this.#time(least), this.#slot(least)))
          least = other;
      }
      if (!this.#comesBefore(this.#time(least), this.#slot(least), expiry, entry)) break;
      this.#put(place, this.#slot(least), this.#time(least));
      place = least;
    }
    this.#put(place, entry, expiry);
  }

  #comesBefore(expiry: number, entry: number, otherExpiry: number, other: number): boolean {
    return expiry < otherExpiry || (expiry === otherExpiry && this.#entries.compareKeys(entry, other) < 0);
  }

  #put(place: number, entry: number, expiry: number): void {
    (this.#slots[place >>> CHUNK_SHIFT] as Uint32Array)[place & CHUNK_MASK] = entry;
    (this.#times[place >>> CHUNK_SHIFT] as Float64Array)[place & CHUNK_MASK] = expiry;
    this.#entries.setExpiryPlace(entry, place + 1);
  }

  #slot(place: number): number {
    return (this.#slots[place >>> CHUNK_SHIFT] as Uint32Array)[place & CHUNK_MASK] as number;
  }

  #time(place: number): number {
    return (this.#times[place >>> CHUNK_SHIFT] as Float64Array)[place & CHUNK_MASK] as number;
  }
}
