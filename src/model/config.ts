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
}

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
  readonly groups: number;
  readonly durability: Durability;
  readonly replicas: readonly ReplicaAddress[];
}

/** Throws `ConfigError` that names the field and prints both numbers of a violated relation. */
export function checkClusterConfig(config: ClusterConfig): ClusterConfig {
  const n = config.replicas.length;
  if (n < 1 || n > 31) throw new ConfigError(`a cluster has 1 to 31 replicas, got ${n}`);
  if (!/^[0-9a-f]{16}$/.test(config.clusterId)) throw new ConfigError(`clusterId must be 16 hexadecimal digits`);
  if (config.groups !== 1) throw new ConfigError(`groups must be 1 in this version, got ${config.groups}`);
  const seen = new Set<number>();
  const addresses = new Set<string>();
  for (const replica of config.replicas) {
    if (!Number.isInteger(replica.id) || replica.id < 1 || replica.id > REPLICA_ID_MAX) {
      throw new ConfigError(`replica ids are 1 to ${REPLICA_ID_MAX}, got ${replica.id}`);
    }
    if (seen.has(replica.id)) throw new ConfigError(`replica id ${replica.id} appears twice`);
    seen.add(replica.id);
    for (const address of [replica.peer, replica.client, replica.resp]) {
      if (address === null) continue;
      parseAddress(address);
      if (addresses.has(address)) throw new ConfigError(`address ${address} appears twice`);
      addresses.add(address);
    }
  }
  return Object.freeze({ ...config, replicas: Object.freeze([...config.replicas]) });
}

/** Splits `host:port` (or `[v6]:port`). Throws `ConfigError`. */
export function parseAddress(address: string): { host: string; port: number } {
  const cut = address.lastIndexOf(":");
  const host = cut < 0 ? "" : address.slice(0, cut).replace(/^\[(.*)\]$/, "$1");
  const port = cut < 0 ? Number.NaN : Number(address.slice(cut + 1));
  if (host === "" || !Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new ConfigError(`"${address}" is not an address of the form host:port with a port of 1 to 65535`);
  }
  return { host, port };
}

/** Checksum of everything that replicas must agree on, as a u32. Addresses may differ between views of one cluster. */
export function clusterChecksum(config: ClusterConfig): number {
  const ids = config.replicas.map((replica) => replica.id).join(",");
  const text = [
    config.format,
    config.clusterId,
    config.service,
    config.ordering,
    config.execution,
    config.reads,
    config.groups,
    config.durability,
    ids,
  ].join("|");
  return (hashText(text, 0x5e0d) ^ fnv1a(text)) >>> 0;
}
