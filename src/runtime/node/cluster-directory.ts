import { randomBytes } from "node:crypto";
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync } from "node:fs";
import { renameSync, rmSync, statSync, unlinkSync, writeFileSync, writeSync } from "node:fs";
import { isIPv4 } from "node:net";
import { dirname, join, resolve } from "node:path";
import {
  authenticatesClients,
  checkClusterConfig,
  type ClusterConfig,
  ConfigError,
  isOptimistic,
  LockedError,
  parseAddress,
  type ReplicaAddress,
  type ReplicaId,
} from "../../model/index.js";
import { formatAddress } from "../../platform/index.js";
import { checkCombination, serviceEntry } from "../registry.js";
import { isServiceModule, serviceModuleOf } from "../user-service/index.js";
import {
  type ClusterRequest,
  completed,
  GROUPS_DEFAULTS,
  requestedShape,
  RESUBMIT_DEFAULT,
} from "./cluster-request.js";
import { assertPortsFree, freePorts, type HostPort } from "./free-port.js";
import { assertUnlocked, writeFirstIdentities } from "./replica-store.js";
import { syncDirectory } from "./sync-directory.js";

/**
 * A cluster's directory: `cluster.json` (what all replicas agree on) and one folder a replica, `replica-ID`, which holds
 * its `log`, its `checkpoint` and its `identity`. With several groups each member has a log and an identity of its own, in
 * `replica-ID/group-I`, I being 0 for g_all.
 *
 * Creation is the only act that makes voters: it writes every replica's identity, and `cluster.json` last, so a replica
 * either finds its identity or has lost it (DESIGN safety rule 1). Until then a marker names the creating process; what an
 * interrupted creation left behind held no vote, so the next one clears it away.
 */
export const CLUSTER_FILE = "cluster.json";
const CREATION_MARKER = "creating";

export const replicaDirectory = (directory: string, id: ReplicaId): string => join(directory, `replica-${id}`);

/**
 * Reads and checks `DIRECTORY/cluster.json`. Throws `ConfigError`. With `shapeChecked` only what the values mean is checked,
 * not whether they are there and of their types: for a process whose starter has done that a moment ago.
 */
export async function loadCluster(directory: string, shapeChecked = false): Promise<ClusterConfig> {
  const file = join(directory, CLUSTER_FILE);
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") {
      assertFileNotLost(directory, entriesOf(directory));
      throw new ConfigError(`${directory} holds no cluster`);
    }
    throw new ConfigError(`${file} can't be read: ${(error as Error).message}`);
  }
  return parseClusterText(file, text, shapeChecked);
}

/** The same for the text of such a file; `file` names it in errors. */
export async function parseClusterText(file: string, text: string, shapeChecked = false): Promise<ClusterConfig> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ConfigError(`${file} is not JSON`);
  }
  const config = checkClusterConfig(shapeChecked ? (value as ClusterConfig) : await checkedShape(file, value));
  checkCombination({ ...config, replicas: config.replicas.length });
  return config;
}

async function checkedShape(file: string, value: unknown): Promise<ClusterConfig> {
  // Loaded when needed: the schema's library costs more time at a start than most of what a replica loads.
  const { parseClusterFile } = await import("./cluster-schema.js");
  return parseClusterFile(file, value);
}

/**
 * Opens the cluster in `directory` for a start of all its replicas, or creates it there. Throws `ConfigError` if the
 * directory holds something else, or a cluster that differs from what is asked, `LockedError` while another process creates
 * it or runs one of its replicas, and `ListenError` if one of its ports is taken. When it throws, nothing has changed.
 */
export async function openCluster(
  directory: string,
  asked: ClusterRequest,
): Promise<{ readonly config: ClusterConfig; readonly created: boolean }> {
  if (directory === "") throw new ConfigError("the name of the cluster's directory is empty");
  const request = asked.service === undefined ? asked : { ...asked, service: recordedService(asked.service) };
  const entries = entriesOf(directory);
  if (!entries.includes(CLUSTER_FILE)) {
    if (entries.includes(CREATION_MARKER)) clearInterruptedCreation(directory, entries);
    else if (entries.length > 0) {
      assertFileNotLost(directory, entries);
      throw new ConfigError(
        `${directory} holds files that are no Synod cluster (${entries[0]}); choose another directory`,
      );
    }
    return { config: await createCluster(directory, request), created: true };
  }
  const recorded = await loadCluster(directory);
  assertUnlocked(recorded.replicas.map(({ id }) => replicaDirectory(directory, id)));
  assertContinues(directory, recorded, request);
  const config = revised(recorded, request);
  assertProtected(config);
  await assertPortsFree(config.replicas.flatMap(listenedAddresses));
  if (JSON.stringify(config) !== JSON.stringify(recorded)) writeClusterFile(directory, config);
  return { config, created: false };
}

