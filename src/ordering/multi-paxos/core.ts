import { Prng } from "../../base/index.js";
import {
  type Ballot,
  ballotProposer,
  type BatchArena,
  batchTime,
  type EffectSink,
  type HeldSend,
  type Instance,
  majority,
  type ProtocolInit,
  type ReplicaId,
} from "../../model/index.js";
import { CHOSEN_BALLOT, InstanceLog, type LogEntry } from "../instance-log/index.js";
import type { MultiPaxosConfig } from "./config.js";
import type { MultiPaxosFree, MultiPaxosHeld, MultiPaxosMessage, MultiPaxosRecord } from "./message.js";

export type Sink = EffectSink<MultiPaxosFree, MultiPaxosHeld, MultiPaxosRecord>;

/** Instances evicted in a turn: more than a turn decides, and a millisecond or two of work at most. */
const EVICTED_AT_ONCE = 8192;
/**
 * Of several streams, so many logs' instances fit in one where others may wait for it: those of its own commands, and as many empty ones
 * as the others have instances for the threads to meet at.
 */
const SHARED_LOGS = 4;

/** What a replica knows of one of its peers. */
export interface Peer {
  readonly id: ReplicaId;
  up: boolean;
  inFlightBytes: number;
  /** When a message of it last arrived. */
  heardAt: number;
  executed: Instance;
  checkpointed: Instance;
  /** Highest confirm number it has echoed in the current ballot. */
  confirmed: number;
  /** Highest instance it has voted for in the current ballot. */
  voted: Instance;
  /** It is catching up and needs the log above this instance until `pinnedUntil`. */
  pinned: Instance;
  pinnedUntil: number;
  /** Instances that are being read from disk for it, from `recallFrom` on; 0 if none are. */
  recallFrom: Instance;
  recallThrough: Instance;
}

/**
 * The state that the roles of one replica share: the acceptor's promise and log, the learner's prefix, what is known of the
 * peers, and the sink of the step in progress.
 */
export class Core {
  readonly self: ReplicaId;
  readonly config: MultiPaxosConfig;
  readonly peers: readonly Peer[];
  readonly peerOf: ReadonlyMap<ReplicaId, Peer>;
  readonly majority: number;
  readonly arena: BatchArena;
  readonly log: InstanceLog;
  readonly prng: Prng;

  /** Time of the step in progress. */
  now = 0;
  /** Sink of the step in progress; set before any role runs. */
  out!: Sink;

  /** Highest ballot promised. Invariant: it never falls, and no vote or promise of a lower ballot leaves. */
  promised: Ballot = 0;
  /** Replica believed to lead; 0 if none. */
  leader: ReplicaId = 0;
  /** Contiguous decided prefix whose values this replica has delivered or whose state it holds. */
  decided: Instance = 0;
  /** Highest instance known to be decided anywhere; everything at or below is. Invariant: known >= decided. */
  known: Instance = 0;
  executed: Instance = 0;
  checkpointed: Instance = 0;
  /** Agreed time of the batches delivered since the start, in ms; 0 before the first. */
  agreedMs = 0;
  /** Highest trim point a coordinator announced: f + 1 replicas hold durable checkpoints through it. */
  trimAnnounced: Instance = 0;
  aside = 0;
  /** Bytes of log at most: what is configured, until the host allows more for a state that has grown. */
  logBytesMax: number;
  /** The host reads back what is durable, so that memory need not hold what is decided and executed. */
  recallable = false;

  /** Incarnations stored here, by replica id - 1; replicas begin with 1 (DESIGN safety rule 1). */
  incarnations: number[];
  /** False while this replica may have forgotten a promise or vote. */
  voter = true;
  /** After a rejoin: votes count only above this instance, and at or above this ballot. */
  floorInstance: Instance = 0;
  floorBallot: Ballot = 0;
  rejoinedNonce = 0;
  /**
   * Values through here were trimmed or installed away, or lost with damaged records: this log can't say what this replica voted
   * for below.
   */
  forgottenThrough: Instance = 0;
  /** Everything decided through `forgottenThrough` is on this replica's disk again. */
  regained = true;

