import { ByteWriter } from "../../base/index.js";
import type { Digest, ExecutionModel, Instance, SnapshotSource } from "../../model/index.js";
import type { CheckpointStore, CheckpointWriter } from "../../platform/index.js";

export function digestHex(digest: Digest): string {
  return Array.from(digest, (lane) => lane.toString(16).padStart(8, "0")).join("");
}

/**
 * Takes checkpoints of the executed state without stalling: the state is marked once, then written slice by slice, the
 * next one when the disk has taken the last, while commands go on executing.
 */
export class Checkpointing {
  readonly #store: CheckpointStore;
  readonly #execution: ExecutionModel;
  readonly #sliceBytes: number;
  readonly #slice: ByteWriter;
  readonly #done: (error: Error | null, through: Instance, digest: string, bytes: number) => void;
  #busy = false;
  /** Position of the newest durable checkpoint. */
  through: Instance = 0;
  /** Bytes of the newest durable checkpoint. */
  bytes = 0;

  constructor(
    store: CheckpointStore,
    execution: ExecutionModel,
    sliceBytes: number,
    done: (error: Error | null, through: Instance, digest: string, bytes: number) => void,
  ) {
    this.#store = store;
    this.#execution = execution;
    this.#sliceBytes = sliceBytes;
    this.#slice = new ByteWriter(sliceBytes * 2);
    this.#done = done;
  }

  get busy(): boolean {
    return this.#busy;
  }

  /** Starts a checkpoint of the state as it is now, unless one is being written. */
  start(): void {
    if (this.#busy) return;
    this.#busy = true;
    const through = this.#execution.inspect().executed;
    const digest = new Uint32Array(4);
    this.#execution.digest(digest);
    const source = this.#execution.snapshot();
    this.#write(source, this.#store.begin(through), through, digestHex(digest));
  }

  #write(source: SnapshotSource, writer: CheckpointWriter, through: Instance, digest: string): void {
    this.#slice.clear();
    const more = source.next(this.#slice, this.#sliceBytes);
    const written = (error: Error | null): void => {
      if (error === null && more) return this.#write(source, writer, through, digest);
      source.close();
      if (error !== null) return this.#finish(error, through, digest, 0);
      writer.commit(digest, (failure, info) => this.#finish(failure, through, digest, info?.bytes ?? 0));
    };
    // The last slice may be empty, and an empty chunk is none.
    if (this.#slice.length === 0) written(null);
    else writer.write(this.#slice.bytes, 0, this.#slice.length, written);
  }

  #finish(error: Error | null, through: Instance, digest: string, bytes: number): void {
    this.#busy = false;
    if (error === null) {
      this.through = through;
      this.bytes = bytes;
    }
    this.#done(error, through, digest, bytes);
  }
}
