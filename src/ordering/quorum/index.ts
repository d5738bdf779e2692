/** quorum: sets of replicas as bit masks (bit id - 1), and counting them. Shared by all orderings. */
import type { ReplicaId } from "../../model/index.js";

export const memberBit = (replica: ReplicaId): number => 1 << (replica - 1);

/** Number of members in a mask. */
export function countMembers(mask: number): number {
  let v = mask;
  v = v - ((v >>> 1) & 0x55555555);
  v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
  return Math.imul((v + (v >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** The value that at least `count` of the numbers reach: the count-th highest. */
export function reachedBy(values: readonly number[], count: number): number {
  const sorted = [...values].sort((a, b) => b - a);
  return sorted[count - 1] ?? 0;
}
