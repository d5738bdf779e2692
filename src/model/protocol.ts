import type { ByteWriter } from "../base/index.js";
import type { Batch, BatchArena, Span } from "./batch.js";
import type { Ballot, Instance, ReplicaId } from "./ids.js";
import type { TraceCode } from "./trace.js";

/**
 * The contract of an ordering protocol: one object per group and replica, a pure machine `step(event) → effects`.
 *
 * Three message and record types parametrise it. `Free` messages may leave at once. `Held` messages state something that
 * must be durable first (promises, votes); the only way to send one is inside `persist`, so that an unheld vote does not
 * compile. `Record` is what `persist` writes to the log.
 *
 * Rules for both sides: every event carries monotonic `now` in ms, taken after its bytes were read; the bytes of a message
 * are valid only during `step` unless the protocol copies them into its arena; batches handed to `decide` stay valid until
 * the protocol has announced `trim` through their instance and the host has let go of them.
 */
export interface Protocol<Free, Held, Record> {
  step(event: ProtocolEvent<Free | Held, Record>, out: EffectSink<Free, Held, Record>): void;
  /** The same object every time, updated in place: reading it costs nothing. */
  inspect(): ProtocolView;
  /**
   * Records that must stand at the head of every log segment, so that older segments can be dropped: promise, rejoin
   * state, known incarnations. Called by the host when the log rolls over to a new segment.
   */
  prologue(): readonly Record[];
}

export type ProtocolEvent<Message, Record> =
  /** First event, once. */
  | { readonly kind: "start"; readonly now: number; readonly recovered: Recovered<Record> }
  /** The time asked for with `wakeAt` has come. */
  | { readonly kind: "tick"; readonly now: number }
  /** A message; `span` is its raw frame body, for protocols that forward or sign bytes. */
  | {
      readonly kind: "message";
      readonly now: number;
      readonly from: ReplicaId;
      readonly message: Message;
      readonly span: Span;
    }
  /**
   * All input of this event-loop turn has been stepped: send what was put off for coalescing. With `hasten` the followers are to
   * hear of decisions at once: something beside this stream waits for them.
   */
  | { readonly kind: "turn"; readonly now: number; readonly hasten?: boolean }
  /** A batch to order; its time field is still 0 and is the protocol's to set. Only when `inspect().proposable`. */
  | { readonly kind: "propose"; readonly now: number; readonly batch: Batch }
  /** A group of unordered reads that arrived in this turn; tickets are dense and rise. */
  | { readonly kind: "read"; readonly now: number; readonly ticket: number }
  /** Every `persist` with a token at or below this one is durable. */
  | { readonly kind: "persisted"; readonly now: number; readonly token: number }
  /**
   * The service has executed through this instance. With `speculative` the instance was revealed but not decided, and
   * `replies` holds the reply blocks it produced (a PBFT-CS primary sends them as early replies).
   */
  | {
      readonly kind: "executed";
      readonly now: number;
      readonly through: Instance;
      readonly speculative: boolean;
      readonly replies: Span | null;
    }
  /** A checkpoint through this instance is durable on this replica. */
  | {
      readonly kind: "checkpointed";
      readonly now: number;
      readonly through: Instance;
      readonly digest: string;
      /** From now on the log may take so many bytes; without it the bound stays as it is. */
      readonly logBytesMax?: number;
    }
  /** A checkpoint fetched from a peer was made durable and installed; the state is through this instance. */
  | {
      readonly kind: "installed";
      readonly now: number;
      readonly through: Instance;
      readonly logBytesMax?: number;
    }
  /** A fetch asked for with `fetchState` failed; ask again, elsewhere. */
  | { readonly kind: "fetchFailed"; readonly now: number; readonly from: ReplicaId }
  /**
   * The answer to `recall`: what could be read, in the order it was written, of the instances asked for and of no others; nothing
   * if it could not be read. Batches in the records are the protocol's to release.
   */
  | { readonly kind: "recalled"; readonly now: number; readonly to: ReplicaId; readonly records: readonly Record[] }
  /** An opaque number that later votes of this replica carry (merge points: its prefix of g_all). */
  | { readonly kind: "aside"; readonly now: number; readonly value: number }
  /** Instances through this one are decided, by word from beside the protocol: what this replica lacks of them it is to fetch. */
  | { readonly kind: "known"; readonly now: number; readonly through: Instance }
  /** The connection to a peer came up or went away, or its unsent bytes changed a lot. */
  | {
      readonly kind: "link";
      readonly now: number;
      readonly peer: ReplicaId;
      readonly up: boolean;
      readonly inFlightBytes: number;
    }
  /** Hand leadership to an up-to-date peer, or to this one if it is that, if this replica leads. */
  | { readonly kind: "transferLeadership"; readonly now: number; readonly to?: ReplicaId };

/** What a replica finds on its own disk at start. */
export interface Recovered<Record> {
  /** Records in the order they were written; spans in them lie in the protocol's arena or live as long as the protocol. */
  readonly records: Iterable<Record>;
  /** The state starts at this instance: the last one the local checkpoint covers, 0 without a checkpoint. */
  readonly checkpointThrough: Instance;
  /**
   * 0 for a replica that remembers every promise and vote it gave. Otherwise the nonce of the amnesia: the replica may have
   * forgotten some and is a non-voter until it has rejoined under that nonce (DESIGN safety rule 1).
   */
  readonly amnesiaNonce: number;
  /** Wall clock in ms since the epoch and monotonic clock in ms, read at the same moment. */
  readonly wallMs: number;
  /** The log may take so many bytes; without it, what the protocol is configured with. */
  readonly logBytesMax?: number;
  /** The host answers `recall`, so that memory need not hold all of the log. Default false. */
  readonly recallable?: boolean;
}

