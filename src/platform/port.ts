import type { ByteWriter } from "../base/index.js";
import type { Instance } from "../model/index.js";

/**
 * The ports through which a replica or client meets the world. Every port has a real, an in-memory and a simulated
 * version that run the same suite. All of them are callback based and single threaded: a callback never runs inside the
 * call that asked for it.
 */

export interface Clock {
  /** Monotonic ms with fractions; the only clock protocols see. */
  monotonicMs(): number;
  /** Wall clock in ms since the epoch; only proposed as agreed time, never trusted. */
  wallMs(): number;
}

/** One timer. `set` replaces what was set before; `fire` runs once at or after the time. */
export interface Timer {
  set(atMs: number): void;
  clear(): void;
}

/** Runs its callback once after all input events of the present event-loop turn have been handled. */
export interface Turn {
  request(): void;
}

export interface Scheduler {
  readonly clock: Clock;
  timer(fire: () => void): Timer;
  turn(run: () => void): Turn;
}

/**
 * A set of framed links. What a link number means depends on the port: a replica id (peers), a connection serial (a
 * listener), the index of an address (a dialler).
 *
 * Writing: `begin` returns a writer for the frame's body, or null when the link is down or already holds its maximum of
 * unsent bytes, in which case the frame is lost (protocols cope with loss). `end` completes the frame. `flush` sends what
 * all links have collected, one write per link; a host calls it once per turn.
 */
export interface FramePort {
  start(handlers: FrameHandlers): void;
  begin(link: number, kind: number): ByteWriter | null;
  end(): void;
  flush(): void;
  /** Bytes handed over and not yet taken by the network. */
  inFlightBytes(link: number): number;
  /** Stop and resume reading from a link: backpressure. */
  pause(link: number): void;
  resume(link: number): void;
  /** Closes one link and says why in the log; peers and diallers reconnect with backoff, listeners forget it. */
  disconnect(link: number, reason: string): void;
  /** Closes everything after flushing what can be flushed within a moment. */
  close(done: () => void): void;
}

export interface FrameHandlers {
  onLink(link: number, up: boolean): void;
  /** The body is `bytes[start, end)`; valid only during the call. `view` covers the same buffer. */
  onFrame(link: number, kind: number, bytes: Uint8Array, view: DataView, start: number, end: number): void;
  /** A link whose unsent bytes had made `begin` return null, or exceeded half its maximum, has drained. */
  onDrain(link: number): void;
}

/** A listener of raw byte connections (the RESP port). Connection numbers rise and are never reused. */
export interface BytePort {
  start(handlers: ByteHandlers): void;
  /** Output buffer of a connection for this turn, or null when the connection is gone. Written out at `flush`. */
  writer(connection: number): ByteWriter | null;
  flush(): void;
  inFlightBytes(connection: number): number;
  pause(connection: number): void;
  resume(connection: number): void;
  /** Ends the connection; with a null reason quietly, after what was written has been sent. */
  disconnect(connection: number, reason: string | null): void;
  close(done: () => void): void;
}

/** Decides who may come in as a client. */
export interface Authenticator {
  /**
   * Whether this user has this password; `remote` is for the log. Calls back once, never inside this call. The bytes are
   * valid only during it.
   */
  verify(user: string, password: Uint8Array, remote: string, done: (accepted: boolean) => void): void;
}

export interface ByteHandlers {
  /** `certified`: the client has shown a certificate that lets it in. */
  onOpen(connection: number, remote: string, certified?: boolean): void;
  onBytes(connection: number, bytes: Uint8Array, start: number, end: number): void;
  onClose(connection: number): void;
  onDrain(connection: number): void;
  /**
   * The client sends nothing more and may still read (`printf … | nc -N`): everything it sent has been delivered. The host
   * writes what it owes and disconnects quietly; if it makes no progress for a while, the port drops the connection. A host
   * without this handler has the connection ended at once, with `onClose`.
   */
  onEnd?(connection: number): void;
}

/** How the last run ended, as far as the log can tell. */
export type LogCondition =
  /** Everything that was ever known to be synced is there; a torn last write may have been cut. */
  | "intact"
  /**
   * Records that had been synced are damaged or missing, and it is known what they can have been: of instances, in the
   * places and up to the instances that `gaps` tells. Nothing else is lost.
   */
  | "holed"
  /** A record at or before the last position known to be synced is damaged or missing: votes may be lost. */
  | "damaged"
  /** There is no log: right for a replica that never ran, for no other. It stays so until it is reset. */
  | "missing";

/** Records of a log that are lost, and what is known of them. */
export interface LogGap {
  /** They stood behind so many of the records that were visited, and in front of the next one. */
  readonly behind: number;
  /** None of them was of an instance above this one, or of none. */
  readonly through: Instance;
}

/**
 * Append-only log of checksummed records, in segments. Positions are ordinal numbers of appended records since the log
 * was opened (1, 2, 3, …); `onDurable(position)` confirms all records up to it, in order.
 */
