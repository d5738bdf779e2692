import { randomInt } from "node:crypto";
import { parentPort, workerData } from "node:worker_threads";
import { assert } from "../../base/index.js";
import {
  type ClusterConfig,
  ExitCode,
  parseAddress,
  type ReplicaAddress,
  type ReplicaId,
  type ServiceModule,
} from "../../model/index.js";
import {
  type Authenticator,
  createMemoryLink,
  type EventLog,
  type FramePort,
  type ReplicaPlatform,
  type Scheduler,
  SystemScheduler,
  type TlsCredentials,
} from "../../platform/index.js";
import type { BlockClient, BlockClientHandlers } from "../client/block-client.js";
import type { Replica, ReplicaStatus } from "../replica/api.js";
import { ReplicaMetrics } from "../replica/metrics.js";
import { createReplica } from "../replica/replica.js";
import { observeService } from "./observe-service.js";
import { isServiceModule, loadServiceModule } from "../user-service/index.js";
import { addressOf, assertProtected, isLoopback, loadCluster, replicaDirectory } from "./cluster-directory.js";
import { FILE_THREADS_VARIABLE, fileThreadsNeeded, fileThreadsOf, fileThreadsWanted } from "./file-threads.js";
import { GatewayClients } from "./gateway-clients.js";
import { COMPARE_COMMANDS } from "./open-member.js";
import {
  type GatewayCounters,
  type MemberReading,
  type ReplicaReading,
  ReplicaReader,
  threadStopwatch,
} from "./reading.js";
import { ReplicaMembers } from "./replica-members.js";
import { listening, nonce, openReplicaNetwork } from "./replica-network.js";
import { lockReplica, openReplicaStore } from "./replica-store.js";
import { ReplicaSecurity } from "./security.js";
import { failureOf, type FromReplicaThread, type ReplicaThreadData, type ToReplicaThread } from "./thread-message.js";

