import { assert, Ring } from "../../base/index.js";
import type { Batch, Instance } from "../../model/index.js";
import type { MergeLimits } from "./merge.js";

export const defaultMergeLimits: MergeLimits = { instancesMax: 4096, bytesMax: 64 * 1024 * 1024 };

/** Decided instances of one stream that wait for their turn. They are consecutive. */
export class StreamQueue {
  readonly #limits: MergeLimits;
  readonly #batches: Ring<Batch>;
  #last: Instance;
  bytes = 0;

  /** `last` is the instance in front of the first one that will be offered. */
  constructor(limits: MergeLimits, last: Instance = 0) {
    this.#limits = limits;
    this.#batches = new Ring(limits.instancesMax);
    this.#last = last;
  }

  get size(): number {
    return this.#batches.size;
  }

  /** The last instance taken. */
  get last(): Instance {
    return this.#last;
  }

  /** The instance in front of the oldest one that waits. */
  get delivered(): Instance {
    return this.#last - this.#batches.size;
  }

  /** False if there is no room. Throws `AssertionError` for an instance that does not follow. */
  offer(instance: Instance, batch: Batch): boolean {
    assert(instance === this.#last + 1, `instance ${instance} was offered behind ${this.#last}`);
    const bytes = batch.end - batch.start;
    if (this.#batches.full || (this.size > 0 && this.bytes + bytes > this.#limits.bytesMax)) return false;
    this.#batches.push(batch);
    this.#last = instance;
    this.bytes += bytes;
    return true;
  }

  /** The oldest batch that waits. */
  head(): Batch | undefined {
    return this.#batches.at(0);
  }

  shift(): Batch {
    const batch = this.#batches.shift();
    assert(batch !== undefined, "a queue of a merge is empty");
    this.bytes -= batch.end - batch.start;
    return batch;
  }

  /** Forgets what waits and continues behind `last`. */
  reset(last: Instance): void {
    this.#batches.clear();
    this.bytes = 0;
    this.#last = last;
  }
}

/** Reads a whole number in [0, 2^53) as `ByteWriter.f64` wrote it; -1 for anything else. */
export function countAt(view: DataView, at: number): number {
  const value = view.getFloat64(at, true);
  return value >= 0 && value <= Number.MAX_SAFE_INTEGER && Math.floor(value) === value ? value : -1;
}
