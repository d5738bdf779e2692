// Per block that has failed commands, and per failed command; blocks that passed never come here.
import { assert, ByteWriter } from "../../base/index.js";
import {
  beginReply,
  BLOCK_COMMANDS_MAX,
  BlockKind,
  endReply,
  FAILED_REPLY_BYTES,
  REPLY_BYTES_MAX,
  REPLY_HEADER_BYTES,
  replyCount,
  replySequence,
  replySession,
  ReplyStatus,
  type Span,
} from "../../model/index.js";

/** In the place of an offset: the reply has not come. No reply stands here, for the header of the block does. */
const PENDING = 0;
/** In the place of an offset: the command has executed and its reply is gone. */
const LOST = 0xffffffff;

/**
 * What is known of the replies to a block some of whose commands failed their safety check: the reply block as it came, and
 * behind it the replies to conservative copies, in the order in which they came.
 *
 * Invariant: the replies held make a reply block of at most `REPLY_BYTES_MAX` bytes. One that does not fit counts as lost.
 */
export class PartialReplies {
  readonly #writer: ByteWriter;
  /** Where the reply to each command stands in the writer, or `PENDING`, or `LOST`. */
  readonly #offsets: Uint32Array;
  /** Bytes of the whole reply block, as far as it is known. */
  #wholeBytes: number;
  /** Commands whose replies have not come. */
  pending = 0;
  /** The reply to a command is gone, so that the block can't be answered whole. */
  lost = false;

  /** Takes a checked reply block with status `failed`. */
  constructor({ bytes, view, start, end }: Span) {
    const count = replyCount(view, start);
    this.#writer = new ByteWriter(end - start, REPLY_BYTES_MAX + BLOCK_COMMANDS_MAX * FAILED_REPLY_BYTES);
    this.#writer.copy(bytes, start, end);
    this.#offsets = new Uint32Array(count);
    let at = REPLY_HEADER_BYTES;
    for (let i = 0; i < count; i++) {
      const length = this.#writer.view.getUint32(at, true);
      if (length > FAILED_REPLY_BYTES) this.#offsets[i] = at;
      else this.pending++;
      at += length;
    }
    this.#wholeBytes = end - start - this.pending * FAILED_REPLY_BYTES;
  }

  /** Bytes held. */
  get bytes(): number {
    return this.#writer.length;
  }

  isPending(index: number): boolean {
    return this.#offsets[index] === PENDING;
  }

  /** The reply `bytes[at, at + length)` to the conservative copy of a command; one that has come before is left as it is. */
  fill(index: number, bytes: Uint8Array, at: number, length: number): void {
    if (!this.isPending(index)) return;
    if (this.#wholeBytes + length > REPLY_BYTES_MAX) return this.lose(index);
    this.#offsets[index] = this.#writer.length;
    this.#writer.copy(bytes, at, at + length);
    this.#wholeBytes += length;
    this.pending--;
  }

  /** The command has executed, or never will, and there is no reply to be had. */
  lose(index: number): void {
    if (!this.isPending(index)) return;
    this.#offsets[index] = LOST;
    this.lost = true;
    this.pending--;
  }

  /** Writes the whole reply block, with status `ok`. Only when nothing is pending and nothing was lost. */
  assemble(into: ByteWriter): void {
    assert(this.pending === 0 && !this.lost, "a block is answered whole or not at all");
    const { bytes, view } = this.#writer;
    const count = this.#offsets.length;
    const begun = beginReply(into, replySession(view, 0), replySequence(view, 0), ReplyStatus.ok, BlockKind.commands);
    // Replies that stand one behind the other here stand so there: what passed is copied in a few pieces.
    let from = REPLY_HEADER_BYTES;
    let to = from;
    for (let i = 0; i < count; i++) {
      const at = this.#offsets[i] as number;
      if (at !== to) {
        into.copy(bytes, from, to);
        from = at;
      }
      to = at + view.getUint32(at, true);
    }
    into.copy(bytes, from, to);
    endReply(into, begun, count);
  }
}
