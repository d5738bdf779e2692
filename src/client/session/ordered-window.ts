import { assert, Ring } from "../../base/index.js";
import { type SessionId, stampBlock } from "../../model/index.js";
import type { OpenBlock } from "./open-block.js";

/**
 * The ordered blocks of a session: those that were sent, oldest first, and behind them those that were not.
 *
 * Invariant: the sent blocks carry consecutive sequence numbers; the first of them is unanswered; a block that was never
 * sent has none, so that dropping it leaves no gap.
 */
export class OrderedWindow {
  readonly sent: Ring<OpenBlock>;
  readonly waiting: OpenBlock[] = [];
  #session: SessionId = 0;
  #sequenceNext = 1;
  /** All replies through this sequence number are held. */
  #acknowledged = 0;

  constructor(blocksMax: number) {
    this.sent = new Ring(blocksMax);
  }

  get size(): number {
    return this.sent.size + this.waiting.length;
  }

  /** Starts numbering in another session. No sent block may be left. */
  begin(session: SessionId): void {
    assert(this.sent.size === 0, "a session was replaced while blocks of it were unanswered");
    this.#session = session;
    this.#sequenceNext = 1;
    this.#acknowledged = 0;
  }

  /** Gives the oldest waiting block its sequence number: from now on its bytes are fixed and it must reach the cluster. */
  stampNext(): OpenBlock {
    const block = this.waiting.shift();
    assert(block !== undefined && this.#session > 0, "there is no block to number, or no session to number it in");
    block.sequence = this.#sequenceNext;
    this.#sequenceNext += block.commands;
    stampBlock(block.view, 0, this.#session, block.sequence, this.#acknowledged);
    this.sent.push(block);
    return block;
  }

  /** The sent block that starts at `sequence`, answered or not. */
  find(sequence: number): OpenBlock | undefined {
    const index = this.indexFrom(sequence);
    const block = this.sent.at(index);
    return block?.sequence === sequence ? block : undefined;
  }

  /** The sent block that has the command with this sequence number, answered or not. */
  holder(sequence: number): OpenBlock | undefined {
    const block = this.sent.at(this.indexFrom(sequence + 1) - 1);
    return block !== undefined && sequence < block.sequence + block.commands ? block : undefined;
  }

  /** Index of the first sent block at or above `sequence`; `sent.size` if there is none. */
  indexFrom(sequence: number): number {
    const sent = this.sent;
    // Replies mostly come in order, so the oldest block is looked at first.
    if ((sent.at(0)?.sequence ?? Infinity) >= sequence) return 0;
    let low = 1;
    let high = sent.size;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((sent.at(middle) as OpenBlock).sequence < sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Marks a sent block answered. True if it was the oldest, so that the window moved. */
  answer(block: OpenBlock): boolean {
    block.answered = true;
    let moved = false;
    for (let head = this.sent.at(0); head?.answered === true; head = this.sent.at(0)) {
      this.#acknowledged = head.sequence + head.commands - 1;
      this.sent.shift();
      moved = true;
    }
    return moved;
  }
}
