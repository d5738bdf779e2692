import { fnv1a } from "../../base/index.js";
import type { SessionClientConfig } from "../../client/index.js";
import { AuthenticationError, ConfigError, parseAddress, type ReplicaId } from "../../model/index.js";
import { type EventLog, type Scheduler, SystemScheduler, TcpDialler } from "../../platform/index.js";
import type { ServiceDefinition } from "../../service/index.js";
import { suspendedInReplica } from "../user-service/announcement.js";
import type { BlockClient, BlockClientHandlers } from "./block-client.js";
import { accessOf, type ClientSecurity } from "./client-access.js";
import { createBlockClient } from "./client-host.js";
import { KvClient } from "./kv-client.js";
import { PromiseClient } from "./promise-client.js";
import { type ClientAddress, ReplicaLinks } from "./replica-links.js";
import { NoAnswerError } from "./replica-query.js";
import { checkDefinition, createServiceClient, type ServiceClient } from "./service-client.js";
import { type ClientPort, SharedLinks } from "./shared-links.js";

export interface ConnectOptions extends ClientSecurity {
  /** Client addresses of replicas, `host:port` each. One that answers is enough: it names the others. */
  readonly addresses: readonly string[];
  /** How long a command may go without an answer, and how long to wait for the first replica. 5000 ms. */
  readonly deadlineMs?: number;
  /** Where warnings about connections go; nowhere by default. */
  readonly events?: EventLog;
  readonly scheduler?: Scheduler;
  readonly session?: Partial<SessionClientConfig>;
}

const silence: EventLog = { info: () => {}, warn: () => {}, error: () => {} };
/** Addresses dialled at most, given and learnt together. */
const ADDRESSES_MAX = 63;

/** What a client on a connection may be told of its own. */
export interface OpenClientOptions {
  readonly handlers: BlockClientHandlers;
  /** By default the connection's. */
  readonly deadlineMs?: number;
  readonly session?: Partial<SessionClientConfig>;
}

/**
 * One connection to each replica of a cluster, for any number of block clients up to `SHARING_CLIENTS_MAX`, each with a
 * session of its own. What they submit in one turn leaves in one write. It closes with the last of its clients.
 */
export class ClusterConnection {
  readonly #options: ConnectOptions;
  readonly #scheduler: Scheduler;
  readonly #links: SharedLinks;
  readonly #replicas: readonly ReplicaId[];

  /** Made by `connectCluster`. */
  constructor(options: ConnectOptions, scheduler: Scheduler, links: ReplicaLinks, replicas: readonly ReplicaId[]) {
    this.#options = options;
    this.#scheduler = scheduler;
    this.#links = new SharedLinks(links, scheduler);
    this.#replicas = replicas;
  }

  /** One more client. Throws `ConfigError` when there are too many, or for a session's configuration out of bounds. */
  openClient(options: OpenClientOptions): BlockClient {
    const port = this.#links.seat();
    try {
      return this.#createClient(port, options);
    } catch (error) {
      port.close(() => undefined);
      throw error;
    }
  }

  #createClient(port: ClientPort, options: OpenClientOptions): BlockClient {
    const { deadlineMs = 5000, events = silence } = this.#options;
    const session = options.session ?? this.#options.session;
    return createBlockClient({
      scheduler: this.#scheduler,
      port,
      replicas: this.#replicas,
      nonce: crypto.getRandomValues(new Uint8Array(16)),
      deadlineMs: options.deadlineMs ?? deadlineMs,
      handlers: options.handlers,
      events,
      ...(session === undefined ? {} : { config: session }),
    });
  }
}

/**
 * Connects to a cluster over TCP. Resolves when a replica has answered and said who the others are; those that are missing
 * from `addresses` are dialled too. Rejects with `ConfigError` for a malformed address or certificate, with `NoAnswerError`
 * when no replica answers within `deadlineMs`, and with `AuthenticationError` if all that answered refused the client.
 */
