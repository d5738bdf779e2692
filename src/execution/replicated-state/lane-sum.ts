// Hot file: two sums for each ordered block. No allocation.
import { mix32 } from "../../base/index.js";

/** Most numbers of one record. */
const NUMBERS_MAX = 8;

/**
 * Digest of a set of records that follows each change without a walk and does not depend on order: four sums modulo 2^32 of
 * a hash of each record. A record is a few doubles, given through `numbers`, and up to one hash of bytes.
 */
export class LaneSum {
  readonly lanes = new Int32Array(4);
  readonly #view = new DataView(new ArrayBuffer(8 * NUMBERS_MAX));

  /** Sets number i of the record that the next `fold` adds or removes. */
  number(i: number, value: number): void {
    this.#view.setFloat64(8 * i, value, true);
  }

  /** Adds `sign` times the record of the first `count` numbers. */
  fold(count: number, sign: 1 | -1): void {
    const view = this.#view;
    let first = count;
    let second = ~count;
    for (let i = 0; i < 8 * count; i += 4) {
      const word = view.getUint32(i, true);
      first = Math.imul(first ^ word, 0x9e3779b1);
      first = (first << 13) | (first >>> 19);
      second = Math.imul(second + word, 0xcc9e2d51);
      second = (second << 15) | (second >>> 17);
    }
    const a = mix32(first);
    const b = mix32(second);
    const lanes = this.lanes;
    lanes[0] = (lanes[0] as number) + sign * a;
    lanes[1] = (lanes[1] as number) + sign * b;
    lanes[2] = (lanes[2] as number) + sign * mix32(first ^ b);
    lanes[3] = (lanes[3] as number) + sign * mix32(second ^ a ^ 0x9e3779b1);
  }
}
