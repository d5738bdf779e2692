import { ByteWriter, KiB, MiB } from "../../base/index.js";

const WRITER_BYTES_FIRST = 16 * KiB;
/** Spare memory kept for reuse; beyond it a returned writer is left to the garbage collector. */
const SPARE_BYTES_MAX = 16 * MiB;

/**
 * Output buffers of one port. A connection holds one only while it has unsent output, so that ten thousand idle
 * connections cost nothing.
 */
export class WriterPool {
  readonly #spare: ByteWriter[] = [];
  readonly #bytesMax: number;
  #spareBytes = 0;

  /** `bytesMax` bounds each writer (see ByteWriter). */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get spareBytes(): number {
    return this.#spareBytes;
  }

  take(): ByteWriter {
    const writer = this.#spare.pop();
    if (writer === undefined) return new ByteWriter(WRITER_BYTES_FIRST, this.#bytesMax);
    this.#spareBytes -= writer.bytes.length;
    return writer;
  }

  give(writer: ByteWriter): void {
    if (this.#spareBytes + writer.bytes.length > SPARE_BYTES_MAX) return;
    writer.clear();
    this.#spareBytes += writer.bytes.length;
    this.#spare.push(writer);
  }
}