/** What a gateway in the replica's thread works with. */
export interface GatewayInit {
  readonly self: ReplicaId;
  readonly config: ClusterConfig;
  readonly address: ReplicaAddress;
  /** How the replica stands, of several groups in that of g_all; null while its members begin anew. */
  status(): ReplicaStatus | null;
  readonly scheduler: Scheduler;
  readonly events: EventLog;
  /** How the gateway's port is encrypted, if it is, and who is let in, if not everybody. */
  readonly tls: TlsCredentials | undefined;
  readonly authenticator: Authenticator | undefined;
  /**
   * Makes a session of the cluster: this thread's own replica without a socket, the others by their client ports. With several
   * groups one for each stream, from 0 (g_all's) on, each once.
   */
  client(handlers: BlockClientHandlers, stream: number): BlockClient;
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
  /** The replica, of one group; or its members. */
  #replica: Replica | null = null;
  #members: ReplicaMembers | null = null;
  #gateways: readonly Gateway[] = [];
  #unlock: () => void = () => undefined;
  #security: ReplicaSecurity | null = null;
  #directory = "";
  #stopping = false;
  #recovered = false;
  readonly #metrics = new ReplicaMetrics(threadStopwatch);
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
    const there = fileThreadsOf(process.env);
    if (there < fileThreadsNeeded(config)) {
      events.warn("too few threads for files", { [FILE_THREADS_VARIABLE]: there, wanted: fileThreadsWanted(config) });
    }
    const { admin = null } = address;
    if (admin !== null && !isLoopback(parseAddress(admin).host)) {
      events.warn("administration is neither encrypted nor authenticated", { admin });
    }
    const scheduler = this.#scheduler;
    this.#directory = data.directory;
    // Nothing else may go on in this thread while code of the user is loaded: its guard would take that for the user's.
    const service = await this.#loadService(config);
    const security = new ReplicaSecurity({ directory: data.directory, config, self, scheduler, events });
    this.#security = security;
    this.#reader = new ReplicaReader(this.#metrics);
    const { own, recovered } = await (config.groups === 1
      ? this.#openAlone(data, config, address, security, service)
      : this.#openMembers(data, config, security));
    const clients = new GatewayClients({ self, config, own, access: security.access, scheduler, events });
    this.#gateways = openGateways({
      self,
      config,
      address,
      status: () => this.#status(),
      scheduler,
      events,
      tls: security.clients,
      authenticator: security.authenticator,
      client: (handlers, stream) => clients.client(handlers, stream),
    });
    await Promise.all(this.#gateways.map((gateway) => listening((done) => gateway.listen(done))));
    await recovered;
    this.#say({ kind: "recovered", address, own: security.own });
  }

  /** The user's service, if it is one and executes in this thread; null otherwise. */
  async #loadService({ service, groups }: ClusterConfig): Promise<ServiceModule | null> {
    if (groups > 1 || !isServiceModule(service)) return null;
    return loadServiceModule(service, observeService(service, this.#events));
  }

  /** The replica of a cluster with one group, in this thread. */
  async #openAlone(
    data: ReplicaThreadData,
    config: ClusterConfig,
    address: ReplicaAddress,
    security: ReplicaSecurity,
    service: ServiceModule | null,
  ): Promise<OpenedReplica> {
    const { self } = data;
    const [scheduler, events] = [this.#scheduler, this.#events];
    const { unlock, ...storage } = openReplicaStore(
      replicaDirectory(data.directory, self),
      config,
      scheduler,
      events,
      (durationMs) => this.#metrics.logWrite.record(durationMs),
    );
    this.#unlock = unlock;
    const network = await openReplicaNetwork({ self, member: 0, config, address, security, scheduler, events });
    const { peers, listener } = network;
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
    (this.#replica as unknown as Replica).start();
    return { own: link.dialler, recovered };
  }

  /** The members of a replica of several groups: that of g_all in this thread. */
  async #openMembers(
    data: ReplicaThreadData,
    config: ClusterConfig,
    security: ReplicaSecurity,
  ): Promise<OpenedReplica> {
    const { self, directory, options } = data;
    this.#unlock = lockReplica(replicaDirectory(directory, self), config);
    const recovered = new Promise<void>((resolve) => {
      this.#members = new ReplicaMembers({
        self,
        directory,
        config,
        options,
        security,
        metrics: this.#metrics,
        reader: this.#reader as ReplicaReader,
        scheduler: this.#scheduler,
        events: this.#events,
        onFailed: (failure) => this.#say(failure),
        onRecovered: () => {
          this.#recovered = true;
          resolve();
        },
        onLeader: (leader) => this.#say({ kind: "leader", leader }),
      });
    });
    return { own: null, recovered };
  }

  /** Reads certificates and passwords anew. */
  reload(): void {
    const security = this.#security;
    if (security === null) return;
    this.#members?.reload();
    loadCluster(this.#directory).then(
      (config) => security.reload(config.security),
      (error: unknown) => this.#events.error("passwords-not-reloaded", { reason: (error as Error).message }),
    );
  }

  read(serial: number): void {
    const resp = this.#gateways.flatMap((gateway) => gateway.counters?.() ?? [])[0] ?? null;
    const say = (reading: ReplicaReading | null): void => this.#say({ kind: "reading", serial, reading });
    if (this.#members !== null) {
      void this.#members.read().then((members) => say(members === null ? null : readingOf(members, resp)));
      return;
    }
    const status = this.#replica?.status() ?? null;
    const reader = this.#reader;
    say(status === null || reader === null ? null : { ...reader.read(status, this.#recovered), resp });
  }

  stop(): void {
    if (this.#stopping) return;
    this.#reader?.close();
    this.#security?.close();
    this.#stopping = true;
    const running = this.#members ?? this.#replica;
    const stopped = (): void => {
      this.#unlock();
      this.#say({ kind: "stopped" });
    };
    if (running === null) return stopped();
    let open = this.#gateways.length;
    const closed = (): void => running.stop(stopped);
    if (open === 0) return closed();
    for (const gateway of this.#gateways) {
      gateway.close(() => {
        if (--open === 0) closed();
      });
    }
  }

  #status(): ReplicaStatus | null {
    return this.#members === null ? (this.#replica?.status() ?? null) : this.#members.status();
  }
}

/** A replica that has been started. */
interface OpenedReplica {
  /** It without a socket, for clients in this thread; null if there is none. */
  readonly own: FramePort | null;
  readonly recovered: Promise<void>;
}

/** A replica of several groups; it takes part when all its members do. */
function readingOf(members: readonly MemberReading[], resp: GatewayCounters | null): ReplicaReading {
  const [all] = members;
  assert(all !== undefined, "there is a member of g_all");
  return { ...all, recovered: members.every(({ recovered }) => recovered), members, resp };
}
