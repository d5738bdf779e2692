import { KiB, MiB } from "../../base/index.js";

/** Memory for one frame that straddles chunks. */
export interface HeldBuffer {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

const SMALLEST_BYTES = 4 * KiB;
/** Spare memory kept for reuse; beyond it a returned buffer is left to the garbage collector. */
const SPARE_BYTES_MAX = 16 * MiB;

/**
 * Buffers, a power of two in size unless they are too large to be kept, that the frame readers of one port share. A reader holds one only while a frame is
 * incomplete, so that ten thousand idle connections cost nothing and a stream of large frames allocates nothing.
 */
export class HeldPool {
  readonly #spare = new Map<number, HeldBuffer[]>();
  #spareBytes = 0;

  get spareBytes(): number {
    return this.#spareBytes;
  }

  /** A buffer of at least `length` bytes with arbitrary content. */
  take(length: number): HeldBuffer {
    let size = SMALLEST_BYTES;
    while (size < length) size *= 2;
    if (size > SPARE_BYTES_MAX) size = length;
    const spare = this.#spare.get(size)?.pop();
    if (spare === undefined) {
      const bytes = new Uint8Array(size);
      return { bytes, view: new DataView(bytes.buffer) };
    }
    this.#spareBytes -= size;
    return spare;
  }

  give(buffer: HeldBuffer): void {
    const size = buffer.bytes.length;
    if (this.#spareBytes + size > SPARE_BYTES_MAX) return;
    this.#spareBytes += size;
    const list = this.#spare.get(size);
    if (list === undefined) this.#spare.set(size, [buffer]);
    else list.push(buffer);
  }
}
