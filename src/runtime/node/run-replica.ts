import { randomBytes, randomInt } from "node:crypto";
import { parentPort, workerData } from "node:worker_threads";
import { assert } from "../../base/index.js";
import {
  BLOCK_BYTES_MAX,
  clusterChecksum,
  type ClusterConfig,
  ExitCode,
  parseAddress,
  type ReplicaAddress,
  type ReplicaId,
} from "../../model/index.js";
import {
  type Authenticator,
  CombinedFramePort,
  createMemoryLink,
  type EventLog,
  type FramePort,
  type ReplicaPlatform,
  type Scheduler,
  SystemScheduler,
  TcpDialler,
  TcpListener,
  TcpPeers,
  type TlsCredentials,
} from "../../platform/index.js";
import type { BlockClient, BlockClientHandlers } from "../client/block-client.js";
import { createBlockClient } from "../client/client-host.js";
import { orderedReads } from "../client/ordered-reads.js";
import type { Replica } from "../replica/api.js";
import { ReplicaMetrics } from "../replica/metrics.js";
import { createReplica } from "../replica/replica.js";
import { isServiceModule, loadServiceModule } from "../user-service/index.js";
import { addressOf, assertProtected, isLoopback, loadCluster, replicaDirectory } from "./cluster-directory.js";
import { type GatewayCounters, ReplicaReader } from "./reading.js";
import { openReplicaStore } from "./replica-store.js";
import { type ClientAccess, ReplicaSecurity } from "./security.js";
import { failureOf, type FromReplicaThread, type ReplicaThreadData, type ToReplicaThread } from "./thread-message.js";

/** Longest frame that a client may send: a block, with room for the frame's header. Replies are longer. */
const CLIENT_FRAME_BYTES_MAX = BLOCK_BYTES_MAX + 1024;

/** States are compared every so many ordered commands, and a few times a second at least. */
const COMPARE_COMMANDS = 1000;

/** What a gateway in the replica's thread works with. */
export interface GatewayInit {
  readonly self: ReplicaId;
  readonly config: ClusterConfig;
  readonly address: ReplicaAddress;
  readonly replica: Replica;
  readonly scheduler: Scheduler;
  readonly events: EventLog;
  /** How the gateway's port is encrypted, if it is, and who is let in, if not everybody. */
  readonly tls: TlsCredentials | undefined;
  readonly authenticator: Authenticator | undefined;
  /** Makes a session of the cluster: this thread's own replica without a socket, the others by their client ports. */
  client(handlers: BlockClientHandlers): BlockClient;
}

/** A further way in for clients, in the replica's thread. */
export interface Gateway {
  /** Accepts clients; calls back when its address is bound, or with what is in the way. */
  listen(done: (error: Error | null) => void): void;
  close(done: () => void): void;
  /** What it has counted, for the metrics of the Redis protocol; absent for gateways that have none. */
  counters?(): GatewayCounters;
}

/**
 * The body of a replica's thread: everything of one replica but signals and the log of operation. Started by
 * `startReplicaThread`; `openGateways` makes what else its clients come through, by the service's needs.
 */
export async function runReplicaThread(openGateways: (init: GatewayInit) => readonly Gateway[]): Promise<void> {
  const port = parentPort;
  assert(port !== null, "runReplicaThread is called in a worker thread");
  const say = (message: FromReplicaThread): void => port.postMessage(message);
  const thread = new RunningReplica(say);
  // A stop that comes while the replica is being opened waits for that.
  port.on("message", (message: ToReplicaThread) => {
    if (message.kind === "stop") thread.stop();
    else if (message.kind === "reload") thread.reload();
    else thread.read(message.serial);
  });
  try {
    await thread.open(workerData as ReplicaThreadData, openGateways);
  } catch (error) {
    say(failureOf(error, ExitCode.failed));
  }
}

class RunningReplica {
  readonly #say: (message: FromReplicaThread) => void;
  readonly #scheduler = new SystemScheduler();
  readonly #events: EventLog;
  #replica: Replica | null = null;
  #gateways: readonly Gateway[] = [];
  #unlock: () => void = () => undefined;
  #security: ReplicaSecurity | null = null;
  #directory = "";
  #stopping = false;
  #recovered = false;
  readonly #metrics = new ReplicaMetrics();
  #reader: ReplicaReader | null = null;

  constructor(say: (message: FromReplicaThread) => void) {
    this.#say = say;
    const log = (level: "info" | "warn" | "error"): EventLog["info"] => {
      return (event, fields = {}) => say({ kind: "log", level, event, fields });
    };
    this.#events = { info: log("info"), warn: log("warn"), error: log("error") };
  }

