import { ByteWriter, KiB } from "../../base/index.js";
import {
  beginBlock,
  BLOCK_BYTES_MAX,
  BLOCK_HEADER_BYTES,
  BlockKind,
  blockSession,
  endBlock,
  markStrict,
  type Span,
} from "../../model/index.js";
import { PartialReplies } from "./partial-replies.js";

const emptyBytes = new Uint8Array(0);
const emptyView = new DataView(emptyBytes.buffer);

/**
 * A submitted block until it is answered. It is the span of its own framed bytes, which do not change once it was sent:
 * every retransmission is byte-identical.
 */
export class OpenBlock implements Span {
  readonly token: number;
  readonly commands: number;
  deadline: number;
  /** Sequence number of the first command, or the ticket of a read; 0 before the first send. */
  sequence = 0;
  /** Monotonic ms of the latest send; -Infinity before the first. */
  sentAt = -Infinity;
  /** Epoch of the route in which it was last sent, so that one epoch sends it once. */
  epoch = 0;
  /** Its caller was told that the outcome is unknown; it is still sent until answered, to keep the sequence dense. */
  abandoned = false;
  answered = false;
  /** Its replies so far, when some of its commands have failed their safety check and wait to be executed. */
  partial: PartialReplies | null = null;
  #writer: ByteWriter | null;

  constructor(token: number, commands: number, deadline: number, writer: ByteWriter) {
    this.token = token;
    this.commands = commands;
    this.deadline = deadline;
    this.#writer = writer;
  }

  get bytes(): Uint8Array {
    return this.#writer?.bytes ?? emptyBytes;
  }

  get view(): DataView {
    return this.#writer?.view ?? emptyView;
  }

  readonly start = 0;

  get end(): number {
    return this.#writer?.length ?? 0;
  }

  /** Undoes its first send: it gets another number, in another session. */
  recall(): void {
    this.sequence = 0;
    this.sentAt = -Infinity;
    this.epoch = 0;
  }

  /** Gives the memory away: an answered block may wait for older ones, its bytes need not. */
  release(): ByteWriter | null {
    const writer = this.#writer;
    this.#writer = null;
    return writer;
  }
}

/** Larger buffers are left to the garbage collector rather than kept. */
const POOLED_BYTES_MAX = 64 * KiB;
const POOLED_WRITERS_MAX = 64;

/** Frames blocks of one stream and reuses the buffers of those that are done: at most 64 buffers of at most 64 KiB. */
export class BlockFrames {
  readonly #stream: number;
  /** Blocks of commands keep the order of their session whatever fails. */
  readonly #strict: boolean;
  readonly #free: ByteWriter[] = [];
  /** Bytes of all framed blocks that were not released. */
  bytesOpen = 0;
  /** Bytes of the replies that blocks hold until they are whole. */
  repliesHeld = 0;

  constructor(stream: number, strict: boolean) {
    this.#stream = stream;
    this.#strict = strict;
  }

  /** Copies the commands in `span` into a new block; its numbers are stamped at the first send. */
  frame(kind: BlockKind, token: number, commands: number, span: Span, deadline: number): OpenBlock {
    const length = BLOCK_HEADER_BYTES + span.end - span.start;
    const writer = this.#free.pop() ?? new ByteWriter(Math.max(4 * KiB, length), BLOCK_BYTES_MAX);
    const at = beginBlock(writer, kind, 0, 0, 0, this.#stream);
    writer.copy(span.bytes, span.start, span.end);
    endBlock(writer, at, commands);
    if (this.#strict && kind === BlockKind.commands) markStrict(writer.view, at);
    this.bytesOpen += length;
    return new OpenBlock(token, commands, deadline, writer);
  }

  /** What is left of a block of reads whose first `answered` commands are answered, as a block of its own. */
  rest(block: OpenBlock, answered: number): OpenBlock {
    const { bytes, view, token, commands, end } = block;
    let start = BLOCK_HEADER_BYTES;
    for (let i = 0; i < answered; i++) start += view.getUint32(start, true);
    const rest = this.frame(BlockKind.read, token, commands - answered, { bytes, view, start, end }, Infinity);
    this.release(block);
    return rest;
  }

  /** Notes the replies to a block of which some are missing: a checked reply block with as many replies as it has commands. */
  hold(block: OpenBlock, replies: Span): PartialReplies {
    block.partial = new PartialReplies(replies);
    this.repliesHeld += block.partial.bytes;
    return block.partial;
  }

  /**
   * Writes blocks of kind `conservative` for the commands of a block, from one on, that wait for their replies, consecutive ones in
   * one, and calls `each` with every one of them; it is valid only then.
   */
  conservative(block: OpenBlock, start: number, writer: ByteWriter, each: (block: Span) => void): void {
    const { partial, bytes, view, commands, sequence } = block;
    let at = BLOCK_HEADER_BYTES;
    for (let i = 0; i < commands;) {
      const first = i;
      const from = at;
      for (; i < commands && i >= start && partial?.isPending(i) !== false; i++) at += view.getUint32(at, true);
      if (i === first) {
        at += view.getUint32(at, true);
        i++;
        continue;
      }
      writer.clear();
      beginBlock(writer, BlockKind.conservative, blockSession(view, 0), sequence + first, 0, this.#stream);
      writer.copy(bytes, from, at);
      endBlock(writer, 0, i - first);
      each({ bytes: writer.bytes, view: writer.view, start: 0, end: writer.length });
    }
  }

  release(block: OpenBlock): void {
    this.repliesHeld -= block.partial?.bytes ?? 0;
    block.partial = null;
    const writer = block.release();
    if (writer === null) return;
    this.bytesOpen -= writer.length;
    if (writer.bytes.length > POOLED_BYTES_MAX || this.#free.length >= POOLED_WRITERS_MAX) return;
    writer.clear();
    this.#free.push(writer);
  }
}
