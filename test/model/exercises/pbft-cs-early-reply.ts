/**
 * An exercise in the interfaces of src/model/protocol.ts: the primary of PBFT-CS in its normal case. It executes a batch in
 * the order in which it proposes it and answers at once; the decision and the normal reply come two rounds later.
 *
 *     client ─▶ propose ─┬─ reveal ─▶ (service) ─▶ executed speculative ─▶ EARLY-REPLY ─▶ client
 *                        └─ pre-prepare ─▶ backups ─ prepare ─▶ commit ─▶ decide ─▶ executed ─▶ REPLY ─▶ client
 *
 * Every message states something that must survive a crash, so all are `Held`, and `Free` is `never`: `send` can't be
 * called at all. Outside the exercise: backups, authentication, view change (which would `revoke`), checkpoints.
 */
import { assert, hashBytes } from "#src/base/index.js";
import {
  type Ballot,
  type Batch,
  ballotOf,
  type EffectSink,
  type HeldSend,
  type Instance,
  type Protocol,
  type ProtocolEvent,
  type ProtocolInit,
  type ReplicaId,
  type Role,
  type Span,
} from "#src/model/index.js";

export type PbftMessage =
  | {
      readonly kind: "pre-prepare";
      readonly view: Ballot;
      readonly instance: Instance;
      readonly digest: number;
      readonly batch: Span;
    }
  | {
      readonly kind: "prepare" | "commit";
      readonly view: Ballot;
      readonly instance: Instance;
      readonly digest: number;
    };

/** What was said must not be taken back: the message itself is the record. */
export type PbftRecord = PbftMessage;
export type PbftSink = EffectSink<never, PbftMessage, PbftRecord>;

interface Slot {
  readonly batch: Batch;
  readonly digest: number;
  readonly prepares: Set<ReplicaId>;
  readonly commits: Set<ReplicaId>;
  prepared: boolean;
  committed: boolean;
}

/** Instances open at most: each holds a batch, its votes and a copy of its early replies. */
const WINDOW_MAX = 16;

export class PbftCsPrimary implements Protocol<never, PbftMessage, PbftRecord> {
  readonly #self: ReplicaId;
  readonly #backups: readonly ReplicaId[];
  readonly #faults: number;
  readonly #slots = new Map<Instance, Slot>();
  /** Early replies by instance, kept to be said again as normal replies: their bytes are the host's after `step`. */
  readonly #replies = new Map<Instance, Span>();
  /** What this replica has said and not yet stored, by token: it counts as its own vote only when durable. */
  readonly #storing: { readonly token: number; readonly message: PbftMessage }[] = [];
  #token = 0;
  #epochMs = 0;
  readonly #view;

  constructor({ self, replicas }: ProtocolInit) {
    assert(replicas.length >= 4, `PBFT needs at least 3f + 1 = 4 replicas, got ${replicas.length}`);
    this.#self = self;
    this.#backups = replicas.filter((replica) => replica !== self);
    this.#faults = Math.floor((replicas.length - 1) / 3);
    this.#view = {
      role: "leader" as Role,
      ballot: ballotOf(1, self),
      leader: self,
      decided: 0,
      opened: 0,
      trimmed: 0,
      proposable: true,
      proposableEmpty: true,
      readable: false,
      logBytes: 0,
      logMemoryBytes: 0,
      logFill: 0,
      timeOffsetMs: 0,
    };
  }

  step(event: ProtocolEvent<PbftMessage, PbftRecord>, out: PbftSink): void {
    switch (event.kind) {
      case "start":
        this.#epochMs = event.recovered.wallMs - event.now;
        this.#view.decided = this.#view.opened = event.recovered.checkpointThrough;
        return;
      case "propose":
        return this.#propose(event.now, event.batch, out);
      case "executed":
        return event.speculative ? this.#onEarly(event.through, event.replies, out) : this.#onFinal(event.through, out);
      case "message":
        return this.#onMessage(event.from, event.message, out);
      case "persisted":
        while (this.#storing[0] !== undefined && this.#storing[0].token <= event.token) {
          const { message } = this.#storing.shift() as { message: PbftMessage };
          this.#onMessage(this.#self, message, out);
        }
        return;
      case "read":
        // The primary's state is ahead of what is decided: it may not answer reads from it.
        return out.refuse(event.ticket, "busy", this.#self);
      default:
    }
  }

  inspect() {
    return this.#view;
  }

  prologue(): readonly PbftRecord[] {
    return [];
  }

  /** The order of revealing is the order of proposing, which makes the early reply right unless the view changes. */
  #propose(now: number, batch: Batch, out: PbftSink): void {
    const instance = ++this.#view.opened;
    batch.view.setFloat64(batch.start + 16, this.#epochMs + now, true);
    const digest = hashBytes(batch.bytes, batch.start, batch.end, 7);
    const slot = { batch, digest, prepares: new Set<ReplicaId>(), commits: new Set<ReplicaId>() };
    this.#slots.set(instance, { ...slot, prepared: false, committed: false });
    this.#view.proposable = this.#view.opened - this.#view.decided < WINDOW_MAX;
    this.#view.proposableEmpty = this.#view.proposable;
    out.reveal(instance, batch);
    this.#say({ kind: "pre-prepare", view: this.#view.ballot, instance, digest, batch }, out);
  }

  #say(message: PbftMessage, out: PbftSink): void {
    const token = ++this.#token;
    this.#storing.push({ token, message });
    const held: HeldSend<PbftMessage>[] = this.#backups.map((to) => ({ to, message }));
    out.persist(token, message, held);
  }

  #onEarly(through: Instance, replies: Span | null, out: PbftSink): void {
    if (replies === null) return;
    const bytes = replies.bytes.slice(replies.start, replies.end);
    this.#replies.set(through, { bytes, view: new DataView(bytes.buffer), start: 0, end: bytes.length });
    out.reply(replies);
  }

  /** The speculated results are confirmed: the same bytes are the normal reply. */
  #onFinal(through: Instance, out: PbftSink): void {
    for (const [instance, replies] of this.#replies) {
      if (instance > through) continue;
      this.#replies.delete(instance);
      out.reply(replies);
    }
  }

  #onMessage(from: ReplicaId, message: PbftMessage, out: PbftSink): void {
    const { kind, view, instance, digest } = message;
    const slot = this.#slots.get(instance);
    if (slot === undefined || view !== this.#view.ballot || digest !== slot.digest) return;
    // The primary's pre-prepare stands for its prepare.
    if (kind === "prepare" || kind === "pre-prepare") slot.prepares.add(from);
    else slot.commits.add(from);
    const quorum = 2 * this.#faults + 1;
    if (!slot.prepared && slot.prepares.has(this.#self) && slot.prepares.size >= quorum) {
      slot.prepared = true;
      this.#say({ kind: "commit", view, instance, digest }, out);
    }
    if (!slot.committed && slot.prepared && slot.commits.has(this.#self) && slot.commits.size >= quorum) {
      slot.committed = true;
      this.#decide(out);
    }
  }

  #decide(out: PbftSink): void {
    for (let next = this.#view.decided + 1; this.#slots.get(next)?.committed === true; next++) {
      this.#view.decided = next;
      out.decide(next, (this.#slots.get(next) as Slot).batch);
      this.#slots.delete(next);
    }
    this.#view.proposable = this.#view.opened - this.#view.decided < WINDOW_MAX;
    this.#view.proposableEmpty = this.#view.proposable;
  }
}
