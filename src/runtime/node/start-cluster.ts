import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ClosedError, ConfigError, ListenError, type ReplicaId, SynodError } from "../../model/index.js";
import type { ServiceDefinition } from "../../service/index.js";
import { connect } from "../client/connect.js";
import { checkDefinition, type ServiceClient } from "../client/service-client.js";
import { moduleOfDefinition, suspendedInReplica } from "../user-service/index.js";
import { listenedAddresses, openCluster } from "./cluster-directory.js";
import { firstTakenAddress, type HostPort } from "./free-port.js";
import { checkStartOptions, type StartClusterOptions } from "./start-options.js";
import { Supervisor } from "./supervisor.js";

/** Starts of a cluster in a directory of its own, each on other ports, when ports are lost to other programs. */
const STARTS_MAX = 4;

/** A replica of a running cluster: a process of this machine. */
export interface ClusterReplica {
  readonly id: ReplicaId;
  /** Where native clients reach it: what `connect` and `--address` take. */
  readonly address: string;
  /** Of the process started last. */
  readonly pid: number;
  readonly alive: boolean;
  /** Kills the process as a crash would (kill -9) and resolves when it is gone. */
  kill(): Promise<void>;
  /** Starts a dead replica again, with its data; resolves when it takes part. Rejects if it dies before. */
  start(): Promise<void>;
}

export interface RunningCluster<A, R> {
  /** A client of all replicas. */
  readonly client: ServiceClient<A, R>;
  /** Client addresses of all replicas, for `connect` in other processes. */
  readonly addresses: readonly string[];
  readonly directory: string;
  readonly replicas: readonly ClusterReplica[];
  /** Closes the client and stops every replica gracefully; removes a temporary directory. Idempotent. */
  stop(): Promise<void>;
}

/**
 * Starts a cluster on this machine: each replica a process of its own, on free ports of 127.0.0.1. Resolves when it has
 * taken a command through every replica. When this process ends, however it ends, its replicas end too.
 *
 * Rejects with `ConfigError` for an option that there is not or a value that it can't have, before anything is started, and
 * if the definition can't be loaded by the replicas, or differs from what the directory holds; and with `LockedError` if
 * another process runs that cluster.
 */
export async function startCluster<A, R>(options: StartClusterOptions<A, R>): Promise<RunningCluster<A, R>> {
  const suspended = suspendedInReplica();
  if (suspended !== null) return suspended;
  const given = options as Partial<StartClusterOptions<A, R>> | undefined;
  checkDefinition(given?.service);
  checkStartOptions(options);
  for (let attempt = 1; ; attempt++) {
    const started = await start(options, attempt === STARTS_MAX);
    if (started !== null) return started;
  }
}

/** Resolves with null if one of the ports of a new cluster is another program's, unless this is the `last` attempt. */
async function start<A, R>(options: StartClusterOptions<A, R>, last: boolean): Promise<RunningCluster<A, R> | null> {
  const { replicas, groups, resubmit, directory, durability, deadlineMs = 5000, logLevel = "error" } = options;
  const { execution = groups === undefined || groups === 1 ? undefined : "psmr" } = options;
  const service = moduleOfDefinition(options.service);
  const temporary = directory === undefined;
  let addresses: HostPort[] = [];
  const place = directory ?? mkdtempSync(join(tmpdir(), "synod-cluster-"));
  const remove = (): void => {
    if (temporary) rmSync(place, { recursive: true, force: true, maxRetries: 3 });
  };
  try {
    const { config } = await openCluster(place, {
      service,
      ...(replicas === undefined ? {} : { replicas }),
      ...(groups === undefined ? {} : { groups }),
      ...(execution === undefined ? {} : { execution }),
      ...(resubmit === undefined ? {} : { resubmit }),
      ...(durability === undefined ? {} : { durability }),
    });
    addresses = config.replicas.flatMap(listenedAddresses);
    const cluster = new Cluster<A, R>(
      place,
      config.replicas.map(({ client }) => client),
      (handlers) => {
        return new Supervisor(place, config, logLevel, handlers);
      },
      remove,
    );
    await cluster.open(options.service, deadlineMs);
    return cluster;
  } catch (error) {
    remove();
    // Between the draw of free ports and their use another program may have come to listen on one of them.
    const lost = error instanceof ListenError || (await firstTakenAddress(addresses)) !== null;
    if (temporary && !last && lost) return null;
    throw error;
  }
}

