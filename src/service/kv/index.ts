/**
 * kv: a store of byte strings with the semantics of Redis 7, expiry and transactions included: what the RESP gateway and the
 * benchmarks run on.
 *
 * Reading order: `command.ts` (the operations), `operation.ts` (the table of what each may look like and does), `execution.ts`
 * (what a command works on), `string-command.ts`, `key-command.ts`, `range-command.ts` and `watch-command.ts` (what they do),
 * `watch-table.ts` (optimistic transactions), `service.ts` (runs, transactions, expiry). The entries live in an `EntryStore`.
 */
import type { Service, ServiceModule, SharedServiceModule } from "../../model/index.js";
import { createByteStore, createStoreMemory, STORE_LIMITS, type StoreLimits } from "../byte-store/index.js";
import { kvMapping } from "./mapping.js";
import { type KvDescription, PartitionedKv } from "./partitioned.js";
import { Kv } from "./service.js";

export * from "./command.js";
export { globFits } from "./glob.js";
export { kvMapping } from "./mapping.js";
export { type KvDescription, PartitionedKv } from "./partitioned.js";

/** The service for the registry. */
export const kv: ServiceModule = { name: "kv", create: () => createKv() };

/** The service with other limits than the usual ones. */
export function createKv(limits: StoreLimits = STORE_LIMITS): Service {
  return new Kv(createByteStore(limits));
}

/** The same store cut into partitions, one for each group. */
export const sharedKv: SharedServiceModule = {
  name: "kv",
  createShared: (groups) => createSharedKv(groups),
  attach: (description, thread) => PartitionedKv.attach(description as KvDescription, thread),
  mapping: kvMapping,
};

/**
 * The first thread's view of the store in partitions, with other limits than the usual ones, and at most so many bytes of memory,
 * which are address space.
 */
export function createSharedKv(groups: number, limits: StoreLimits = STORE_LIMITS, bytesMax?: number): PartitionedKv {
  return PartitionedKv.create(groups, createStoreMemory(groups, limits, bytesMax));
}
