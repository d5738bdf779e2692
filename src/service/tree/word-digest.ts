// Hot file: every change of an entry passes here. No allocation. Watched by bench/btree.mjs.
import type { Digest } from "../../model/index.js";

/**
 * Digest of a set of entries of two words of key and two of value: four sums modulo 2^32 of a hash of each entry, so that it
 * follows each change without a walk and does not depend on the order of changes. It finds replicas that diverged; it is no
 * defence against an adversary.
 */
export class WordDigest {
  readonly #lanes = new Int32Array(4);

  add(low: number, high: number, valueLow: number, valueHigh: number): void {
    this.#fold(low, high, valueLow, valueHigh, 1);
  }

  remove(low: number, high: number, valueLow: number, valueHigh: number): void {
    this.#fold(low, high, valueLow, valueHigh, -1);
  }

  /** The same as removing an entry and adding one with this value. */
  replace(low: number, high: number, beforeLow: number, beforeHigh: number, valueLow: number, valueHigh: number): void {
    const first = keyHash(low, high);
    const second = mix(first ^ high ^ 0x7f4a7c15);
    const a = firstHash(first, beforeLow, beforeHigh);
    const b = secondHash(second, beforeLow, beforeHigh);
    const c = firstHash(first, valueLow, valueHigh);
    const d = secondHash(second, valueLow, valueHigh);
    const lanes = this.#lanes;
    lanes[0] = (lanes[0] as number) + ((c - a) | 0);
    lanes[1] = (lanes[1] as number) + ((d - b) | 0);
    lanes[2] = (lanes[2] as number) + ((Math.imul(c, d | 1) - Math.imul(a, b | 1)) | 0);
    lanes[3] = (lanes[3] as number) + ((Math.imul(d ^ first, c | 1) - Math.imul(b ^ first, a | 1)) | 0);
  }

  /** Lane i of the sums. */
  lane(i: number): number {
    return this.#lanes[i] as number;
  }

  /** Writes the sums as four u32. */
  read(into: Digest): void {
    for (let i = 0; i < 4; i++) into[i] = this.#lanes[i] as number;
  }

  /**
   * Adds the hashes of an entry, or takes them out. The first two lanes are sums of one hash each; products of one with the
   * other, made odd, are as evenly spread, and no sum of those lanes gives them.
   */
  #fold(low: number, high: number, valueLow: number, valueHigh: number, sign: 1 | -1): void {
    const first = keyHash(low, high);
    const a = firstHash(first, valueLow, valueHigh);
    const b = secondHash(mix(first ^ high ^ 0x7f4a7c15), valueLow, valueHigh);
    const lanes = this.#lanes;
    lanes[0] = (lanes[0] as number) + Math.imul(sign, a);
    lanes[1] = (lanes[1] as number) + Math.imul(sign, b);
    lanes[2] = (lanes[2] as number) + Math.imul(sign, Math.imul(a, b | 1));
    lanes[3] = (lanes[3] as number) + Math.imul(sign, Math.imul(b ^ first, a | 1));
  }
}

// Hashes are signed: a number from 2^31 on is boxed wherever the compiler does not inline a call, which took a third of the
// time of an update.

function keyHash(low: number, high: number): number {
  return mix((Math.imul(low, 0x9e3779b1) + Math.imul(high ^ 0x3c6ef372, 0xcc9e2d51)) | 0);
}

function firstHash(first: number, valueLow: number, valueHigh: number): number {
  return mix((first + Math.imul(valueLow, 0x85ebca6b)) ^ Math.imul(valueHigh, 0xc2b2ae35));
}

function secondHash(second: number, valueLow: number, valueHigh: number): number {
  return mix(((second ^ Math.imul(valueLow, 0x27d4eb2f)) + Math.imul(valueHigh, 0x165667b1)) | 0);
}

/** `mix32` of base, signed. */
function mix(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
