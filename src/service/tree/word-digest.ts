// Hot file: every change of an entry passes here. No allocation. Watched by bench/btree.mjs.
import { mix32 } from "../../base/index.js";
import type { Digest } from "../../model/index.js";

/**
 * Digest of a set of entries of two words of key and two of value: four sums modulo 2^32 of a hash of each entry, so that it
 * follows each change without a walk and does not depend on the order of changes. It finds replicas that diverged; it is no
 * defence against an adversary.
 */
export class WordDigest {
  readonly #lanes = new Int32Array(4);

  add(low: number, high: number, valueLow: number, valueHigh: number): void {
    const first = keyHash(low, high);
    const second = mix32(first ^ high ^ 0x7f4a7c15);
    const a = firstHash(first, valueLow, valueHigh);
    const b = secondHash(second, valueLow, valueHigh);
    this.#change(a, b, Math.imul(a, b | 1), Math.imul(b ^ first, a | 1));
  }

  remove(low: number, high: number, valueLow: number, valueHigh: number): void {
    const first = keyHash(low, high);
    const second = mix32(first ^ high ^ 0x7f4a7c15);
    const a = firstHash(first, valueLow, valueHigh);
    const b = secondHash(second, valueLow, valueHigh);
    this.#change(-a | 0, -b | 0, -Math.imul(a, b | 1) | 0, -Math.imul(b ^ first, a | 1) | 0);
  }

  replace(low: number, high: number, beforeLow: number, beforeHigh: number, valueLow: number, valueHigh: number): void {
    const first = keyHash(low, high);
    const second = mix32(first ^ high ^ 0x7f4a7c15);
    const a = firstHash(first, beforeLow, beforeHigh);
    const b = secondHash(second, beforeLow, beforeHigh);
    const c = firstHash(first, valueLow, valueHigh);
    const d = secondHash(second, valueLow, valueHigh);
    this.#change(
      (c - a) | 0,
      (d - b) | 0,
      (Math.imul(c, d | 1) - Math.imul(a, b | 1)) | 0,
      (Math.imul(d ^ first, c | 1) - Math.imul(b ^ first, a | 1)) | 0,
    );
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
   * Adds the changes of the four sums. The first two are sums of hashes of an entry; products of one with the other, made odd,
   * are as evenly spread, and no sum of the lanes before gives them.
   */
  #change(a: number, b: number, c: number, d: number): void {
    const lanes = this.#lanes;
    lanes[0] = ((lanes[0] as number) + a) | 0;
    lanes[1] = ((lanes[1] as number) + b) | 0;
    lanes[2] = ((lanes[2] as number) + c) | 0;
    lanes[3] = ((lanes[3] as number) + d) | 0;
  }
}

function keyHash(low: number, high: number): number {
  return mix32(Math.imul(low, 0x9e3779b1) + Math.imul(high ^ 0x3c6ef372, 0xcc9e2d51));
}

function firstHash(first: number, valueLow: number, valueHigh: number): number {
  return mix32((first + Math.imul(valueLow, 0x85ebca6b)) ^ Math.imul(valueHigh, 0xc2b2ae35));
}

function secondHash(second: number, valueLow: number, valueHigh: number): number {
  return mix32((second ^ Math.imul(valueLow, 0x27d4eb2f)) + Math.imul(valueHigh, 0x165667b1));
}
