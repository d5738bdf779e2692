import type { ByteWriter } from "../../base/index.js";
import { assert } from "../../base/index.js";
import type { Batch, Instance, QueueVisitor } from "../../model/index.js";
import {
  countAt,
  defaultMergeLimits,
  type DeliverySink,
  type Merge,
  type MergeLimits,
  type Pacing,
  StreamQueue,
  type StreamId,
} from "../merge/index.js";

/** Delivers the instances of the one stream in their order. */
export class SingleMerge implements Merge {
  readonly #stream: StreamId;
  readonly #queue: StreamQueue;
  readonly #limits: MergeLimits;

  constructor(stream: StreamId = 1, limits: MergeLimits = defaultMergeLimits) {
    this.#stream = stream;
    this.#limits = limits;
    this.#queue = new StreamQueue(limits);
  }

  get waitsFor(): StreamId {
    return this.#queue.size === 0 ? this.#stream : -1;
  }

  offer(stream: StreamId, instance: Instance, batch: Batch): boolean {
    return this.#of(stream).offer(instance, batch);
  }

  deliver(out: DeliverySink, instancesMax: number): number {
    let count = 0;
    for (; count < instancesMax && this.#queue.size > 0; count++) {
      const batch = this.#queue.shift();
      out.delivered(this.#stream, this.#queue.delivered, batch);
    }
    return count;
  }

  delivered(stream: StreamId): Instance {
    return this.#of(stream).delivered;
  }

  expected(stream: StreamId): Instance {
    return this.#of(stream).last + 1;
  }

  save(writer: ByteWriter): void {
    writer.f64(this.#queue.delivered);
  }

  restore(view: DataView, at: number, end: number): number {
    if (end - at < 8) return -1;
    const delivered = countAt(view, at);
    if (delivered < 0) return -1;
    this.#queue.reset(delivered);
    return at + 8;
  }

  queues(visit: QueueVisitor): void {
    visit(`merge instances of stream ${this.#stream}`, this.#queue.size, this.#limits.instancesMax);
  }

  #of(stream: StreamId): StreamQueue {
    assert(stream === this.#stream, `stream ${stream} is not subscribed to`);
    return this.#queue;
  }
}

/** A single group waits for nobody. */
export const singlePacing: Pacing = {
  decided: () => undefined,
  awaited: () => true,
  lead: () => undefined,
  follow: () => undefined,
  allDecided: () => undefined,
  mark: () => false,
  proposed: () => undefined,
  due: () => Infinity,
  save: () => undefined,
  restore: (_view, at) => at,
};
