import { assert, type ByteWriter } from "../../base/index.js";
import { type Batch, BlockKind, type Instance, type QueueVisitor } from "../../model/index.js";
import {
  ALL,
  countAt,
  defaultMergeLimits,
  type DeliverySink,
  markOf,
  type Merge,
  type MergeLimits,
  StreamQueue,
  type StreamId,
} from "../merge/index.js";

/**
 * The merge of g_all and one group g_i, for thread t_i.
 *
 * The effective merge point of instance n of g_i is the running maximum of the marks through n. All of g_all through it goes
 * before n, and nothing else does: g_all[p] is delivered when the next instance of g_i asks for it. So the sequence is a
 * function of the log of g_i alone; and since effective merge points never fall, no two threads disagree on what went before
 * what (MR1): a cycle would need g_all[p] before some g_i[n] and a g_all[q], q < p, behind it.
 */
export class MergePointMerge implements Merge {
  readonly #group: StreamId;
  readonly #limits: MergeLimits;
  readonly #own: StreamQueue;
  readonly #all: StreamQueue;
  /** Effective merge point of the oldest instance of the group that waits, or of the last delivered one while none does. */
  #point: Instance = 0;
  /** True when `#point` counts the mark of the instance that waits. */
  #looked = false;

  /** `group` is i of g_i, at least 1. */
  constructor(group: StreamId, limits: MergeLimits = defaultMergeLimits) {
    assert(group > ALL, "merge points order a group against g_all, not g_all against itself");
    this.#group = group;
    this.#limits = limits;
    this.#own = new StreamQueue(limits);
    this.#all = new StreamQueue(limits);
  }

  get waitsFor(): StreamId {
    this.#look();
    if (this.#own.size === 0) return this.#group;
    return this.#all.delivered < this.#point && this.#all.size === 0 ? ALL : -1;
  }

  /** The effective merge point of the last instance delivered or looked at. */
  get point(): Instance {
    return this.#point;
  }

  offer(stream: StreamId, instance: Instance, batch: Batch): boolean {
    return this.#of(stream).offer(instance, batch);
  }

  deliver(out: DeliverySink, instancesMax: number): number {
    let count = 0;
    while (count < instancesMax) {
      this.#look();
      if (this.#own.size === 0) break;
      if (this.#all.delivered < this.#point) {
        if (this.#all.size === 0) break;
        const batch = this.#all.shift();
        out.delivered(ALL, this.#all.delivered, batch);
      } else {
        const batch = this.#own.shift();
        this.#looked = false;
        out.delivered(this.#group, this.#own.delivered, batch);
      }
      count++;
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
    writer.f64(this.#own.delivered);
    // The merge point is not saved: one at or below what was delivered of g_all asks for nothing more, and of an instance
    // that waits it is looked for again.
    writer.f64(this.#all.delivered);
  }

  restore(view: DataView, at: number, end: number): number {
    if (end - at < 16) return -1;
    const own = countAt(view, at);
    const all = countAt(view, at + 8);
    if (own < 0 || all < 0) return -1;
    this.#own.reset(own);
    this.#all.reset(all);
    this.#point = all;
    this.#looked = false;
    return at + 16;
  }

  queues(visit: QueueVisitor): void {
    visit("merge instances of g_all", this.#all.size, this.#limits.instancesMax);
    visit(`merge instances of stream ${this.#group}`, this.#own.size, this.#limits.instancesMax);
  }

  #look(): void {
    const head = this.#looked ? undefined : this.#own.head();
    if (head === undefined) return;
    const mark = markOf(head, BlockKind.mergePoint);
    if (mark > this.#point) this.#point = mark;
    this.#looked = true;
  }

  #of(stream: StreamId): StreamQueue {
    assert(stream === ALL || stream === this.#group, `stream ${stream} is not subscribed to`);
    return stream === ALL ? this.#all : this.#own;
  }
}
