import { ByteSlab, type ByteWriter } from "../../base/index.js";
import {
  type Batch,
  BATCH_BLOCKS_MAX,
  blockSequence,
  type Digest,
  type ExecutionEvent,
  type ExecutionModel,
  type ExecutionSink,
  type ExecutionView,
  type Instance,
  type Position,
  type QueueVisitor,
  type ReplicaId,
  replySequence,
  ReplyStatus,
  replyStatus,
  type SessionId,
  type SnapshotSink,
  type SnapshotSource,
  type Span,
  TraceCode,
} from "../../model/index.js";
import type { ExecutedBlock, WitnessChecker } from "../check/index.js";

/** Told the digest of the state, and agreed time in ms, after every executed instance. */
export type StateListener = (through: Instance, digest: Digest, timeMs: number) => void;

/** An execution model whose state is looked at after each instance, at the very position: the same on all replicas. */
export class ObservedExecution implements ExecutionModel {
  readonly #inner: ExecutionModel;
  readonly #listener: StateListener;
  readonly #digest: Digest = new Uint32Array(4);
  readonly #reporter: Reporter | null;
  #sink: ObservingSink | null = null;

  constructor(inner: ExecutionModel, listener: StateListener, witness: WitnessChecker | null, replica: ReplicaId) {
    this.#inner = inner;
    this.#listener = listener;
    this.#reporter = witness === null ? null : new Reporter(witness, replica, inner);
  }

  step(event: ExecutionEvent, out: ExecutionSink): void {
    if (this.#sink?.out !== out) {
      this.#sink = new ObservingSink(out, this.#reporter, (through) => this.observe(through));
    }
    if (event.kind === "decided") this.#reporter?.onDecided(event.instance, event.batch);
    else if (event.kind === "read") this.#reporter?.onRead(event.route, event.block);
    this.#inner.step(event, this.#sink);
  }

  inspect(): ExecutionView {
    return this.#inner.inspect();
  }

  queues(visit: QueueVisitor): void {
    this.#inner.queues?.(visit);
  }

  digest(into: Digest): void {
    this.#inner.digest(into);
  }

  snapshot(): SnapshotSource {
    return this.#inner.snapshot();
  }

  restore(through: Instance): SnapshotSink {
    const sink = this.#inner.restore(through);
    return {
      write: (bytes, start, end) => sink.write(bytes, start, end),
      finish: () => {
        sink.finish();
        this.observe(through);
      },
    };
  }

  observe(through: Instance): void {
    this.#inner.digest(this.#digest);
    this.#listener(through, this.#digest, this.#inner.inspect().time);
  }
}

/** Passes everything on, and says when the state has reached an instance. */
class ObservingSink implements ExecutionSink {
  readonly out: ExecutionSink;
  readonly #reporter: Reporter | null;
  readonly #executed: (through: Instance) => void;
  #writer: ByteWriter | null = null;

  constructor(out: ExecutionSink, reporter: Reporter | null, executed: (through: Instance) => void) {
    this.out = out;
    this.#reporter = reporter;
    this.#executed = executed;
  }

  executed(stream: number, through: Instance): void {
    this.#reporter?.onExecuted(through);
    this.#executed(through);
    this.out.executed(stream, through);
  }

  replies(): ByteWriter {
    this.#writer = this.out.replies();
    return this.#writer;
  }

  replied(session: SessionId, position: Position, at: number): void {
    if (this.#writer !== null) this.#reporter?.onReplied(position, this.#writer, at);
    this.out.replied(session, position, at);
  }

  readDone(route: number, at: number): void {
    if (this.#writer !== null) this.#reporter?.onReadDone(route, this.#writer, at);
    this.out.readDone(route, at);
  }

  wantWork(): void {
    this.out.wantWork();
  }

  digestTaken(nonceHigh: number, nonceLow: number, position: Position, digest: Digest): void {
    this.out.digestTaken(nonceHigh, nonceLow, position, digest);
  }

  trace(code: TraceCode, a: number, b: number, c: number): void {
    if (code === TraceCode.commandsExecuted) this.#reporter?.onCommands();
    this.out.trace(code, a, b, c);
  }
}

/** Blocks of reads that are remembered, the newest: one that was answered may come again by another way, and is answered again. */
const READS_MAX = 1024;

/** Puts together what the witness wants to know: which blocks of an instance were executed, with what replies. */
class Reporter {
  readonly #witness: WitnessChecker;
  readonly #replica: ReplicaId;
  readonly #inner: ExecutionModel;
  readonly #slab = new ByteSlab();
  readonly #batches = new Map<Instance, Batch>();
  readonly #reads = new Map<string, Uint8Array>();
  #executed: ExecutedBlock[] = [];
  /** The next reply block answers commands that were executed, not a duplicate or a stranger. */
  #commands = false;

  constructor(witness: WitnessChecker, replica: ReplicaId, inner: ExecutionModel) {
    this.#witness = witness;
    this.#replica = replica;
    this.#inner = inner;
  }

  onDecided(instance: Instance, batch: Batch): void {
    if (this.#witness.wants(instance)) this.#batches.set(instance, batch);
  }

  onCommands(): void {
    this.#commands = true;
  }

  onReplied(position: Position, { bytes, length }: ByteWriter, at: number): void {
    if (!this.#commands) return;
    this.#commands = false;
    const instance = Math.floor(position / BATCH_BLOCKS_MAX);
    if (!this.#witness.wants(instance)) return;
    this.#executed.push({ index: position % BATCH_BLOCKS_MAX, reply: this.#slab.copy(bytes, at, length) });
  }

  onExecuted(through: Instance): void {
    const batch = this.#batches.get(through);
    const executed = this.#executed;
    this.#executed = [];
    // What was decided before an installed state was never executed here.
    for (const instance of this.#batches.keys()) {
      if (instance > through) break;
      this.#batches.delete(instance);
    }
    if (batch !== undefined) this.#witness.onInstance(through, batch, executed);
  }

  onRead(route: number, { bytes, view, start, end }: Span): void {
    this.#reads.set(`${route} ${blockSequence(view, start)}`, this.#slab.copy(bytes, start, end));
    if (this.#reads.size <= READS_MAX) return;
    for (const oldest of this.#reads.keys()) {
      this.#reads.delete(oldest);
      return;
    }
  }

  onReadDone(route: number, { bytes, view, length }: ByteWriter, at: number): void {
    const name = `${route} ${replySequence(view, at)}`;
    const block = this.#reads.get(name);
    const status = replyStatus(view, at);
    if (block === undefined || (status !== ReplyStatus.ok && status !== ReplyStatus.split)) return;
    this.#witness.onRead(this.#replica, this.#inner.inspect().executed, block, this.#slab.copy(bytes, at, length));
  }
}
