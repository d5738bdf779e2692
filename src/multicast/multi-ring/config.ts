import { assert } from "../../base/index.js";
import { type Batch, BlockKind } from "../../model/index.js";
import { markOf } from "../merge/index.js";

/** Equal on all replicas and for good: the merge depends on it. */
export interface MultiRingConfig {
  /**
   * λ: logical instances per second to which every stream is filled up. A stream that is faster for long holds the others'
   * merge back: its queue grows to its bound. Default 9000, about 1.5 times the highest rate to expect.
   */
  readonly instancesPerSecond: number;
  /** Δ: a coordinator fills up this often, in ms. Default 1. */
  readonly intervalMs: number;
  /** M: logical instances that a stream delivers before the next one's turn. Default 1. */
  readonly turn: number;
  /** Agreed time at which all streams stood at 0 logical instances, in ms since the epoch. */
  readonly startMs: number;
}

export const defaultMultiRingConfig: MultiRingConfig = {
  instancesPerSecond: 9000,
  intervalMs: 1,
  turn: 1,
  startMs: 0,
};

/** Throws `AssertionError` for values out of bounds. */
export function checkMultiRing(config: MultiRingConfig): MultiRingConfig {
  const { instancesPerSecond, intervalMs, turn, startMs } = config;
  assert(instancesPerSecond > 0 && instancesPerSecond <= 1e9, `λ is ${instancesPerSecond} logical instances a second`);
  assert(intervalMs > 0 && intervalMs <= 60_000, `Δ is ${intervalMs} ms`);
  assert(Number.isInteger(turn) && turn >= 1 && turn <= 1_000_000, `M is ${turn} logical instances`);
  assert(startMs >= 0 && startMs <= Number.MAX_SAFE_INTEGER, `the start is at ${startMs} ms`);
  return config;
}

/**
 * Logical instances that a decided batch stands for: what it skips, or its commands, or one for a batch without commands.
 * Counting commands rather than batches keeps λ a rate of commands, whatever size batches have.
 */
export function logicalInstances(batch: Batch): number {
  const skipped = markOf(batch, BlockKind.skip);
  return skipped + batch.commands || 1;
}
