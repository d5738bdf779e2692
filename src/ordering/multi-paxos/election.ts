import { ballotOf, ballotRound, type Ballot, type ReplicaId, TraceCode } from "../../model/index.js";
import { countMembers, memberBit } from "../quorum/index.js";
import type { Coordinator } from "./coordinator.js";
import type { Core, Peer } from "./core.js";
import type { PreVote, PreVoteReply } from "./message.js";

/** After a closed connection to the coordinator, followers spread their pre-votes over this many ms. */
const CLOSED_JITTER_MS = 20;
/** An unanswered or refused pre-vote is tried again after about this many ms while the coordinator's connection is closed. */
const CLOSED_RETRY_MS = 60;

/**
 * Election: randomised timeouts with pre-vote. Pre-vote keeps a replica that was cut off or paused from unseating a
 * coordinator that works; it is not a safety mechanism. A closed connection to the coordinator allows asking, and granting,
 * without waiting for the timeout (DESIGN safety rule 10).
 */
export class Election {
  readonly #core: Core;
  readonly #coordinator: Coordinator;
  /** When a coordinator was last heard of. */
  #heardAt = -Infinity;
  #deadline = Infinity;
  /** Highest round seen in any message, so that the next ballot is above it. */
  #round = 0;
  #asking: Ballot = 0;
  #grants = 0;
  /** The connection to the coordinator of this ballot is closed. */
  #closed = false;

  constructor(core: Core, coordinator: Coordinator) {
    this.#core = core;
    this.#coordinator = coordinator;
  }

  get asking(): boolean {
    return this.#asking !== 0;
  }

  start(): void {
    const core = this.#core;
    // At the first start of a cluster nobody has been heard: do not wait a whole timeout.
    this.#deadline = core.now + core.prng.between(0, core.config.heartbeatMs * 2) + this.#yieldMs;
  }

  see(ballot: Ballot): void {
    const round = ballotRound(ballot);
    if (round > this.#round) this.#round = round;
  }

  /** A coordinator in power has been heard: accept or heartbeat of a current ballot. */
  heard(): void {
    const core = this.#core;
    this.#heardAt = core.now;
    this.#asking = 0;
    this.#closed = false;
    this.#deadline = core.now + this.#timeout();
  }

  /** A candidate was given a promise: give it time to become coordinator. */
  promised(): void {
    this.#asking = 0;
    this.#closed = false;
    this.#heardAt = this.#core.now;
    this.#deadline = this.#core.now + this.#timeout();
  }

  /** Phase 1 of this replica gets on. */
  progressed(): void {
    this.#deadline = this.#core.now + this.#timeout();
  }

  #timeout(): number {
    const { electionTimeoutMs, electionJitterMs } = this.#core.config;
    return electionTimeoutMs + this.#core.prng.float() * electionJitterMs;
  }

  /** The others let the preferred replica ask first while nobody has led. */
  get #yieldMs(): number {
    const { preferred, electionTimeoutMs } = this.#core.config;
    return preferred === 0 || preferred === this.#core.self ? 0 : electionTimeoutMs / 2;
  }

  onLink(peer: Peer, up: boolean): void {
    const core = this.#core;
    if (up) {
      // Nobody has led since this replica started: as soon as there is someone to ask, ask.
      if (this.#heardAt !== -Infinity) return;
      this.#deadline = Math.min(this.#deadline, core.now + core.prng.float() * CLOSED_JITTER_MS + this.#yieldMs);
      return;
    }
    if (peer.id !== core.leader) return;
    this.#closed = true;
    this.#deadline = Math.min(this.#deadline, core.now + core.prng.float() * CLOSED_JITTER_MS);
  }

  onTick(): void {
    const core = this.#core;
    if (this.#coordinator.leading) {
      this.#checkQuorum();
      return;
    }
    if (core.now < this.#deadline) return;
    if (!core.mayPromise) {
      this.#deadline = core.now + this.#timeout();
      return;
    }
    this.#ask();
  }

  /** The tick came late, so input may be waiting that would have answered the question: look at it first. */
  postpone(): void {
    const core = this.#core;
    this.#deadline = Math.max(this.#deadline, core.now + core.config.heartbeatMs * 2);
    if (this.#coordinator.leading)
      for (const peer of core.peers)
        peer.heardAt = Math.max(peer.heardAt, core.now - core.config.electionTimeoutMs / 2);
  }

  #ask(): void {
    const core = this.#core;
    if (this.#coordinator.phase === "preparing") this.#coordinator.stepDown();
    this.see(core.promised);
    this.#asking = ballotOf(this.#round + 1, core.self);
    this.#grants = memberBit(core.self);
    this.#deadline = core.now + (this.#closed ? CLOSED_RETRY_MS * (0.5 + core.prng.float()) : this.#timeout() / 2);
    core.out.trace(TraceCode.preVote, this.#asking, core.decided, 0);
    core.broadcast({ kind: "preVote", ballot: this.#asking, decided: Math.max(core.known, core.decided) });
    this.#tally();
  }

  onPreVote(from: ReplicaId, message: PreVote): void {
    const core = this.#core;
    const quiet = core.now - this.#heardAt >= core.config.electionTimeoutMs;
    const granted =
      core.voter &&
      !this.#coordinator.leading &&
      message.ballot > core.promised &&
      (quiet || this.#closed) &&
      message.decided >= core.log.trimmed &&
      message.decided + core.config.candidateLagMax >= core.known;
    core.out.send(from, { kind: "preVoteReply", ballot: message.ballot, granted, promised: core.promised });
  }

  onPreVoteReply(from: ReplicaId, message: PreVoteReply): void {
    this.see(message.promised);
    if (message.ballot !== this.#asking || !message.granted) return;
    this.#grants |= memberBit(from);
    this.#tally();
  }

  #tally(): void {
    const core = this.#core;
    if (this.#asking === 0 || countMembers(this.#grants) < core.majority) return;
    this.prepare();
  }

  /** Starts phase 1 with a fresh ballot. */
  prepare(): void {
    const core = this.#core;
    this.#asking = 0;
    this.see(core.promised);
    this.#round++;
    this.#heardAt = core.now;
    this.#deadline = core.now + this.#timeout();
    this.#coordinator.prepare(ballotOf(this.#round, core.self));
  }

  /** A coordinator that has heard no quorum for an election timeout steps down (DESIGN safety rule 2). */
  #checkQuorum(): void {
    const core = this.#core;
    const since = core.now - core.config.electionTimeoutMs;
    let heard = 1;
    for (const peer of core.peers) if (peer.heardAt >= since) heard++;
    if (heard >= core.majority) return;
    this.#coordinator.stepDown();
    this.#heardAt = -Infinity;
    this.#deadline = core.now + this.#timeout();
  }

  wakeAt(): number {
    if (!this.#coordinator.leading) return this.#deadline;
    return this.#core.majority === 1 ? Infinity : this.#core.now + this.#core.config.electionTimeoutMs / 4;
  }
}
