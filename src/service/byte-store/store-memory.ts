import { STORE_LIMITS, type StoreLimits } from "./limits.js";
import { PartitionControl } from "./partition-memory.js";
import type { PartitionInit } from "./partition-store.js";
import { type PagesDescription, SHARED_PAGES_BYTES_MAX, SharedPages } from "./shared-pages.js";

/** The memory of a store in partitions that threads share: plain data that can be posted to them. */
export interface StoreMemory {
  readonly partitions: number;
  /** So many bytes at the beginning of a key do not count for the partition that it belongs to. */
  readonly keyPrefixBytes: number;
  /** Of each partition. */
  readonly limits: StoreLimits;
  readonly control: SharedArrayBuffer;
  readonly pages: PagesDescription;
}

/**
 * Memory for a new store. Each partition may hold its share of the limits, which are equal on all replicas: so what one may hold does not
 * depend on what others do meanwhile. `bytesMax` is address space. Throws `RangeError` if the process may not have that much.
 */
export function createStoreMemory(
  partitions: number,
  limits: StoreLimits = STORE_LIMITS,
  bytesMax = SHARED_PAGES_BYTES_MAX,
  keyPrefixBytes = 0,
): StoreMemory {
  return {
    partitions,
    keyPrefixBytes,
    limits: {
      entriesMax: Math.floor(limits.entriesMax / partitions),
      bytesMax: Math.floor(limits.bytesMax / partitions),
    },
    control: new SharedArrayBuffer(PartitionControl.bytesFor(partitions)),
    pages: SharedPages.reserve(bytesMax).description,
  };
}

/** What the views of all partitions are made of, in one thread. */
export function storeMemoryOf(memory: StoreMemory): Omit<PartitionInit, "fresh">[] {
  const pages = new SharedPages(memory.pages);
  const { control, keyPrefixBytes, limits, partitions } = memory;
  return Array.from({ length: partitions }, (_, partition) => {
    return { pages, control, partition, partitions, keyPrefixBytes, limits };
  });
}
