/**
 * storage: what a replica keeps: its write-ahead log, its checkpoints and its identity (`LogStorage`, `CheckpointStore` and
 * `IdentityStore` of port.ts), each in three siblings.
 *
 * - *files*: `openFileStorage`. Layout of a replica's directory: `log/` (format: `batch-format.ts`), `checkpoint/`
 *   (`checkpoint-format.ts`), `identity` (JSON), and while a process uses it a lock file (`acquireLock`).
 * - *memory*: `openMemoryStorage`, for `memory` durability and tests: confirms without a disk, and nothing survives.
 * - *simulated*: `SimDisk`, under the very same log and checkpoint code as the files, with crashes and faults.
 *
 * Reading order: file-system.ts (what all of it stands on), batch-format.ts, log-scan.ts (recovery), wal.ts, segment.ts.
 */
export { recordBytesMax, type StorageInit, type WalConfig, walDefaults } from "./config.js";
export { acquireLock, lockHolder } from "./lock.js";
export { type FileStorageInit, openFileStorage, openMemoryStorage, type ReplicaStorage } from "./replica-storage.js";
export { type LatencyRange, SimDisk, type SimDiskFaults, type SimDiskOptions } from "./sim-disk.js";
