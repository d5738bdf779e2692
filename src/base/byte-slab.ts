import { assert } from "./assert.js";

/**
 * Keeps copies of short runs of bytes that live for a while. Memory of its own for each costs a call into the system's
 * allocator, which is dearer than the copy; these are views of large pieces, one behind the other. A piece is freed when
 * nothing refers to any of its copies any more, so this is not for what is kept for long beside what is not.
 */
export class ByteSlab {
  readonly #pieceBytes: number;
  #piece = new Uint8Array(0);
  #used = 0;

  constructor(pieceBytes = 64 * 1024) {
    assert(pieceBytes >= 1, `a piece has at least one byte, got ${pieceBytes}`);
    this.#pieceBytes = pieceBytes;
  }

  /** A copy of `source[start, end)`. Its buffer is shared: a view of it needs `byteOffset`. */
  copy(source: Uint8Array, start: number, end: number): Uint8Array {
    const length = end - start;
    // What takes a good part of a piece has one of its own.
    if (length * 4 > this.#pieceBytes) return source.slice(start, end);
    if (this.#used + length > this.#piece.length) {
      this.#piece = new Uint8Array(this.#pieceBytes);
      this.#used = 0;
    }
    const piece = this.#piece;
    const at = this.#used;
    this.#used += length;
    if (length <= 48) for (let i = 0; i < length; i++) piece[at + i] = source[start + i] as number;
    else piece.set(source.subarray(start, end), at);
    return piece.subarray(at, at + length);
  }
}
