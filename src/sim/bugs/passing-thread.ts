import type { BarrierPoint, PsmrSink, PsmrView, ThreadModel } from "../../execution/index.js";
import type { ExecutionEvent, QueueVisitor, SnapshotSink } from "../../model/index.js";
import type { Disguise, MemberPlace } from "../world/index.js";

/** A thread's model that passes everything on: bugs override what they get wrong. */
export class PassingThread implements ThreadModel {
  readonly thread: number;
  protected readonly inner: ThreadModel;

  constructor(inner: ThreadModel) {
    this.inner = inner;
    this.thread = inner.thread;
  }

  get full(): boolean {
    return this.inner.full;
  }

  step(event: ExecutionEvent, out: PsmrSink): void {
    this.inner.step(event, out);
  }

  inspect(): PsmrView {
    return this.inner.inspect();
  }

  waitsAt(point: BarrierPoint): boolean {
    return this.inner.waitsAt(point);
  }

  queues(visit: QueueVisitor): void {
    this.inner.queues(visit);
  }

  requestCut(): void {
    this.inner.requestCut();
  }

  restore(): SnapshotSink {
    return this.inner.restore();
  }
}

/** Plants another model in the place of each thread's. */
export function aroundThread(make: (inner: ThreadModel, place: MemberPlace) => ThreadModel): Disguise {
  return {
    members: {
      siblings: (real, place) => ({
        ...real,
        createThread: (...init) => make(real.createThread(...init), place),
      }),
    },
  };
}
