import { type Ballot, type Batch, type Instance, type ReplicaId, TraceCode } from "../../model/index.js";
import { CHOSEN_BALLOT } from "../instance-log/index.js";
import type { Core, Peer } from "./core.js";
import type { CatchUp, CatchUpRefuse, Chosen, MultiPaxosRecord } from "./message.js";

/** How long a peer's log is kept from trimming after it last asked for a part of it, in ms. */
const PIN_MS = 5000;
/** A fetch of state keeps its pin alive this often, in ms. */
const PIN_RENEWAL_MS = 1000;

/**
 * Learner: delivers the decided prefix in order without gaps, fetches chosen values it missed from any peer, falls back to
 * state transfer where peers have trimmed, and trims (DESIGN safety rule 2).
 */
export class Learner {
  readonly #core: Core;
  /** The coordinator of `#heardBallot` says that everything through `#heardDecided` is decided. */
  #heardBallot: Ballot = 0;
  #heardDecided: Instance = 0;
  #asked: ReplicaId = 0;
  #askedAt = -Infinity;
  #askedFrom: Instance = 0;
  /** The peer asked last has not answered yet; an answer that arrives twice counts once. */
  #waiting = false;
  /** Refusals in this round of asking. */
  #refusals = 0;
  #fetching: ReplicaId = 0;
  #fetchThrough: Instance = 0;
  #renewAt = Infinity;

  constructor(core: Core) {
    this.#core = core;
  }

  /** True while a peer's state is being fetched. */
  get fetching(): boolean {
    return this.#fetching !== 0;
  }

