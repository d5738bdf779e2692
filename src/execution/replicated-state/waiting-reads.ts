import { assert, Heap } from "../../base/index.js";
import type { Instance, Span } from "../../model/index.js";

/** Chunks of this size are kept for reuse; a larger block gets one of its own. */
const CHUNK_BYTES = 256 * 1024;
const FREE_CHUNKS_MAX = 8;

interface Chunk {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  used: number;
  live: number;
}

/** A block of unordered reads that may execute once the state is through `after`. */
export interface WaitingRead {
  readonly after: Instance;
  readonly arrival: number;
  readonly route: number;
  readonly block: Span;
  readonly chunk: Chunk;
}

/**
 * Read blocks that arrived before the state they must see. They leave in order of that state, those for the same state in
 * order of arrival. A read for an instance that is long in coming does not hold up others: after a change of leader an
 * instance that the old one had opened may be a while in coming.
 *
 * Holds at most `bytesMax` bytes of blocks; `offer` refuses more.
 */
export class WaitingReads {
  readonly #bytesMax: number;
  readonly #heap = new Heap<WaitingRead>((a, b) => a.after < b.after || (a.after === b.after && a.arrival < b.arrival));
  readonly #free: Chunk[] = [];
  /** Empty until a read has to wait. */
  #open: Chunk = makeChunk(0);
  #arrivals = 0;
  /** Bytes of waiting blocks. */
  bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get size(): number {
    return this.#heap.size;
  }

  /** Copies the block; false if there is no room for it. */
  offer(after: Instance, route: number, block: Span): boolean {
    const length = block.end - block.start;
    if (this.bytes + length > this.#bytesMax) return false;
    const chunk = this.#room(length);
    const start = chunk.used;
    chunk.bytes.set(block.bytes.subarray(block.start, block.end), start);
    chunk.used += length;
    chunk.live++;
    this.bytes += length;
    const span = { bytes: chunk.bytes, view: chunk.view, start, end: start + length };
    this.#heap.push({ after, arrival: this.#arrivals++, route, block: span, chunk });
    return true;
  }

  /** True if a read waits that may execute on a state through `executed`. */
  due(executed: Instance): boolean {
    const next = this.#heap.peek();
    return next !== undefined && next.after <= executed;
  }

  /** The next read that may execute on a state through `executed`, or null. Its bytes are valid until `release`. */
  take(executed: Instance): WaitingRead | null {
    return this.due(executed) ? (this.#heap.pop() ?? null) : null;
  }

  release(read: WaitingRead): void {
    const { chunk } = read;
    assert(chunk.live > 0, "a waiting read was released twice");
    this.bytes -= read.block.end - read.block.start;
    chunk.live--;
    if (chunk.live > 0) return;
    chunk.used = 0;
    if (chunk !== this.#open && chunk.bytes.length === CHUNK_BYTES && this.#free.length < FREE_CHUNKS_MAX) {
      this.#free.push(chunk);
    }
  }

  #room(length: number): Chunk {
    const open = this.#open;
    if (open.bytes.length - open.used >= length) return open;
    // An open chunk without live blocks is empty, so that it is too small for this block; it is kept for the next ones.
    if (length > CHUNK_BYTES || (open.live === 0 && open.bytes.length === CHUNK_BYTES)) return makeChunk(length);
    this.#open = this.#free.pop() ?? makeChunk(CHUNK_BYTES);
    return this.#open;
  }
}

function makeChunk(length: number): Chunk {
  const bytes = new Uint8Array(length);
  return { bytes, view: new DataView(bytes.buffer), used: 0, live: 0 };
}
