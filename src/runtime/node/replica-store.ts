import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { type ClusterConfig, clusterShape, LockedError, membersOf, type ReplicaId } from "../../model/index.js";
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
import { syncDirectory } from "./sync-directory.js";

/** A replica's storage together with its lock. */
export interface LockedStore extends ReplicaStorage {
  /** Lets go of the directory; nothing of the storage may be used afterwards. */
  readonly unlock: () => void;
}

/** Takes the lock of a replica's directory. Throws `LockedError` while a live process has it. What it returns lets go of it. */
export function lockReplica(directory: string): () => void {
  return acquireLock(directory);
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

/** Where a member of a replica with several groups has its log and its identity, in the replica's directory. */
export const memberDirectory = (directory: string, member: number): string => join(directory, `group-${member}`);

/** Makes the directory of a member, durably, unless it is there: that of a replica which rejoins is not. */
function makeMemberDirectory(directory: string, member: number): string {
  const folder = memberDirectory(directory, member);
  if (!existsSync(folder)) {
    mkdirSync(folder);
    syncDirectory(directory);
  }
  return folder;
}

/** Opens what one member of a replica with several groups stores. The replica's lock is held by the caller. */
export function openMemberStore(
  directory: string,
  member: number,
  config: ClusterConfig,
  scheduler: Scheduler,
  events: EventLog,
  onLogWritten?: (durationMs: number) => void,
): ReplicaStorage {
  const { clusterId, durability } = config;
  return openFileStorage({
    directory: makeMemberDirectory(directory, member),
    checkpointDirectory: join(directory, "checkpoint"),
    clusterId,
    durability,
    scheduler,
    onDamaged: (path, reason) => events.warn("damaged checkpoint", { path, reason }),
    onLogWritten,
  });
}

/**
 * Writes the identities that make a voter of a replica that has never run: one, or with several groups one for each member.
 * Only the creation of a cluster may call this (DESIGN safety rule 1).
 */
export async function writeFirstIdentities(
  directory: string,
  config: ClusterConfig,
  replica: ReplicaId,
): Promise<void> {
  if (config.groups === 1) return writeFirstIdentity(directory, config, replica, 0);
  for (let member = 0; member < membersOf(config); member++) {
    await writeFirstIdentity(makeMemberDirectory(directory, member), config, replica, member);
  }
}

function writeFirstIdentity(
  directory: string,
  config: ClusterConfig,
  replica: ReplicaId,
  member: number,
): Promise<void> {
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
    shape: clusterShape(config, member),
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
