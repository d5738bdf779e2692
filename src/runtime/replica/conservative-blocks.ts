// Hot file: asked once per conservative block and told once per block of g_all. One object per conservative block.
import { Ring } from "../../base/index.js";
import {
  type Ballot,
  type Batch,
  BATCH_HEADER_BYTES,
  blockCommands,
  BlockKind,
  blockKind,
  blockLength,
  blockSequence,
  blockSession,
  blockStream,
  type Instance,
  type SessionId,
} from "../../model/index.js";

/** Most conservative blocks on their way that are known; a further one is not, and a copy of it is ordered as well. */
export const CONSERVATIVE_BLOCKS_MAX = 131_072;

interface OnItsWay {
  readonly stream: number;
  readonly session: SessionId;
  readonly first: number;
  readonly through: number;
  /** In which it was taken, to be proposed; of one that is decided it says nothing. */
  readonly ballot: Ballot;
  /** Where it is decided in g_all, 0 before that. */
  readonly instance: Instance;
}

/**
 * The conservative blocks that are on their way through g_all: taken by this replica as its coordinator, or decided and not
 * passed by all its threads. A command that fails its safety check is multicast again by whoever coordinates g_all when a thread
 * of that replica comes to it, and once more for each copy of its block that is ordered: clients that hear nothing send such copies,
 * and threads that are behind, as those of a replica that has started anew, come to commands whose conservative
 * blocks have been ordered long ago. Another copy would do no harm, but cost all threads a barrier.
 *
 * Invariant: what is said to be on its way will be executed behind the place of whoever asks, as long as this ballot lasts.
 */
export class ConservativeBlocks {
  /** By stream, session and first sequence number. */
  readonly #streams: Map<SessionId, Map<number, OnItsWay>>[] = [];
  /** Those that are decided, in order; some may not be in the table any more, or with a later place. */
  readonly #decided = new Ring<OnItsWay>(CONSERVATIVE_BLOCKS_MAX);
  readonly #passed: (stream: number) => Instance;
  #size = 0;
  #ballot: Ballot = 0;

  /** `passed` is the last instance of g_all that the thread of a stream has passed. */
  constructor(passed: (stream: number) => Instance) {
    this.#passed = passed;
  }

  get size(): number {
    return this.#size;
  }

  /** Whether the block at `at` was taken in this ballot and is not decided. */
  isTaken(ballot: Ballot, view: DataView, at: number): boolean {
    const known = this.#of(view, at);
    return known !== undefined && known.instance === 0 && known.ballot === ballot;
  }

  /** Whether it is decided in an instance of g_all behind that one, where whoever asks is: by default the thread of its stream. */
  isDecided(view: DataView, at: number, behind: Instance = this.#passed(blockStream(view, at))): boolean {
    const known = this.#of(view, at);
    return known !== undefined && known.instance > behind;
  }

  /** The block at `at` was taken, to be proposed. */
  take(ballot: Ballot, view: DataView, at: number): void {
    if (ballot !== this.#ballot) {
      // What an earlier ballot has left open may have been replaced by another coordinator.
      this.lose();
      this.#ballot = ballot;
    }
    this.#note(view, at, ballot, 0);
  }

  /** A batch of g_all is decided. */
  decide(instance: Instance, { view, start, blocks }: Batch): void {
    let at = start + BATCH_HEADER_BYTES;
    for (let i = 0; i < blocks; i++) {
      if (blockKind(view, at) === BlockKind.conservative) {
        const known = this.#decided.full ? null : this.#note(view, at, 0, instance);
        if (known !== null) this.#decided.push(known);
        else {
          // It is not on its way any more: for want of room it may come once too often.
          const before = this.#of(view, at);
          if (before !== undefined) this.#forget(before);
        }
      }
      at += blockLength(view, at);
    }
  }

  /** All threads have passed g_all through this instance. */
  pass(through: Instance): void {
    for (
      let known = this.#decided.at(0);
      known !== undefined && known.instance <= through;
      known = this.#decided.at(0)
    ) {
      this.#decided.shift();
      if (this.#streams[known.stream]?.get(known.session)?.get(known.first) === known) this.#forget(known);
    }
  }

  /** Blocks were lost on their way to their decision. */
  lose(): void {
    for (const sessions of this.#streams) {
      for (const blocks of sessions?.values() ?? []) {
        for (const known of blocks.values()) if (known.instance === 0) this.#forget(known);
      }
    }
  }

  #of(view: DataView, at: number): OnItsWay | undefined {
    const known = this.#streams[blockStream(view, at)]?.get(blockSession(view, at))?.get(blockSequence(view, at));
    const through = blockSequence(view, at) + blockCommands(view, at) - 1;
    return known !== undefined && through <= known.through ? known : undefined;
  }

  /** In place of what is known of the same first command. Null if there is no room. */
  #note(view: DataView, at: number, ballot: Ballot, instance: Instance): OnItsWay | null {
    const [stream, session, first] = [blockStream(view, at), blockSession(view, at), blockSequence(view, at)];
    let blocks = this.#streams[stream]?.get(session);
    if (blocks?.has(first) !== true) {
      if (this.#size >= CONSERVATIVE_BLOCKS_MAX) return null;
      this.#size++;
    }
    if (blocks === undefined) {
      blocks = new Map();
      while (this.#streams.length <= stream) this.#streams.push(new Map());
      this.#streams[stream]?.set(session, blocks);
    }
    const known = { stream, session, first, through: first + blockCommands(view, at) - 1, ballot, instance };
    blocks.set(first, known);
    return known;
  }

  #forget({ stream, session, first }: OnItsWay): void {
    const sessions = this.#streams[stream];
    const blocks = sessions?.get(session);
    if (blocks?.delete(first) !== true) return;
    this.#size--;
    if (blocks.size === 0) sessions?.delete(session);
  }
}
