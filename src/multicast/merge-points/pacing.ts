import type { ByteWriter } from "../../base/index.js";
import { type Batch, BlockKind, type Instance } from "../../model/index.js";
import { countAt, markOf, type Pacing, writeMark } from "../merge/index.js";

/**
 * The coordinator of g_i under merge points: a batch names the decided prefix of g_all that is known when it is proposed,
 * unless the last one named it already. With no batch open and a longer prefix known, one without commands is due at once.
 *
 * Only decided instances of g_all may be named: a merge waits for them, and what was never decided would stop it for good.
 */
export class MergePointPacing implements Pacing {
  /** Effective merge point of the decided log. */
  #decided: Instance = 0;
  /** Highest mark among what this coordinator has proposed and does not know to be decided. */
  #proposed: Instance = 0;
  /** Instances through this one are of coordinators before, or own proposals. */
  #opened: Instance = 0;
  #last: Instance = 0;
  #leads = false;
  #known: Instance = 0;

  /** Effective merge point of the decided log. */
  get point(): Instance {
    return this.#decided;
  }

  decided(instance: Instance, batch: Batch): void {
    this.#last = instance;
    const mark = markOf(batch, BlockKind.mergePoint);
    if (mark > this.#decided) this.#decided = mark;
  }

  /** What g_all has for a thread waits for marks; everything else of this stream concerns its own thread alone. */
  awaited(batch: Batch): boolean {
    return markOf(batch, BlockKind.mergePoint) > 0;
  }

  lead(opened: Instance): void {
    this.#leads = true;
    this.#opened = opened;
    this.#proposed = 0;
  }

  follow(): void {
    this.#leads = false;
    this.#proposed = 0;
  }

  allDecided(through: Instance): void {
    if (through > this.#known) this.#known = through;
  }

  mark(writer: ByteWriter): boolean {
    if (this.#known <= this.#named) return false;
    writeMark(writer, BlockKind.mergePoint, this.#known);
    return true;
  }

  proposed(instance: Instance, batch: Batch): void {
    this.#opened = instance;
    const mark = markOf(batch, BlockKind.mergePoint);
    if (mark > this.#proposed) this.#proposed = mark;
  }

  due(now: number): number {
    // What coordinators before have opened may name the prefix; until it is decided nothing is known to be owed.
    if (!this.#leads || this.#last < this.#opened) return Infinity;
    return this.#known > this.#named ? now : Infinity;
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

  get #named(): Instance {
    return this.#leads && this.#proposed > this.#decided ? this.#proposed : this.#decided;
  }
}
