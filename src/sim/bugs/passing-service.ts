import type { ByteWriter } from "../../base/index.js";
import type { Digest, Run, Service, SnapshotSink, SnapshotSource, UndoLog } from "../../model/index.js";
import type { Scheduler } from "../../platform/index.js";
import type { Disguise } from "../world/index.js";

/** Passes every call on to a service. A bug extends it and does one thing wrong. */
export class PassingService implements Service {
  protected readonly inner: Service;
  /** What the machine of the replica would say if it were asked: no service may. */
  protected readonly localMs: () => number;

  constructor(inner: Service, localMs: () => number) {
    this.inner = inner;
    this.localMs = localMs;
  }

  get name(): string {
    return this.inner.name;
  }

  advance(time: number, undo: UndoLog | null): void {
    this.inner.advance(time, undo);
  }

  due(): number {
    return this.inner.due();
  }

  execute(run: Run, replies: ByteWriter, undo: UndoLog | null): void {
    this.inner.execute(run, replies, undo);
  }

  rollback(undo: UndoLog, mark: number): void {
    this.inner.rollback(undo, mark);
  }

  isRead(view: DataView, at: number): boolean {
    return this.inner.isRead(view, at);
  }

  groups(run: Run, mode: 0 | 1, masks: Uint32Array): void {
    this.inner.groups(run, mode, masks);
  }

  safetyCheck(run: Run, thread: number, pass: Uint8Array): void {
    this.inner.safetyCheck(run, thread, pass);
  }

  conflicts(run: Run, low: Float64Array, high: Float64Array, writes: Uint8Array): void {
    this.inner.conflicts(run, low, high, writes);
  }

  digest(into: Digest): void {
    this.inner.digest(into);
  }

  snapshot(): SnapshotSource {
    return this.inner.snapshot();
  }

  restore(): SnapshotSink {
    return this.inner.restore();
  }

  size(): { readonly entries: number; readonly bytes: number } {
    return this.inner.size();
  }
}

/** Each service of the world wrapped by what `make` gives, with the wall clock of its replica's machine. */
export function aroundService(make: (inner: Service, localMs: () => number) => Service): Disguise {
  const schedulers = new Map<number, Scheduler>();
  return {
    platform: (real, replica) => {
      schedulers.set(replica, real.scheduler);
      return real;
    },
    siblings: (real, replica) => ({
      ...real,
      createService: () => make(real.createService(), () => schedulers.get(replica)?.clock.wallMs() ?? 0),
    }),
  };
}
