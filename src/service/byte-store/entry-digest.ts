// Hot file: each change folds an entry out and one in. No allocation. Watched by bench/byte-store.mjs.
import { mix32 } from "../../base/index.js";
import type { Digest } from "../../model/index.js";
import type { Roots } from "./chunk-memory.js";

/**
 * Digest of a set of entries that does not depend on the order of their changes: four sums modulo 2^32 of a hash of each entry,
 * mixed from the sums of its key and value, their lengths and its expiry. It finds replicas that diverged; it is no defence
 * against an adversary.
 */
export class EntryDigest {
  /** The sums, as signed 32-bit integers. */
  readonly #lanes = new Int32Array(4);
  #keyFirst = 0;
  #keySecond = 0;
  #a = 0;
  #b = 0;
  #c = 0;
  #d = 0;

  /** Says the sums to `load` of another view of the same entries. */
  save(roots: Roots): void {
    for (let i = 0; i < 4; i++) roots.put(this.#lanes[i] as number);
  }

  load(roots: Roots): void {
    for (let i = 0; i < 4; i++) this.#lanes[i] = roots.get();
  }

  /** Chooses the key whose entry the next calls are about. */
  key(first: number, second: number, length: number): void {
    this.#keyFirst = Math.imul(first ^ length, 0x85ebca6b);
    this.#keySecond = Math.imul(second, 0xc2b2ae35);
  }

  /** Takes in the entry that has this value. */
  add(valueFirst: number, valueSecond: number, length: number, expiry: number): void {
    this.#fold(valueFirst, valueSecond, untilOf(length, expiry));
    const lanes = this.#lanes;
    lanes[0] = (lanes[0] as number) + this.#a;
    lanes[1] = (lanes[1] as number) + this.#b;
    lanes[2] = (lanes[2] as number) + this.#c;
    lanes[3] = (lanes[3] as number) + this.#d;
  }

  /** Takes it out. */
  remove(valueFirst: number, valueSecond: number, length: number, expiry: number): void {
    this.#fold(valueFirst, valueSecond, untilOf(length, expiry));
    const lanes = this.#lanes;
    lanes[0] = (lanes[0] as number) - this.#a;
    lanes[1] = (lanes[1] as number) - this.#b;
    lanes[2] = (lanes[2] as number) - this.#c;
    lanes[3] = (lanes[3] as number) - this.#d;
  }

  /** Writes the digest as four u32. */
  read(into: Digest): void {
    for (let i = 0; i < 4; i++) into[i] = this.#lanes[i] as number;
  }

  equals(digest: Digest): boolean {
    const lanes = this.#lanes;
    return digest.every((lane, i) => lane === (lanes[i] as number) >>> 0);
  }

  /** The four hashes of an entry: two of two halves of what it is made of, and two ways of mixing these. */
  #fold(valueFirst: number, valueSecond: number, until: number): void {
    let a = (this.#keyFirst + (valueFirst ^ Math.imul(until, 0x9e3779b1))) | 0;
    a = Math.imul(a ^ (a >>> 16), 0x85ebca6b);
    a = Math.imul(a ^ (a >>> 13), 0xc2b2ae35);
    a ^= a >>> 16;
    let b = (this.#keySecond + (valueSecond ^ until)) | 0;
    b = Math.imul(b ^ (b >>> 16), 0xcc9e2d51);
    b = Math.imul(b ^ (b >>> 13), 0x1b873593);
    b ^= b >>> 16;
    const c = Math.imul(a ^ (b << 13) ^ (b >>> 19), 0x27d4eb2f);
    const d = Math.imul(b ^ (a << 7) ^ (a >>> 25), 0x165667b1);
    this.#a = a;
    this.#b = b;
    this.#c = c ^ (c >>> 15);
    this.#d = d ^ (d >>> 15);
  }
}

/** Length of the value and expiry in one word. */
function untilOf(length: number, expiry: number): number {
  if (expiry === 0) return length;
  // The remainder of a division by 2^32 and its quotient, both exact.
  return mix32(mix32(length ^ Math.imul(expiry, 0x27d4eb2f)) + Math.floor(expiry / 4294967296));
}
