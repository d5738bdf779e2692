import type { ByteWriter } from "../../base/index.js";
import type {
  Digest,
  ExecutionEvent,
  ExecutionModel,
  ExecutionSink,
  ExecutionView,
  Instance,
  Position,
  Service,
  SessionId,
  SnapshotSink,
  SnapshotSource,
  TraceCode,
} from "../../model/index.js";
import type { Disguise } from "../world/index.js";

/** Stands between a host and its execution model and passes everything on, both ways. A bug extends it and does one thing wrong. */
export class PassingExecution implements ExecutionModel, ExecutionSink {
  protected readonly inner: ExecutionModel;
  /** The host's sink; set before each step. */
  protected out!: ExecutionSink;

  constructor(inner: ExecutionModel) {
    this.inner = inner;
  }

  step(event: ExecutionEvent, out: ExecutionSink): void {
    this.out = out;
    this.inner.step(event, this);
  }

  inspect(): ExecutionView {
    return this.inner.inspect();
  }

  digest(into: Digest): void {
    this.inner.digest(into);
  }

  snapshot(): SnapshotSource {
    return this.inner.snapshot();
  }

  restore(through: Instance): SnapshotSink {
    return this.inner.restore(through);
  }

  executed(stream: number, through: Instance): void {
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

  readWanted(route: number): boolean {
    return this.out.readWanted?.(route) ?? true;
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

/** Each execution model of the world wrapped by what `make` gives; it is told the service that the model executes on. */
export function aroundExecution(make: (inner: ExecutionModel, service: Service) => ExecutionModel): Disguise {
  return {
    siblings: (real) => ({
      ...real,
      createExecution: (service, limits) => make(real.createExecution(service, limits), service),
    }),
  };
}
