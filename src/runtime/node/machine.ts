import { randomBytes } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";
import {
  checkClusterConfig,
  type ClusterConfig,
  ConfigError,
  type MemberAddress,
  type ReplicaId,
  type SecurityConfig,
} from "../../model/index.js";
import { formatAddress } from "../../platform/index.js";
import type { ClientSecurity } from "../client/client-access.js";
import { checkCombination, serviceEntry } from "../registry.js";
import {
  addressOf,
  CLUSTER_FILE,
  loadCluster,
  parseClusterText,
  replicaDirectory,
  writeClusterFile,
} from "./cluster-directory.js";
import { type ClusterRequest, completed, requestedShape } from "./cluster-request.js";
import { writeFirstIdentities } from "./replica-store.js";
import { directorySecurity } from "./security.js";
import { syncDirectory } from "./sync-directory.js";

/**
 * A cluster of several machines. One file describes it, `cluster.json`, the same on all of them; each machine makes the
 * replica it runs from a copy of that file.
 *
 * Creation is what makes voters here too (DESIGN safety rule 1), once a machine. A replica whose machine or disk was
 * replaced is made without an identity, which is how it knows that it may have forgotten votes.
 */

/** Ports of a replica that has a machine to itself, above that of the Redis protocol. */
const CLIENT_PORT_ABOVE = 1000;
const PEER_PORT_ABOVE = 2000;
const ADMIN_PORT_ABOVE = 3000;

/** Describes a new cluster with one replica on each host, all on the same ports. Throws `ConfigError`. */
export function describeCluster(
  hosts: readonly string[],
  request: Omit<ClusterRequest, "replicas">,
  security: SecurityConfig,
): ClusterConfig {
  const wanted = completed(request);
  checkCombination(wanted);
  const { port, groups } = wanted;
  if (port < 1 || port + ADMIN_PORT_ABOVE + hosts.length > 65_535) {
    throw new ConfigError(`a port from 1 to ${65_535 - ADMIN_PORT_ABOVE - hosts.length} is needed, got ${port}`);
  }
  if (new Set(hosts).size < hosts.length) throw new ConfigError("a host is given twice; each replica needs its own");
  return checkClusterConfig({
    format: 1,
    clusterId: randomBytes(8).toString("hex"),
    ...requestedShape(wanted),
    replicas: hosts.map((host, index) => ({
      id: index + 1,
      peer: formatAddress(host, port + PEER_PORT_ABOVE),
      client: formatAddress(host, port + CLIENT_PORT_ABOVE),
      resp: serviceEntry(wanted.service).resp ? formatAddress(host, port) : null,
      // Nothing asks there who one is, so it stays on the machine.
      admin: formatAddress("127.0.0.1", port + ADMIN_PORT_ABOVE + index),
      ...(groups === 1 ? {} : { members: membersAt(host, port, groups) }),
    })),
    security: { ...security, secret: randomBytes(32).toString("hex") },
  });
}

/** The ports of members lie behind those of the first, of which there is one on a machine. */
function membersAt(host: string, port: number, groups: number): MemberAddress[] {
  return Array.from({ length: groups }, (_, index) => ({
    peer: formatAddress(host, port + PEER_PORT_ABOVE + index + 1),
    client: formatAddress(host, port + CLIENT_PORT_ABOVE + index + 1),
  }));
}

/** Reads and checks a file that describes a cluster. Throws `ConfigError`. */
export async function loadClusterFile(file: string): Promise<ClusterConfig> {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    throw new ConfigError(missing ? `there is no ${file}` : `${file} can't be read: ${(error as Error).message}`);
  }
  return parseClusterText(file, text);
}

/** How whoever holds such a file reaches the cluster's client ports. Throws `ConfigError`. */
export function clusterFileSecurity(file: string, config: ClusterConfig): ClientSecurity {
  return directorySecurity(dirname(file), config);
}

/**
 * Makes the directory of a replica: the cluster's file, the certificates it names that lie beside it, and, unless the
 * replica rejoins, the identity of one that has never voted. Throws `ConfigError` if the directory holds something else.
 */
export async function createReplicaDirectory(
  id: ReplicaId,
  file: string,
  directory: string,
  rejoins: boolean,
): Promise<void> {
  const config = await loadClusterFile(file);
  addressOf(config, id);
  const folder = replicaDirectory(directory, id);
  if (existsSync(folder)) throw new ConfigError(`${folder} exists: this replica has been made already`);
  if (existsSync(join(directory, CLUSTER_FILE))) {
    const { clusterId } = await loadCluster(directory);
    if (clusterId !== config.clusterId) {
      throw new ConfigError(`${directory} holds cluster ${clusterId}, ${file} describes ${config.clusterId}`);
    }
  } else if (existsSync(directory) && readdirSync(directory).some((entry) => entry.startsWith("replica-"))) {
    throw new ConfigError(`${directory} holds replicas of a cluster whose ${CLUSTER_FILE} is lost`);
  }
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  copyCertificates(config.security, id, dirname(resolve(file)), resolve(directory));
  // The identity is the last to come: what is interrupted before was no voter yet, and is made anew or rejoins.
  writeClusterFile(directory, config);
  // Also of one that rejoins, and stays without an identity: a second `init` must not make a voter of it.
  mkdirSync(folder);
  if (!rejoins) await writeFirstIdentities(folder, config, id);
  syncDirectory(directory);
}

function copyCertificates(security: SecurityConfig | undefined, id: ReplicaId, from: string, to: string): void {
  const { peers, clients } = security ?? {};
  const names = [peers?.cert, peers?.key, peers?.ca, clients?.cert, clients?.key, clients?.ca, clients?.clientCa]
    .filter((name) => name !== undefined)
    .map((name) => name.replaceAll("{id}", String(id)));
  for (const name of new Set(names)) {
    if (isAbsolute(name) || resolve(from, name) === resolve(to, name)) continue;
    mkdirSync(dirname(resolve(to, name)), { recursive: true, mode: 0o700 });
    try {
      copyFileSync(resolve(from, name), resolve(to, name));
    } catch (error) {
      throw new ConfigError(`${resolve(from, name)} can't be copied: ${(error as Error).message}`);
    }
  }
}
