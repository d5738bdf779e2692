import { assert, type ByteWriter } from "../../base/index.js";
import type { Batch, Instance, QueueVisitor } from "../../model/index.js";
import {
  countAt,
  defaultMergeLimits,
  type DeliverySink,
  type Merge,
  type MergeLimits,
  StreamQueue,
  type StreamId,
} from "../merge/index.js";
import { checkMultiRing, logicalInstances, type MultiRingConfig } from "./config.js";

/** What a stream may be ahead by: skips of years, and still exact in a double. */
const AHEAD_MAX = 2 ** 48;

interface Lane {
  readonly stream: StreamId;
  readonly queue: StreamQueue;
  /** Logical instances delivered beyond the stream's turns so far; it delivers in its turn while this is below M. */
  ahead: number;
}

/**
 * The merge of any streams, in turns: each delivers until it has delivered M logical instances in its turn, then the next
 * one does, by ascending stream number. An instance is delivered whole; what it stands for beyond the turn is taken off the
 * stream's next turns.
 */
export class MultiRingMerge implements Merge {
  readonly #lanes: readonly Lane[];
  readonly #turn: number;
  readonly #limits: MergeLimits;
  #current = 0;

  /** Takes the streams subscribed to, at least one, each once. */
  constructor(streams: readonly StreamId[], config: MultiRingConfig, limits: MergeLimits = defaultMergeLimits) {
    const sorted = [...streams].sort((a, b) => a - b);
    assert(sorted.length > 0 && new Set(sorted).size === sorted.length, "a merge has streams, and each of them once");
    this.#turn = checkMultiRing(config).turn;
    this.#limits = limits;
    this.#lanes = sorted.map((stream) => ({ stream, queue: new StreamQueue(limits), ahead: 0 }));
  }

  get waitsFor(): StreamId {
    const lane = this.#advance();
    return lane.queue.size === 0 ? lane.stream : -1;
  }

  offer(stream: StreamId, instance: Instance, batch: Batch): boolean {
    return this.#of(stream).queue.offer(instance, batch);
  }

  deliver(out: DeliverySink, instancesMax: number): number {
    for (let count = 0; count < instancesMax; count++) {
      const lane = this.#advance();
      if (lane.queue.size === 0) return count;
      const batch = lane.queue.shift();
      lane.ahead = Math.min(AHEAD_MAX, lane.ahead + logicalInstances(batch));
      out.delivered(lane.stream, lane.queue.delivered, batch);
    }
    return instancesMax;
  }

  delivered(stream: StreamId): Instance {
    return this.#of(stream).queue.delivered;
  }

  expected(stream: StreamId): Instance {
    return this.#of(stream).queue.last + 1;
  }

  save(writer: ByteWriter): void {
    writer.f64(this.#current);
    for (const lane of this.#lanes) {
      writer.f64(lane.queue.delivered);
      writer.f64(lane.ahead);
    }
  }

  restore(view: DataView, at: number, end: number): number {
    const lanes = this.#lanes;
    if (end - at < 8 + 16 * lanes.length) return -1;
    const current = countAt(view, at);
    if (current < 0 || current >= lanes.length) return -1;
    for (let i = 0; i < lanes.length; i++) {
      const ahead = countAt(view, at + 16 + 16 * i);
      if (countAt(view, at + 8 + 16 * i) < 0 || ahead < 0 || ahead > AHEAD_MAX) return -1;
    }
    this.#current = current;
    lanes.forEach((lane, i) => {
      lane.queue.reset(countAt(view, at + 8 + 16 * i));
      lane.ahead = countAt(view, at + 16 + 16 * i);
    });
    return at + 8 + 16 * lanes.length;
  }

  queues(visit: QueueVisitor): void {
    for (const { stream, queue } of this.#lanes) {
      visit(`merge instances of ${stream === 0 ? "g_all" : `stream ${stream}`}`, queue.size, this.#limits.instancesMax);
    }
  }

  /** Ends the turns of streams that have had theirs; the stream whose turn it is then. */
  #advance(): Lane {
    const lanes = this.#lanes;
    // Whole rounds in which nobody delivers anything are taken at once: a skip may stand for millions of turns.
    let rounds = Infinity;
    for (const lane of lanes) rounds = Math.min(rounds, Math.floor(lane.ahead / this.#turn));
    if (rounds > 0) for (const lane of lanes) lane.ahead -= rounds * this.#turn;
    for (;;) {
      const lane = lanes[this.#current] as Lane;
      if (lane.ahead < this.#turn) return lane;
      lane.ahead -= this.#turn;
      this.#current = (this.#current + 1) % lanes.length;
    }
  }

  #of(stream: StreamId): Lane {
    const lane = this.#lanes.find((each) => each.stream === stream);
    assert(lane !== undefined, `stream ${stream} is not subscribed to`);
    return lane;
  }
}
