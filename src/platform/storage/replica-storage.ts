import { randomUUID } from "node:crypto";
import type { CheckpointStore, IdentityStore, LogStorage, Scheduler } from "../port.js";
import { FileCheckpoints } from "./checkpoint-files.js";
import type { StorageInit } from "./config.js";
import type { FileSystem } from "./file-system.js";
import { IdentityFile } from "./identity-file.js";
import { MemoryCheckpoints, MemoryIdentity, MemoryLog } from "./memory.js";
import { NodeFileSystem } from "./node-file-system.js";
import { Wal } from "./wal.js";

/** What one replica stores. */
export interface ReplicaStorage {
  readonly log: LogStorage;
  readonly checkpoints: CheckpointStore;
  readonly identity: IdentityStore;
}

export interface FileStorageInit extends StorageInit {
  /** The replica's own directory: `log/`, `checkpoint/` and `identity` are in it. The caller holds its lock. */
  readonly directory: string;
  /**
   * Where the checkpoints are instead, if several threads share them: then they are files also with `memory` durability, since
   * one thread reads what another has written.
   */
  readonly checkpointDirectory?: string;
  readonly scheduler: Scheduler;
}

/**
 * Storage in the machine's files. Nothing is touched before the first call on one of the stores. With `memory` durability
 * only the identity is a file: it is how the next run learns that this one remembers nothing.
 */
export function openFileStorage(init: FileStorageInit): ReplicaStorage {
  return openStorage(new NodeFileSystem(), init);
}

/** Storage of which nothing outlives the process, not even the identity. For tests and in-process clusters. */
export function openMemoryStorage(init: {
  readonly scheduler: Scheduler;
  /** Names the boot; a simulation gives one, so that runs stay equal. */
  readonly bootId?: string;
}): ReplicaStorage {
  return {
    log: new MemoryLog(init.scheduler),
    checkpoints: new MemoryCheckpoints(init.scheduler),
    identity: new MemoryIdentity(init.scheduler, init.bootId ?? randomUUID()),
  };
}

/** The same storage over any file system; the simulated disk enters here. */
export function openStorage(fs: FileSystem, init: FileStorageInit): ReplicaStorage {
  const { directory, checkpointDirectory, clusterId, scheduler, onDamaged } = init;
  const identity = new IdentityFile(fs, directory, clusterId);
  const files = (place: string): FileCheckpoints => new FileCheckpoints({ fs, directory: place, clusterId, onDamaged });
  if (init.durability === "memory") {
    const checkpoints =
      checkpointDirectory === undefined ? new MemoryCheckpoints(scheduler) : files(checkpointDirectory);
    return { log: new MemoryLog(scheduler), checkpoints, identity };
  }
  return {
    log: new Wal({ ...init, fs, directory: `${directory}/log` }),
    checkpoints: files(checkpointDirectory ?? `${directory}/checkpoint`),
    identity,
  };
}
