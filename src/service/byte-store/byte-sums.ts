// Hot file: runs over each byte that is written or looked for. No allocation. Watched by bench/byte-store.mjs.

/**
 * A hash of a string of bytes in two lanes of 32 bits, each a sum over its words (four bytes, the last one filled up with
 * zeros) of a hash of the word and its place. A sum can be corrected where some words changed, so that a write in the middle
 * of a long value costs no more than what is written. Strings that differ only in zeros at their end have equal sums;
 * whoever uses them takes the length into account. Equal on every engine; no defence against an adversary.
 */
export class ByteSums {
  first = 0;
  second = 0;

  /** Sums up the bytes `[start, end)` of a view, whose first byte is the first of word `place` of the whole. */
  of(view: DataView, start: number, end: number, place: number): void {
    let first = 0;
    let second = 0;
    let position = Math.imul(place, 0x9e3779b1);
    let at = start;
    for (; at + 4 <= end; at += 4) {
      const word = view.getInt32(at, true);
      position = (position + 0x9e3779b1) | 0;
      let mixed = (word + position) | 0;
      mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
      mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
      mixed ^= mixed >>> 16;
      first = (first + mixed) | 0;
      // A word and a place that give the same mixed word as others do are told apart by their place alone.
      mixed = Math.imul(mixed ^ (position << 15) ^ (position >>> 17), 0xcc9e2d51);
      second = (second + (mixed ^ (mixed >>> 15))) | 0;
    }
    if (at < end) {
      let word = 0;
      for (let shift = 0; at < end; at++, shift += 8) word |= view.getUint8(at) << shift;
      position = (position + 0x9e3779b1) | 0;
      let mixed = (word + position) | 0;
      mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
      mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
      mixed ^= mixed >>> 16;
      first = (first + mixed) | 0;
      mixed = Math.imul(mixed ^ (position << 15) ^ (position >>> 17), 0xcc9e2d51);
      second = (second + (mixed ^ (mixed >>> 15))) | 0;
    }
    this.first = first;
    this.second = second;
  }
}
