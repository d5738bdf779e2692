import { ByteQueue, type ByteWriter } from "../../base/index.js";
import { CheckpointDamagedError, type Instance, type SnapshotSink, type SnapshotSource } from "../../model/index.js";

/**
 * A thread's part of a checkpoint, little-endian: `u32 magic`, `u32 format`, `u32 threads`, `u32 thread`, `f64` last instance
 * of g_all, `f64` last instance of its own stream; then the snapshot of the sessions in its own stream, behind that the one
 * of those in g_all, and behind that the thread's part of the service, if there is one and the thread is not the first.
 */
const MAGIC = 0x52534d50;
const FORMAT = 1;
const HEADER_BYTES = 32;

/** Where a thread stands in a checkpoint. */
export interface ThreadPosition {
  readonly threads: number;
  readonly thread: number;
  readonly all: Instance;
  readonly own: Instance;
}

export class ThreadSource implements SnapshotSource {
  readonly #position: ThreadPosition;
  readonly #rest: SnapshotSource;
  #begun = false;

  constructor(position: ThreadPosition, rest: SnapshotSource) {
    this.#position = position;
    this.#rest = rest;
  }

  next(writer: ByteWriter, bytesTarget: number): boolean {
    const stop = writer.length + bytesTarget;
    if (!this.#begun) {
      this.#begun = true;
      const { threads, thread, all, own } = this.#position;
      writer.u32(MAGIC);
      writer.u32(FORMAT);
      writer.u32(threads);
      writer.u32(thread);
      writer.f64(all);
      writer.f64(own);
    }
    return this.#rest.next(writer, Math.max(1, stop - writer.length));
  }

  close(): void {
    this.#rest.close();
  }
}

/** Checks the header and passes the rest on. */
export class ThreadSink implements SnapshotSink {
  readonly #threads: number;
  readonly #thread: number;
  readonly #rest: SnapshotSink;
  readonly #install: (position: ThreadPosition) => void;
  readonly #input = new ByteQueue();
  #position: ThreadPosition | null = null;

  /** `install` is called when all is complete, behind whatever `rest` calls. */
  constructor(threads: number, thread: number, rest: SnapshotSink, install: (position: ThreadPosition) => void) {
    this.#threads = threads;
    this.#thread = thread;
    this.#rest = rest;
    this.#install = install;
  }

  write(bytes: Uint8Array, start: number, end: number): void {
    if (this.#position !== null) return this.#rest.write(bytes, start, end);
    const input = this.#input;
    input.push(bytes, start, end);
    if (!input.has(HEADER_BYTES)) return;
    this.#readHeader();
    if (input.size > 0) this.#rest.write(input.bytes, input.at, input.at + input.size);
  }

  finish(): void {
    if (this.#position === null) throw damaged("it ends before its header");
    this.#rest.finish();
    this.#install(this.#position);
  }

  #readHeader(): void {
    const { view, at } = this.#input;
    if (view.getUint32(at, true) !== MAGIC) throw damaged("it does not begin as one");
    const format = view.getUint32(at + 4, true);
    if (format !== FORMAT) throw damaged(`its format is ${format}, this version reads ${FORMAT}`);
    const threads = view.getUint32(at + 8, true);
    const thread = view.getUint32(at + 12, true);
    if (threads !== this.#threads || thread !== this.#thread) {
      throw damaged(`it is of thread ${thread} of ${threads}, not of ${this.#thread} of ${this.#threads}`);
    }
    const all = view.getFloat64(at + 16, true);
    const own = view.getFloat64(at + 24, true);
    for (const instance of [all, own]) {
      if (!Number.isSafeInteger(instance) || instance < 0) throw damaged(`its position is ${instance}`);
    }
    this.#position = { threads, thread, all, own };
    this.#input.at = at + HEADER_BYTES;
  }
}

/** Nothing, behind the last snapshot of a part. */
export class EmptySource implements SnapshotSource {
  next(): boolean {
    return false;
  }

  close(): void {}
}

export class EmptySink implements SnapshotSink {
  write(_bytes: Uint8Array, start: number, end: number): void {
    if (end > start) throw damaged("bytes follow its last session");
  }

  finish(): void {}
}

function damaged(reason: string): CheckpointDamagedError {
  return new CheckpointDamagedError(`the part of a thread in the checkpoint is damaged: ${reason}`);
}
