import type { ByteWriter } from "../../base/index.js";
import type {
  Digest,
  Run,
  Service,
  SharedService,
  SharedServiceRoot,
  SnapshotSink,
  SnapshotSource,
  UndoLog,
} from "../../model/index.js";

/** Passes every call on to a service: watchers and planted bugs override what they watch, or do wrong. */
export class PassingService<Inner extends Service = Service> implements Service {
  protected readonly inner: Inner;

  constructor(inner: Inner) {
    this.inner = inner;
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

/** The same for the view that a thread has of a service, the first one's or another's. Only the first one's is shared. */
export class PassingView extends PassingService<SharedService | SharedServiceRoot> implements SharedServiceRoot {
  /** There is one if the service has one: threads ask. What it does is `attempted`. */
  readonly attempt?: NonNullable<SharedService["attempt"]>;

  constructor(inner: SharedService | SharedServiceRoot) {
    super(inner);
    if (inner.attempt !== undefined) this.attempt = (...run) => this.attempted(...run);
  }

  get partitioned(): boolean {
    return this.inner.partitioned;
  }

  share(): unknown {
    return (this.inner as SharedServiceRoot).share();
  }

  publish(alone: boolean, threads: number): void {
    this.inner.publish(alone, threads);
  }

  adopt(threads: number): void {
    this.inner.adopt(threads);
  }

  protected attempted(run: Run, first: number, thread: number, replies: ByteWriter): number {
    return (this.inner as Required<SharedService>).attempt(run, first, thread, replies);
  }
}