  async open(data: ReplicaThreadData, openGateways: (init: GatewayInit) => readonly Gateway[]): Promise<void> {
    const config = await loadCluster(data.directory, data.checked);
    const { self } = data;
    const events = this.#events;
    const address = addressOf(config, self);
    this.#say({ kind: "opened", address, config });
    if (data.insecureNetwork) events.warn("network traffic is neither encrypted nor authenticated", { ...address });
    else assertProtected(config);
    const { admin = null } = address;
    if (admin !== null && !isLoopback(parseAddress(admin).host)) {
      events.warn("administration is neither encrypted nor authenticated", { admin });
    }
    const onRejection = (reason: string): void => events.error("promise-rejected", { service: config.service, reason });
    const service = isServiceModule(config.service) ? await loadServiceModule(config.service, onRejection) : null;
    const scheduler = this.#scheduler;
    this.#directory = data.directory;
    const security = new ReplicaSecurity({ directory: data.directory, config, self, scheduler, events });
    this.#security = security;
    this.#reader = new ReplicaReader(this.#metrics);
    const { unlock, ...storage } = openReplicaStore(
      replicaDirectory(data.directory, self),
      config,
      scheduler,
      events,
      (durationMs) => this.#metrics.logWrite.record(durationMs),
    );
    this.#unlock = unlock;

    const peers = new TcpPeers({
      self,
      clusterId: config.clusterId,
      clusterChecksum: clusterChecksum(config),
      incarnation: nonce(),
      listen: address.peer,
      peers: new Map(config.replicas.map((replica) => [replica.id, replica.peer])),
      seed: randomInt(2 ** 32),
      tls: security.peers,
      scheduler,
      events,
    });
    const listener = new TcpListener({
      self,
      clusterId: config.clusterId,
      listen: address.client,
      tls: security.clients,
      authenticator: security.authenticator,
      scheduler,
      events,
      options: { frameBytesMax: CLIENT_FRAME_BYTES_MAX },
    });
    await Promise.all([listening((done) => peers.listen(done)), listening((done) => listener.listen(done))]);

    const link = createMemoryLink(scheduler, { diallerLink: self, events });
    const clients: FramePort[] = [listener, link.listener];
    const platform: ReplicaPlatform = { scheduler, peers, clients, events, nonce, ...storage };
    const recovered = new Promise<void>((resolve) => {
      this.#replica = createReplica({
        self,
        config,
        platform,
        options: { seed: randomInt(2 ** 31), compareCommands: COMPARE_COMMANDS, ...data.options },
        onFatal: (error) => this.#say(failureOf(error, ExitCode.fatal)),
        metrics: this.#metrics,
        ...(service === null ? {} : { siblings: { createService: () => service.create() } }),
        onRecovered: () => {
          this.#recovered = true;
          resolve();
        },
        onLeader: (leader) => this.#say({ kind: "leader", leader }),
      });
    });
    const replica = this.#replica as unknown as Replica;
    replica.start();
    this.#gateways = openGateways({
      self,
      config,
      address,
      replica,
      scheduler,
      events,
      tls: security.clients,
      authenticator: security.authenticator,
      client: (handlers) => localClient(self, config, link.dialler, security.access, scheduler, events, handlers),
    });
    await Promise.all(this.#gateways.map((gateway) => listening((done) => gateway.listen(done))));
    await recovered;
    this.#say({ kind: "recovered", address, own: security.own });
  }

  /** Reads certificates and passwords anew. */
  reload(): void {
    const security = this.#security;
    if (security === null) return;
    loadCluster(this.#directory).then(
      (config) => security.reload(config.security),
      (error: unknown) => this.#events.error("passwords-not-reloaded", { reason: (error as Error).message }),
    );
  }

  read(serial: number): void {
    const counters = this.#gateways.flatMap((gateway) => gateway.counters?.() ?? [])[0] ?? null;
    const status = this.#replica?.status() ?? null;
    const reading = status === null ? null : (this.#reader?.read(status, this.#recovered, counters) ?? null);
    this.#say({ kind: "reading", serial, reading });
  }

  stop(): void {
    if (this.#stopping) return;
    this.#reader?.close();
    this.#security?.close();
    this.#stopping = true;
    const replica = this.#replica;
    const stopped = (): void => {
      this.#unlock();
      this.#say({ kind: "stopped" });
    };
    if (replica === null) return stopped();
    let open = this.#gateways.length;
    const closed = (): void => replica.stop(stopped);
    if (open === 0) return closed();
    for (const gateway of this.#gateways) {
      gateway.close(() => {
        if (--open === 0) closed();
      });
    }
  }
}

/** A session through the replica of this thread, and by TCP through the others: whoever leads takes the commands. */
function localClient(
  self: ReplicaId,
  config: ClusterConfig,
  own: FramePort,
  access: ClientAccess,
  scheduler: Scheduler,
  events: EventLog,
  handlers: BlockClientHandlers,
): BlockClient {
  const others = config.replicas.filter((replica) => replica.id !== self);
  const routes = [{ link: self, port: own, portLink: self }];
  if (others.length > 0) {
    const { clusterId } = config;
    const addresses = others.map((replica) => replica.client);
    const seed = randomInt(2 ** 32);
    const dialler = new TcpDialler({ ...access, clusterId, addresses, seed, scheduler, events });
    for (const [index, { id }] of others.entries()) routes.push({ link: id, port: dialler, portLink: index });
  }
  const client = createBlockClient({
    scheduler,
    port: new CombinedFramePort(routes),
    replicas: config.replicas.map((replica) => replica.id),
    nonce: new Uint8Array(randomBytes(16)),
    handlers,
    events,
  });
  return config.reads === "ordered" ? orderedReads(client) : client;
}

function listening(listen: (done: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    listen((error) => (error === null ? resolve() : reject(error)));
  });
}

/** A random whole number in [1, 2^52). */
function nonce(): number {
  const bytes = randomBytes(8);
  return Math.max(1, (bytes.readUInt32LE(0) & 0xfffff) * 2 ** 32 + bytes.readUInt32LE(4));
}
