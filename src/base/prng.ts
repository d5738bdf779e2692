import { fnv1a, mix32 } from "./hash.js";

/**
 * Seeded pseudo-random numbers (sfc32). The same seed gives the same numbers on every engine, which is what makes a run
 * of the simulator replayable. Not for secrets.
 */
export class Prng {
  #a: number;
  #b: number;
  #c: number;
  #d = 1;

  constructor(seed: number | string) {
    const base = typeof seed === "string" ? fnv1a(seed) : mix32((seed ^ Math.floor(seed / 4294967296)) | 0) ^ seed;
    this.#a = mix32(base ^ 0x243f6a88);
    this.#b = mix32(base ^ 0x85a308d3);
    this.#c = mix32(base ^ 0x13198a2e);
    for (let i = 0; i < 12; i++) this.u32();
  }

  /** A whole number in [0, 2^32). */
  u32(): number {
    const t = (((this.#a + this.#b) | 0) + this.#d) | 0;
    this.#d = (this.#d + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (this.#c << 21) | (this.#c >>> 11);
    this.#c = (this.#c + t) | 0;
    return t >>> 0;
  }

  /** A number in [0, 1). */
  float(): number {
    return this.u32() / 4294967296;
  }

  /** A whole number in [0, bound), for a bound of at least 1. */
  below(bound: number): number {
    return Math.floor(this.float() * bound);
  }

  /** A number in [low, high). */
  between(low: number, high: number): number {
    return low + this.float() * (high - low);
  }

  /** A number in [low, low * 2^doublings), evenly on a logarithmic scale. */
  logarithmic(low: number, doublings: number): number {
    return low * powerOfTwo(this.between(0, doublings));
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return this.float() < probability;
  }

  /** One element of a non-empty list. */
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  /** An independent generator; the parent moves on by one number. */
  fork(label: string): Prng {
    return new Prng((this.u32() ^ fnv1a(label)) >>> 0);
  }
}

/**
 * 2^x for x of at least 0. The engine's own power of a fraction may differ in its last bit from version to version; square
 * roots, products and sums are rounded alike everywhere.
 */
function powerOfTwo(x: number): number {
  let power = 1;
  let left = x;
  for (; left >= 1; left--) power *= 2;
  for (let root = Math.SQRT2; left > 0; root = Math.sqrt(root)) {
    left *= 2;
    if (left < 1) continue;
    power *= root;
    left--;
  }
  return power;
}
