/**
 * An exercise in the interfaces of src/model/protocol.ts: the normal case of U-Ring Paxos (unicast), one ballot, every
 * replica an acceptor and learner, links that neither lose nor reorder.
 *
 *     propose at c ── phase2(votes 1) ──▶ phase2(votes 2) ──▶ … the acceptor that completes the quorum decides
 *     decider ── decision(value) ──▶ … ──▶ c ── decision(id only) ──▶ … ──▶ the decider's predecessor
 *
 * Each value crosses each link once. A phase2 speaks for its sender's vote, so it is `Held`; passing on what others decided
 * is `Free`. Outside the exercise: phase 1, retransmission, trimming.
 */
import { assert } from "#src/base/index.js";
import {
  type Ballot,
  type Batch,
  type BatchArena,
  ballotOf,
  type EffectSink,
  type Instance,
  majority,
  type Protocol,
  type ProtocolEvent,
  type ProtocolInit,
  type ReplicaId,
  type Role,
  type Span,
} from "#src/model/index.js";

export interface Phase2 {
  readonly kind: "phase2";
  readonly instance: Instance;
  readonly ballot: Ballot;
  /** Acceptors from the coordinator through the sender that have stored the value durably. */
  readonly votes: number;
  readonly batch: Span;
}

export interface Decision {
  readonly kind: "decision";
  readonly instance: Instance;
  readonly decider: ReplicaId;
  /** Null when the receiver has the value from phase 2. */
  readonly batch: Span | null;
}

export interface Vote {
  readonly instance: Instance;
  readonly ballot: Ballot;
  readonly batch: Batch;
}

/** Instances open at most; beyond, nothing is proposable. */
const WINDOW_MAX = 16;

export type RingSink = EffectSink<Decision, Phase2, Vote>;

export class UnicastRing implements Protocol<Decision, Phase2, Vote> {
  readonly #self: ReplicaId;
  readonly #coordinator: ReplicaId;
  readonly #successor: ReplicaId;
  readonly #quorum: number;
  readonly #arena: BatchArena;
  readonly #values = new Map<Instance, Batch>();
  readonly #chosen = new Set<Instance>();
  /** Votes of this replica that complete a quorum once they are durable, in order of token. */
  readonly #deciding: { readonly token: number; readonly instance: Instance }[] = [];
  #token = 0;
  /** Wall clock less monotonic clock at start, so that agreed time advances by the latter. */
  #epochMs = 0;
  readonly #view;

  constructor({ self, replicas, arena }: ProtocolInit) {
    assert(replicas.length >= 2, `a ring has at least 2 replicas, got ${replicas.length}`);
    this.#self = self;
    this.#arena = arena;
    this.#coordinator = replicas[0] as ReplicaId;
    this.#successor = replicas[(replicas.indexOf(self) + 1) % replicas.length] as ReplicaId;
    this.#quorum = majority(replicas.length);
    this.#view = {
      role: (self === this.#coordinator ? "leader" : "follower") as Role,
      ballot: ballotOf(1, this.#coordinator),
      leader: this.#coordinator,
      decided: 0,
      opened: 0,
      trimmed: 0,
      proposable: self === this.#coordinator,
      proposableEmpty: self === this.#coordinator,
      readable: false,
      logBytes: 0,
      logMemoryBytes: 0,
      logFill: 0,
      timeOffsetMs: 0,
    };
  }

  step(event: ProtocolEvent<Decision | Phase2, Vote>, out: RingSink): void {
    switch (event.kind) {
      case "start":
        this.#epochMs = event.recovered.wallMs - event.now;
        this.#view.decided = this.#view.opened = event.recovered.checkpointThrough;
        return;
      case "propose":
        event.batch.view.setFloat64(event.batch.start + 16, this.#epochMs + event.now, true);
        return this.#vote(this.#view.opened + 1, 1, event.batch, out);
      case "message":
        return event.message.kind === "phase2"
          ? this.#onPhase2(event.message, out)
          : this.#onDecision(event.message, out);
      case "persisted":
        while (this.#deciding[0] !== undefined && this.#deciding[0].token <= event.token) {
          this.#choose((this.#deciding.shift() as { instance: Instance }).instance, out);
        }
        return;
      case "read":
        return out.refuse(event.ticket, "not-leader", this.#coordinator);
      default:
    }
  }

  inspect() {
    return this.#view;
  }

  prologue(): readonly Vote[] {
    return [];
  }

  /** Stores the value; what follows from the vote leaves with its durability. */
  #vote(instance: Instance, votes: number, batch: Batch, out: RingSink): void {
    const { ballot } = this.#view;
    const token = ++this.#token;
    this.#store(instance, batch);
    const decides = votes === this.#quorum;
    if (decides) this.#deciding.push({ token, instance });
    const message: Phase2 | Decision = decides
      ? { kind: "decision", instance, decider: this.#self, batch: this.#unlessCoordinatorIsNext(batch) }
      : { kind: "phase2", instance, ballot, votes, batch };
    out.persist(token, { instance, ballot, batch }, [{ to: this.#successor, message }]);
  }

  #onPhase2({ instance, ballot, votes, batch }: Phase2, out: RingSink): void {
    if (ballot !== this.#view.ballot || this.#values.has(instance)) return;
    this.#vote(instance, votes + 1, this.#arena.copy(batch.bytes, batch.view, batch.start, batch.end), out);
  }

  #onDecision({ instance, decider, batch }: Decision, out: RingSink): void {
    if (batch !== null) this.#store(instance, this.#arena.copy(batch.bytes, batch.view, batch.start, batch.end));
    const value = this.#values.get(instance);
    if (value === undefined) return;
    if (this.#successor !== decider) {
      // Behind the coordinator everyone has voted, or had the value before the coordinator's own decision.
      const carried = batch === null ? null : this.#unlessCoordinatorIsNext(value);
      out.send(this.#successor, { kind: "decision", instance, decider, batch: carried });
    }
    this.#choose(instance, out);
  }

  #unlessCoordinatorIsNext(batch: Batch): Span | null {
    return this.#successor === this.#coordinator ? null : batch;
  }

  #store(instance: Instance, batch: Batch): void {
    this.#values.set(instance, batch);
    const view = this.#view;
    view.opened = Math.max(view.opened, instance);
    view.logBytes += batch.end - batch.start;
    this.#announce();
  }

  #choose(instance: Instance, out: RingSink): void {
    this.#chosen.add(instance);
    const view = this.#view;
    for (let next = view.decided + 1; this.#chosen.delete(next); next++) {
      view.decided = next;
      out.decide(next, this.#values.get(next) as Batch);
    }
    this.#announce();
  }

  #announce(): void {
    const view = this.#view;
    view.proposable = this.#self === this.#coordinator && view.opened - view.decided < WINDOW_MAX;
    view.proposableEmpty = view.proposable;
  }
}
