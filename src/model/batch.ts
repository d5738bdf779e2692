// Hot file: one batch per consensus instance; spans instead of subarrays, chunks instead of one buffer per batch.
import { assert } from "../base/index.js";
import { BLOCK_HEADER_BYTES, BlockKind, checkBlock } from "./block.js";
import { BATCH_BLOCKS_MAX } from "./ids.js";

/** Bytes `[start, end)` of a buffer together with the one `DataView` of that buffer (offsets are absolute). */
export interface Span {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly start: number;
  readonly end: number;
}

/**
 * Batch: the blocks that one consensus instance decides. Little-endian:
 *
 * | at | type | field |
 * |---|---|---|
 * | 0 | u32 | byte length of the whole batch |
 * | 4 | u32 | number of blocks |
 * | 8 | u32 | number of commands in all blocks |
 * | 12 | u32 | 0 |
 * | 16 | f64 | agreed time in ms since the epoch, as the coordinator proposed it; 0 in a no-op of recovery |
 * | 24 | … | blocks |
 */
export interface Batch extends Span {
  readonly blocks: number;
  readonly commands: number;
  /** The arena chunk that owns the bytes. */
  readonly chunk: ArenaChunk;
}

export const BATCH_HEADER_BYTES = 24;
/** Most bytes of one batch. */
export const BATCH_BYTES_MAX = 4 * 1024 * 1024;

export const batchLength = (view: DataView, at: number): number => view.getUint32(at, true);
export const batchBlocks = (view: DataView, at: number): number => view.getUint32(at + 4, true);
export const batchCommands = (view: DataView, at: number): number => view.getUint32(at + 8, true);
export const batchTime = (view: DataView, at: number): number => view.getFloat64(at + 16, true);

export function writeBatchHeader(
  view: DataView,
  at: number,
  length: number,
  blocks: number,
  commands: number,
  time: number,
): void {
  view.setUint32(at, length, true);
  view.setUint32(at + 4, blocks, true);
  view.setUint32(at + 8, commands, true);
  view.setUint32(at + 12, 0, true);
  view.setFloat64(at + 16, time, true);
}

/** Checks a batch from the wire or disk completely; its byte length, or -1 when malformed. */
export function checkBatch(view: DataView, at: number, end: number): number {
  if (end - at < BATCH_HEADER_BYTES) return -1;
  const length = batchLength(view, at);
  if (length < BATCH_HEADER_BYTES || length > BATCH_BYTES_MAX || length > end - at) return -1;
  const blocks = batchBlocks(view, at);
  const time = batchTime(view, at);
  if (blocks > BATCH_BLOCKS_MAX || !(time >= 0 && time < 1e16)) return -1;
  let offset = at + BATCH_HEADER_BYTES;
  const stop = at + length;
  let commands = 0;
  for (let i = 0; i < blocks; i++) {
    const bytes = checkBlock(view, offset, stop);
    if (bytes < BLOCK_HEADER_BYTES || view.getUint8(offset + 32) === BlockKind.read) return -1;
    commands += view.getUint32(offset + 4, true);
    offset += bytes;
  }
  return offset === stop && commands === batchCommands(view, at) ? length : -1;
}

/** A stretch of memory that holds batches one behind the other; reused when all of them are released. */
export interface ArenaChunk {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  used: number;
  live: number;
  sealed: boolean;
}

/**
 * One arena per group: batches are appended, and a chunk is reused once every batch in it has been released (at trim).
 *
 * Default chunk 1 MiB; a larger batch gets a chunk of its own. `bytesHeld` counts the memory of all chunks, which is what
 * log limits are checked against.
 */
export class BatchArena {
  readonly #chunkBytes: number;
  readonly #free: ArenaChunk[] = [];
  readonly #freeMax: number;
  #open: ArenaChunk;
  /** Bytes of memory in chunks that are not free. */
  bytesHeld = 0;
  /** Batches that have not been released. */
  batches = 0;

  constructor(chunkBytes = 1024 * 1024, freeMax = 16) {
    this.#chunkBytes = chunkBytes;
    this.#freeMax = freeMax;
    this.#open = this.#take(chunkBytes);
  }

  /** Copies a checked batch into the arena. One copy in; none after. */
  copy(source: Uint8Array, sourceView: DataView, start: number, end: number): Batch {
    const length = end - start;
    const chunk = this.#room(length);
    const at = chunk.used;
    chunk.bytes.set(start === 0 && end === source.length ? source : source.subarray(start, end), at);
    return this.#claim(chunk, length, batchBlocks(sourceView, start), batchCommands(sourceView, start));
  }

  /** An empty batch with the given agreed time: a no-op to the service. */
  empty(time: number): Batch {
    const chunk = this.#room(BATCH_HEADER_BYTES);
    writeBatchHeader(chunk.view, chunk.used, BATCH_HEADER_BYTES, 0, 0, time);
    return this.#claim(chunk, BATCH_HEADER_BYTES, 0, 0);
  }

  /**
   * Builds a batch from blocks that stand one behind the other in `blocks[start, end)`, with room for the header before
   * them made here.
   */
  build(blocks: Uint8Array, start: number, end: number, count: number, commands: number, time: number): Batch {
    const length = BATCH_HEADER_BYTES + end - start;
    const chunk = this.#room(length);
    writeBatchHeader(chunk.view, chunk.used, length, count, commands, time);
    chunk.bytes.set(blocks.subarray(start, end), chunk.used + BATCH_HEADER_BYTES);
    return this.#claim(chunk, length, count, commands);
  }

  /** Gives a batch back. Its bytes must not be read afterwards. */
  release(batch: Batch): void {
    const chunk = batch.chunk;
    assert(chunk.live > 0, "a batch was released twice");
    chunk.live--;
    this.batches--;
    if (chunk.live === 0 && chunk.sealed) this.#recycle(chunk);
  }

  #claim(chunk: ArenaChunk, length: number, blocks: number, commands: number): Batch {
    const start = chunk.used;
    // Batches start at multiples of 8, so that typed arrays over them stay possible.
    chunk.used = Math.min(chunk.bytes.length, (start + length + 7) & ~7);
    chunk.live++;
    this.batches++;
    return { bytes: chunk.bytes, view: chunk.view, start, end: start + length, blocks, commands, chunk };
  }

  #room(length: number): ArenaChunk {
    const open = this.#open;
    if (open.bytes.length - open.used >= length) return open;
    if (open.live === 0 && open.bytes.length >= length) {
      open.used = 0;
      return open;
    }
    open.sealed = true;
    if (open.live === 0) this.#recycle(open);
    this.#open = this.#take(length);
    return this.#open;
  }

  #take(length: number): ArenaChunk {
    if (length <= this.#chunkBytes) {
      const free = this.#free.pop();
      if (free !== undefined) {
        this.bytesHeld += free.bytes.length;
        return free;
      }
    }
    const bytes = new Uint8Array(Math.max(length, this.#chunkBytes));
    this.bytesHeld += bytes.length;
    return { bytes, view: new DataView(bytes.buffer), used: 0, live: 0, sealed: false };
  }

  #recycle(chunk: ArenaChunk): void {
    this.bytesHeld -= chunk.bytes.length;
    if (chunk.bytes.length !== this.#chunkBytes || this.#free.length >= this.#freeMax) return;
    chunk.used = 0;
    chunk.sealed = false;
    this.#free.push(chunk);
  }
}
