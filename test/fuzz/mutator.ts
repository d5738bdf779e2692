import type { Prng } from "#src/base/index.js";

/** Longest input, in bytes. Every length field of every format reaches beyond it, which is what matters about lengths. */
export const INPUT_BYTES_MAX = 16 * 1024;
/** Free bytes in front of an input, as in a frame or segment that holds other things too. */
export const INPUT_START = 16;

/** Values at which lengths, counts and positions go wrong in interesting ways, as far as they fit a field. */
const WHOLE = [
  0, 1, 2, 3, 4, 7, 8, 23, 24, 31, 32, 39, 40, 41, 71, 72, 73, 127, 128, 255, 256, 511, 512, 513, 32_767, 32_768,
  65_535, 65_536, 65_537, 1_048_576, 16_777_215, 16_777_216, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff,
];
const FLOATS = [
  0,
  -0,
  1,
  -1,
  0.5,
  2 ** 31,
  2 ** 32,
  2 ** 53 - 1,
  2 ** 53,
  2 ** 53 + 2,
  1e16,
  1e300,
  Infinity,
  -Infinity,
  NaN,
  5e-324,
];
const NUMBERS = [
  "0",
  "-0",
  "-1",
  "1",
  "+1",
  "00",
  "1e9",
  "1.5",
  "65536",
  "1048577",
  "2147483648",
  "4294967296",
  "9007199254740993",
  "9223372036854775807",
  "9223372036854775808",
  "99999999999999999999",
  "",
];

/**
 * Makes inputs of valid ones, in one buffer that is used again and again: `bytes[start, end)`. What stands around them is
 * noise, so that whoever reads beyond an input finds no zeros there.
 */
export class Mutator {
  readonly bytes = new Uint8Array(INPUT_START + INPUT_BYTES_MAX);
  readonly #all = new DataView(this.bytes.buffer);
  readonly start = INPUT_START;
  end = INPUT_START;

  constructor() {
    for (let i = 0; i < this.bytes.length; i++) this.bytes[i] = (i * 167 + 13) & 255;
  }

  get length(): number {
    return this.end - this.start;
  }

  /** A valid input, changed in up to six places; now and then in none. `tokens` are words of the format. */
  make(prng: Prng, corpus: readonly Uint8Array[], tokens: readonly string[]): void {
    this.#load(prng.pick(corpus));
    if (prng.chance(0.02)) return;
    // Few changes get deep into a decoder; many find what only a combination shows.
    const changes = prng.chance(0.6) ? 1 : 1 + prng.below(6);
    for (let i = 0; i < changes; i++) this.#change(prng, corpus, tokens);
  }

  #load(input: Uint8Array): void {
    const length = Math.min(input.length, INPUT_BYTES_MAX);
    this.bytes.set(length === input.length ? input : input.subarray(0, length), this.start);
    this.end = this.start + length;
  }

  #change(prng: Prng, corpus: readonly Uint8Array[], tokens: readonly string[]): void {
    const { bytes } = this;
    if (this.length === 0) return this.#insert(prng, this.start, 1 + prng.below(8));
    const at = this.#place(prng);
    switch (prng.below(tokens.length === 0 ? 12 : 16)) {
      case 0:
        bytes[at] = (bytes[at] as number) ^ (1 << prng.below(8));
        return;
      case 1:
        bytes[at] = prng.below(256);
        return;
      case 2:
      case 3:
        return this.#word(prng, at);
      case 4:
        return this.#nudge(prng, at);
      case 5:
        if (this.end - at >= 8) this.#all.setFloat64(at, prng.pick(FLOATS), prng.chance(0.8));
        return;
      case 6:
        this.end = at;
        return;
      case 7:
        return this.#insert(prng, at, 1 + prng.below(prng.chance(0.9) ? 16 : 600));
      case 8:
        return this.#remove(at, 1 + prng.below(Math.min(64, this.end - at)));
      case 9:
        return this.#repeat(prng, at);
      case 10:
        return this.#splice(prng, prng.pick(corpus), at);
      case 11:
        return this.#number(prng, at);
      default:
        return this.#token(at, prng.pick(tokens), prng.chance(0.5));
    }
  }

  /** Mostly where headers stand, and where the words of binary formats begin. */
  #place(prng: Prng): number {
    const at = prng.chance(0.4) ? prng.below(Math.min(this.length, 96)) : prng.below(this.length);
    return this.start + (prng.chance(0.5) ? at & ~3 : at);
  }

  #word(prng: Prng, at: number): void {
    const value = prng.pick(WHOLE);
    const little = prng.chance(0.8);
    const room = this.end - at;
    if (room >= 4 && prng.chance(0.75)) this.#all.setUint32(at, value, little);
    else if (room >= 2) this.#all.setUint16(at, value & 0xffff, little);
    else this.bytes[at] = value & 255;
  }

  #nudge(prng: Prng, at: number): void {
    const step = prng.below(17) - 8;
    if (this.end - at < 4) this.bytes[at] = (this.bytes[at] as number) + step;
    else this.#all.setUint32(at, (this.#all.getUint32(at, true) + step) >>> 0, true);
  }

  #insert(prng: Prng, at: number, count: number): void {
    const room = Math.min(count, INPUT_BYTES_MAX - this.length);
    this.bytes.copyWithin(at + room, at, this.end);
    const fill = prng.chance(0.5) ? prng.below(256) : -1;
    for (let i = 0; i < room; i++) this.bytes[at + i] = fill < 0 ? prng.below(256) : fill;
    this.end += room;
  }

  #remove(at: number, count: number): void {
    this.bytes.copyWithin(at, at + count, this.end);
    this.end -= count;
  }

  /** Some bytes once more, at another place. */
  #repeat(prng: Prng, at: number): void {
    const count = Math.min(1 + prng.below(128), this.end - at, INPUT_BYTES_MAX - this.length);
    const to = this.start + prng.below(this.length + 1);
    const copy = this.bytes.slice(at, at + count);
    this.bytes.copyWithin(to + count, to, this.end);
    this.bytes.set(copy, to);
    this.end += count;
  }

  /** From here on the tail of another input. */
  #splice(prng: Prng, other: Uint8Array, at: number): void {
    const from = prng.below(other.length + 1);
    const count = Math.min(other.length - from, INPUT_BYTES_MAX - (at - this.start));
    this.bytes.set(other.subarray(from, from + count), at);
    this.end = at + count;
  }

  /** The decimal number nearest behind `at`, if the format has such, replaced. */
  #number(prng: Prng, at: number): void {
    let first = at;
    while (first < this.end && !isDigit(this.bytes[first] as number)) first++;
    let last = first;
    while (last < this.end && isDigit(this.bytes[last] as number)) last++;
    if (first === last) return this.#nudge(prng, at);
    this.#remove(first, last - first);
    this.#token(first, prng.pick(NUMBERS), true);
  }

  #token(at: number, token: string, insert: boolean): void {
    const count = Math.min(token.length, insert ? INPUT_BYTES_MAX - this.length : this.end - at);
    if (insert) {
      this.bytes.copyWithin(at + count, at, this.end);
      this.end += count;
    }
    for (let i = 0; i < count; i++) this.bytes[at + i] = token.charCodeAt(i);
  }
}

function isDigit(byte: number): boolean {
  return byte >= 48 && byte <= 57;
}
