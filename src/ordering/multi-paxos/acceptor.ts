import {
  type Ballot,
  ballotProposer,
  batchCommands,
  type HeldSend,
  type ReplicaId,
  type Span,
  TraceCode,
} from "../../model/index.js";
import { CHOSEN_BALLOT } from "../instance-log/index.js";
import type { Core } from "./core.js";
import type { Accept, Accepting, MultiPaxosMessage, Prepare, Promise1b, RejoinRequest } from "./message.js";

/**
 * Acceptor: promises and votes. Every promise and vote leaves inside a `persist` (DESIGN safety rule 1; PROTOCOLS section
 * 5.1): the value of an instance is accepted whatever is missing below it, so a replica with gaps still votes for the
 * newest instance (PROTOCOLS A5).
 */
export class Acceptor {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  /** Phase 1a. Returns true if the ballot was promised. */
  onPrepare(from: ReplicaId, message: Prepare): boolean {
    const core = this.#core;
    if (!core.mayPromise || ballotProposer(message.ballot) !== from) return false;
    if (message.ballot < core.promised) {
      core.out.send(from, { kind: "refuse", promised: core.promised });
      return false;
    }
    if (message.ballot < core.floorBallot) return false;
    core.promised = message.ballot;
    core.leader = 0;
    core.persist({ kind: "promised", ballot: message.ballot }, this.#promise(from, message.ballot));
    core.out.trace(TraceCode.promised, message.ballot, 0, 0);
    return true;
  }

  /**
   * Phase 1b in chunks of bounded size: every value accepted above the prefix that this replica has delivered. What it has
   * delivered it can serve; what it merely knows to be decided it reports like any accepted value, since nobody else may
   * still hold it.
   */
  #promise(to: ReplicaId, ballot: Ballot): HeldSend<MultiPaxosMessage>[] {
    const core = this.#core;
    const held: HeldSend<MultiPaxosMessage>[] = [];
    const delivered = Math.max(core.decided, core.log.trimmed);
    let entries: Accepting[] = [];
    let bytes = 0;
    const close = (last: boolean): void => {
      const message: Promise1b = {
        kind: "promise",
        ballot,
        chunk: held.length,
        last,
        decided: delivered,
        trimmed: core.log.trimmed,
        wallMs: core.wallMs(),
        incarnations: [...core.incarnations],
        entries,
      };
      held.push({ to, message });
      entries = [];
      bytes = 0;
    };
    for (let i = delivered + 1; i <= core.log.highest; i++) {
      const entry = core.log.get(i);
      if (entry === undefined) continue;
      const size = entry.batch.end - entry.batch.start;
      if (bytes > 0 && bytes + size > core.config.promiseChunkBytes) close(false);
      entries.push({ instance: i, ballot: entry.ballot, batch: entry.batch });
      bytes += size;
    }
    close(true);
    return held;
  }

  /** Phase 2a of a ballot that has been found current. */
  onAccept(from: ReplicaId, message: Accept): void {
    const core = this.#core;
    const { instance, ballot } = message;
    // A trimmed instance is decided, f + 1 replicas hold it in checkpoints, and no correct coordinator proposes it again.
    if (instance <= core.log.trimmed) return;
    const vote = this.#vote(from, instance, ballot);
    const entry = core.log.get(instance);
    const chosen = instance <= core.log.evicted || entry?.ballot === CHOSEN_BALLOT;
    if (chosen || entry?.ballot === ballot) {
      // The value is held already; the vote still waits for the disk, behind the record that holds it.
      if (vote.length > 0) core.persist({ kind: "promised", ballot: core.promised }, vote);
      return;
    }
    // A value that is proposed again by another coordinator takes no more room than it has. To refuse it for want of room
    // would leave a full log as it is for ever: it empties only by what is decided.
    const known = entry !== undefined && sameBytes(entry.batch, message.batch) ? entry.batch : null;
    const { bytes, view, start, end } = message.batch;
    const taken = !core.mustRefuse || core.mustTake(instance) || (batchCommands(view, start) === 0 && core.takesEmpty);
    if (known === null && !taken) return;
    const batch = known ?? core.arena.copy(bytes, view, start, end);
    const put = core.log.put(instance, ballot, batch);
    put.token = core.persist({ kind: "accepted", instance, ballot, decided: core.decided, batch }, vote);
    core.out.trace(TraceCode.accepted, instance, ballot, 0);
  }

  #vote(to: ReplicaId, instance: number, ballot: Ballot): HeldSend<MultiPaxosMessage>[] {
    const core = this.#core;
    if (!core.mayVote(instance, ballot)) return [];
    return [
      {
        to,
        message: {
          kind: "accepted",
          ballot,
          instance,
          executed: core.executed,
          checkpointed: core.checkpointed,
          aside: core.aside,
          incarnations: core.incarnations,
        },
      },
    ];
  }

  /** A replica that has lost its memory asks to be known under a new incarnation. */
  onRejoinRequest(from: ReplicaId, message: RejoinRequest): void {
    const core = this.#core;
    if (!core.voter) return;
    const known = core.incarnations[from - 1] ?? 1;
    if (message.incarnation < known) return;
    core.incarnations = [...core.incarnations];
    core.incarnations[from - 1] = message.incarnation;
    core.persist({ kind: "incarnation", replica: from, incarnation: message.incarnation }, [
      {
        to: from,
        message: {
          kind: "rejoinReply",
          nonce: message.nonce,
          promised: core.promised,
          highest: Math.max(core.log.highest, core.known, core.log.trimmed, core.forgottenThrough),
          incarnations: core.incarnations,
        },
      },
    ]);
  }
}

function sameBytes(a: Span, b: Span): boolean {
  const length = a.end - a.start;
  if (length !== b.end - b.start) return false;
  for (let i = 0; i < length; i++) if (a.bytes[a.start + i] !== b.bytes[b.start + i]) return false;
  return true;
}
