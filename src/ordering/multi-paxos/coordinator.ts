import { assert, Ring } from "../../base/index.js";
import {
  type Ballot,
  type Batch,
  batchTime,
  type Instance,
  type ReplicaId,
  type Span,
  TraceCode,
} from "../../model/index.js";
import { CHOSEN_BALLOT } from "../instance-log/index.js";
import { countMembers, memberBit } from "../quorum/index.js";
import type { Core, Peer } from "./core.js";
import type { Learner } from "./learner.js";
import type { Accepted, Confirmed, Promise1b } from "./message.js";

/** Most groups of reads that wait for a confirmation; beyond it reads are refused as busy. */
const READS_MAX = 65_536;
/** Most bytes sent again to one peer per retransmission round. */
const RETRANSMIT_BYTES_MAX = 1024 * 1024;

interface PromiseState {
  nextChunk: number;
  /** Most chunks that have arrived in order so far, whether or not the acceptor was asked again since. */
  chunksMax: number;
  complete: boolean;
  decided: Instance;
  wallMs: number;
  incarnations: readonly number[];
}

interface Value {
  ballot: Ballot;
  readonly batch: Batch;
}

interface PendingRead {
  readonly ticket: number;
  readonly after: Instance;
  readonly confirm: number;
}

/**
 * Coordinator: phase 1 over all instances from its decided prefix on, then a pipeline of open instances, one batch each.
 *
 * Invariant: in one ballot it proposes at most one value per instance, and never at or below an instance that a member of
 * its promise quorum knows to be decided (DESIGN safety rule 2).
 */
export class Coordinator {
  readonly #core: Core;
  readonly #learner: Learner;

  phase: "idle" | "preparing" | "leading" = "idle";
  ballot: Ballot = 0;
  /** The next instance to open. */
  next: Instance = 1;
  #preparedFrom: Instance = 1;
  #prepareSentAt = -Infinity;
  readonly #promises = new Map<ReplicaId, PromiseState>();
  readonly #values = new Map<Instance, Value>();
  /** A member of the promise quorum has delivered through here: nothing is proposed at or below, it is fetched. */
  #base: Instance = 0;
  /** How far the prefix had come, and since when, for a coordinator that fetches what is below its base. */
  #movedTo: Instance = 0;
  #movedAt = -Infinity;
  /** Values of earlier ballots are proposed again through here before anything new. */
  #reproposeThrough: Instance = 0;
  #openInstances = 0;
  #openBytes = 0;
  #quorumExecuted: Instance = 0;
  #timeBaseMs = 0;
  #timeBaseAt = 0;
  #lastTimeMs = 0;

  readonly #reads = new Ring<PendingRead>(READS_MAX);
  #confirm = 0;
  #confirmSent = 0;
  #announced: Instance = 0;
  #commitDueAt = Infinity;
  #heartbeatAt = Infinity;
  #retransmitAt = Infinity;

  #handoverTo: ReplicaId = 0;
  #handoverUntil = Infinity;
  #handoverSent = false;

  constructor(core: Core, learner: Learner) {
    this.#core = core;
    this.#learner = learner;
  }

  get leading(): boolean {
    return this.phase === "leading";
  }

  /** True while a new batch may be opened: flow control end to end. */
  get proposable(): boolean {
    return this.#mayOpen && !this.#core.logFull;
  }

  /** True while a batch without commands may be opened. */
  get proposableEmpty(): boolean {
    return this.#mayOpen && (!this.#core.logFull || this.#core.takesEmpty);
  }

  takes(batch: Batch): boolean {
    return batch.commands === 0 ? this.proposableEmpty : this.proposable;
  }

