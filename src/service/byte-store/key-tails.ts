// Hot file: the ordered index compares keys here whose heads are equal. No allocation. Watched by bench/byte-store.mjs.
import type { Tails } from "../tree/index.js";
import type { Entries } from "./entries.js";
import { commonBytes, compareBytes, NO_REGION, type Region, wordAt } from "./region.js";

/** The keys of entries, and the key that is searched for, as the ordered index asks about them. */
export class KeyTails implements Tails {
  readonly #entries: Entries;
  #region = NO_REGION;
  #start = 0;
  #length = 0;

  constructor(entries: Entries) {
    this.#entries = entries;
  }

  /** Chooses the searched key. */
  search(region: Region, start: number, end: number): void {
    this.#region = region;
    this.#start = start;
    this.#length = end - start;
  }

  /** Chooses the key of an entry. */
  searchEntry(entry: number): void {
    const entries = this.#entries;
    entries.locate(entry);
    this.#region = entries.region;
    this.#start = entries.at;
    this.#length = entries.keyLength(entry);
  }

  compare(handle: number, from: number): number {
    const entries = this.#entries;
    entries.locate(handle);
    const length = entries.keyLength(handle) - from;
    return compareBytes(
      this.#region.view,
      this.#start + from,
      this.#length - from,
      entries.region.view,
      entries.at + from,
      length,
    );
  }

  comparePrefix(handle: number, length: number): number {
    const entries = this.#entries;
    entries.locate(handle);
    const searched = this.#length < length ? this.#length : length;
    return compareBytes(this.#region.view, this.#start, searched, entries.region.view, entries.at, length);
  }

  searchedWord(from: number): number {
    return wordAt(this.#region.view, this.#start + from, this.#length - from);
  }

  word(handle: number, from: number): number {
    const entries = this.#entries;
    entries.locate(handle);
    return wordAt(entries.region.view, entries.at + from, entries.keyLength(handle) - from);
  }

  commonPrefix(a: number, b: number): number {
    const entries = this.#entries;
    entries.locate(a);
    const { view } = entries.region;
    const at = entries.at;
    entries.locate(b);
    const most = Math.min(entries.keyLength(a), entries.keyLength(b));
    return commonBytes(view, at, entries.region.view, entries.at, most);
  }
}
