import { fnv1a, hashText } from "../base/index.js";
import { ConfigError } from "./errors.js";
import { REPLICA_ID_MAX, type ReplicaId } from "./ids.js";

export type Durability = "fsync" | "os" | "memory";

/** One replica's addresses, `host:port` each. */
export interface ReplicaAddress {
  readonly id: ReplicaId;
  /** Where its peers reach it. */
  readonly peer: string;
  /** Where native clients reach it. */
  readonly client: string;
  /** Where Redis-protocol clients reach it; null for services without. */
  readonly resp: string | null;
  /** Where it serves metrics and health over HTTP; absent or null: nowhere. */
  readonly admin?: string | null | undefined;
  /** Of a cluster with K > 1 groups: the addresses of members 1..K, of which member i orders g_i. `peer` and `client` are member 0's. */
  readonly members?: readonly MemberAddress[] | undefined;
}

/** Where a member of a replica is reached, `host:port` each. */
export interface MemberAddress {
  readonly peer: string;
  readonly client: string;
}

/** Most groups of a cluster beside g_all. */
export const GROUPS_CONFIGURED_MAX = 16;

/** The addresses of a member of a replica: 0 orders g_all (or everything, if there is one group), i orders g_i. */
export function memberAddress(address: ReplicaAddress, member: number): MemberAddress {
  const own = member === 0 ? address : address.members?.[member - 1];
  if (own === undefined) throw new ConfigError(`replica ${address.id} has no address for group ${member}`);
  return own;
}

/** How many members a replica has: one for a single group, else one for each group and one for g_all. */
export function membersOf(config: Pick<ClusterConfig, "groups">): number {
  return config.groups === 1 ? 1 : config.groups + 1;
}

/** The execution model whose commands go to the groups that they probably concern, and again through g_all if that was wrong. */
export const OPTIMISTIC_EXECUTION = "opt-psmr";

/** Whether a cluster is one of opt-PSMR: with a single group nothing is left to be optimistic about. */
export function isOptimistic({ execution, groups }: Pick<ClusterConfig, "execution" | "groups">): boolean {
  return execution === OPTIMISTIC_EXECUTION && groups > 1;
}

/** The name of what a member of a replica with several groups orders. */
export function groupName(member: number): string {
  return member === 0 ? "g_all" : `g_${member}`;
}

/** Files in PEM form. Names are relative to the cluster's directory; `{id}` in them stands for the replica's number. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  /** What the certificates of the other side are verified with. */
  readonly ca: string;
}

/** How a cluster's ports are protected. Each replica reads its own copy: nothing of it is compared between replicas. */
export interface SecurityConfig {
  /** TLS among replicas. Each certificate names its replica by the URI `synod://CLUSTERID/replica/ID`. */
  readonly peers?: TlsFiles | undefined;
  /** TLS for native and Redis-protocol clients. `ca` is what replicas verify each other's client ports with. */
  readonly clients?: (TlsFiles & { readonly clientCa?: string | undefined }) | undefined;
  /** Users and their passwords, as `hashPassword` writes them, or `plain:` and the password. */
  readonly passwords?: Readonly<Record<string, string>> | undefined;
  /** 64 hexadecimal digits: how the replicas of this cluster, and commands with access to its directory, log in as clients. */
  readonly secret?: string | undefined;
}

/** True if clients have to say who they are. */
export function authenticatesClients(security: SecurityConfig | undefined): boolean {
  return Object.keys(security?.passwords ?? {}).length > 0 || security?.clients?.clientCa !== undefined;
}

/** The user as which replicas log in to each other's client ports, with the cluster's secret. */
export const REPLICA_USER = "synod-replica";

/**
 * What all replicas of a cluster must agree on; stored as `cluster.json`. Immutable once the cluster exists. `checksum`
 * covers what must match and is compared whenever two replicas connect.
 */
