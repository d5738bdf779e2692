import { type ByteWriter, hashBytes } from "../../base/index.js";
import {
  type BarrierPoint,
  type Cut,
  type PsmrSink,
  type PsmrView,
  type ThreadModel,
  Waiting,
} from "../../execution/index.js";
import {
  type Digest,
  type ExecutionEvent,
  type Instance,
  maskOfAll,
  type Position,
  type QueueVisitor,
  type SessionId,
  type SharedService,
  type SnapshotSink,
  TraceCode,
} from "../../model/index.js";
import { DECIDED_HASH_SEED, type ThreadEffect } from "../check/index.js";

/** Told what one thread of a replica does; `stream` 0 is g_all. */
export interface ThreadWitness {
  /** The thread begins behind these instances of its own stream and of g_all, restored from a checkpoint or with nothing. */
  began(own: Instance, all: Instance, restored: boolean): void;
  delivered(stream: number, instance: Instance, hash: number): void;
  /** `effects`: what it did to sessions; null if another thread executed the instance. */
  executed(stream: number, through: Instance, effects: readonly ThreadEffect[] | null): void;
  /** The state behind an instance of g_all at which all threads have met. */
  state(through: Instance, digest: Digest, timeMs: number): void;
  /** A checkpoint's cut, with the thread behind this instance of its own stream. */
  cut(all: Instance, own: Instance): void;
}

/** A thread's model of which a witness is told everything, at the moment at which it happens. */
export class ObservedThread implements ThreadModel {
  readonly thread: number;
  readonly #inner: ThreadModel;
  readonly #witness: ThreadWitness;
  readonly #sink: ObservingSink;
  #began = false;

  constructor(inner: ThreadModel, service: SharedService, groups: number, witness: ThreadWitness) {
    this.thread = inner.thread;
    this.#inner = inner;
    this.#witness = witness;
    this.#sink = new ObservingSink(inner, service, maskOfAll(groups), witness);
  }

  get full(): boolean {
    return this.#inner.full;
  }

  step(event: ExecutionEvent, out: PsmrSink): void {
    if (!this.#began) this.#begin(false);
    if (event.kind === "decided") {
      const { stream, instance, batch } = event;
      this.#witness.delivered(stream, instance, hashBytes(batch.bytes, batch.start, batch.end, DECIDED_HASH_SEED));
    }
    this.#sink.out = out;
    this.#inner.step(event, this.#sink);
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

  #begin(restored: boolean): void {
    this.#began = true;
    const { executed, executedAll } = this.#inner.inspect();
    this.#witness.began(executed, executedAll, restored);
  }
}

/** Passes everything on, and gathers what an instance did until the model is done with it. */
class ObservingSink implements PsmrSink {
  out: PsmrSink | null = null;
  readonly #thread: ThreadModel;
  readonly #service: SharedService;
  readonly #everybody: number;
  readonly #witness: ThreadWitness;
  readonly #digest: Digest = new Uint32Array(4);
  #effects: ThreadEffect[] = [];
  #executes = false;

  constructor(thread: ThreadModel, service: SharedService, everybody: number, witness: ThreadWitness) {
    this.#thread = thread;
    this.#service = service;
    this.#everybody = everybody;
    this.#witness = witness;
  }

  executed(stream: number, through: Instance): void {
    const effects = this.#effects;
    this.#effects = [];
    const executes = this.#executes;
    this.#executes = false;
    this.#witness.executed(stream, through, executes ? effects : null);
    if (stream === 0 && executes) this.#lookAtState(through);
    this.#to.executed(stream, through);
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
    this.#to.trace(code, a, b, c);
  }

  cutTaken(cut: Cut): void {
    this.#witness.cut(cut.all, this.#thread.inspect().executed);
    this.#to.cutTaken(cut);
  }

  replies(): ByteWriter {
    return this.#to.replies();
  }

  replied(session: SessionId, position: Position, at: number): void {
    this.#to.replied(session, position, at);
  }

  readDone(route: number, at: number): void {
    this.#to.readDone(route, at);
  }

  wantWork(): void {
    this.#to.wantWork();
  }

  digestTaken(nonceHigh: number, nonceLow: number, position: Position, digest: Digest): void {
    this.#to.digestTaken(nonceHigh, nonceLow, position, digest);
  }

  arrived(barrier: number, executor: number): void {
    this.#to.arrived(barrier, executor);
  }

  released(barrier: number, gamma: number): void {
    this.#to.released(barrier, gamma);
  }

  get #to(): PsmrSink {
    return this.out as PsmrSink;
  }
}