/** Throws `ConfigError` if the directory holds replicas without the file that says what cluster they are of. */
function assertFileNotLost(directory: string, entries: readonly string[]): void {
  const replicas = entries.filter((entry) => /^replica-\d+$/.test(entry));
  if (replicas.length === 0 || entries.includes(CREATION_MARKER)) return;
  throw new ConfigError(
    `${directory} holds ${replicas.join(", ")} but no ${CLUSTER_FILE}: it is lost, and without it they can't start; ` +
      `put a copy of it back (every machine of the cluster has one)`,
  );
}

function entriesOf(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT") return [];
    if (code === "ENOTDIR") throw new ConfigError(`${directory} is not a directory`);
    throw new ConfigError(`${directory} can't be read: ${(error as Error).message}`);
  }
}

/** Replicas may be started anywhere, so that a module is recorded by its absolute path. */
function recordedService(service: string): string {
  return isServiceModule(service) ? serviceModuleOf(service) : service;
}

/** Throws `ConfigError` if `request` differs in what may never change once a cluster exists; both values are named. */
export function assertContinues(directory: string, recorded: ClusterConfig, request: ClusterRequest): void {
  if (recorded.durability === "memory") {
    throw new ConfigError(
      `${directory} was last run with memory durability, so there is nothing to continue; remove it or choose another`,
    );
  }
  const several = recorded.groups > 1;
  const optimistic = isOptimistic(recorded);
  const fields = [
    ["service", recorded.service, request.service === undefined ? undefined : recordedService(request.service)],
    ["replicas", recorded.replicas.length, request.replicas],
    ["groups", recorded.groups, request.groups],
    // A single group has no use for them, and does not record them.
    ["merge", recorded.merge ?? GROUPS_DEFAULTS.merge, several ? request.merge : undefined],
    ["barrier", recorded.barrier ?? GROUPS_DEFAULTS.barrier, several ? request.barrier : undefined],
    // To which threads commands belong is in the log; one thread executes the log of any model.
    ["execution", recorded.execution, several ? request.execution : undefined],
    ["resubmit", recorded.resubmit ?? RESUBMIT_DEFAULT, optimistic ? request.resubmit : undefined],
    ["bounds", recorded.bounds?.join(",") ?? "of equal parts", optimistic ? request.bounds?.join(",") : undefined],
    ["ordering", recorded.ordering, request.ordering],
    ["durability", recorded.durability, request.durability],
  ] as const;
  for (const [name, have, asked] of fields) {
    if (asked !== undefined && asked !== have) {
      throw new ConfigError(
        `${directory} was created with ${name} ${have}, not ${asked}; leave out --${name} to go on`,
      );
    }
  }
}

/** The recorded config with what may differ between runs: execution model, reads and RESP ports. */
function revised(recorded: ClusterConfig, request: ClusterRequest): ClusterConfig {
  const port = request.port ?? 0;
  const config = {
    ...recorded,
    execution: request.execution ?? recorded.execution,
    reads: request.reads ?? recorded.reads,
    replicas: recorded.replicas.map((replica, index) =>
      replica.resp === null || port === 0 ? replica : { ...replica, resp: `127.0.0.1:${port + index}` },
    ),
  };
  const { merge = config.merge, barrier = config.barrier } = request;
  const { resubmit = config.resubmit, bounds = config.bounds } = request;
  checkCombination({ ...config, replicas: config.replicas.length, merge, barrier, resubmit, bounds });
  return checkClusterConfig(config);
}

/**
 * Creates a cluster in a directory that is empty or not there. `fill` puts into each replica's folder what it starts from,
 * durably, before the replica gets its identity.
 */
export async function createCluster(
  directory: string,
  request: ClusterRequest,
  fill?: (folder: string, config: ClusterConfig) => Promise<void>,
): Promise<ClusterConfig> {
  const wanted = completed(request);
  checkCombination(wanted);
  const { replicas, groups, port } = wanted;
  const config = checkClusterConfig({
    format: 1,
    clusterId: randomBytes(8).toString("hex"),
    ...requestedShape(wanted),
    replicas: await placeReplicas(replicas, groups === 1 ? 0 : groups, port, serviceEntry(wanted.service).resp),
  });
  // Nothing is left behind by a creation that could not run.
  await assertPortsFree(config.replicas.flatMap(listenedAddresses));
  makeDirectory(resolve(directory));
  const marker = join(directory, CREATION_MARKER);
  writeFileSync(marker, String(process.pid), { flag: "wx" });
  for (const replica of config.replicas) {
    const folder = replicaDirectory(directory, replica.id);
    mkdirSync(folder);
    await fill?.(folder, config);
    await writeFirstIdentities(folder, config, replica.id);
  }
  syncDirectory(directory);
  writeClusterFile(directory, config);
  unlinkSync(marker);
  return config;
}

