import type { ByteWriter } from "../../base/index.js";
import {
  type Batch,
  BATCH_HEADER_BYTES,
  beginBlock,
  type BlockKind,
  blockKind,
  blockSequence,
  endBlock,
} from "../../model/index.js";

export type MarkKind = typeof BlockKind.mergePoint | typeof BlockKind.skip;

/**
 * Writes a coordinator's mark: the first block of its batch. `value` is at least 1 and below 2^53.
 *
 * A mark is inside what consensus decides, so that a merge is a function of logs alone, whoever coordinated them.
 */
export function writeMark(writer: ByteWriter, kind: MarkKind, value: number): void {
  endBlock(writer, beginBlock(writer, kind, 0, value, 0), 0);
}

/** The value of the mark of this kind at the head of a checked batch, 0 if it has none. */
export function markOf(batch: Batch, kind: MarkKind): number {
  if (batch.blocks === 0) return 0;
  const at = batch.start + BATCH_HEADER_BYTES;
  return blockKind(batch.view, at) === kind ? blockSequence(batch.view, at) : 0;
}
