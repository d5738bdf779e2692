import type { ByteWriter } from "../../base/index.js";
import type { Batch, Instance } from "../../model/index.js";

/**
 * The coordinator's part of atomic multicast: which marks its batches carry, and when it proposes a batch without commands
 * so that other streams are not held up. One object per group and replica; every replica tells it what is decided, so that
 * whoever comes to lead goes on where the log ends.
 */
export interface Pacing {
  /** An instance of this group was decided, in log order. */
  decided(instance: Instance, batch: Batch): void;
  /** Whether threads may wait for this batch with what other streams have for them: then followers hear of its decision at once. */
  awaited(batch: Batch): boolean;
  /**
   * This replica leads, and may propose; instances through `opened` are of coordinators before it or of the ordering itself, and may
   * not be decided here yet.
   */
  lead(opened: Instance): void;
  /** This replica leads no longer; what it has proposed may be decided or not. */
  follow(): void;
  /** Contiguous decided prefix of g_all, as this replica or a vote of another tells. It never falls. */
  allDecided(through: Instance): void;
  /**
   * Writes the mark of the batch about to be proposed at `now`, about agreed time in ms, if it needs one; true if it did. The batch
   * is then told to `proposed`.
   */
  mark(writer: ByteWriter, now: number): boolean;
  /** The batch is proposed as this instance. The ordering may open instances of its own in between, which nobody tells. */
  proposed(instance: Instance, batch: Batch): void;
  /**
   * Time like `now` from which a batch without commands is due if none with commands is proposed; `Infinity` while nothing
   * is owed.
   */
  due(now: number): number;
  /** Appends what the log below a checkpoint told, for that checkpoint: 16 bytes at most. */
  save(writer: ByteWriter): void;
  /** Continues from what was saved; the offset behind it, or -1 for malformed bytes. */
  restore(view: DataView, at: number, end: number): number;
}
