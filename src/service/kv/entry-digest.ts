// Hot file: three hashes for each change. No allocation. Watched by bench/kv.mjs.
import { mix32 } from "../../base/index.js";
import type { Digest } from "../../model/index.js";

/**
 * Digest of a set of (key, value) entries that does not depend on the order of insertion and follows each change without a
 * walk: four sums modulo 2^32 of a hash of each entry. Each of key and value is hashed into two lanes of 32 bits, from
 * which the four lanes of the entry are mixed. It finds replicas that diverged; it is no defence against an adversary.
 */
export class EntryDigest {
  /** The sums, as signed 32-bit integers. */
  readonly #lanes = new Int32Array(4);
  #first = 0;
  #second = 0;

  add(key: string, value: string): void {
    this.#hash(key);
    this.#fold(this.#first, this.#second, value, 1);
  }

  remove(key: string, value: string): void {
    this.#hash(key);
    this.#fold(this.#first, this.#second, value, -1);
  }

  replace(key: string, before: string, after: string): void {
    this.#hash(key);
    const first = this.#first;
    const second = this.#second;
    this.#fold(first, second, before, -1);
    this.#fold(first, second, after, 1);
  }

  /** Writes the digest as four u32. */
  read(into: Digest): void {
    for (let i = 0; i < 4; i++) into[i] = this.#lanes[i] as number;
  }

  equals(digest: Digest): boolean {
    const lanes = this.#lanes;
    return digest.every((lane, i) => lane === (lanes[i] as number) >>> 0);
  }

  /** Adds `sign` times the entry of a key with these two hashes. */
  #fold(keyFirst: number, keySecond: number, value: string, sign: 1 | -1): void {
    this.#hash(value);
    const first = Math.imul(keyFirst, 0x85ebca6b) + this.#first;
    const second = Math.imul(keySecond, 0xc2b2ae35) + this.#second;
    const a = mix32(first);
    const b = mix32(second);
    const lanes = this.#lanes;
    lanes[0] = (lanes[0] as number) + sign * a;
    lanes[1] = (lanes[1] as number) + sign * b;
    lanes[2] = (lanes[2] as number) + sign * mix32(first ^ b);
    lanes[3] = (lanes[3] as number) + sign * mix32(second ^ a ^ 0x9e3779b1);
  }

  /** Hashes four characters at a time into `#first` and `#second`. */
  #hash(text: string): void {
    const count = text.length;
    let first = count | 0;
    let second = ~count;
    let i = 0;
    for (; i + 4 <= count; i += 4) {
      const word =
        text.charCodeAt(i) |
        (text.charCodeAt(i + 1) << 8) |
        (text.charCodeAt(i + 2) << 16) |
        (text.charCodeAt(i + 3) << 24);
      first = Math.imul(first ^ word, 0x9e3779b1);
      first = (first << 13) | (first >>> 19);
      second = Math.imul(second + word, 0xcc9e2d51);
      second = (second << 15) | (second >>> 17);
    }
    let rest = 0;
    for (let shift = 0; i < count; i++, shift += 8) rest |= text.charCodeAt(i) << shift;
    this.#first = mix32(Math.imul(first ^ rest, 0x9e3779b1));
    this.#second = mix32(Math.imul(second + rest, 0xcc9e2d51));
  }
}
