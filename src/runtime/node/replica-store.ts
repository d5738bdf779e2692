import { type ClusterConfig, clusterShape, LockedError, type ReplicaId } from "../../model/index.js";
import {
  acquireLock,
  type EventLog,
  type Identity,
  lockHolder,
  openFileStorage,
  type ReplicaStorage,
  type Scheduler,
  SystemScheduler,
} from "../../platform/index.js";

/** A replica's storage together with its lock. */
export interface LockedStore extends ReplicaStorage {
  /** Lets go of the directory; nothing of the storage may be used afterwards. */
  readonly unlock: () => void;
}

/** Takes the lock of a replica's directory and opens what it stores. Throws `LockedError` while a live process has it. */
export function openReplicaStore(
  directory: string,
  config: ClusterConfig,
  scheduler: Scheduler,
  events: EventLog,
  onLogWritten?: (durationMs: number) => void,
): LockedStore {
  const unlock = acquireLock(directory);
  const { clusterId, durability } = config;
  const onDamaged = (path: string, reason: string): void => events.warn("damaged checkpoint", { path, reason });
  return { ...openFileStorage({ directory, clusterId, durability, scheduler, onDamaged, onLogWritten }), unlock };
}

/**
 * Writes the identity that makes a voter: of a replica that has never run. Only the creation of a cluster may call this
 * (DESIGN safety rule 1).
 */
export function writeFirstIdentity(directory: string, config: ClusterConfig, replica: ReplicaId): Promise<void> {
  const { clusterId, durability } = config;
  const { identity } = openFileStorage({ directory, clusterId, durability, scheduler: new SystemScheduler() });
  const first: Identity = {
    format: 1,
    clusterId,
    replica,
    durability,
    bootId: identity.bootId(),
    started: false,
    amnesiaNonce: 0,
    shape: clusterShape(config),
  };
  return new Promise((resolve, reject) => {
    identity.save(first, (error) => (error === null ? resolve() : reject(error)));
  });
}

/** Throws `LockedError` if a live process runs one of the replicas whose directories these are. */
export function assertUnlocked(directories: readonly string[]): void {
  for (const directory of directories) {
    const pid = lockHolder(directory);
    if (pid !== null) throw new LockedError(`${directory} is locked by pid ${pid}`);
  }
}