  /** A coordinator announced its decided prefix. A value accepted in its own ballot at or below is the chosen one. */
  hear(ballot: Ballot, decided: Instance): void {
    if (ballot !== this.#heardBallot) {
      this.#heardBallot = ballot;
      this.#heardDecided = 0;
    }
    if (decided > this.#heardDecided) this.#heardDecided = decided;
    if (decided > this.#core.known) this.#core.known = decided;
    this.advance();
  }

  /** Delivers as far as values are known to be chosen. */
  advance(): void {
    const core = this.#core;
    for (;;) {
      const next = core.decided + 1;
      const entry = core.log.get(next);
      if (entry === undefined) return;
      const chosen =
        entry.ballot === CHOSEN_BALLOT || (entry.ballot === this.#heardBallot && next <= this.#heardDecided);
      if (!chosen) return;
      core.deliver(next, entry);
    }
  }

  /** Asks a peer for what is missing, if anything is and nobody has been asked lately. Called at the end of a turn. */
  pursue(): void {
    const core = this.#core;
    if (this.#fetching !== 0) {
      if (core.now >= this.#renewAt) this.#renew();
      return;
    }
    if (!this.#mayAsk || core.now < this.#askedAt + core.config.retransmitMs) return;
    this.#refusals = 0;
    this.#ask();
  }

  /**
   * Something is missing, there is room for it, and there is somebody to ask. Of several streams, that nobody has it any more has to
   * be found out even by one that has no room.
   */
  get #mayAsk(): boolean {
    const core = this.#core;
    const mayTake = core.config.otherStreams > 0 || core.takesChosen(core.decided + 1);
    return core.known > core.decided && mayTake && core.peers.some((peer) => peer.up);
  }

  /** When `pursue` wants to run again. */
  wakeAt(): number {
    const core = this.#core;
    if (this.#fetching !== 0) return this.#renewAt;
    // A time that `pursue` would let pass without asking would come again at once, for ever.
    if (!this.#mayAsk) return Infinity;
    return this.#askedAt + core.config.retransmitMs;
  }

  #ask(): void {
    const core = this.#core;
    const peer = this.#nextPeer();
    if (peer === undefined) return;
    core.out.trace(TraceCode.catchUp, core.decided + 1, peer.id, core.known);
    this.#request(peer.id);
  }

  #request(peer: ReplicaId): void {
    const core = this.#core;
    this.#asked = peer;
    this.#askedAt = core.now;
    this.#askedFrom = core.decided + 1;
    this.#waiting = true;
    core.out.send(peer, { kind: "catchUp", from: core.decided + 1, through: core.known });
  }

  /** Peers take turns; the coordinator, which has most to do, comes last among those that are up. */
  #nextPeer(): Peer | undefined {
    const core = this.#core;
    const candidates = core.peers.filter((peer) => peer.up);
    if (candidates.length === 0) return undefined;
    const at = candidates.findIndex((peer) => peer.id === this.#asked);
    if (at < 0) return candidates.find((peer) => peer.id !== core.leader) ?? candidates[0];
    return candidates[(at + 1) % candidates.length];
  }

  onCatchUp(from: Peer, message: CatchUp): void {
    const core = this.#core;
    from.pinned = message.from - 1;
    from.pinnedUntil = core.now + PIN_MS;
    if (message.through < message.from) return;
    if (message.from <= core.log.trimmed || message.from > core.decided) {
      const trimmed = message.from <= core.log.trimmed;
      core.out.send(from.id, {
        kind: "catchUpRefuse",
        trimmed: core.log.trimmed,
        decided: core.decided,
        checkpoint: trimmed ? core.checkpointed : 0,
      });
      // The log above the checkpoint that the peer is about to fetch must still be there when it has it.
      if (trimmed) from.pinned = core.checkpointed;
      return;
    }
    const through = Math.min(message.through, core.decided);
    if (message.from <= core.log.evicted) return this.#recall(from, message.from, through);
    let bytes = 0;
    for (let instance = message.from; instance <= through; instance++) {
      const entry = core.log.get(instance);
      if (entry === undefined) return;
      bytes += entry.batch.end - entry.batch.start;
      const last = instance === through || bytes >= core.config.catchUpBytes;
      core.out.send(from.id, { kind: "chosen", instance, last, decided: core.decided, batch: entry.batch });
      if (last) return;
    }
  }

  /** Has the host read what a peer asks for, once at a time: a request that is repeated meanwhile gets the same answer. */
  #recall(from: Peer, first: Instance, through: Instance): void {
    const core = this.#core;
    if (from.recallFrom !== 0) return;
    from.recallFrom = first;
    from.recallThrough = Math.min(through, core.log.recallThrough(first, core.config.catchUpBytes));
    core.out.recall?.(from.id, first, from.recallThrough);
  }

  /**
   * What the disk has of the instances asked for. The newest record of an instance holds the value that was chosen: a replica
   * that knows what was chosen accepts nothing else.
   */
  onRecalled(to: Peer, records: readonly MultiPaxosRecord[]): void {
    const core = this.#core;
    const first = to.recallFrom;
    const found = new Map<Instance, Batch>();
    for (const record of records) {
      if (record.kind !== "accepted") continue;
      const batch = record.batch as Batch;
      const older = found.get(record.instance);
      if (older !== undefined) core.arena.release(older);
      found.set(record.instance, batch);
    }
    let next = first;
    for (; next <= to.recallThrough; next++) {
      const batch = found.get(next);
      if (batch === undefined) break;
      const last = next === to.recallThrough || !found.has(next + 1);
      core.out.send(to.id, { kind: "chosen", instance: next, last, decided: core.decided, batch });
    }
    for (const batch of found.values()) core.arena.release(batch);
    to.recallFrom = 0;
    if (next === first) this.#refuseRecall(to, first);
  }

  /** The disk does not give back what it was given: another peer may have it, or a checkpoint of this one. */
  #refuseRecall(to: Peer, first: Instance): void {
    const core = this.#core;
    const covered = core.checkpointed >= first;
    core.out.send(to.id, {
      kind: "catchUpRefuse",
      trimmed: covered ? first : core.log.trimmed,
      decided: core.decided,
      checkpoint: covered ? core.checkpointed : 0,
    });
    if (covered) to.pinned = core.checkpointed;
  }

  onChosen(from: ReplicaId, message: Chosen): void {
    const core = this.#core;
    if (message.decided > core.known) core.known = message.decided;
    if (from === this.#asked) this.#askedAt = core.now;
    if (message.instance > Math.max(core.decided, core.log.trimmed) && core.takesChosen(message.instance)) {
      const entry = core.log.get(message.instance);
      if (entry === undefined || entry.ballot !== CHOSEN_BALLOT) {
        const { bytes, view, start, end } = message.batch;
        const batch = core.arena.copy(bytes, view, start, end);
        core.log.put(message.instance, CHOSEN_BALLOT, batch).token = core.persist(
          { kind: "accepted", instance: message.instance, ballot: CHOSEN_BALLOT, decided: core.decided, batch },
          [],
        );
      }
      this.advance();
    }
    // An answer that arrives twice is followed up once: else every duplicate would start a catch-up of its own.
    if (!message.last || from !== this.#asked || !this.#waiting || message.instance < this.#askedFrom) return;
    this.#waiting = false;
    this.#askedAt = -Infinity;
    // The same peer answers well: go on with it at once.
    if (this.#mayAsk) this.#request(from);
  }

  onCatchUpRefuse(from: ReplicaId, message: CatchUpRefuse): void {
    const core = this.#core;
    if (from !== this.#asked || !this.#waiting || this.#fetching !== 0) return;
    this.#waiting = false;
    if (message.decided > core.known) core.known = message.decided;
    if (message.trimmed > core.decided && message.checkpoint > core.decided) {
      this.#fetching = from;
      this.#fetchThrough = message.checkpoint;
      this.#renewAt = core.now + PIN_RENEWAL_MS;
      core.out.fetchState(from, message.trimmed, null);
      return;
    }
    // Each peer is asked once without a pause: asking on and on would be a busy loop between those that have nothing.
    if (++this.#refusals < core.peers.filter((peer) => peer.up).length) this.#ask();
  }

  #renew(): void {
    const core = this.#core;
    this.#renewAt = core.now + PIN_RENEWAL_MS;
    core.out.send(this.#fetching, { kind: "catchUp", from: this.#fetchThrough + 1, through: 0 });
  }

  onFetchFailed(): void {
    this.#fetching = 0;
    this.#renewAt = Infinity;
    this.#askedAt = this.#core.now;
  }

  /** A fetched checkpoint is durable and installed: it replaces service state, never promises or votes above it. */
  onInstalled(through: Instance): void {
    const core = this.#core;
    const from = this.#fetching;
    this.#fetching = 0;
    this.#renewAt = Infinity;
    this.#askedAt = -Infinity;
    if (through > core.executed) core.executed = through;
    if (through > core.checkpointed) core.checkpointed = through;
    if (through > core.known) core.known = through;
    if (through > core.decided) core.decided = through;
    // The log may hold values below that were never chosen: recovery must not take them for decided ones.
    core.persist({ kind: "position", decided: core.decided, trimmed: through }, []);
    this.#release(through);
    this.advance();
    // The log above is asked of the peer that has kept it: another may have trimmed on meanwhile, and would have this
    // replica fetch a state again, and so on for as long as there is load.
    if (core.peerOf.get(from)?.up !== true || !this.#mayAsk) return;
    this.#refusals = 0;
    this.#request(from);
  }

  onPeerGone(peer: ReplicaId): void {
    if (peer === this.#asked) this.#askedAt = -Infinity;
  }

  /**
   * Trims below this replica's own durable checkpoint, through what f + 1 replicas have checkpointed durably, and not past
   * what a peer that is catching up still needs (unless half the log is used up by waiting for it).
   */
  trim(): void {
    const core = this.#core;
    let through = Math.min(core.trimAnnounced, core.checkpointed);
    if (through <= core.log.trimmed) return;
    if (core.logBytes < core.logBytesMax / 2 && core.log.size < core.config.logInstancesMax / 2) {
      for (const peer of core.peers) if (core.now < peer.pinnedUntil && peer.pinned < through) through = peer.pinned;
    }
    if (through <= core.log.trimmed) return;
    // Segments of the log go, and votes with them. If the checkpoint that covers these is ever damaged, the log has to say
    // that they are missing: the head of a segment only knows what was trimmed when that segment began.
    core.persist({ kind: "position", decided: core.decided, trimmed: through }, []);
    this.#release(through);
  }

  #release(through: Instance): void {
    const core = this.#core;
    if (through <= core.log.trimmed) return;
    core.log.trim(through);
    core.out.trim(through);
    core.out.trace(TraceCode.trimmed, through, 0, 0);
  }
}
