import { type Ballot, type Instance, type ReplicaId, TraceCode } from "../../model/index.js";
import type { Core } from "./core.js";
import type { IncarnationReply, MultiPaxosRecord, RejoinReply } from "./message.js";

/**
 * Rejoin of a replica that may have forgotten a promise or vote (DESIGN safety rule 1). Until it is done the replica
 * learns and executes, and neither promises nor votes.
 *
 * 1. Ask f + 1 other voters for the highest incarnation of this replica they know: m.
 * 2. Have f + 1 other voters store incarnation m + 1 durably; they answer with their highest promise and instance, and with
 *    the incarnations they know of others, which are forgotten here too.
 * 3. Hold the state through the highest such instance, durably.
 * 4. Store the two maxima and the incarnation; vote only above them from then on.
 *
 * A replica that knows which votes it may have forgotten needs only step 3 for these (`Core.forgottenThrough`).
 */
export class Rejoin {
  readonly #core: Core;
  #nonce = 0;
  #stage: "idle" | "query" | "request" | "learn" | "store" = "idle";
  #askedAt = -Infinity;
  #incarnation = 1;
  #floorBallot: Ballot = 0;
  #floorInstance: Instance = 0;
  readonly #answered = new Set<ReplicaId>();
  #regaining = false;
  /**
   * The record of the rejoin on its way to the disk. A segment of the log that begins meanwhile carries it on, or it would go
   * with the segment that it was written to.
   */
  storing: MultiPaxosRecord | null = null;

  constructor(core: Core) {
    this.#core = core;
  }

  get active(): boolean {
    return this.#stage !== "idle";
  }

  start(nonce: number): void {
    this.#core.voter = false;
    this.#nonce = nonce;
    this.#stage = "query";
    this.#ask();
  }

  /**
   * The instance whose decision lets this replica promise, if nobody may yet know of it: the floor of a rejoin, or what the
   * damaged records of a voter's log may have reached; 0 for none.
   */
  get #awaited(): Instance {
    const core = this.#core;
    if (this.#stage === "learn") return this.#floorInstance;
    return this.#stage === "idle" && core.known < core.forgottenThrough ? core.forgottenThrough : 0;
  }

  #ask(): void {
    const core = this.#core;
    this.#askedAt = core.now;
    for (const peer of core.peers) {
      if (this.#answered.has(peer.id)) continue;
      if (this.#stage === "query") core.out.send(peer.id, { kind: "incarnationQuery", nonce: this.#nonce });
      if (this.#stage === "request") {
        core.out.send(peer.id, { kind: "rejoinRequest", nonce: this.#nonce, incarnation: this.#incarnation });
      }
    }
  }

  onIncarnationReply(from: ReplicaId, message: IncarnationReply): void {
    if (this.#stage !== "query" || message.nonce !== this.#nonce) return;
    this.#answered.add(from);
    if (message.incarnation > this.#incarnation) this.#incarnation = message.incarnation;
    if (this.#answered.size < this.#core.majority) return;
    this.#incarnation++;
    this.#stage = "request";
    this.#answered.clear();
    this.#ask();
  }

  onRejoinReply(from: ReplicaId, message: RejoinReply): void {
    const core = this.#core;
    if (this.#stage !== "request" || message.nonce !== this.#nonce) return;
    this.#answered.add(from);
    if (message.promised > this.#floorBallot) this.#floorBallot = message.promised;
    if (message.highest > this.#floorInstance) this.#floorInstance = message.highest;
    this.#learnIncarnations(message.incarnations);
    if (this.#answered.size < core.majority) return;
    this.#stage = "learn";
    this.settle();
  }

  /**
   * Relearns the incarnations of the others. Among f + 1 voters asked is one that knows of any rejoin this replica may have
   * been a witness of; without them its votes would be counted beside a vote from before that rejoin.
   */
  #learnIncarnations(named: readonly number[]): void {
    const core = this.#core;
    named.forEach((incarnation, index) => {
      if (index + 1 === core.self || incarnation <= (core.incarnations[index] ?? Infinity)) return;
      core.incarnations = [...core.incarnations];
      core.incarnations[index] = incarnation;
      core.persist({ kind: "incarnation", replica: index + 1, incarnation }, []);
    });
  }

  /** Called when the decided prefix may have grown. */
  settle(): void {
    const core = this.#core;
    if (this.#stage !== "learn" || core.decided < this.#floorInstance) return;
    this.#stage = "store";
    const incarnation = this.#incarnation;
    const record: MultiPaxosRecord = {
      kind: "rejoined",
      nonce: this.#nonce,
      incarnation,
      floorBallot: this.#floorBallot,
      floorInstance: this.#floorInstance,
      decided: core.decided,
    };
    this.storing = record;
    // What the prefix consists of was persisted before this record, or is in a durable checkpoint.
    core.persist(record, [], () => {
      this.#stage = "idle";
      this.storing = null;
      core.rejoinedNonce = this.#nonce;
      core.floorBallot = this.#floorBallot;
      core.floorInstance = this.#floorInstance;
      if (core.promised < this.#floorBallot) core.promised = this.#floorBallot;
      core.incarnations = [...core.incarnations];
      core.incarnations[core.self - 1] = incarnation;
      core.voter = true;
      core.out.trace(TraceCode.rejoined, incarnation, this.#floorInstance, this.#floorBallot);
    });
  }

  /** Called when the decided prefix of a voter may have grown that has lost values: once it has them, they are made durable. */
  regain(): void {
    const core = this.#core;
    if (this.#regaining || core.decided < core.forgottenThrough) return;
    this.#regaining = true;
    // What the prefix consists of was persisted before this record, or is in a durable checkpoint.
    core.persist({ kind: "position", decided: core.decided, trimmed: core.log.trimmed }, [], () => {
      core.regained = true;
    });
  }

  onTick(): void {
    const core = this.#core;
    const awaited = this.#awaited;
    if (this.#stage !== "query" && this.#stage !== "request" && awaited === 0) return;
    if (core.now < this.#askedAt + core.config.retransmitMs) return;
    if (awaited === 0) return this.#ask();
    // In an idle group it may lie above what is decided: asking for it makes the coordinator open instances.
    this.#askedAt = core.now;
    if (core.leader !== 0 && core.leader !== core.self) {
      core.out.send(core.leader, { kind: "catchUp", from: core.decided + 1, through: awaited });
    }
  }

  wakeAt(): number {
    if (this.#stage !== "query" && this.#stage !== "request" && this.#awaited === 0) return Infinity;
    return Math.max(this.#core.now, this.#askedAt + this.#core.config.retransmitMs);
  }
}
