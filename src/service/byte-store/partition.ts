// Hot file: clients and replicas ask for the partition of each key. No allocation.
import { hashLong } from "../../base/index.js";

/** Another hash than that of the hash index: with the same one the keys of a partition would crowd some of its buckets. */
const SEED = 0x4b6d1f2d;

/**
 * The partition that a key belongs to when a store is cut into so many, 1 to 31: the same on all clients and replicas, for the life of
 * a cluster.
 */
export function partitionOf(bytes: Uint8Array, start: number, end: number, partitions: number): number {
  if (partitions === 1) return 0;
  // The upper bits times the number of partitions: 24 and 5 bits, so that the product is a small integer.
  return ((hashLong(bytes, start, end, SEED) >>> 8) * partitions) >>> 24;
}
