/**
 * byte-store: entries of byte strings, key → value and expiry, found by key in constant time and in the order of keys, with
 * a digest that follows each change, undo, and snapshots that never stop it. What the `kv` service and the tables of
 * user-defined services keep their state in; one store for each.
 */
export { Change, takeBackChanges } from "./change.js";
export { ENTRY_KEY_BYTES_MAX, ENTRY_VALUE_BYTES_MAX } from "./contents.js";
export { ENTRIES_MAX } from "./entries.js";
export type { EntryStore } from "./entry-store.js";
export { READ_AHEAD_MAX } from "./hash-index.js";
export { partitionOf } from "./partition.js";
export { PartitionViews } from "./partition-views.js";
export { createStoreMemory, type StoreMemory } from "./store-memory.js";
export { STORE_BYTES_MAX, STORE_LIMITS, type StoreLimits } from "./limits.js";
export { type ByteStore, createByteStore } from "./store.js";
