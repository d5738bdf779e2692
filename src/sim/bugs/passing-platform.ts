import type { ByteWriter } from "../../base/index.js";
import type { CheckpointStore, FrameHandlers, FramePort, LogHandlers, LogStorage } from "../../platform/index.js";

/** Passes every call on to a log. A bug extends it and does one thing wrong. */
export class PassingLog implements LogStorage {
  protected readonly inner: LogStorage;
  /** There is one if the inner log has one: a host asks. */
  readonly revisit?: NonNullable<LogStorage["revisit"]>;

  constructor(inner: LogStorage) {
    this.inner = inner;
    if (inner.revisit !== undefined) this.revisit = inner.revisit.bind(inner);
  }

  recover(...[visit, done]: Parameters<LogStorage["recover"]>): void {
    this.inner.recover(visit, done);
  }

  reset(done: (error: Error | null) => void): void {
    this.inner.reset(done);
  }

  start(handlers: LogHandlers): void {
    this.inner.start(handlers);
  }

  begin(instance: number): ByteWriter {
    return this.inner.begin(instance);
  }

  end(): number {
    return this.inner.end();
  }

  flush(): void {
    this.inner.flush();
  }

  trim(through: number): void {
    this.inner.trim(through);
  }

  pendingBytes(): number {
    return this.inner.pendingBytes();
  }

  close(done: () => void): void {
    this.inner.close(done);
  }
}

/** Passes every call on to a checkpoint store. */
export class PassingCheckpoints implements CheckpointStore {
  protected readonly inner: CheckpointStore;

  constructor(inner: CheckpointStore) {
    this.inner = inner;
  }

  open(done: Parameters<CheckpointStore["open"]>[0]): void {
    this.inner.open(done);
  }

  begin(through: number): ReturnType<CheckpointStore["begin"]> {
    return this.inner.begin(through);
  }

  read(through: number): ReturnType<CheckpointStore["read"]> {
    return this.inner.read(through);
  }
}

/** The port, whose host hears of each frame what `hear` passes on. */
export function heard(port: FramePort, hear: (handlers: FrameHandlers) => FrameHandlers["onFrame"]): FramePort {
  return {
    start: (handlers) =>
      port.start({
        onLink: (link, up) => handlers.onLink(link, up),
        onFrame: hear(handlers),
        onDrain: (link) => handlers.onDrain(link),
      }),
    begin: (link, kind) => port.begin(link, kind),
    end: () => port.end(),
    flush: () => port.flush(),
    inFlightBytes: (link) => port.inFlightBytes(link),
    pause: (link) => port.pause(link),
    resume: (link) => port.resume(link),
    disconnect: (link, reason) => port.disconnect(link, reason),
    close: (done) => port.close(done),
  };
}