/**
 * Makes a directory and those above it, each durably. One after the other: where the system denies that a directory can be
 * made at all (/proc), Node's own recursive way never comes back.
 */
function makeDirectory(directory: string): void {
  if (existsSync(directory)) return;
  const parent = dirname(directory);
  makeDirectory(parent);
  try {
    mkdirSync(directory);
    syncDirectory(parent);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return;
    throw new ConfigError(`${directory} can't be created: ${(error as Error).message}`);
  }
}

/** Each replica has `members` members besides its first. */
async function placeReplicas(count: number, members: number, port: number, resp: boolean): Promise<ReplicaAddress[]> {
  const ids = Array.from({ length: count }, (_, index) => index + 1);
  const given = new Set(port === 0 ? [] : ids.map((id) => port + id - 1));
  const own = (resp && port === 0 ? 4 : 3) * count;
  const free = await freePorts(own + 2 * members * count, given);
  const local = (number: number | undefined): string => `127.0.0.1:${number}`;
  return ids.map((id, index) => {
    const address = {
      id,
      peer: local(free[index]),
      client: local(free[count + index]),
      resp: resp ? local(port === 0 ? free[3 * count + index] : port + index) : null,
      admin: local(free[2 * count + index]),
    };
    if (members === 0) return address;
    const from = own + 2 * members * index;
    const placed = Array.from({ length: members }, (_, member) => {
      return { peer: local(free[from + 2 * member]), client: local(free[from + 2 * member + 1]) };
    });
    return { ...address, members: placed };
  });
}

function clearInterruptedCreation(directory: string, entries: readonly string[]): void {
  const marker = join(directory, CREATION_MARKER);
  const pid = Number(readFileSync(marker, "utf8"));
  if (Number.isInteger(pid) && pid > 0 && pid !== process.pid && isAlive(pid)) {
    throw new LockedError(`${directory} is being created by pid ${pid}`);
  }
  for (const entry of entries) {
    if (/^replica-\d+$/.test(entry) || entry.startsWith(CLUSTER_FILE)) {
      rmSync(join(directory, entry), { recursive: true, force: true });
    }
  }
  unlinkSync(marker);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Replaces `cluster.json` atomically: whole and synced before it gets its name. Only its owner can read the secret in it. */
export function writeClusterFile(directory: string, config: ClusterConfig): void {
  const file = join(directory, CLUSTER_FILE);
  const temporary = `${file}.new`;
  // One that a crash left behind has the mode of then.
  rmSync(temporary, { force: true });
  const handle = openSync(temporary, "wx", config.security === undefined ? 0o666 : 0o600);
  try {
    writeSync(handle, `${JSON.stringify(config, null, 2)}\n`);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  renameSync(temporary, file);
  syncDirectory(directory);
}

/** The addresses of a replica. Throws `ConfigError` if the cluster has none of that number. */
export function addressOf(config: ClusterConfig, id: ReplicaId): ReplicaAddress {
  const address = config.replicas.find((replica) => replica.id === id);
  if (address !== undefined) return address;
  throw new ConfigError(`there is no replica ${id} in this cluster; it has 1 to ${config.replicas.length}`);
}

/**
 * Throws `ConfigError` if other machines can reach one of the addresses and not everything is protected: it names the first
 * such address and all that is missing.
 */
export function assertProtected(config: ClusterConfig): void {
  const open = config.replicas.flatMap(listenedAddresses).find(({ host }) => !isLoopback(host));
  const { security } = config;
  const missing = [
    ...(security?.peers === undefined ? ["TLS between replicas (security.peers)"] : []),
    ...(security?.clients === undefined ? ["TLS for clients (security.clients)"] : []),
    ...(authenticatesClients(security)
      ? []
      : ["authentication of clients (security.passwords or security.clients.clientCa)"]),
  ];
  if (open === undefined || missing.length === 0) return;
  throw new ConfigError(
    `${formatAddress(open.host, open.port)} is not a loopback address, and there is no ${missing.join(", no ")}; ` +
      "without protection it needs --insecure-network",
  );
}

/** True for a host that only its own machine reaches. */
export function isLoopback(host: string): boolean {
  // Something like an address that is none would be looked up as a name, and lead wherever that does.
  return host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}

/** The addresses of one replica and its members, with the RESP and the admin port if it has them: what it listens on. */
export function listenedAddresses(replica: ReplicaAddress): HostPort[] {
  const { peer, client, resp, admin = null, members = [] } = replica;
  const others = members.flatMap((member) => [member.peer, member.client]);
  return [peer, client, resp, admin, ...others].filter((address) => address !== null).map(parseAddress);
}

/** True when `directory` holds a cluster's file. */
export function holdsCluster(directory: string): boolean {
  return existsSync(join(directory, CLUSTER_FILE)) && statSync(join(directory, CLUSTER_FILE)).isFile();
}