export interface ClusterConfig {
  readonly format: 1;
  /** 16 hexadecimal digits, drawn at creation. */
  readonly clusterId: string;
  readonly service: string;
  readonly ordering: string;
  readonly execution: string;
  readonly reads: "quorum" | "ordered";
  /** Ordered streams of commands that execute in parallel; with more than one there is g_all besides. */
  readonly groups: number;
  /** How g_all and the groups are merged: by merge points (default) or by skips. For more than one group only. */
  readonly merge?: "points" | "skips" | undefined;
  /** Whether threads meet once for a run of dependent commands (default) or for each. For more than one group only. */
  readonly barrier?: "run" | "command" | undefined;
  /**
   * Who multicasts a command again that failed its safety check: the replicas (default; Algorithm 1 of opt-PSMR) or its client (the
   * prototype that the paper measured). For execution opt-psmr only.
   */
  readonly resubmit?: "replicas" | "client" | undefined;
  /**
   * Where the key space of `btree` is cut among the groups, ascending whole numbers below 2^64 in decimal, one fewer than groups. By
   * default into equal parts. For execution opt-psmr only: keys belong to groups by a hash elsewhere.
   */
  readonly bounds?: readonly string[] | undefined;
  readonly durability: Durability;
  readonly replicas: readonly ReplicaAddress[];
  readonly security?: SecurityConfig | undefined;
}

/** Throws `ConfigError` that names the field and prints both numbers of a violated relation. */
export function checkClusterConfig(config: ClusterConfig): ClusterConfig {
  const n = config.replicas.length;
  if (n < 1 || n > 31) throw new ConfigError(`a cluster has 1 to 31 replicas, got ${n}`);
  if (!/^[0-9a-f]{16}$/.test(config.clusterId)) throw new ConfigError(`clusterId must be 16 hexadecimal digits`);
  checkGroups(config);
  const seen = new Set<number>();
  const addresses = new Set<string>();
  for (const replica of config.replicas) {
    if (!Number.isInteger(replica.id) || replica.id < 1 || replica.id > REPLICA_ID_MAX) {
      throw new ConfigError(`replica ids are 1 to ${REPLICA_ID_MAX}, got ${replica.id}`);
    }
    if (seen.has(replica.id)) throw new ConfigError(`replica id ${replica.id} appears twice`);
    seen.add(replica.id);
    const members = (replica.members ?? []).flatMap(({ peer, client }) => [peer, client]);
    for (const address of [replica.peer, replica.client, replica.resp, replica.admin ?? null, ...members]) {
      if (address === null) continue;
      parseAddress(address);
      if (addresses.has(address)) throw new ConfigError(`address ${address} appears twice`);
      addresses.add(address);
    }
  }
  checkSecurity(config.security);
  return Object.freeze({ ...config, replicas: Object.freeze([...config.replicas]) });
}

function checkGroups(config: ClusterConfig): void {
  const { groups, merge, barrier, resubmit, bounds, reads, replicas } = config;
  if (!Number.isInteger(groups) || groups < 1 || groups > GROUPS_CONFIGURED_MAX) {
    throw new ConfigError(
      `groups must be a whole number from 1 to ${GROUPS_CONFIGURED_MAX}, got ${JSON.stringify(groups)}`,
    );
  }
  if (merge !== undefined && merge !== "points" && merge !== "skips") {
    throw new ConfigError(`merge must be points or skips, got ${String(merge)}`);
  }
  if (barrier !== undefined && barrier !== "run" && barrier !== "command") {
    throw new ConfigError(`barrier must be run or command, got ${String(barrier)}`);
  }
  if (resubmit !== undefined && resubmit !== "replicas" && resubmit !== "client") {
    throw new ConfigError(`resubmit must be replicas or client, got ${String(resubmit)}`);
  }
  if (bounds !== undefined) checkBounds(groups, bounds);
  if (groups > 1 && reads !== "ordered")
    throw new ConfigError(`with ${groups} groups reads must be ordered, got ${reads}`);
  const members = groups === 1 ? 0 : groups;
  for (const { id, members: own = [] } of replicas) {
    if (own.length !== members) {
      throw new ConfigError(
        `replica ${id} needs ${members} addresses in members for ${groups} groups, got ${own.length}`,
      );
    }
  }
}

/** Keys and bounds lie below this. */
const BOUND_END = 2n ** 64n;

