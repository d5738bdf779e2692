import { randomBytes } from "node:crypto";
import { readdirSync, renameSync, rmSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { type ClusterConfig, ConfigError, type Durability } from "../../model/index.js";
import { type CheckpointStore, openFileStorage, SystemScheduler } from "../../platform/index.js";
import { isServiceModule, serviceModuleOf } from "../user-service/index.js";
import { BackupReader, syncFolder } from "./backup-file.js";
import type { BackupFacts } from "./backup-format.js";
import { createCluster } from "./cluster-directory.js";
import type { ClusterRequest } from "./cluster-request.js";

/** What a restore is told of while it goes on: bytes written so far, of how many. */
export type RestoreProgress = (written: number, total: number) => void;

export interface RestoredCluster {
  readonly config: ClusterConfig;
  readonly facts: BackupFacts;
}

/**
 * Makes a new cluster in `directory` whose replicas all begin with the state of a backup. It is another cluster, with an id
 * of its own: replicas and clients of the old one do not take it for theirs. Absent fields of `request` are those of the
 * cluster that the backup is of.
 *
 * The state is taken as it is, the sessions in it included: ids of sessions are positions of the log, and the new cluster
 * continues behind the backup's instance, so none is given twice; those of the old cluster's clients expire.
 *
 * The directory appears when everything in it is durable, or not at all. Throws `ConfigError` for one that is there and not
 * empty, for another service and for `memory` durability, and what `BackupReader` and `createCluster` throw.
 */
export async function restoreCluster(
  file: string,
  directory: string,
  request: ClusterRequest,
  progress: RestoreProgress = () => undefined,
): Promise<RestoredCluster> {
  const backup = await BackupReader.open(file);
  await backup.close();
  const { facts, fileBytes } = backup;
  const merged = mergedRequest(file, facts, request);
  assertEmpty(directory);
  const staging = `${resolve(directory)}.${randomBytes(4).toString("hex")}.restoring`;
  const replicas = merged.replicas ?? facts.replicas;
  let written = 0;
  const discard = (): void => rmSync(staging, { recursive: true, force: true });
  // A signal ends the process without coming back here.
  process.on("exit", discard);
  try {
    const config = await createCluster(staging, merged, async (folder, made) => {
      await fillReplica(file, folder, made, (bytes) => progress((written += bytes), replicas * fileBytes));
    });
    assertEmpty(directory);
    try {
      renameSync(staging, resolve(directory));
    } catch (error) {
      throw new ConfigError(`${directory} can't be put in place: ${(error as Error).message}`);
    }
    await syncFolder(dirname(resolve(directory)));
    return { config, facts };
  } finally {
    process.off("exit", discard);
    // Gone already if all went well.
    discard();
  }
}

function mergedRequest(file: string, facts: BackupFacts, request: ClusterRequest): ClusterRequest {
  const service = restoredService(file, facts.service, request.service);
  const durability = request.durability ?? (facts.durability === "memory" ? "fsync" : (facts.durability as Durability));
  if (durability === "memory") {
    throw new ConfigError(
      "a cluster of memory durability forgets what it is restored from; leave out --durability memory",
    );
  }
  assertSameGroups(file, facts, request);
  return {
    ...request,
    ...requestOfGroups(facts, request),
    service,
    replicas: request.replicas ?? facts.replicas,
    groups: facts.groups,
    ordering: request.ordering ?? facts.ordering,
    execution: request.execution ?? facts.execution,
    reads: request.reads ?? (facts.reads === "ordered" ? "ordered" : "quorum"),
    durability,
  };
}

function requestOfGroups(facts: BackupFacts, request: ClusterRequest): ClusterRequest {
  if (facts.groups === 1) return {};
  const { merge = facts.merge, barrier = facts.barrier, resubmit = facts.resubmit } = request;
  return {
    ...(merge === undefined ? {} : { merge }),
    ...(barrier === undefined ? {} : { barrier }),
    ...(resubmit === undefined ? {} : { resubmit }),
    ...(facts.bounds === undefined ? {} : { bounds: facts.bounds }),
  };
}

/**
 * Throws `ConfigError` for groups that can't continue a cut: it has a part for each thread, in the form of its execution model, and
 * says where each is in the merge, and keys stay with their threads. Where threads meet may be another place from now on.
 */
function assertSameGroups(file: string, facts: BackupFacts, request: ClusterRequest): void {
  const { groups = facts.groups, execution = facts.execution, merge = facts.merge ?? "points" } = request;
  if (groups !== facts.groups) {
    throw new ConfigError(`${file} is a backup of a cluster with groups ${facts.groups}, not ${groups}`);
  }
  if (groups === 1) return;
  if (execution !== facts.execution) {
    throw new ConfigError(`${file} is a backup of a cluster with execution ${facts.execution}, not ${execution}`);
  }
  if (request.bounds !== undefined && request.bounds.join() !== facts.bounds?.join()) {
    const bounds = facts.bounds?.join() ?? "of equal parts";
    throw new ConfigError(`${file} is a backup of a cluster with bounds ${bounds}, not ${request.bounds.join()}`);
  }
  if (merge !== (facts.merge ?? "points")) {
    throw new ConfigError(`${file} is a backup of a cluster with merge ${facts.merge ?? "points"}, not ${merge}`);
  }
}

/**
 * The service of the new cluster. A module of the user's may lie elsewhere on this machine, under another name, so that only the
 * names of services are compared, where both sides say one. One that the backup knows goes along: replicas refuse a module that
 * does not define it.
 */
function restoredService(file: string, recorded: string, asked: string | undefined): string {
  const own = isServiceModule(recorded);
  if (asked === undefined || asked === recorded) return own ? serviceModuleOf(recorded) : recorded;
  const [name, other] = [definedName(recorded), definedName(asked)];
  if (!own || !isServiceModule(asked) || (name !== null && other !== null && name !== other)) {
    throw new ConfigError(`${file} is a backup of service ${name ?? recorded}, not ${other ?? asked}`);
  }
  return serviceModuleOf(name === null || other !== null ? asked : `${asked}#${name}`);
}

/** The name of the service in `./bank.js#bank`; null if the module alone is said. */
function definedName(service: string): string | null {
  return /#([A-Za-z][A-Za-z0-9-]*)$/.exec(service)?.[1] ?? null;
}

function assertEmpty(directory: string): void {
  if (directory === "") throw new ConfigError("the name of the cluster's directory is empty");
  let entries: readonly string[];
  try {
    entries = readdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw new ConfigError(`${directory} can't be read: ${(error as Error).message}`);
  }
  if (entries.length > 0)
    throw new ConfigError(`${directory} is not empty (${entries[0]}); restore makes a new directory`);
}

/** Writes the backup's state as the newest checkpoint of a replica. */
async function fillReplica(
  file: string,
  folder: string,
  config: ClusterConfig,
  wrote: (bytes: number) => void,
): Promise<void> {
  const { clusterId, durability } = config;
  const { checkpoints } = openFileStorage({
    directory: folder,
    clusterId,
    durability,
    scheduler: new SystemScheduler(),
  });
  await opened(checkpoints);
  const backup = await BackupReader.open(file);
  const writer = checkpoints.begin(backup.facts.through);
  try {
    for (;;) {
      const chunk = await backup.next();
      if (chunk === null) break;
      await new Promise<void>((done, failed) => {
        writer.write(chunk, 0, chunk.length, (error) => (error === null ? done() : failed(error)));
      });
      wrote(chunk.length);
    }
    await new Promise<void>((done, failed) => {
      writer.commit(backup.facts.digest, (error) => (error === null ? done() : failed(error)));
    });
  } finally {
    await backup.close();
  }
}

function opened(checkpoints: CheckpointStore): Promise<void> {
  return new Promise((done, failed) => {
    checkpoints.open((error) => (error === null ? done() : failed(error)));
  });
}
