import { ByteSlab, type ByteWriter, hashBytes } from "../../base/index.js";
import {
  type BarrierPoint,
  type Cut,
  type PsmrSink,
  type PsmrView,
  type ThreadModel,
  Waiting,
} from "../../execution/index.js";
import {
  BlockKind,
  type Digest,
  type ExecutionEvent,
  type Instance,
  maskOfAll,
  type Position,
  type QueueVisitor,
  replyKind,
  ReplyStatus,
  replyStatus,
  type SessionId,
  type SharedService,
  type SnapshotSink,
  type Span,
  TraceCode,
} from "../../model/index.js";
import { DECIDED_HASH_SEED, type ThreadEffect, type ThreadExecution } from "../check/index.js";

/** Told what one thread of a replica does; `stream` 0 is g_all. */
export interface ThreadWitness {
  /** The thread begins behind these instances of its own stream and of g_all, restored from a checkpoint or with nothing. */
  began(own: Instance, all: Instance, restored: boolean): void;
  delivered(stream: number, instance: Instance, hash: number, batch: Span): void;
  /** `execution` is null if other threads executed all of the instance. */
  executed(stream: number, through: Instance, execution: ThreadExecution | null): void;
  /** It has refused to execute a failed command conservatively since an earlier one waits; or wants some multicast again. */
  refused(): void;
  again(): void;
  /** The state behind an instance of g_all at which all threads have met. */
  state(through: Instance, digest: Digest, timeMs: number): void;
  /** A checkpoint's cut, with the thread behind this instance of its own stream. */
  cut(all: Instance, own: Instance): void;
}

/** A thread's model of which a witness is told everything, at the moment at which it happens. */
export class ObservedThread implements ThreadModel {
  readonly thread: number;
  readonly #inner: ThreadModel;
  readonly #service: SharedService;
  readonly #everybody: number;
  readonly #witness: ThreadWitness;
  #sink: ObservingSink | null = null;
  #began = false;

  constructor(inner: ThreadModel, service: SharedService, groups: number, witness: ThreadWitness) {
    this.thread = inner.thread;
    this.#inner = inner;
    this.#service = service;
    this.#everybody = maskOfAll(groups);
    this.#witness = witness;
  }

  get full(): boolean {
    return this.#inner.full;
  }

  step(event: ExecutionEvent, out: PsmrSink): void {
    if (!this.#began) this.#begin(false);
    if (event.kind === "decided") {
      const { stream, instance, batch } = event;
      const hash = hashBytes(batch.bytes, batch.start, batch.end, DECIDED_HASH_SEED);
      this.#witness.delivered(stream, instance, hash, batch);
    }
    this.#inner.step(event, this.#sinkTo(out));
  }

  inspect(): PsmrView {
    return this.#inner.inspect();
  }

  waitsAt(point: BarrierPoint): boolean {
    return this.#inner.waitsAt(point);
  }

  queues(visit: QueueVisitor): void {
    this.#inner.queues(visit);
  }

  requestCut(): void {
    this.#inner.requestCut();
  }

  restore(): SnapshotSink {
    const sink = this.#inner.restore();
    return {
      write: (bytes, start, end) => sink.write(bytes, start, end),
      finish: () => {
        sink.finish();
        this.#begin(true);
      },
    };
  }

  #sinkTo(out: PsmrSink): ObservingSink {
    if (this.#sink?.out !== out) {
      this.#sink = new ObservingSink(out, this.#inner, this.#service, this.#everybody, this.#witness);
    }
    return this.#sink;
  }

  #begin(restored: boolean): void {
    this.#began = true;
    const { executed, executedAll } = this.#inner.inspect();
    this.#witness.began(executed, executedAll, restored);
  }
}

/** Passes everything on, and gathers what an instance did until the model is done with it. */
class ObservingSink implements PsmrSink {
  readonly out: PsmrSink;
  /** There is one if replicas multicast failed commands again: threads ask. */
  readonly again?: NonNullable<PsmrSink["again"]>;
  readonly #thread: ThreadModel;
  readonly #service: SharedService;
  readonly #everybody: number;
  readonly #witness: ThreadWitness;
  readonly #digest: Digest = new Uint32Array(4);
  readonly #slab = new ByteSlab();
  #effects: ThreadEffect[] = [];
  #replies: Uint8Array[] = [];
  #writer: ByteWriter | null = null;
  #executes = false;
  /** The next reply block answers what was executed, not a duplicate or a stranger. */
  #answers = false;

  constructor(out: PsmrSink, thread: ThreadModel, service: SharedService, everybody: number, witness: ThreadWitness) {
    this.out = out;
    if (out.again !== undefined) {
      this.again = (...block) => {
        witness.again();
        out.again?.(...block);
      };
    }
    this.#thread = thread;
    this.#service = service;
    this.#everybody = everybody;
    this.#witness = witness;
  }

  executed(stream: number, through: Instance): void {
    const replies = this.#replies;
    // A thread that only follows an instance of g_all says the same of sessions as the one that executes it, but of the copies of
    // commands that have failed in its own stream.
    const effects = this.#executes ? this.#effects : this.#effects.filter(isConservative);
    const executes = this.#executes;
    this.#effects = [];
    this.#replies = [];
    this.#executes = false;
    this.#witness.executed(stream, through, executes || effects.length > 0 ? { effects, replies } : null);
    if (stream === 0 && executes) this.#lookAtState(through);
    this.out.executed(stream, through);
  }

  /** Nobody else executes while the executor of a run of all threads does: the state can be looked at. */
  #lookAtState(through: Instance): void {
    const { waiting, gamma, time } = this.#thread.inspect();
    if (waiting !== Waiting.arrivals || gamma !== this.#everybody) return;
    this.#service.digest(this.#digest);
    this.#witness.state(through, this.#digest, time);
  }

  trace(code: TraceCode, a: number, b: number, c: number): void {
    if (code === TraceCode.executed) this.#executes = true;
    else this.#effects.push({ code, a, b, c });
    if (code === TraceCode.commandsExecuted || code === TraceCode.conservativeExecuted) this.#answers = true;
    this.out.trace(code, a, b, c);
  }

  cutTaken(cut: Cut): void {
    this.#witness.cut(cut.all, this.#thread.inspect().executed);
    this.out.cutTaken(cut);
  }

  replies(): ByteWriter {
    this.#writer = this.out.replies();
    return this.#writer;
  }

  replied(session: SessionId, position: Position, at: number): void {
    const { bytes, view, length } = this.#writer as ByteWriter;
    if (this.#answers) this.#replies.push(this.#slab.copy(bytes, at, length));
    else if (replyKind(view, at) === BlockKind.conservative && replyStatus(view, at) === ReplyStatus.retry) {
      this.#witness.refused();
    }
    this.#answers = false;
    this.out.replied(session, position, at);
  }

  readDone(route: number, at: number): void {
    this.out.readDone(route, at);
  }

  wantWork(): void {
    this.out.wantWork();
  }

  digestTaken(nonceHigh: number, nonceLow: number, position: Position, digest: Digest): void {
    this.out.digestTaken(nonceHigh, nonceLow, position, digest);
  }

  arrived(barrier: number, executor: number): void {
    this.out.arrived(barrier, executor);
  }

  released(barrier: number, gamma: number): void {
    this.out.released(barrier, gamma);
  }
}

function isConservative({ code }: ThreadEffect): boolean {
  return code === TraceCode.conservativeExecuted;
}
