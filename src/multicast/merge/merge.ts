import type { ByteWriter } from "../../base/index.js";
import type { Batch, Instance, QueueVisitor } from "../../model/index.js";

/** Number of an ordered stream: 0 is that of g_all, to which every thread subscribes; i is that of group g_i, 1..K. */
export type StreamId = number;
export const ALL: StreamId = 0;
/** Most groups beside g_all: a set of them fits in the bits of a positive 32-bit number. */
export const GROUPS_MAX = 31;

/** Takes what a merge delivers. The batch is the host's again when the call returns. */
export interface DeliverySink {
  delivered(stream: StreamId, instance: Instance, batch: Batch): void;
}

/**
 * Merges the decided instances of the streams that one thread subscribes to into the one order in which that thread
 * delivers them: the deterministic part of atomic multicast (PROTOCOLS section 2.3).
 *
 * MR1: the order that all merges of all learners define together has no cycle. MR2: merges of the same streams deliver the
 * same sequence. MR3: what is delivered next follows from logs and the saved position, from no clock and no arrival order.
 */
export interface Merge {
  /**
   * Takes the decided instance that follows the ones it has of this stream. False if the queue of this stream is full: then
   * nothing was taken, and the host offers it again, from its log if it likes, after deliveries.
   */
  offer(stream: StreamId, instance: Instance, batch: Batch): boolean;
  /** Delivers up to `instancesMax` instances and returns how many it delivered. */
  deliver(out: DeliverySink, instancesMax: number): number;
  /** The stream whose next instance has to be offered before anything more can be delivered; -1 if something can be. */
  readonly waitsFor: StreamId;
  /** The last instance of a subscribed stream that was delivered. */
  delivered(stream: StreamId): Instance;
  /** The instance of a subscribed stream to be offered next. */
  expected(stream: StreamId): Instance;
  /** Appends the position, for a checkpoint: at most 24 bytes a stream. Queued instances are not part of it. */
  save(writer: ByteWriter): void;
  /**
   * Continues from a saved position and forgets what is queued. Returns the offset behind it, or -1 for malformed bytes,
   * in which case nothing has changed.
   */
  restore(view: DataView, at: number, end: number): number;
  queues(visit: QueueVisitor): void;
}

/** Bounds of a merge. */
export interface MergeLimits {
  /** Instances of one stream that wait for those of another. Default 4096. */
  readonly instancesMax: number;
  /** Bytes of batches of one stream that wait. One batch is always taken. Default 64 MiB. */
  readonly bytesMax: number;
}