export async function connectCluster(options: ConnectOptions): Promise<ClusterConnection> {
  // People call this from JavaScript too, where no compiler has looked at what they pass.
  const given = options as Partial<ConnectOptions> | undefined;
  if (!Array.isArray(given?.addresses)) {
    throw new ConfigError("a client needs `addresses`, a list of client addresses of the form host:port");
  }
  const { addresses, deadlineMs = 5000, events = silence, scheduler = new SystemScheduler() } = options;
  if (addresses.length < 1 || addresses.length > ADDRESSES_MAX) {
    throw new ConfigError(`a client takes 1 to ${ADDRESSES_MAX} addresses, got ${addresses.length}`);
  }
  for (const address of addresses) parseAddress(address);
  const refusals: Refusals = { refused: new Set(), onRefused: () => undefined };
  const dialler = new TcpDialler({
    ...accessOf(options),
    scheduler,
    events,
    clusterId: null,
    addresses,
    seed: fnv1a(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(16)))),
    onRefused: (link) => {
      refusals.refused.add(link);
      refusals.onRefused();
    },
  });
  const links = new ReplicaLinks(dialler, scheduler);
  const replicas = await firstWelcome(links, scheduler, deadlineMs, addresses, refusals);
  const missing = replicas.map((replica) => replica.client).filter((address) => !addresses.includes(address));
  if (missing.length > 0) dialler.setAddresses([...addresses, ...missing].slice(0, ADDRESSES_MAX));
  const ids = replicas.map((replica) => replica.id);
  return new ClusterConnection(options, scheduler, links, ids);
}

/** Connects one block client on a connection of its own, which closes with it. Rejects as `connectCluster` does. */
export async function connectBlockClient(
  options: ConnectOptions & { readonly handlers: BlockClientHandlers },
): Promise<BlockClient> {
  const connection = await connectCluster(options);
  return connection.openClient({ handlers: options.handlers });
}

/**
 * Connects to a cluster over TCP: with `service` a client that has a method for each of its commands, otherwise one of the
 * `kv` store. Rejects as `connectBlockClient` does, and with `ConfigError` for a `service` that `defineService` has not made.
 */
export async function connect<A, R>(
  options: ConnectOptions & { readonly service: ServiceDefinition<A, R> },
): Promise<ServiceClient<A, R>>;
export async function connect(options: ConnectOptions): Promise<KvClient>;
export async function connect(
  options: ConnectOptions & { readonly service?: ServiceDefinition },
): Promise<KvClient | ServiceClient<unknown, unknown>> {
  const suspended = suspendedInReplica();
  if (suspended !== null) return suspended;
  const {
    deadlineMs = 5000,
    scheduler = new SystemScheduler(),
    service,
  } = (options as typeof options | undefined) ?? {};
  if (service !== undefined) checkDefinition(service);
  const calls = new PromiseClient({ scheduler, deadlineMs });
  calls.attach(await connectBlockClient({ ...options, scheduler, handlers: calls.handlers }));
  return service === undefined ? new KvClient(calls) : createServiceClient(service, calls);
}

/** The addresses at which a replica did not let the client in. */
interface Refusals {
  readonly refused: Set<number>;
  onRefused: () => void;
}

function firstWelcome(
  links: ReplicaLinks,
  scheduler: Scheduler,
  timeoutMs: number,
  addresses: readonly string[],
  refusals: Refusals,
): Promise<readonly ClientAddress[]> {
  return new Promise((resolve, reject) => {
    const { refused } = refusals;
    const where = addresses.join(", ");
    let late = false;
    const fail = (error: Error): void => {
      if (late) return;
      late = true;
      timer.clear();
      links.close(() => reject(error));
    };
    const unwanted = (): Error =>
      new AuthenticationError(`the replicas at ${where} do not let this client in: password or certificate?`);
    const timer = scheduler.timer(() => {
      fail(refused.size > 0 ? unwanted() : new NoAnswerError(`no replica answered at ${where} within ${timeoutMs} ms`));
    });
    timer.set(scheduler.clock.monotonicMs() + timeoutMs);
    // Not inside the call that tells of the refusal.
    const allRefused = scheduler.turn(() => {
      if (refused.size === addresses.length) fail(unwanted());
    });
    refusals.onRefused = () => allRefused.request();
    links.open((replicas) => {
      refusals.onRefused = () => undefined;
      timer.clear();
      if (!late) resolve(replicas);
    });
  });
}