  wallBaseMs = 0;
  wallBaseAt = 0;

  #token = 0;
  persistedToken = 0;
  readonly #waiting: { token: number; durable: () => void }[] = [];

  constructor(init: ProtocolInit, config: MultiPaxosConfig) {
    this.self = init.self;
    this.config = config;
    this.logBytesMax = config.logBytesMax;
    this.arena = init.arena;
    this.log = new InstanceLog(init.arena);
    this.prng = new Prng(init.seed);
    this.majority = majority(init.replicas.length);
    this.incarnations = Array.from({ length: Math.max(...init.replicas) }, () => 1);
    this.peers = init.replicas
      .filter((id) => id !== init.self)
      .map((id) => ({
        id,
        up: false,
        inFlightBytes: 0,
        heardAt: -Infinity,
        executed: 0,
        checkpointed: 0,
        confirmed: 0,
        voted: 0,
        pinned: 0,
        pinnedUntil: 0,
        recallFrom: 0,
        recallThrough: 0,
      }));
    this.peerOf = new Map(this.peers.map((peer) => [peer.id, peer]));
  }

  wallMs(): number {
    return this.wallBaseMs + (this.now - this.wallBaseAt);
  }

  broadcast(message: MultiPaxosFree): void {
    for (const peer of this.peers) this.out.send(peer.id, message);
  }

  /**
   * Persists a record; `durable` runs (in a later step) once it is on disk, before any later record's. Returns the token that
   * `persistedToken` reaches by then.
   */
  persist(record: MultiPaxosRecord, held: readonly HeldSend<MultiPaxosMessage>[], durable?: () => void): number {
    const token = ++this.#token;
    if (durable !== undefined) this.#waiting.push({ token, durable });
    this.out.persist(token, record, held);
    return token;
  }