/** Throws `ConfigError` unless the key space can be cut there among so many groups. */
export function checkBounds(groups: number, bounds: readonly string[]): void {
  if (bounds.length !== groups - 1) {
    throw new ConfigError(`bounds are one fewer than groups, ${groups - 1}, got ${bounds.length}`);
  }
  let before = 0n;
  for (const bound of bounds) {
    // Twenty digits at most, so that nobody's megabyte of them is computed with.
    if (!/^[1-9]\d{0,19}$/.test(bound) || BigInt(bound) >= BOUND_END) {
      throw new ConfigError(`a bound is a whole number from 1 to 2^64 - 1 in decimal, got ${bound.slice(0, 30)}`);
    }
    const next = BigInt(bound);
    if (next <= before) throw new ConfigError(`bounds ascend, got ${bound} behind ${before}`);
    before = next;
  }
}

function checkSecurity(security: SecurityConfig | undefined): void {
  if (security?.secret !== undefined && !/^[0-9a-f]{64}$/.test(security.secret)) {
    throw new ConfigError("security.secret must be 64 hexadecimal digits");
  }
  if (authenticatesClients(security) && security?.secret === undefined) {
    throw new ConfigError(
      "security.secret is missing: where clients authenticate, replicas do too (openssl rand -hex 32 makes one)",
    );
  }
  for (const user of Object.keys(security?.passwords ?? {})) {
    if (!/^[!-~]{1,64}$/.test(user) || user === REPLICA_USER) {
      throw new ConfigError(`security.passwords: "${user}" can't be the name of a user`);
    }
  }
}

/** Splits `host:port` (or `[v6]:port`). Throws `ConfigError`. */
export function parseAddress(address: string): { host: string; port: number } {
  const cut = address.lastIndexOf(":");
  const host = cut < 0 ? "" : address.slice(0, cut).replace(/^\[(.*)\]$/, "$1");
  const digits = cut < 0 ? "" : address.slice(cut + 1);
  const port = /^\d{1,5}$/.test(digits) ? Number(digits) : Number.NaN;
  if (host === "" || !Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new ConfigError(`"${address}" is not an address of the form host:port with a port of 1 to 65535`);
  }
  return { host, port };
}

/** A service's name. One of the user's may lie elsewhere on each machine, so that only its file's name counts. */
function serviceName(service: string): string {
  return service.slice(Math.max(service.lastIndexOf("/"), service.lastIndexOf("\\")) + 1);
}

const replicaIds = (config: ClusterConfig): string => config.replicas.map((replica) => replica.id).join(",");

/**
 * What may never change once a cluster exists, in words: another service would read the log as commands of its own, and
 * another set of replicas has majorities that need not meet those which decided before. A replica keeps it beside its votes
 * and compares, so that a `cluster.json` edited by hand does no harm.
 */
export function clusterShape(config: ClusterConfig, member = 0): string {
  const { service, ordering, execution, groups, merge = "points", barrier = "run" } = config;
  const shape = `service ${serviceName(service)}, ordering ${ordering}, groups ${groups}, replicas ${replicaIds(config)}`;
  if (groups === 1) return shape;
  // To which threads commands belong is in the log, so that with groups the models are no choice of every start.
  const optimism = isOptimistic(config) ? `, execution ${execution}, ${optimismOf(config).join(", ")}` : "";
  return `${shape}, merge ${merge}, barrier ${barrier}${optimism}, member ${member}`;
}

/** What opt-PSMR has besides, in words. */
function optimismOf({ resubmit = "replicas", bounds }: ClusterConfig): string[] {
  return [`resubmit ${resubmit}`, `bounds ${bounds?.join(" ") ?? "equal parts"}`];
}

/**
 * Checksum of everything that replicas must agree on, as a u32. Addresses may differ between views of one cluster. Members of
 * different groups have different ones, so that they never take each other for peers.
 */
export function clusterChecksum(config: ClusterConfig, member = 0): number {
  const ids = replicaIds(config);
  const service = serviceName(config.service);
  const text = [
    config.format,
    config.clusterId,
    service,
    config.ordering,
    config.execution,
    config.reads,
    config.groups,
    config.durability,
    ids,
    ...(config.groups === 1 ? [] : [config.merge ?? "points", config.barrier ?? "run", member]),
    ...(isOptimistic(config) ? optimismOf(config) : []),
  ].join("|");
  return (hashText(text, 0x5e0d) ^ fnv1a(text)) >>> 0;
}
