/**
 * kv: a store of byte strings with the semantics of Redis 7, expiry and transactions included: what the RESP gateway and the
 * benchmarks run on.
 *
 * Reading order: `command.ts` (the operations), `operation.ts` (the table of what each may look like and does), `execution.ts`
 * (what a command works on), `string-command.ts`, `key-command.ts`, `range-command.ts` and `watch-command.ts` (what they do),
 * `watch-table.ts` (optimistic transactions), `service.ts` (runs, transactions, expiry). The entries live in an `EntryStore`.
 */
import type { Service, ServiceModule, SharedServiceModule } from "../../model/index.js";
import { createByteStore, STORE_LIMITS, type StoreLimits } from "../byte-store/index.js";
import { kvMapping } from "./mapping.js";
import { Kv } from "./service.js";

export * from "./command.js";
export { globFits } from "./glob.js";
export { kvMapping } from "./mapping.js";

/** The service for the registry. */
export const kv: ServiceModule = { name: "kv", create: () => createKv() };

/** The service with other limits than the usual ones. */
export function createKv(limits: StoreLimits = STORE_LIMITS): Service {
  return new Kv(createByteStore(limits));
}

/** The same store cut into partitions, one for each group. */
export const sharedKv: SharedServiceModule = {
  name: "kv",
  createShared: notYet,
  attach: notYet,
  mapping: kvMapping,
};

function notYet(): never {
  throw new Error("the partitions of kv are being built");
}