  get #mayOpen(): boolean {
    return (
      this.phase === "leading" &&
      this.next > this.#reproposeThrough + 1 &&
      this.#handoverTo === 0 &&
      this.#hasRoom() &&
      this.next - this.#quorumExecuted <= this.#core.config.executeLagMax
    );
  }

  #hasRoom(): boolean {
    const config = this.#core.config;
    return this.#openInstances < config.windowInstancesMax && this.#openBytes < config.windowBytesMax;
  }

  // Phase 1.

  /** Starts phase 1 with a ballot above every one this replica has seen. */
  prepare(ballot: Ballot): void {
    const core = this.#core;
    assert(ballot > core.promised, `ballot ${ballot} is not above the promised ${core.promised}`);
    this.stepDown();
    this.phase = "preparing";
    this.ballot = ballot;
    core.promised = ballot;
    core.leader = 0;
    this.#preparedFrom = Math.max(core.decided, core.log.trimmed) + 1;
    this.#reset();
    core.persist({ kind: "promised", ballot }, [], () => {
      if (this.phase !== "preparing" || this.ballot !== ballot) return;
      this.#promises.set(core.self, {
        nextChunk: 1,
        chunksMax: 1,
        complete: true,
        decided: Math.max(core.decided, core.log.trimmed),
        wallMs: core.wallMs(),
        incarnations: [...core.incarnations],
      });
      this.#lead();
    });
    core.out.trace(TraceCode.promised, ballot, 0, 0);
    this.#sendPrepare();
  }

  #sendPrepare(): void {
    const core = this.#core;
    this.#prepareSentAt = core.now;
    for (const peer of core.peers) {
      if (this.#promises.get(peer.id)?.complete === true) continue;
      core.out.send(peer.id, { kind: "prepare", ballot: this.ballot, from: this.#preparedFrom });
    }
  }

  /** Takes in a part of a promise. True if phase 1 got on by it and is still under way. */
  onPromise(from: ReplicaId, message: Promise1b): boolean {
    const core = this.#core;
    if (this.phase !== "preparing" || message.ballot !== this.ballot) return false;
    let state = this.#promises.get(from);
    if (state?.complete === true) return false;
    if (message.chunk === 0) {
      const chunksMax = state?.chunksMax ?? 0;
      state = { nextChunk: 0, chunksMax, complete: false, decided: 0, wallMs: 0, incarnations: [] };
      this.#promises.set(from, state);
    }
    if (state === undefined || message.chunk !== state.nextChunk) return false;
    state.nextChunk++;
    for (const { instance, ballot, batch } of message.entries) {
      if (instance < this.#preparedFrom) continue;
      const best = this.#values.get(instance);
      if (best !== undefined && best.ballot >= ballot) continue;
      if (best !== undefined) core.arena.release(best.batch);
      const copy = core.arena.copy(batch.bytes, batch.view, batch.start, batch.end);
      this.#values.set(instance, { ballot, batch: copy });
    }
    if (!message.last) {
      // Asked again meanwhile, the acceptor would send everything again.
      this.#prepareSentAt = core.now;
      // The same beginning over and over, because the rest is lost each time, is no progress.
      const further = state.nextChunk > state.chunksMax;
      if (further) state.chunksMax = state.nextChunk;
      return further;
    }
    state.complete = true;
    state.decided = Math.max(message.decided, message.trimmed);
    state.wallMs = message.wallMs;
    state.incarnations = message.incarnations;
    this.#lead();
    return this.phase === "preparing";
  }

  /**
   * Members of the promise quorum: complete, and of no lower incarnation than another complete member names. A promise from
   * before an amnesia is thus never counted beside one that knows of the amnesia.
   */
  #promised(): ReplicaId[] {
    const core = this.#core;
    const complete = [...this.#promises].filter(([, state]) => state.complete);
    const named = (id: ReplicaId, state: PromiseState, of: ReplicaId): number =>
      (id === core.self ? core.incarnations : state.incarnations)[of - 1] ?? 1;
    return complete
      .filter(([id, state]) => complete.every(([other, theirs]) => named(other, theirs, id) <= named(id, state, id)))
      .map(([id]) => id);
  }

  #lead(): void {
    const core = this.#core;
    const quorum = this.#promised();
    if (quorum.length < core.majority || !quorum.includes(core.self)) return;
    const states = quorum.map((id) => this.#promises.get(id) as PromiseState);
    // Nothing is proposed where a member of the quorum has delivered: those values are fetched. What is known to be decided
    // beyond is among the values that the quorum reported, and proposing it again is how it is learnt.
    const decided = Math.max(core.decided, core.log.trimmed, ...states.map((state) => state.decided));
    if (decided > core.known) core.known = decided;
    let highest = Math.max(decided, core.log.highest);
    for (const instance of this.#values.keys()) if (instance > highest) highest = instance;
    for (const [instance, value] of this.#values) {
      const own = core.log.get(instance);
      const superseded = instance <= decided || (own !== undefined && own.ballot >= value.ballot);
      if (!superseded) continue;
      core.arena.release(value.batch);
      this.#values.delete(instance);
    }
    this.phase = "leading";
    core.leader = core.self;
    this.next = decided + 1;
    this.#base = decided;
    this.#movedTo = core.decided;
    this.#movedAt = core.now;
    this.#reproposeThrough = highest;
    const wallMs = Math.min(...states.map((state) => state.wallMs));
    // A wall clock that is behind must not make agreed time stand still until it has caught up.
    this.#timeBaseMs = Math.max(Math.floor(wallMs), this.#lastTimeMs, core.agreedMs);
    this.#timeBaseAt = core.now;
    this.#promises.clear();
    for (const peer of core.peers) {
      peer.confirmed = 0;
      peer.voted = 0;
      peer.heardAt = core.now;
    }
    this.#confirm = 0;
    this.#confirmSent = 0;
    this.#announced = 0;
    this.#quorumExecuted = core.reachedByMajority(core.executed, (peer) => peer.executed);
    this.#retransmitAt = core.now + core.config.retransmitMs;
    core.out.trace(TraceCode.elected, this.ballot, decided, highest);
    this.heartbeat();
    this.#repropose();
    this.#learner.advance();
  }

  /** Proposes what phase 1 found, as far as the window allows, then the no-op that reads of this ballot wait for. */
  #repropose(): void {
    const core = this.#core;
    if (this.phase !== "leading" || this.next > this.#reproposeThrough + 1) return;
    while (this.next <= this.#reproposeThrough && this.#hasRoom()) {
      const instance = this.next;
      const found = this.#values.get(instance);
      const own = core.log.get(instance);
      this.#values.delete(instance);
      if (instance <= core.decided || own?.ballot === CHOSEN_BALLOT) {
        // Learnt as chosen meanwhile: the acceptors get it from catch-up, nothing is left to propose. What phase 1 found here
        // must not replace it: a higher ballot may have chosen another value, and from the log recovery and peers take what
        // was decided.
        if (found !== undefined) core.arena.release(found.batch);
        this.next++;
        continue;
      }
      const batch = found?.batch ?? own?.batch ?? core.arena.empty(0);
      this.#timeAtLeast(batchTime(batch.view, batch.start));
      this.#open(batch);
    }
    if (this.next === this.#reproposeThrough + 1 && this.#hasRoom()) this.#open(core.arena.empty(this.#time()));
  }

  // Phase 2.

  /** Opens the next instance with a client batch. Only while `proposable`. */
  propose(batch: Batch): void {
    batch.view.setFloat64(batch.start + 16, this.#time(), true);
    this.#open(batch);
  }

  /** Opens an empty instance, if one may be opened: someone needs the log to reach further. */
  proposeEmpty(): void {
    if (this.proposable) this.#open(this.#core.arena.empty(this.#time()));
  }

  /** Agreed time has reached, or may have reached, this already: the ballot's own time runs from there. */
  #timeAtLeast(time: number): void {
    if (time <= this.#time()) return;
    this.#timeBaseMs = time;
    this.#timeBaseAt = this.#core.now;
  }

  /** What its monotonic clock lacks of agreed time, in ms. */
  get timeOffsetMs(): number {
    return this.#timeBaseMs - this.#timeBaseAt;
  }

  #time(): number {
    // Whole ms, by the coordinator's monotonic clock within its ballot, never back (DESIGN safety rule 8).
    const time = Math.floor(this.#timeBaseMs + (this.#core.now - this.#timeBaseAt));
    if (time > this.#lastTimeMs) this.#lastTimeMs = time;
    return this.#lastTimeMs;
  }

  #open(batch: Batch): void {
    const core = this.#core;
    const instance = this.next++;
    const entry = core.log.put(instance, this.ballot, batch);
    entry.sentAt = core.now;
    this.#openInstances++;
    this.#openBytes += batch.end - batch.start;
    const ballot = this.ballot;
    entry.token = core.persist({ kind: "accepted", instance, ballot, decided: core.decided, batch }, [], () => {
      if (this.phase === "leading" && this.ballot === ballot) this.#vote(core.self, instance);
    });
    core.out.trace(TraceCode.accepted, instance, ballot, 0);
    for (const peer of core.peers) this.#sendAccept(peer, instance, batch);
    this.#announcedNow();
  }

  #sendAccept(peer: Peer, instance: Instance, batch: Span): void {
    const core = this.#core;
    core.out.send(peer.id, {
      kind: "accept",
      ballot: this.ballot,
      instance,
      decided: core.decided,
      trim: core.trimAnnounced,
      confirm: this.#confirm,
      batch,
    });
  }

  #announcedNow(): void {
    const core = this.#core;
    this.#confirmSent = this.#confirm;
    this.#announced = core.decided;
    this.#commitDueAt = Infinity;
    this.#heartbeatAt = core.now + core.config.heartbeatMs;
  }

  heartbeat(): void {
    const core = this.#core;
    core.broadcast({
      kind: "heartbeat",
      ballot: this.ballot,
      decided: core.decided,
      trim: core.trimAnnounced,
      confirm: this.#confirm,
    });
    this.#announcedNow();
  }

  onAccepted(from: Peer, message: Accepted): void {
    const core = this.#core;
    if (this.phase !== "leading" || message.ballot !== this.ballot) return;
    if (message.instance > from.voted) from.voted = message.instance;
    if (message.aside > 0) core.out.asideHeard(from.id, message.aside);
    this.#noteIncarnations(message.incarnations);
    if ((message.incarnations[from.id - 1] ?? 1) < (core.incarnations[from.id - 1] ?? 1)) return;
    this.#progress(from, message.executed, message.checkpointed);
    this.#vote(from.id, message.instance);
  }

  /**
   * A voter names incarnations. Where one is news, the votes of that replica's earlier life must not be counted beside this
   * voter's: they are taken out of every open instance.
   */
  #noteIncarnations(named: readonly number[]): void {
    const core = this.#core;
    for (let i = 0; i < named.length; i++) {
      if ((named[i] as number) <= (core.incarnations[i] ?? 1)) continue;
      core.incarnations = [...core.incarnations];
      core.incarnations[i] = named[i] as number;
      core.persist({ kind: "incarnation", replica: i + 1, incarnation: named[i] as number }, []);
      this.dropVotes(i + 1);
    }
  }

  /** A replica is known under a new incarnation: votes of its earlier life count no more. */
  dropVotes(of: ReplicaId): void {
    const core = this.#core;
    if (this.phase !== "leading") return;
    for (let instance = core.decided + 1; instance < this.next; instance++) {
      const entry = core.log.get(instance);
      if (entry !== undefined && entry.ballot === this.ballot) entry.votes &= ~memberBit(of);
    }
  }

  /**
   * Somebody knows that this instance is decided. Where this coordinator proposes values of earlier ballots again that may
   * be, as long as it is the value it proposes; anything else was chosen by a higher ballot. Then it must fall silent before
   * its decided prefix passes the instance: an acceptor that holds its own proposal would take that for the decided value.
   */
  onChosen(instance: Instance, batch: Span): void {
    if (this.phase !== "leading" || instance <= this.#base) return;
    const own = this.#core.log.get(instance);
    const proposed = own !== undefined && own.ballot === this.ballot;
    if (instance > this.#reproposeThrough || (proposed && !equalSpans(own.batch, batch))) this.stepDown();
  }

  /** Some open instances may have been learnt from others: they are not open any more. */
  recount(): void {
    const core = this.#core;
    if (this.phase !== "leading") return;
    this.#openInstances = 0;
    this.#openBytes = 0;
    for (let instance = core.decided + 1; instance < this.next; instance++) {
      const entry = core.log.get(instance);
      if (entry === undefined || entry.ballot !== this.ballot) continue;
      this.#openInstances++;
      this.#openBytes += entry.batch.end - entry.batch.start;
    }
    this.#repropose();
  }

  /** A state was installed: where it covers what this coordinator has proposed, others have gone on without it. */
  onInstalled(through: Instance): void {
    if (this.phase === "leading" && through > this.#base) this.stepDown();
  }

  #vote(from: ReplicaId, instance: Instance): void {
    const core = this.#core;
    const entry = core.log.get(instance);
    if (entry === undefined || entry.ballot !== this.ballot) return;
    if (from === core.self && !core.mayVote(instance, this.ballot)) return;
    entry.votes |= memberBit(from);
    if (countMembers(entry.votes) < core.majority) return;
    entry.ballot = CHOSEN_BALLOT;
    this.#openInstances--;
    this.#openBytes -= entry.batch.end - entry.batch.start;
    this.#learner.advance();
    if (core.decided > this.#announced && this.#commitDueAt === Infinity) {
      this.#commitDueAt = core.now + core.config.commitDelayMs;
    }
    this.#repropose();
  }

  // Reads.

  /**
   * Quorum read without clocks (DESIGN safety rule 4): the reads of a turn wait for the instances opened by now, among them
   * one opened after phase 1 was complete, and for a majority to answer a message sent from now on.
   */
  onRead(ticket: number): void {
    const core = this.#core;
    if (this.phase !== "leading" || this.next <= this.#reproposeThrough + 1 || this.#handoverTo !== 0) {
      core.out.refuse(ticket, "not-leader", this.phase === "leading" ? 0 : core.leader);
      return;
    }
    if (this.#reads.full) {
      core.out.refuse(ticket, "busy", core.self);
      return;
    }
    if (this.#confirm === this.#confirmSent) this.#confirm++;
    this.#reads.push({ ticket, after: this.next - 1, confirm: this.#confirm });
  }

  get readable(): boolean {
    return this.phase === "leading" && this.next > this.#reproposeThrough + 1 && this.#handoverTo === 0;
  }

  onConfirmed(from: Peer, message: Confirmed): void {
    const core = this.#core;
    if (this.phase !== "leading" || message.ballot !== this.ballot) return;
    if (message.aside > 0) core.out.asideHeard(from.id, message.aside);
    this.#progress(from, message.executed, message.checkpointed);
    if (message.confirm > from.confirmed) {
      from.confirmed = message.confirm;
      this.#answerReads();
    }
  }

  #answerReads(): void {
    const core = this.#core;
    if (this.#reads.size === 0) return;
    const confirmed = core.reachedByMajority(this.#confirmSent, (peer) => peer.confirmed);
    for (;;) {
      const read = this.#reads.at(0);
      if (read === undefined || read.confirm > confirmed) return;
      this.#reads.shift();
      core.out.trace(TraceCode.readable, read.ticket, read.after, 0);
      core.out.readable(read.ticket, read.after);
    }
  }

  #refuseReads(): void {
    for (;;) {
      const read = this.#reads.shift();
      if (read === undefined) return;
      this.#core.out.refuse(read.ticket, "not-leader", this.#core.leader);
    }
  }

  // Progress, timers, leaving.

  #progress(from: Peer, executed: Instance, checkpointed: Instance): void {
    const core = this.#core;
    // A member of the promise quorum may have fetched a state since, from beyond what it had promised: there it votes no more,
    // and this coordinator can only fetch it too.
    if (executed > core.known) core.known = executed;
    if (executed > from.executed) {
      from.executed = executed;
      this.onExecuted();
    }
    if (checkpointed > from.checkpointed) {
      from.checkpointed = checkpointed;
      this.onCheckpointed();
    }
  }

  onExecuted(): void {
    const core = this.#core;
    if (this.phase !== "leading") return;
    this.#quorumExecuted = core.reachedByMajority(core.executed, (peer) => peer.executed);
  }

  /** f + 1 durable checkpoints through an instance allow everyone to trim through it. */
  onCheckpointed(): void {
    const core = this.#core;
    if (this.phase !== "leading") return;
    const through = core.reachedByMajority(core.checkpointed, (peer) => peer.checkpointed);
    if (through <= core.trimAnnounced) return;
    core.trimAnnounced = through;
    this.#learner.trim();
  }

  /** Sends at the end of a turn what reads or decisions of the turn need sent. */
  onTurn(hasten: boolean): void {
    const core = this.#core;
    if (this.phase !== "leading") return;
    const awaited = hasten && core.decided > this.#announced;
    if (this.#confirm > this.#confirmSent || awaited || core.now >= this.#commitDueAt) this.heartbeat();
    if (core.majority === 1) this.#answerReads();
  }

  onTick(): void {
    const core = this.#core;
    if (this.phase === "preparing" && core.now >= this.#prepareSentAt + core.config.retransmitMs) this.#sendPrepare();
    if (this.phase !== "leading") return;
    if (core.now >= this.#heartbeatAt || core.now >= this.#commitDueAt) this.heartbeat();
    if (core.now >= this.#retransmitAt) this.#retransmit();
    this.#continueHandover();
    this.#checkBase();
  }

  /**
   * What the promise quorum had delivered may have gone with the memory of the member that had it. Phase 1 of another ballot
   * finds such values among the accepted ones, so a coordinator that can't fetch them makes way for one.
   */
  #checkBase(): void {
    const core = this.#core;
    if (core.decided >= this.#base || core.decided > this.#movedTo || this.#learner.fetching) {
      this.#movedTo = core.decided;
      this.#movedAt = core.now;
    } else if (core.now - this.#movedAt > 2 * core.config.electionTimeoutMs + core.config.retransmitMs) {
      this.stepDown();
    }
  }

  wakeAt(): number {
    if (this.phase === "preparing") return this.#prepareSentAt + this.#core.config.retransmitMs;
    if (this.phase !== "leading") return Infinity;
    return Math.min(this.#heartbeatAt, this.#commitDueAt, this.#retransmitAt, this.#handoverUntil);
  }

  onLink(peer: Peer, up: boolean): void {
    const core = this.#core;
    if (!up) return;
    if (this.phase === "preparing") {
      if (this.#promises.get(peer.id)?.complete !== true) {
        core.out.send(peer.id, { kind: "prepare", ballot: this.ballot, from: this.#preparedFrom });
      }
    } else if (this.phase === "leading") {
      this.heartbeat();
      this.#resend(peer, Infinity);
    }
  }

  #retransmit(): void {
    const core = this.#core;
    this.#retransmitAt = core.now + core.config.retransmitMs;
    const before = core.now - core.config.retransmitMs;
    for (const peer of core.peers) if (peer.up) this.#resend(peer, before);
    for (let instance = core.decided + 1; instance < this.next; instance++) {
      const entry = core.log.get(instance);
      if (entry !== undefined && entry.ballot === this.ballot && entry.sentAt <= before) entry.sentAt = core.now;
    }
  }

  /** Sends open instances that were last sent before `before` to a peer that has not voted for them. */
  #resend(peer: Peer, before: number): void {
    const core = this.#core;
    let bytes = 0;
    for (let instance = core.decided + 1; instance < this.next && bytes < RETRANSMIT_BYTES_MAX; instance++) {
      const entry = core.log.get(instance);
      if (entry === undefined || entry.ballot !== this.ballot || entry.sentAt > before) continue;
      if ((entry.votes & memberBit(peer.id)) !== 0) continue;
      this.#sendAccept(peer, instance, entry.batch);
      bytes += entry.batch.end - entry.batch.start;
    }
  }

  /** Hands leadership to `to`, or to the peer that has voted furthest, once everything open is decided. */
  transfer(to: ReplicaId | undefined): void {
    const core = this.#core;
    if (this.phase !== "leading" || this.#handoverTo !== 0) return;
    let best: Peer | undefined;
    for (const peer of core.peers) {
      if (!peer.up || (to !== undefined && peer.id !== to)) continue;
      if (best === undefined || peer.voted > best.voted) best = peer;
    }
    // One that was asked for by name is spared an election that it can't win.
    if (best === undefined || (to !== undefined && best.voted + core.config.candidateLagMax < core.decided)) return;
    this.#handoverTo = best.id;
    this.#handoverSent = false;
    this.#handoverUntil = core.now + core.config.electionTimeoutMs;
    this.#continueHandover();
  }

  #continueHandover(): void {
    const core = this.#core;
    if (this.#handoverTo === 0) return;
    if (core.now >= this.#handoverUntil) {
      this.#handoverTo = 0;
      this.#handoverUntil = Infinity;
    } else if (this.#openInstances === 0 && !this.#handoverSent) {
      this.#handoverSent = true;
      this.heartbeat();
      core.out.send(this.#handoverTo, { kind: "handover", ballot: this.ballot });
    }
  }

  /** After each step that may have closed the last open instance. */
  settle(): void {
    if (this.#handoverTo !== 0) this.#continueHandover();
  }

  /** Leaves coordination or an attempt at it. What was proposed stays in the log; its fate is the next ballot's business. */
  stepDown(): void {
    const core = this.#core;
    if (this.phase === "idle") return;
    const led = this.phase === "leading";
    this.phase = "idle";
    if (core.leader === core.self) core.leader = 0;
    this.#refuseReads();
    if (led) core.out.trace(TraceCode.steppedDown, this.ballot, 0, 0);
    this.#reset();
  }

  #reset(): void {
    const core = this.#core;
    this.#promises.clear();
    for (const value of this.#values.values()) core.arena.release(value.batch);
    this.#values.clear();
    this.#reproposeThrough = 0;
    this.#openInstances = 0;
    this.#openBytes = 0;
    this.#heartbeatAt = Infinity;
    this.#commitDueAt = Infinity;
    this.#retransmitAt = Infinity;
    this.#handoverTo = 0;
    this.#handoverUntil = Infinity;
    this.next = core.log.highest + 1;
  }
}

function equalSpans(a: Span, b: Span): boolean {
  const length = a.end - a.start;
  if (b.end - b.start !== length) return false;
  for (let i = 0; i < length; i++) if (a.bytes[a.start + i] !== b.bytes[b.start + i]) return false;
  return true;
}