export type Role = "leader" | "candidate" | "follower" | "recovering";

/** Where a protocol stands; also what `status` shows. */
export interface ProtocolView {
  readonly role: Role;
  readonly ballot: Ballot;
  /** The replica believed to lead, 0 if none is known. */
  readonly leader: ReplicaId;
  /** Contiguous decided prefix. */
  readonly decided: Instance;
  /** Highest instance opened or accepted. */
  readonly opened: Instance;
  /** Trimmed through. */
  readonly trimmed: Instance;
  /** True while a `propose` event would be taken. */
  readonly proposable: boolean;
  /** The same of a batch without commands: one stream of several takes it into a full log as well, since others may wait for it. */
  readonly proposableEmpty: boolean;
  /** True while `read` events are answered rather than refused. */
  readonly readable: boolean;
  /** Bytes of batches above the trim point, wherever they are. */
  readonly logBytes: number;
  /** Bytes of memory that batches take. */
  readonly logMemoryBytes: number;
  /** How much of the room for the log is taken, in bytes or in instances, whichever is more: 1 is full. */
  readonly logFill: number;
  /** Agreed time minus monotonic time, in ms: a coordinator stamps a batch of now with `now` plus this. */
  readonly timeOffsetMs: number;
}

export interface HeldSend<Message> {
  readonly to: ReplicaId;
  readonly message: Message;
}

/** Why a proposal or read was refused. Nothing of a refused proposal was ordered. */
export type RefuseReason = "not-leader" | "busy";

/** What a step may ask for. Methods are called, nothing is returned: no allocation per effect. */
export interface EffectSink<Free, Held, Record> {
  send(to: ReplicaId, message: Free): void;
  /**
   * Writes `record` to the log. When it is durable the host sends `held` and steps `persisted(token)`. Tokens rise by one.
   * Data rather than a closure: what waits for the disk can be inspected, dropped at a crash and printed.
   */
  persist(token: number, record: Record, held: readonly HeldSend<Free | Held>[]): void;
  /** Asks for a `tick` at or after this monotonic time; replaces an earlier request. `Infinity`: none. */
  wakeAt(time: number): void;
  /** The value of an instance is known but not decided: speculating models may execute it (optimistic delivery). */
  reveal(instance: Instance, batch: Batch): void;
  /** Revealed values from this instance on may not be the decided ones: undo them. */
  revoke(from: Instance): void;
  /** The next instance of the contiguous decided prefix. */
  decide(instance: Instance, batch: Batch): void;
  /** Reads with this ticket and all before it may execute once the state is through `after`. */
  readable(ticket: number, after: Instance): void;
  /** A proposal (`what` is its batch, returned to the host) or a read ticket was refused. */
  refuse(what: Batch | number, reason: RefuseReason, leader: ReplicaId): void;
  /** Copy a checkpoint from `from` that covers at least `through`; with a digest only that one will do. */
  fetchState(from: ReplicaId, through: Instance, digest: string | null): void;
  /** Instances through this one will not be asked for again; their batches are released after this call. */
  trim(through: Instance): void;
  /**
   * Read the durable records of instances `from` to `through` back from the log, for this peer: answered by one `recalled`. Only
   * of a host that said it can, and at most one for each peer at a time.
   */
  recall?(to: ReplicaId, from: Instance, through: Instance): void;
  /** A peer's aside value, as carried by its vote. */
  asideHeard(from: ReplicaId, value: number): void;
  /** A reply block to a client, for protocols whose client is a party (PBFT, Zyzzyva). Never for what must be durable. */
  reply(span: Span): void;
  trace(code: TraceCode, a: number, b: number, c: number): void;
}

/** How a protocol's messages and records become bytes. Decoders return null for anything malformed. */
export interface ProtocolCodec<Message, Record> {
  /** Message kinds are 1..63 and are carried in the frame header. */
  kindOf(message: Message): number;
  encode(message: Message, writer: ByteWriter): void;
  decode(kind: number, bytes: Uint8Array, view: DataView, start: number, end: number): Message | null;
  encodeRecord(record: Record, writer: ByteWriter): void;
  /** Copies what the record must keep into `arena`. */
  decodeRecord(
    bytes: Uint8Array,
    view: DataView,
    start: number,
    end: number,
    arena: BatchArena,
    above: Instance,
  ): Record | null;
  /** Gives back what `decodeRecord` took from the arena for a record that will not be used. */
  forget(record: Record, arena: BatchArena): void;
  /** Instance a record belongs to (0: none), which decides when its log segment may go, and what is lost with it. */
  recordInstance(record: Record): Instance;
  /**
   * A record that stands, among those a replica recovers, in the place of any number of damaged ones: all of them belonged to
   * instances, and to none above `through`. A protocol without it goes on from no log with holes: its replica rejoins.
   */
  lost?(through: Instance): Record;
}

/** What a host gives a protocol when it makes one. */
export interface ProtocolInit {
  readonly self: ReplicaId;
  /** Ids of all replicas of the group, self included, ascending. */
  readonly replicas: readonly ReplicaId[];
  readonly arena: BatchArena;
  /** Seed of election jitter. */
  readonly seed: number;
}

/** A protocol together with its codec, as the registry makes it. */
export interface ProtocolModule<Free, Held, Record> {
  readonly name: string;
  readonly codec: ProtocolCodec<Free | Held, Record>;
  create(init: ProtocolInit, config?: object): Protocol<Free, Held, Record>;
}
