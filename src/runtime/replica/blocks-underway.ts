// Hot file: asked once per block and told once per reply block. No allocation but for a session's first block.
import type { Ballot, SessionId } from "../../model/index.js";

/** Most sessions whose blocks under way are known; beyond it those of the oldest session are forgotten, and ordered twice. */
export const SESSIONS_UNDERWAY_MAX = 100_000;

/** Sequence numbers from `from` through `through` are under way; none if `from` is above `through`. */
interface Range {
  from: number;
  through: number;
}

/**
 * What this coordinator has taken from its clients and not answered yet: waiting to be proposed, proposed, or decided and not
 * executed. A client that hears nothing for a while sends its blocks again, and a coordinator that is slow for a moment would
 * be given everything twice, order it twice and be slower still. A copy of what is under way says nothing new.
 *
 * Invariant: a block is in a range only if, as long as this ballot lasts, it will be executed and answered without being sent
 * again. Whoever loses a block clears everything.
 */
export class BlocksUnderway {
  readonly #ranges = new Map<SessionId, Range>();
  #ballot: Ballot = 0;

  get sessions(): number {
    return this.#ranges.size;
  }

  /** True if the block of these sequence numbers is under way in this ballot: it need not be taken. */
  has(ballot: Ballot, session: SessionId, first: number, count: number): boolean {
    if (ballot !== this.#ballot) return false;
    const range = this.#ranges.get(session);
    return range !== undefined && first >= range.from && first + count - 1 <= range.through;
  }

  /** The block was taken. */
  add(ballot: Ballot, session: SessionId, first: number, count: number): void {
    if (ballot !== this.#ballot) {
      // What an earlier ballot has left open may have been replaced by another coordinator.
      this.#ranges.clear();
      this.#ballot = ballot;
    }
    const range = this.#ranges.get(session);
    if (range === undefined) {
      if (this.#ranges.size >= SESSIONS_UNDERWAY_MAX) this.#forgetOldest();
      this.#ranges.set(session, { from: first, through: first + count - 1 });
      return;
    }
    // What stood before a gap is not known any more: it is taken once more if it comes.
    if (first !== range.through + 1) range.from = first;
    range.through = first + count - 1;
  }

  /** The block was executed: a copy that comes now wants the reply again. */
  answered(session: SessionId, first: number, count: number): void {
    const range = this.#ranges.get(session);
    if (range !== undefined && first + count > range.from) range.from = first + count;
  }

  /** A block of the session was not executed: it has a gap, or is over. What comes of it is taken. */
  forget(session: SessionId): void {
    this.#ranges.delete(session);
  }

  /** Blocks were lost on their way. */
  clear(): void {
    this.#ranges.clear();
  }

  #forgetOldest(): void {
    for (const session of this.#ranges.keys()) {
      this.#ranges.delete(session);
      return;
    }
  }
}