interface Waiting {
  resolve(): void;
  reject(error: Error): void;
}

class Cluster<A, R> implements RunningCluster<A, R> {
  readonly directory: string;
  readonly addresses: readonly string[];
  readonly replicas: readonly ClusterReplica[];
  readonly #supervisor: Supervisor;
  readonly #remove: () => void;
  /** Who waits for a replica to be ready, and who for its death. */
  readonly #starting = new Map<ReplicaId, Waiting[]>();
  readonly #dying = new Map<ReplicaId, Waiting[]>();
  #client: ServiceClient<A, R> | null = null;
  #stopping: Promise<void> | null = null;

  /** Ends what would outlive this process for a moment, and removes what would outlive it for good. */
  readonly #onExit = (): void => {
    this.#supervisor.abandon();
    this.#remove();
  };

  constructor(
    directory: string,
    addresses: readonly string[],
    supervise: (handlers: ConstructorParameters<typeof Supervisor>[3]) => Supervisor,
    remove: () => void,
  ) {
    this.directory = directory;
    this.addresses = Object.freeze(addresses);
    this.#remove = remove;
    this.#supervisor = supervise({
      onReady: (id) => settle(this.#starting, id, (waiting) => waiting.resolve()),
      onLeader: () => undefined,
      onDeath: (id, reason, exitCode) => {
        settle(this.#starting, id, (waiting) => waiting.reject(deathOf(id, reason, exitCode)));
        settle(this.#dying, id, (waiting) => waiting.resolve());
      },
    });
    this.replicas = Object.freeze(this.#supervisor.replicas.map(({ address }) => this.#replica(address.id)));
  }

  get client(): ServiceClient<A, R> {
    if (this.#client === null) throw new ClosedError("the cluster is not open");
    return this.#client;
  }

  /** Starts all replicas, waits until they are ready, and connects. */
  async open(service: ServiceDefinition<A, R>, deadlineMs: number): Promise<void> {
    process.on("exit", this.#onExit);
    try {
      await Promise.all(this.replicas.map((replica) => replica.start()));
      this.#client = await connect({ addresses: this.addresses, service, deadlineMs });
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#end();
    return this.#stopping;
  }

  async #end(): Promise<void> {
    await this.#client?.close();
    await this.#supervisor.stop();
    process.off("exit", this.#onExit);
    const closed = new ClosedError("the cluster was stopped");
    for (const id of this.#starting.keys()) settle(this.#starting, id, (waiting) => waiting.reject(closed));
    for (const id of this.#dying.keys()) settle(this.#dying, id, (waiting) => waiting.resolve());
    this.#remove();
  }

  #replica(id: ReplicaId): ClusterReplica {
    const supervisor = this.#supervisor;
    return Object.freeze({
      id,
      address: supervisor.replica(id).address.client,
      get pid(): number {
        return supervisor.replica(id).pid ?? 0;
      },
      get alive(): boolean {
        return supervisor.replica(id).alive;
      },
      kill: () => this.#kill(id),
      start: () => this.#start(id),
    });
  }

  #kill(id: ReplicaId): Promise<void> {
    if (!this.#supervisor.replica(id).alive) return Promise.resolve();
    const dead = settled(this.#dying, id);
    this.#supervisor.kill(id);
    return dead;
  }

  #start(id: ReplicaId): Promise<void> {
    if (this.#stopping !== null) return Promise.reject(new ClosedError("the cluster was stopped"));
    if (this.#supervisor.replica(id).ready) return Promise.resolve();
    const ready = settled(this.#starting, id);
    this.#supervisor.start(id);
    return ready;
  }
}

function settled(waiting: Map<ReplicaId, Waiting[]>, id: ReplicaId): Promise<void> {
  return new Promise((resolve, reject) => {
    waiting.set(id, [...(waiting.get(id) ?? []), { resolve, reject }]);
  });
}

function settle(waiting: Map<ReplicaId, Waiting[]>, id: ReplicaId, how: (waiting: Waiting) => void): void {
  const those = waiting.get(id) ?? [];
  waiting.delete(id);
  for (const each of those) how(each);
}

/** Why a replica died before it was ready: a mistake in the configuration is the caller's. */
function deathOf(id: ReplicaId, reason: string, exitCode: number | null): SynodError {
  const message = `replica ${id}: ${reason}`;
  return exitCode === 4 ? new ConfigError(message) : new SynodError("SYNOD_REPLICA_DIED", message);
}
