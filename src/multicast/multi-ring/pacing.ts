import type { ByteWriter } from "../../base/index.js";
import { type Batch, BlockKind, type Instance } from "../../model/index.js";
import { countAt, type Pacing, writeMark } from "../merge/index.js";
import { checkMultiRing, logicalInstances, type MultiRingConfig } from "./config.js";

/**
 * The coordinator of a stream under skips. Every Δ it compares the logical instances of its log with λ times the time since
 * the start, and proposes what is missing as one batch that skips.
 *
 * The count is absolute: it is that of the log, so that a new coordinator goes on exactly where the log ends (erratum E11: one
 * that began at 0 would skip everything since the start once more, and hold its stream's commands back for as long), and so
 * that late timers make up for themselves.
 */
export class MultiRingPacing implements Pacing {
  readonly #config: MultiRingConfig;
  /** Logical instances of the decided log. */
  #decided = 0;
  /**
   * Own proposals that are not decided, oldest first: the instance of each and what it stands for. Not every instance behind the
   * inherited ones is an own proposal, since the ordering opens empty ones for replicas that rejoin.
   */
  readonly #open: { readonly instance: Instance; readonly count: number }[] = [];
  #openSum = 0;
  #inherited: Instance = 0;
  #last: Instance = 0;
  #leads = false;
  /** When the stream was last filled up or found full. */
  #filledMs = 0;

  constructor(config: MultiRingConfig) {
    this.#config = checkMultiRing(config);
  }

  /** Logical instances of the decided log (MR4). */
  get count(): number {
    return this.#decided;
  }

  decided(instance: Instance, batch: Batch): void {
    this.#last = instance;
    this.#decided += logicalInstances(batch);
    for (let own = this.#open[0]; own !== undefined && own.instance <= instance; own = this.#open[0]) {
      this.#openSum -= own.count;
      this.#open.shift();
    }
  }

  /** Each logical instance is a turn for which the other streams wait. */
  awaited(): boolean {
    return true;
  }

  lead(opened: Instance): void {
    this.#leads = true;
    this.#inherited = opened;
    this.#drop();
  }

  follow(): void {
    this.#leads = false;
    this.#drop();
  }

  /** Streams do not look at each other; their rates keep them together. */
  allDecided(): void {}

  mark(writer: ByteWriter, now: number): boolean {
    if (this.due(now) > now) return false;
    writeMark(writer, BlockKind.skip, this.#missing(now));
    this.#filledMs = now;
    return true;
  }

  proposed(instance: Instance, batch: Batch): void {
    const count = logicalInstances(batch);
    this.#open.push({ instance, count });
    this.#openSum += count;
  }

  due(now: number): number {
    // Until all that came before is decided here, what it stands for is unknown, and a guess would be a second skip.
    if (!this.#leads || this.#last < this.#inherited) return Infinity;
    const at = this.#filledMs + this.#config.intervalMs;
    if (now < at) return at;
    if (this.#missing(now) > 0) return now;
    return now + this.#config.intervalMs;
  }

  save(writer: ByteWriter): void {
    writer.f64(this.#decided);
    writer.f64(this.#last);
  }

  restore(view: DataView, at: number, end: number): number {
    if (end - at < 16) return -1;
    const decided = countAt(view, at);
    const last = countAt(view, at + 8);
    if (decided < 0 || last < 0) return -1;
    this.#decided = decided;
    this.#last = last;
    return at + 16;
  }

  /** Whole logical instances that the stream is short of. */
  #missing(now: number): number {
    const expected = (this.#config.instancesPerSecond * (now - this.#config.startMs)) / 1000;
    return Math.max(0, Math.floor(expected - this.#decided - this.#openSum));
  }

  #drop(): void {
    this.#open.length = 0;
    this.#openSum = 0;
  }
}
