// Hot file: the ordered index compares keys here whose heads are equal. No allocation. Watched by bench/byte-store.mjs.
import type { Tails } from "../tree/index.js";
import type { Entries } from "./entries.js";

/** The keys of entries, and the key that is searched for, as the ordered index asks about them. */
export class KeyTails implements Tails {
  readonly #entries: Entries;
  #bytes: Uint8Array = new Uint8Array(0);
  #start = 0;
  #length = 0;

  constructor(entries: Entries) {
    this.#entries = entries;
  }

  /** Chooses the searched key. */
  search(bytes: Uint8Array, start: number, end: number): void {
    this.#bytes = bytes;
    this.#start = start;
    this.#length = end - start;
  }

  /** Chooses the key of an entry. */
  searchEntry(entry: number): void {
    const entries = this.#entries;
    entries.locate(entry);
    this.#bytes = entries.bytes;
    this.#start = entries.at;
    this.#length = entries.keyLength(entry);
  }

  compare(handle: number, from: number): number {
    return this.#compareUpTo(handle, from, this.#length, this.#entries.keyLength(handle));
  }

  comparePrefix(handle: number, length: number): number {
    return this.#compareUpTo(handle, 0, this.#length < length ? this.#length : length, length);
  }

  searchedWord(from: number): number {
    return wordAt(this.#bytes, this.#start + from, this.#length - from);
  }

  word(handle: number, from: number): number {
    const entries = this.#entries;
    entries.locate(handle);
    return wordAt(entries.bytes, entries.at + from, entries.keyLength(handle) - from);
  }

  commonPrefix(a: number, b: number): number {
    const entries = this.#entries;
    entries.locate(a);
    const bytes = entries.bytes;
    const at = entries.at;
    entries.locate(b);
    const others = entries.bytes;
    const otherAt = entries.at;
    const most = Math.min(entries.keyLength(a), entries.keyLength(b));
    let i = 0;
    while (i < most && bytes[at + i] === others[otherAt + i]) i++;
    return i;
  }

  /** Orders the first `length` bytes of the searched key against the first `otherLength` of an entry's, which agree up to `from`. */
  #compareUpTo(handle: number, from: number, length: number, otherLength: number): number {
    const entries = this.#entries;
    entries.locate(handle);
    const bytes = this.#bytes;
    const start = this.#start;
    const others = entries.bytes;
    const at = entries.at;
    const shared = length < otherLength ? length : otherLength;
    for (let i = from; i < shared; i++) {
      const difference = (bytes[start + i] as number) - (others[at + i] as number);
      if (difference !== 0) return difference;
    }
    return length - otherLength;
  }
}

/** Four bytes as a big-endian u32, of which only the first `count` are there. */
function wordAt(bytes: Uint8Array, at: number, count: number): number {
  if (count >= 4) {
    return (
      (((bytes[at] as number) << 24) |
        ((bytes[at + 1] as number) << 16) |
        ((bytes[at + 2] as number) << 8) |
        (bytes[at + 3] as number)) >>>
      0
    );
  }
  let word = 0;
  if (count >= 1) word = (bytes[at] as number) << 24;
  if (count >= 2) word |= (bytes[at + 1] as number) << 16;
  if (count >= 3) word |= (bytes[at + 2] as number) << 8;
  return word >>> 0;
}
