import { ByteWriter } from "../../base/index.js";
import type { Digest, ExecutionModel, Instance, SnapshotSource } from "../../model/index.js";
import type { CheckpointStore, CheckpointWriter } from "../../platform/index.js";
import type { ReplicaMetrics } from "./metrics.js";

/** Slices are so many times as long while the log fills up: fewer turns for the same bytes, and still a few ms each. */
const PRESSED_SLICES = 8;

export function digestHex(digest: Digest): string {
  return Array.from(digest, (lane) => lane.toString(16).padStart(8, "0")).join("");
}

export interface CheckpointingInit {
  readonly store: CheckpointStore;
  readonly execution: ExecutionModel;
  readonly sliceBytes: number;
  /** Where the pieces of work are measured; by default nowhere. */
  readonly metrics?: ReplicaMetrics | undefined;
  /** True while the log is filling up, so that the checkpoint which will empty it is to come sooner. */
  pressed(): boolean;
  /** Another slice has been written. */
  advanced(): void;
  done(error: Error | null, through: Instance, digest: string, bytes: number): void;
}

/**
 * Takes checkpoints of the executed state without stalling: the state is marked once, then written slice by slice, the
 * next one when the disk has taken the last, while commands go on executing.
 */
export class Checkpointing {
  readonly #init: CheckpointingInit;
  readonly #slice: ByteWriter;
  #busy = false;
  /** Position of the newest durable checkpoint. */
  through: Instance = 0;
  /** Bytes of the newest durable checkpoint. */
  bytes = 0;
  /** Bytes of the state that the checkpoint under way has written. */
  written = 0;

  constructor(init: CheckpointingInit) {
    this.#init = init;
    this.#slice = new ByteWriter(init.sliceBytes * 2);
  }

  get busy(): boolean {
    return this.#busy;
  }

  /** Starts a checkpoint of the state as it is now, unless one is being written. */
  start(): void {
    if (this.#busy) return;
    this.#busy = true;
    this.written = 0;
    const { execution, store } = this.#init;
    const through = execution.inspect().executed;
    this.#work(() => {
      const digest = new Uint32Array(4);
      execution.digest(digest);
      const source = execution.snapshot();
      this.#write(source, store.begin(through), through, digestHex(digest));
    });
  }

  /** One piece of work, whatever waits meanwhile. */
  #work(work: () => void): void {
    const { metrics } = this.#init;
    if (metrics === undefined) work();
    else metrics.checkpointing(work);
  }

  #write(source: SnapshotSource, writer: CheckpointWriter, through: Instance, digest: string): void {
    const { sliceBytes } = this.#init;
    this.#slice.clear();
    const more = source.next(this.#slice, this.#init.pressed() ? PRESSED_SLICES * sliceBytes : sliceBytes);
    const written = (error: Error | null): void => {
      if (error === null && more) {
        this.#init.advanced();
        return this.#write(source, writer, through, digest);
      }
      source.close();
      if (error !== null) return this.#finish(error, through, digest, 0);
      writer.commit(digest, (failure, info) =>
        this.#work(() => this.#finish(failure, through, digest, info?.bytes ?? 0)),
      );
    };
    this.written += this.#slice.length;
    // The last slice may be empty, and an empty chunk is none.
    if (this.#slice.length === 0) written(null);
    else writer.write(this.#slice.bytes, 0, this.#slice.length, (error) => this.#work(() => written(error)));
  }

  #finish(error: Error | null, through: Instance, digest: string, bytes: number): void {
    this.#busy = false;
    if (error === null) {
      this.through = through;
      this.bytes = bytes;
    }
    this.#init.done(error, through, digest, bytes);
  }
}
