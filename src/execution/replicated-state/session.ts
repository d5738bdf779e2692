import type { Position, SessionId } from "../../model/index.js";
import type { ConflictIndex } from "./conflict-index.js";
import { firstFrom, type LateReply, type PendingCommand } from "./failed.js";

/** A reply block that is kept until the client acknowledges it, so that a retransmitted block gets the same answer. */
export class RememberedReply {
  readonly session: SessionId;
  /** Sequence numbers `first` to `first + count - 1` are answered. */
  readonly first: number;
  readonly count: number;
  /** Log position of the block; unique, and ascending in time. */
  readonly position: Position;
  readonly bytes: Uint8Array;
  /** Hash of the bytes. */
  readonly hash: number;
  /** Neighbours in the list of all remembered replies, oldest first. Not part of the replicated state. */
  older: RememberedReply | null = null;
  newer: RememberedReply | null = null;

  constructor(session: SessionId, first: number, count: number, position: Position, bytes: Uint8Array, hash: number) {
    this.session = session;
    this.first = first;
    this.count = count;
    this.position = position;
    this.bytes = bytes;
    this.hash = hash;
  }

  /** Last sequence number that is answered. */
  get last(): number {
    return this.first + this.count - 1;
  }
}

/** Most sessions never have a command that failed: they share this list, which is replaced before anything is added. */
const NOTHING: never[] = [];
Object.freeze(NOTHING);

/**
 * What the cluster remembers of a client session.
 *
 * Invariants: `replies` ascend and do not overlap, and end at or below `last`; `replyBytes` is the sum of their lengths.
 * `pending` and `late` ascend by sequence number, have none in common, and end at or below `last`; `lateBytes` is the sum of
 * the lengths of the late replies.
 */
export class Session {
  readonly id: SessionId;
  /** The table may change this object in place while its own epoch is the same. */
  readonly epoch: number;
  /** Sequence number of the last command executed, 0 before the first. */
  last = 0;
  /** Agreed time in ms of the last block, and its log position, which orders sessions by activity. */
  activeAt: number;
  activePosition: Position;
  replies: RememberedReply[] = [];
  replyBytes = 0;
  /** Commands that failed their safety check (opt-PSMR), and the replies to those that have been executed since. */
  pending: PendingCommand[] = NOTHING;
  late: LateReply[] = NOTHING;
  lateBytes = 0;
  /** What is in conflict with the pending commands; null as long as there were none. Not part of the replicated state. */
  conflicts: ConflictIndex | null = null;
  /** Neighbours in the list of sessions by activity, least recent first. Not part of the replicated state. */
  older: Session | null = null;
  newer: Session | null = null;

  constructor(id: SessionId, epoch: number, activeAt: number, activePosition: Position) {
    this.id = id;
    this.epoch = epoch;
    this.activeAt = activeAt;
    this.activePosition = activePosition;
  }

  /** The remembered reply to exactly this block, if it is still held. */
  replyTo(first: number, count: number): RememberedReply | null {
    const { replies } = this;
    let low = 0;
    let high = replies.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((replies[middle] as RememberedReply).first < first) low = middle + 1;
      else high = middle;
    }
    const found = replies[low];
    return found !== undefined && found.first === first && found.count === count ? found : null;
  }
  /** How much there is in `pending` and `late`. */
  get failed(): number {
    return this.pending.length + this.late.length;
  }

  /** Where a command is in `pending`, or -1. */
  pendingAt(sequence: number): number {
    const at = firstFrom(this.pending, sequence);
    return this.pending[at]?.sequence === sequence ? at : -1;
  }

  /** The reply to a command that failed, if it has been executed and its reply is remembered. */
  lateReply(sequence: number): LateReply | null {
    const found = this.late[firstFrom(this.late, sequence)];
    return found?.sequence === sequence ? found : null;
  }
}