  onPersisted(token: number): void {
    this.persistedToken = token;
    let done = 0;
    while (done < this.#waiting.length && (this.#waiting[done] as { token: number }).token <= token) done++;
    if (done === 0) return;
    for (const { durable } of this.#waiting.splice(0, done)) durable();
  }

  /**
   * True if a promise of this replica may count: it reports what was accepted above the delivered prefix, so that prefix has
   * to reach past everything whose votes it no longer holds. It does unless the checkpoint that covered them was lost, or
   * records of them. It has to do so durably: of a value that this replica had voted for, the only copy may be the one that it
   * was fetched from.
   */
  get mayPromise(): boolean {
    return this.voter && this.regained && Math.max(this.decided, this.log.trimmed) >= this.floorInstance;
  }

  /** True if a vote of this replica for the instance in the ballot may leave it. */
  mayVote(instance: Instance, ballot: Ballot): boolean {
    return this.voter && instance > Math.max(this.floorInstance, this.forgottenThrough) && ballot >= this.floorBallot;
  }

  /** Takes up a coordinator's ballot, which implies promising it. Nothing is sent, so nothing need be durable. */
  follow(ballot: Ballot): void {
    if (ballot > this.promised) this.promised = ballot;
    this.leader = ballotProposer(ballot);
  }

  /** Bytes of the log above the trim point, in memory or on disk alone. */
  get logBytes(): number {
    return this.arena.bytesHeld + this.log.evictedBytes;
  }

  /** The share of its bytes or of its instances that the log holds, whichever is larger; above 1 it is full. */
  get logFill(): number {
    return Math.max(this.logBytes / this.logBytesMax, this.log.size / this.config.logInstancesMax);
  }

  get logFull(): boolean {
    return this.logBytes > this.logBytesMax || this.log.size > this.config.logInstancesMax;
  }

  /**
   * True if nothing new can be accepted for lack of room in the log. While this replica has gaps only half the room is for new
   * values: the other half is what it needs to close the gaps, or it could never deliver, checkpoint and trim.
   */
  get mustRefuse(): boolean {
    const share = this.known > this.decided ? 2 : 1;
    return this.logBytes > this.logBytesMax / share || this.log.size > this.config.logInstancesMax / share;
  }

  /**
   * Leaves to the disk what memory need not hold beyond its bound: from the trim point on, what is decided, executed and
   * durable here. Promises report nothing of it, votes need no value where one is known to be chosen, and a peer that is
   * behind is served from disk. Trimming and what survives a crash are as without it.
   */
  evict(): void {
    const { arena, config, log } = this;
    const first = log.evictable;
    if (!this.recallable || first === 0) return;
    const through = Math.min(this.decided, this.executed, first + EVICTED_AT_ONCE - 1);
    for (let next = first; next <= through; next++) {
      if (arena.bytesHeld <= config.logMemoryBytesMax) return;
      const entry = log.get(next);
      // A value that only the memory of others and this one's may hold stays until it is on this disk, too.
      if (entry !== undefined && entry.token > this.persistedToken) return;
      log.evict(next);
    }
  }

  /**
   * True of the next instance to be decided if the log is filled by what stands above it. Such a log empties only when
   * that is decided, so a value for it is taken whatever room there is.
   */
  mustTake(instance: Instance): boolean {
    return instance === this.decided + 1 && 2 * (this.decided - this.log.trimmed) < this.log.size;
  }

  /** True if a value fetched from a peer is taken: there is room for it, or it has to be taken. */
  takesChosen(instance: Instance): boolean {
    return !this.logFull || this.mustTake(instance) || this.#takesForOthers(instance);
  }

  /**
   * Of several streams, a full log may wait for another stream, and all of them for this one: what a peer still has of it is
   * taken.
   */
  #takesForOthers(instance: Instance): boolean {
    return instance === this.decided + 1 && this.#hasSharedRoom;
  }

  /**
   * True if a full log takes a batch without commands. Of several streams such a batch is what the threads of all wait for at a
   * barrier: until it is decided there is no checkpoint, and until there is one no log gets room.
   */
  get takesEmpty(): boolean {
    return this.#hasSharedRoom;
  }

  get #hasSharedRoom(): boolean {
    const { otherStreams, logInstancesMax } = this.config;
    return otherStreams > 0 && this.logBytes <= 2 * this.logBytesMax && this.log.size <= SHARED_LOGS * logInstancesMax;
  }

  /** Largest instance that a majority of the group has reached by the given measure. */
  reachedByMajority(own: Instance, of: (peer: Peer) => Instance): Instance {
    // Groups are small; selecting by counting avoids a sorted copy at every vote.
    let best = this.#supported(own, own, of) ? own : 0;
    for (const peer of this.peers) {
      const value = of(peer);
      if (value > best && this.#supported(value, own, of)) best = value;
    }
    return best;
  }

  #supported(value: Instance, own: Instance, of: (peer: Peer) => Instance): boolean {
    let count = own >= value ? 1 : 0;
    for (const peer of this.peers) if (of(peer) >= value) count++;
    return count >= this.majority;
  }

  /** The host bounds the log by what its state takes; never by less than what is configured. */
  boundLog(bytes: number | undefined): void {
    if (bytes !== undefined) this.logBytesMax = Math.max(bytes, this.config.logBytesMax);
  }

  /** Delivers the next instance of the decided prefix. */
  deliver(instance: Instance, entry: LogEntry): void {
    entry.ballot = CHOSEN_BALLOT;
    this.decided = instance;
    if (this.known < instance) this.known = instance;
    const time = batchTime(entry.batch.view, entry.batch.start);
    if (time > this.agreedMs) this.agreedMs = time;
    this.out.decide(instance, entry.batch);
  }
}
