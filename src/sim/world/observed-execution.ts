import type { ByteWriter } from "../../base/index.js";
import type {
  Digest,
  ExecutionEvent,
  ExecutionModel,
  ExecutionSink,
  ExecutionView,
  Instance,
  Position,
  SessionId,
  SnapshotSink,
  SnapshotSource,
  TraceCode,
} from "../../model/index.js";

/** Told the digest of the state, and agreed time in ms, after every executed instance. */
export type StateListener = (through: Instance, digest: Digest, timeMs: number) => void;

/** An execution model whose state is looked at after each instance, at the very position: the same on all replicas. */
export class ObservedExecution implements ExecutionModel {
  readonly #inner: ExecutionModel;
  readonly #listener: StateListener;
  readonly #digest: Digest = new Uint32Array(4);
  #sink: ObservingSink | null = null;

  constructor(inner: ExecutionModel, listener: StateListener) {
    this.#inner = inner;
    this.#listener = listener;
  }

  step(event: ExecutionEvent, out: ExecutionSink): void {
    if (this.#sink?.out !== out) this.#sink = new ObservingSink(out, (through) => this.observe(through));
    this.#inner.step(event, this.#sink);
  }

  inspect(): ExecutionView {
    return this.#inner.inspect();
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
  readonly #executed: (through: Instance) => void;

  constructor(out: ExecutionSink, executed: (through: Instance) => void) {
    this.out = out;
    this.#executed = executed;
  }

  executed(stream: number, through: Instance): void {
    this.#executed(through);
    this.out.executed(stream, through);
  }

  replies(): ByteWriter {
    return this.out.replies();
  }

  replied(session: SessionId, position: Position, at: number): void {
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

  trace(code: TraceCode, a: number, b: number, c: number): void {
    this.out.trace(code, a, b, c);
  }
}
