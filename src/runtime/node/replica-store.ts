import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import {
  type ClusterConfig,
  clusterShape,
  ConfigError,
  LockedError,
  membersOf,
  type ReplicaId,
} from "../../model/index.js";
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

/**
 * Takes the lock of a replica's directory. Throws `ConfigError` for one that was made for another layout, and `LockedError`
 * while a live process has it. What it returns lets go of it.
 */
export function lockReplica(directory: string, config: ClusterConfig): () => void {
  assertLayout(directory, config);
  return acquireLock(directory);
}

/** Takes the lock of a replica's directory, as `lockReplica`, and opens what it stores. */
export function openReplicaStore(
  directory: string,
  config: ClusterConfig,
  scheduler: Scheduler,
  events: EventLog,
  onLogWritten?: (durationMs: number) => void,
): LockedStore {
  const unlock = lockReplica(directory, config);
  const { clusterId, durability } = config;
  const onDamaged = (path: string, reason: string): void => events.warn("damaged checkpoint", { path, reason });
  return { ...openFileStorage({ directory, clusterId, durability, scheduler, onDamaged, onLogWritten }), unlock };
}

/** Where a member of a replica with several groups has its log and its identity, in the replica's directory. */
export const memberDirectory = (directory: string, member: number): string => join(directory, `group-${member}`);

/**
 * Throws `ConfigError` if the directory has an identity where a replica of one group has it and the cluster has several, or
 * the other way round. The identity would not be found then, and the replica would begin as one that is new: its votes and
 * its state would be forgotten, though nothing of them was lost.
 */
function assertLayout(directory: string, config: ClusterConfig): void {
  const made = config.groups === 1 ? groupsInFolders(directory) : existsSync(join(directory, "identity")) ? 1 : 0;
  if (made === 0) return;
  throw new ConfigError(
    `${directory} was made for a cluster with groups ${made}; cluster.json says groups ${config.groups}: ` +
      "this can't change once a cluster exists",
  );
}

/** How many groups the members' folders are of; 0 if no member has an identity here. */
function groupsInFolders(directory: string): number {
  if (!existsSync(directory)) return 0;
  const members = readdirSync(directory)
    .flatMap((entry) => /^group-(\d+)$/.exec(entry)?.[1] ?? [])
    .map(Number);
  if (!members.some((member) => existsSync(join(memberDirectory(directory, member), "identity")))) return 0;
  // Two have folders at least; that of the last group may be lost.
  return Math.max(2, ...members);
}

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
