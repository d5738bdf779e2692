import { assert, ByteWriter, KiB } from "../../base/index.js";
import { type Instance, StorageError } from "../../model/index.js";
import type {
  CheckpointInfo,
  CheckpointReader,
  CheckpointStore,
  CheckpointWriter,
  Identity,
  IdentityStore,
  LogCondition,
  LogHandlers,
  LogStorage,
  Scheduler,
  Turn,
} from "../port.js";
import { chunkBytesMax, recordBytesMax } from "./config.js";

/**
 * The log of `memory` durability: it keeps nothing and confirms everything in the next turn. It has no segments, so it
 * never asks for a prologue.
 */
export class MemoryLog implements LogStorage {
  readonly #writer = new ByteWriter(64 * KiB, 2 * recordBytesMax);
  readonly #confirm: Turn;
  readonly #scheduler: Scheduler;
  #handlers: LogHandlers | null = null;
  #recording = false;
  #position = 0;
  /** Positions flushed and not yet confirmed end here. */
  #flushed = 0;
  #durable = 0;
  #closed = false;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
    this.#confirm = scheduler.turn(() => {
      if (this.#durable === this.#flushed || this.#handlers === null) return;
      this.#durable = this.#flushed;
      this.#handlers.onDurable(this.#durable);
    });
  }

  recover(
    _visit: (bytes: Uint8Array, view: DataView, start: number, end: number) => Instance | void,
    done: (error: Error | null, condition: LogCondition) => void,
  ): void {
    this.#scheduler.turn(() => done(null, "intact")).request();
  }

  reset(done: (error: Error | null) => void): void {
    this.#scheduler.turn(() => done(null)).request();
  }

  start(handlers: LogHandlers): void {
    assert(this.#handlers === null, "a log is started once");
    this.#handlers = handlers;
  }

  begin(_instance: Instance): ByteWriter {
    assert(!this.#recording, "the record before is not ended");
    this.#recording = true;
    this.#writer.clear();
    return this.#writer;
  }

  end(): number {
    assert(this.#recording, "no record was begun");
    this.#recording = false;
    const bytes = this.#writer.length;
    assert(bytes <= recordBytesMax, `a record has at most ${recordBytesMax} bytes, got ${bytes}`);
    return ++this.#position;
  }

  flush(): void {
    if (this.#closed || this.#flushed === this.#position) return;
    this.#flushed = this.#position;
    this.#confirm.request();
  }

  trim(_through: Instance): void {}

  pendingBytes(): number {
    return 0;
  }

  close(done: () => void): void {
    this.flush();
    this.#closed = true;
    this.#scheduler.turn(done).request();
  }
}

interface MemoryCheckpoint {
  readonly info: CheckpointInfo;
  readonly chunks: readonly Uint8Array[];
}

/**
 * Checkpoints of `memory` durability: the newest one, until the process ends. A second one would only be of use if this one
 * could be damaged. A reader keeps the one it reads.
 */
export class MemoryCheckpoints implements CheckpointStore {
  readonly #scheduler: Scheduler;
  #kept: MemoryCheckpoint | null = null;
  #writing = false;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  open(done: (error: Error | null, latest: CheckpointInfo | null) => void): void {
    this.#later(() => done(null, this.#kept?.info ?? null));
  }

  begin(through: Instance): CheckpointWriter {
    assert(!this.#writing, "one checkpoint is written at a time");
    this.#writing = true;
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    let ended = false;
    const end = (): void => {
      assert(!ended, "a checkpoint is committed or aborted once");
      ended = true;
      this.#writing = false;
    };
    return {
      write: (source, start, stop, done) => {
        const count = stop - start;
        assert(!ended && count > 0 && count <= chunkBytesMax, `a chunk has 1 to ${chunkBytesMax} bytes, got ${count}`);
        // Not `slice`: a Buffer would share its memory.
        chunks.push(new Uint8Array(source.subarray(start, stop)));
        bytes += count;
        this.#later(() => done(null));
      },
      commit: (digest, done) => {
        end();
        const info = { through, digest, bytes };
        if (this.#kept === null || this.#kept.info.through <= through) this.#kept = { info, chunks };
        this.#later(() => done(null, info));
      },
      abort: end,
    };
  }

  read(through: Instance): CheckpointReader {
    const checkpoint = this.#kept?.info.through === through ? this.#kept : null;
    let index = 0;
    return {
      next: (done) =>
        this.#later(() => {
          if (checkpoint === null) done(new StorageError(`there is no checkpoint through ${through}`, false), null);
          else done(null, checkpoint.chunks[index++] ?? null);
        }),
      close: () => {},
    };
  }

  #later(run: () => void): void {
    this.#scheduler.turn(run).request();
  }
}

/** An identity that is forgotten with the process; every process counts as a boot of its own. */
export class MemoryIdentity implements IdentityStore {
  readonly #scheduler: Scheduler;
  readonly #bootId: string;
  #identity: Identity | null = null;

  constructor(scheduler: Scheduler, bootId: string) {
    this.#scheduler = scheduler;
    this.#bootId = bootId;
  }

  load(done: (error: Error | null, identity: Identity | null) => void): void {
    this.#scheduler.turn(() => done(null, this.#identity)).request();
  }

  save(identity: Identity, done: (error: Error | null) => void): void {
    this.#identity = Object.freeze({ ...identity });
    this.#scheduler.turn(() => done(null)).request();
  }

  bootId(): string {
    return this.#bootId;
  }
}
