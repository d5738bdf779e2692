import {
  BLOCK_HEADER_BYTES,
  BlockKind,
  REPLY_HEADER_BYTES,
  replySession,
  ReplyStatus,
  replyStatus,
  type Span,
} from "../../model/index.js";
import type { BlockFrames, OpenBlock } from "./open-block.js";

const NONCE_BYTES = 16;

/**
 * Sessions that are being opened, at most one for each stream: blocks that are sent until the reply with their nonce comes.
 *
 * Invariant: no two openings of one client have the same nonce, so that a late reply to an earlier one names nothing.
 */
export class Openings {
  readonly #frames: BlockFrames;
  readonly #nonce: Uint8Array;
  #begun = 0;
  /** Unanswered, the oldest first; a block's token is the stream that its session is for. */
  readonly pending: OpenBlock[] = [];

  constructor(frames: BlockFrames, nonce: Uint8Array) {
    this.#frames = frames;
    this.#nonce = nonce.slice();
  }

  /** Another opening for this stream; one that is under way for it is forgotten. */
  begin(stream: number): OpenBlock {
    this.#forget(this.pending.findIndex((block) => block.token === stream));
    const bytes = this.#nonce.slice();
    const view = new DataView(bytes.buffer);
    view.setUint32(12, view.getUint32(12, true) + this.#begun, true);
    this.#begun++;
    const span = { bytes, view, start: 0, end: NONCE_BYTES };
    const block = this.#frames.frame(BlockKind.openSession, stream, 0, span, Infinity);
    this.pending.push(block);
    return block;
  }

  /** The stream for which a reply to an opening brings a session; -1 if it brings none that is waited for. */
  answer({ bytes, view, start, end }: Span): number {
    if (replyStatus(view, start) !== ReplyStatus.ok || !(replySession(view, start) > 0)) return -1;
    if (end - start !== REPLY_HEADER_BYTES + NONCE_BYTES) return -1;
    for (let i = 0; i < this.pending.length; i++) {
      const block = this.pending[i] as OpenBlock;
      if (!hasNonce(block, bytes, start + REPLY_HEADER_BYTES)) continue;
      const stream = block.token;
      this.#forget(i);
      return stream;
    }
    return -1;
  }

  #forget(index: number): void {
    if (index === -1) return;
    this.#frames.release(this.pending[index] as OpenBlock);
    this.pending.splice(index, 1);
  }
}

function hasNonce(block: OpenBlock, bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < NONCE_BYTES; i++) {
    if (bytes[at + i] !== block.bytes[BLOCK_HEADER_BYTES + i]) return false;
  }
  return true;
}
