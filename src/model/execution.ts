import type { ByteWriter } from "../base/index.js";
import type { Batch, Span } from "./batch.js";
import type { Instance, Position, SessionId } from "./ids.js";
import type { Digest, SnapshotSink, SnapshotSource } from "./service.js";
import type { TraceCode } from "./trace.js";

/**
 * The contract of an execution model: how delivered streams run on threads. Pure, like the protocols. One object per thread
 * for P-SMR and opt-PSMR (dispatch is then a local call), one per replica for the others.
 */
export interface ExecutionModel {
  step(event: ExecutionEvent, out: ExecutionSink): void;
  inspect(): ExecutionView;
  /**
   * Answers a copy of a block of commands that has executed, from the remembered replies and by `replied` as when it was
   * executed; false if it has not, or if its replies are gone. Nothing of the state changes, so the copy need not be ordered.
   * A model without this method has every copy ordered.
   */
  answerAgain?(view: DataView, start: number, out: ExecutionSink): boolean;
  /** Every queue and table of the model that could grow, with its declared maximum; for checks and metrics. */
  queues?(visit: QueueVisitor): void;
  /** Digest of the replicated state (service, sessions, agreed time) at `inspect().executed`. */
  digest(into: Digest): void;
  /** A snapshot of the replicated state at the confirmed position returned by `inspect().executed`. */
  snapshot(): SnapshotSource;
  /** Takes a snapshot that covers through `through`; on `finish` the model continues from there and drops what it queued. */
  restore(through: Instance): SnapshotSink;
}

/** Told of a queue: its name, how much is in it, and how much there may ever be. */
export type QueueVisitor = (queue: string, value: number, maximum: number) => void;

export type ExecutionEvent =
  /** A decided instance; consecutive per stream. */
  | { readonly kind: "decided"; readonly stream: number; readonly instance: Instance; readonly batch: Batch }
  /** A value known but not decided (speculating models only; others ignore it). */
  | { readonly kind: "revealed"; readonly stream: number; readonly instance: Instance; readonly batch: Batch }
  | { readonly kind: "revoked"; readonly stream: number; readonly from: Instance }
  /** A block of unordered reads that may execute once the state is through `after`. The span is valid only now: execute or copy. */
  | { readonly kind: "read"; readonly after: Instance; readonly route: number; readonly block: Span }
  /** Execute what is queued, for about `budget` short commands; long replies count for several. */
  | { readonly kind: "work"; readonly budget: number };

export interface ExecutionView {
  /** Confirmed state is through this instance. */
  readonly executed: Instance;
  /** Decided batches that wait for execution. */
  readonly queuedBatches: number;
  readonly queuedBytes: number;
  readonly queuedReads: number;
  /** Commands executed since start, reads included. */
  readonly commands: number;
  /** Ordered commands executed in the life of the cluster. Part of the state: equal on all replicas at equal positions. */
  readonly ordered: number;
  /** How many instances this model wants open at once: 1 for sequential execution, Infinity for no opinion. */
  readonly windowMax: number;
  /** Agreed time in ms. */
  readonly time: number;
  /** Agreed time in ms from which the service wants a batch even if no commands arrive, `Infinity` for never. */
  readonly due: number;
  readonly sessions: number;
  /** Of opt-PSMR, since start: commands that failed their safety check, that passed it, and failed ones executed at barriers. */
  readonly failed?: number;
  readonly passed?: number;
  readonly conservative?: number;
}

/**
 * Effects of execution. Reply blocks are appended to the writer that `replies()` returns, between `replies` and `replied`:
 * no copy, no allocation.
 */
export interface ExecutionSink {
  /** The confirmed state advanced. Batches through here are no longer needed by the model. */
  executed(stream: number, through: Instance): void;
  /** The writer for the next reply block. */
  replies(): ByteWriter;
  /** One reply block at `[at, writer.length)` is complete. For ordered blocks the host sends it if it answers for the session. */
  replied(session: SessionId, position: Position, at: number): void;
  /** The reply block at `[at, writer.length)` answers a read block that came over `route`. */
  readDone(route: number, at: number): void;
  /**
   * Whether a reply could be sent over `route` now. A block of reads whose reply could not is dropped unread, as if it had
   * been lost on its way: who asks for more than it reads costs little. Without this method all are executed.
   */
  readWanted?(route: number): boolean;
  /** There is queued work: step `work` again after this turn's sends. */
  wantWork(): void;
  /**
   * An ordered digest command executed: all replicas report the same digest for the same nonce. With several groups `position` is in
   * g_all, and `places` are the instances that the threads had executed of their own streams; the same on all replicas, too.
   */
  digestTaken(
    nonceHigh: number,
    nonceLow: number,
    position: Position,
    digest: Digest,
    places?: readonly Instance[],
  ): void;
  /**
   * Commands that failed opt-PSMR's safety check are to be multicast again, conservatively: `[start, end)` is a block of kind
   * `conservative`, to be copied now. Only the replica that coordinates g_all does so (Algorithm 1 of the paper; DESIGN safety
   * rule 5). Absent where clients do it.
   */
  again?(bytes: Uint8Array, view: DataView, start: number, end: number): void;
  trace(code: TraceCode, a: number, b: number, c: number): void;
}
