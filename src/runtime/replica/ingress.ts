// Hot file: every block from clients passes here once. One copy per block, nothing per command.
import { assert, ByteWriter, Ring } from "../../base/index.js";
import {
  BATCH_BLOCKS_MAX,
  BATCH_HEADER_BYTES,
  type Batch,
  type BatchArena,
  BLOCK_BYTES_MAX,
  blockCommands,
  blockLength,
} from "../../model/index.js";

/**
 * Blocks that wait to be proposed, one behind the other. The next batch is whatever has come in when the window opens:
 * batching by turn under light load, by back pressure under heavy load.
 *
 * `bytesMax` bounds the bytes that wait; when it is passed the host stops reading its clients.
 */
export class Ingress {
  readonly #bytesMax: number;
  readonly #writer: ByteWriter;
  readonly #headroom: number;
  #start = 0;
  #blocks = 0;

  /** `headroom` bytes are kept free in front of the blocks, for a mark of at most that length. */
  constructor(bytesMax: number, headroom = 0) {
    this.#bytesMax = bytesMax;
    this.#headroom = headroom;
    // Links are paused at the maximum, but blocks already read must still fit: one per link of a turn at worst.
    this.#writer = new ByteWriter(4096, bytesMax * 4 + BLOCK_BYTES_MAX);
    this.clear();
  }

  get blocks(): number {
    return this.#blocks;
  }

  get bytes(): number {
    return this.#writer.length - this.#start;
  }

  /** Bytes that are ever held: blocks that were read already come on top of what the option says. */
  get bytesMax(): number {
    return this.#bytesMax * 3;
  }

  get full(): boolean {
    return this.bytes >= this.#bytesMax;
  }

  /** False if the block was not taken: the hard maximum is reached and the client must send it again. */
  add(bytes: Uint8Array, start: number, end: number): boolean {
    if (this.bytes + end - start > this.bytesMax) return false;
    if (this.#start > this.#headroom && this.#start >= this.#writer.length / 2) this.#compact();
    this.#writer.copy(bytes, start, end);
    this.#blocks++;
    return true;
  }

  /**
   * The next batch of at most `batchBytesMax` bytes, or null if nothing waits. A coordinator's `mark`, if there is one, goes in
   * front of what clients have sent.
   */
  take(arena: BatchArena, batchBytesMax: number, mark: ByteWriter | null = null): Batch | null {
    if (this.#blocks === 0) return null;
    if (mark !== null) this.#prepend(mark);
    const { view } = this.#writer;
    let end = this.#start;
    let blocks = 0;
    let commands = 0;
    while (blocks < this.#blocks && blocks < BATCH_BLOCKS_MAX) {
      const length = blockLength(view, end);
      if (blocks > 0 && end + length - this.#start + BATCH_HEADER_BYTES > batchBytesMax) break;
      commands += blockCommands(view, end);
      end += length;
      blocks++;
    }
    const batch = arena.build(this.#writer.bytes, this.#start, end, blocks, commands, 0);
    this.#start = end;
    this.#blocks -= blocks;
    if (this.#blocks === 0) this.clear();
    return batch;
  }

  clear(): void {
    this.#writer.clear();
    this.#writer.skip(this.#headroom);
    this.#start = this.#headroom;
    this.#blocks = 0;
  }

  /** Puts a block in front of those that wait. There is room: the headroom, or what was taken before. */
  #prepend(mark: ByteWriter): void {
    assert(mark.length <= this.#start, "a mark is longer than the room that is kept for it");
    this.#start -= mark.length;
    this.#writer.bytes.set(mark.bytes.subarray(0, mark.length), this.#start);
    this.#blocks++;
  }

  #compact(): void {
    const room = this.#headroom;
    this.#writer.bytes.copyWithin(room, this.#start, this.#writer.length);
    this.#writer.length -= this.#start - room;
    this.#start = room;
  }
}

/** The read blocks of one turn, which share one confirmation. Reused. */
export interface ReadGroup {
  ticket: number;
  readonly writer: ByteWriter;
  /** Per block: route, start, end. */
  readonly items: number[];
}

/** Most groups of reads under way; beyond it reads are answered with a redirect, which makes the client come back. */
export const READ_GROUPS_MAX = 16_384;

/** Unordered reads on their way to a confirmation. */
export class ReadQueue {
  readonly #bytesMax: number;
  readonly #groups = new Ring<ReadGroup>(READ_GROUPS_MAX);
  readonly #free: ReadGroup[] = [];
  #open: ReadGroup | null = null;
  #tickets = 0;
  bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Groups that wait for their confirmation. */
  get groups(): number {
    return this.#groups.size;
  }

  /** False when too much waits already. */
  add(route: number, bytes: Uint8Array, start: number, end: number): boolean {
    if (this.bytes + end - start > this.#bytesMax || this.#groups.full) return false;
    const group = (this.#open ??= this.#free.pop() ?? { ticket: 0, writer: new ByteWriter(4096), items: [] });
    const at = group.writer.length;
    group.writer.copy(bytes, start, end);
    group.items.push(route, at, group.writer.length);
    this.bytes += end - start;
    return true;
  }

  /** Closes the group of this turn and returns its ticket, or 0 if no reads came. */
  close(): number {
    const group = this.#open;
    if (group === null) return 0;
    this.#open = null;
    group.ticket = ++this.#tickets;
    this.#groups.push(group);
    return group.ticket;
  }

  /** Takes the oldest group if its ticket is at or below `ticket`. Give it back with `recycle`. */
  takeThrough(ticket: number): ReadGroup | null {
    const group = this.#groups.at(0);
    if (group === undefined || group.ticket > ticket) return null;
    this.#groups.shift();
    return group;
  }

  recycle(group: ReadGroup): void {
    this.bytes -= group.writer.length;
    group.writer.clear();
    group.items.length = 0;
    if (this.#free.length < 64 && group.writer.bytes.length <= 1024 * 1024) this.#free.push(group);
  }
}
