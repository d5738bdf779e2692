import { randomBytes, randomInt } from "node:crypto";
import {
  BLOCK_BYTES_MAX,
  clusterChecksum,
  type ClusterConfig,
  memberAddress,
  type ReplicaAddress,
  type ReplicaId,
} from "../../model/index.js";
import {
  CombinedFramePort,
  type EventLog,
  type FramePort,
  type Scheduler,
  TcpDialler,
  TcpListener,
  TcpPeers,
} from "../../platform/index.js";
import type { ClientAccess, ReplicaSecurity } from "./security.js";

/** Longest frame that a client may send: a block, with room for the frame's header. Replies are longer. */
const CLIENT_FRAME_BYTES_MAX = BLOCK_BYTES_MAX + 1024;

export interface ReplicaNetworkInit {
  readonly self: ReplicaId;
  /** 0 for the only member, or that of g_all. */
  readonly member: number;
  readonly config: ClusterConfig;
  /** Of this replica. */
  readonly address: ReplicaAddress;
  readonly security: ReplicaSecurity;
  readonly scheduler: Scheduler;
  readonly events: EventLog;
}

/** The ports of one member of a replica, open for its peers (the same member of the others) and for native clients. */
export interface ReplicaNetwork {
  readonly peers: TcpPeers;
  readonly listener: TcpListener;
}

/** Opens the ports of a member. Rejects with `ListenError`. */
export async function openReplicaNetwork(init: ReplicaNetworkInit): Promise<ReplicaNetwork> {
  const { self, member, config, address, security, scheduler, events } = init;
  const { clusterId } = config;
  const own = memberAddress(address, member);
  const peers = new TcpPeers({
    self,
    clusterId,
    clusterChecksum: clusterChecksum(config, member),
    incarnation: nonce(),
    listen: own.peer,
    peers: new Map(config.replicas.map((replica) => [replica.id, memberAddress(replica, member).peer])),
    seed: randomInt(2 ** 32),
    tls: security.peers,
    scheduler,
    events,
  });
  const listener = new TcpListener({
    self,
    clusterId,
    listen: own.client,
    tls: security.clients,
    authenticator: security.authenticator,
    scheduler,
    events,
    options: { frameBytesMax: CLIENT_FRAME_BYTES_MAX },
  });
  await Promise.all([listening((done) => peers.listen(done)), listening((done) => listener.listen(done))]);
  return { peers, listener };
}

export interface ClientRoutesInit {
  readonly self: ReplicaId;
  readonly member: number;
  readonly config: ClusterConfig;
  /** This replica without a socket; null dials it as well. */
  readonly own: FramePort | null;
  readonly access: ClientAccess;
  readonly scheduler: Scheduler;
  readonly events: EventLog;
}

/** A port of a client in the replica's process to one member of every replica: a link's number is the replica's. */
export function clientRoutes({ self, member, config, own, access, scheduler, events }: ClientRoutesInit): FramePort {
  const dialled = own === null ? config.replicas : config.replicas.filter((replica) => replica.id !== self);
  const routes = own === null ? [] : [{ link: self, port: own, portLink: self }];
  if (dialled.length > 0) {
    const { clusterId } = config;
    const addresses = dialled.map((replica) => memberAddress(replica, member).client);
    const seed = randomInt(2 ** 32);
    const dialler: FramePort = new TcpDialler({ ...access, clusterId, addresses, seed, scheduler, events });
    for (const [index, { id }] of dialled.entries()) routes.push({ link: id, port: dialler, portLink: index });
  }
  return new CombinedFramePort(routes);
}

/** Resolves when a port is open. */
export function listening(listen: (done: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    listen((error) => (error === null ? resolve() : reject(error)));
  });
}

/** A random whole number in [1, 2^52). */
export function nonce(): number {
  const bytes = randomBytes(8);
  return Math.max(1, (bytes.readUInt32LE(0) & 0xfffff) * 2 ** 32 + bytes.readUInt32LE(4));
}