export interface LogStorage {
  /**
   * Reads everything that is there, in order of writing, then calls `done`. Records of segments dropped by `trim` may or
   * may not appear. The span is valid only during the visit. A newer format version fails with `FormatVersionError`.
   *
   * `extent` counts what was ever written to the log and is durable: as long as the log is whole it never falls. `gaps` is
   * given with "holed", in order; whoever is told of no gaps then has to take the log for a damaged one.
   *
   * The visitor may say of which instance a record is (0: none): that is what `revisit` finds it by later.
   */
  recover(
    visit: (bytes: Uint8Array, view: DataView, start: number, end: number) => Instance | void,
    done: (error: Error | null, condition: LogCondition, extent?: number, gaps?: readonly LogGap[]) => void,
  ): void;
  /**
   * After `recover` and before `start`: discards all records durably and begins a new log, as a replica does that has none or
   * can't trust what it has. From then on a log that is missing is missed.
   */
  reset(done: (error: Error | null) => void): void;
  start(handlers: LogHandlers): void;
  /**
   * Begins a record; the host writes its bytes. `instance` (0: none) decides when its segment may be dropped, and what is
   * forgotten if the record is damaged: one with an instance may say nothing that matters but what was accepted there.
   */
  begin(instance: Instance): ByteWriter;
  end(): number;
  /** Starts writing and syncing what was appended; one sync is in flight at a time, later appends form the next group. */
  flush(): void;
  /** Segments all of whose records belong to instances at or below `through` may be dropped or recycled. */
  trim(through: Instance): void;
  /**
   * Reads back the durable records of instances `from` to `through`, none of which may be trimmed: shows them, and maybe some of
   * others, in the order they were written, then calls `done`. A span is valid only during its visit. With an error some
   * may not have been shown, or all of them: it is for the caller to judge what that means. A log that keeps nothing has no such method.
   */
  revisit?(
    from: Instance,
    through: Instance,
    visit: (bytes: Uint8Array, view: DataView, start: number, end: number) => void,
    done: (error: Error | null) => void,
  ): void;
  /** Bytes appended and not yet durable. */
  pendingBytes(): number;
  /** Flushes, writes a seal and closes. */
  close(done: () => void): void;
}

export interface LogHandlers {
  onDurable(position: number): void;
  /** A write or sync failed: nothing more will be confirmed; the replica must stop (StorageError). */
  onFatal(error: Error): void;
  /**
   * A new segment begins: the host appends its prologue records now, synchronously; they come first in it, and say again
   * what all records of no instance in front of them said. (At the start they may come until the first flush.) Called from
   * `start`, from `flush` and between calls, never while a record is being written. A log without segments never calls it.
   */
  onSegment(): void;
}

/** What a stored checkpoint covers. */
export interface CheckpointInfo {
  readonly through: Instance;
  /** Digest of the state, hexadecimal. */
  readonly digest: string;
  readonly bytes: number;
}

/** Checkpoints of one replica. At most the newest two are kept, in memory one; a damaged one is never offered. */
export interface CheckpointStore {
  /** Newest complete and undamaged checkpoint, or null. Fails with `FormatVersionError` for a newer format. */
  open(done: (error: Error | null, latest: CheckpointInfo | null) => void): void;
  /** Writes a checkpoint chunk by chunk; durable (file and directory synced) when `commit` calls back. One at a time. */
  begin(through: Instance): CheckpointWriter;
  /** Reads the newest checkpoint chunk by chunk; `chunk` null at the end. Chunks are as they were written (≤ 1 MiB). */
  read(through: Instance): CheckpointReader;
}

export interface CheckpointWriter {
  /** Copies the bytes; `done` when the next chunk may be given. */
  write(bytes: Uint8Array, start: number, end: number, done: (error: Error | null) => void): void;
  commit(digest: string, done: (error: Error | null, info: CheckpointInfo | null) => void): void;
  abort(): void;
}

export interface CheckpointReader {
  next(done: (error: Error | null, chunk: Uint8Array | null) => void): void;
  close(): void;
}

/** What a replica knows of itself across restarts; written whole and synced. */
export interface Identity {
  readonly format: 1;
  readonly clusterId: string;
  readonly replica: number;
  readonly durability: string;
  /** Operating system boot this replica last ran under; matters for `os` durability. */
  readonly bootId: string;
  /** False until the replica has run once since the cluster was created. */
  readonly started: boolean;
  /** 0: remembers everything. Otherwise the nonce of its last amnesia (DESIGN safety rule 1). */
  readonly amnesiaNonce: number;
  /** What the cluster was made as (`clusterShape`); absent in the identity of an earlier version. */
  readonly shape?: string | undefined;
  /** The `extent` that the log had when the replica last started; absent in the identity of an earlier version. */
  readonly logExtent?: number | undefined;
}

export interface IdentityStore {
  /** Null if there is none, "damaged" if what is there can't be trusted. */
  load(done: (error: Error | null, identity: Identity | "damaged" | null) => void): void;
  save(identity: Identity, done: (error: Error | null) => void): void;
  bootId(): string;
}

/** Structured log of operation (not the write-ahead log). Levels as in syslog's usual subset. */
export interface EventLog {
  info(event: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(event: string, fields?: Readonly<Record<string, unknown>>): void;
  error(event: string, fields?: Readonly<Record<string, unknown>>): void;
}

/** Everything a replica needs of its machine. */
export interface ReplicaPlatform {
  readonly scheduler: Scheduler;
  readonly peers: FramePort;
  /** Ports on which native clients and the gateway of this replica arrive. */
  readonly clients: readonly FramePort[];
  readonly log: LogStorage;
  readonly checkpoints: CheckpointStore;
  readonly identity: IdentityStore;
  readonly events: EventLog;
  /** A fresh random whole number in [1, 2^52), for nonces. Seeded in simulation. */
  nonce(): number;
}
