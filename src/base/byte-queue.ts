import { assert } from "./assert.js";

/**
 * Bytes that arrived in chunks cut at arbitrary places, for a decoder that reads them piece by piece.
 *
 * A decoder asks `has(n)` before it reads n bytes at `at`, then adds n to `at`; when `has` says no it returns and goes on
 * after the next `push`. What stays unread is bounded by the chunk plus the largest piece the decoder waits for: a decoder
 * checks every length it has read before it waits for that many bytes.
 */
export class ByteQueue {
  bytes = new Uint8Array(4096);
  view = new DataView(this.bytes.buffer);
  /** Offset of the first unread byte. */
  at = 0;
  #end = 0;

  /** Appends `source[start, end)`. Offsets read before this call are void. */
  push(source: Uint8Array, start: number, end: number): void {
    const count = end - start;
    const unread = this.#end - this.at;
    assert(unread >= 0, "a decoder read past the bytes there are");
    if (this.#end + count > this.bytes.length) {
      let capacity = this.bytes.length;
      while (capacity < unread + count) capacity *= 2;
      const bytes = capacity > this.bytes.length ? new Uint8Array(capacity) : this.bytes;
      bytes.set(this.bytes.subarray(this.at, this.#end));
      if (bytes !== this.bytes) {
        this.bytes = bytes;
        this.view = new DataView(bytes.buffer);
      }
      this.at = 0;
      this.#end = unread;
    }
    this.bytes.set(source.subarray(start, end), this.#end);
    this.#end += count;
  }

  /** True if `count` bytes can be read at `at`. */
  has(count: number): boolean {
    return this.#end - this.at >= count;
  }

  /** Unread bytes. */
  get size(): number {
    return this.#end - this.at;
  }
}
