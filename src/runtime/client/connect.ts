import type { SessionClientConfig } from "../../client/index.js";
import { assert, fnv1a } from "../../base/index.js";
import {
  AuthenticationError,
  ConfigError,
  type GroupMapping,
  OPTIMISTIC_EXECUTION,
  parseAddress,
  type SharedServiceModule,
} from "../../model/index.js";
import { type EventLog, type Scheduler, SystemScheduler, TcpDialler } from "../../platform/index.js";
import { type ServiceDefinition, sharedDefinedService } from "../../service/index.js";
import { clientMappingOf, serviceEntry } from "../registry.js";
import { suspendedInReplica } from "../user-service/announcement.js";
import type { BlockClient, BlockClientHandlers } from "./block-client.js";
import type { Calls } from "./calls.js";
import { accessOf, type ClientSecurity } from "./client-access.js";
import { createBlockClient } from "./client-host.js";
import { GroupedCalls } from "./grouped-calls.js";
import { createGroupsClient, type GroupsClient } from "./groups-client.js";
import { KvClient } from "./kv-client.js";
import { createMappedClient } from "./mapped-client.js";
import { orderedReads } from "./ordered-reads.js";
import { PromiseClient } from "./promise-client.js";
import { type ClientAddress, type Optimism, ReplicaLinks } from "./replica-links.js";
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

/** What clients on a connection may be told of their own; by default they have what the connection has. */
interface OwnOptions {
  readonly deadlineMs?: number;
  readonly session?: Partial<SessionClientConfig>;
}

export interface OpenClientOptions extends OwnOptions {
  readonly handlers: BlockClientHandlers;
  /** Where the cluster has groups: which of them commands concern. Without it all go through g_all, which is slow and right. */
  readonly mapping?: GroupMapping | undefined;
}

export interface OpenStreamsOptions extends OwnOptions {
  handlersOf(stream: number): BlockClientHandlers;
}

/**
 * One connection to each replica of a cluster, or to each member of the replicas if there are groups, for any number of
 * clients up to `SHARING_CLIENTS_MAX`, each with sessions of its own. What they submit in one turn leaves in one write. It closes
 * with the last of its clients.
 */
export class ClusterConnection {
  /** 1, or the number of groups beside g_all. */
  readonly groups: number;
  /** What the cluster says of its opt-PSMR; null if it is another's. */
  readonly optimistic: Optimism | null;
  readonly #options: ConnectOptions;
  readonly #scheduler: Scheduler;
  readonly #replicas: readonly ClientAddress[];
  /** To member 0, or to the replicas that have no members. */
  readonly #links: SharedLinks;
  /** To the members of groups, from the first on; made with the first client that uses them. */
  #members: readonly SharedLinks[] = [];

  /** Made by `connectCluster`. */
  constructor(options: ConnectOptions, scheduler: Scheduler, links: ReplicaLinks, replicas: readonly ClientAddress[]) {
    this.#options = options;
    this.#scheduler = scheduler;
    this.#links = new SharedLinks(links, scheduler);
    this.#replicas = replicas;
    this.groups = replicas[0]?.members?.length ?? 1;
    this.optimistic = replicas[0]?.optimistic ?? null;
  }

  /**
   * The groups that commands of this service concern, as its clients see it: `module` is that of a user's service. Undefined in a
   * cluster without groups. Throws `ConfigError` for a service that groups can't share.
   */
  mappingOf(service: string, module?: SharedServiceModule): GroupMapping | undefined {
    if (this.groups === 1) return undefined;
    const execution = this.optimistic === null ? "psmr" : OPTIMISTIC_EXECUTION;
    return clientMappingOf({ service, execution, groups: this.groups, bounds: this.optimistic?.bounds }, module);
  }

  /**
   * One more client. With groups its blocks keep their order, see `createMappedClient`. Throws `ConfigError` when there are too
   * many clients, or for a session's configuration out of bounds.
   */
  openClient(options: OpenClientOptions): BlockClient {
    const { handlers, mapping } = options;
    if (this.groups > 1 && mapping !== undefined) {
      return this.#seated(this.groups + 1, (ports) => {
        return createMappedClient({ ...this.#initOf(options), ports, handlers, mapping });
      });
    }
    const client = this.#seated(1, ([port]) => {
      return createBlockClient({ ...this.#initOf(options), port: port as ClientPort, handlers });
    });
    return this.groups > 1 ? orderedReads(client) : client;
  }

  /** One more client, of all streams of a cluster that has groups. Throws as `openClient`. */
  openStreams(options: OpenStreamsOptions): GroupsClient {
    assert(this.groups > 1, "a cluster without groups has one stream");
    return this.#seated(this.groups + 1, (ports) => {
      return createGroupsClient({
        ...this.#initOf(options),
        ports,
        handlersOf: (stream) => options.handlersOf(stream),
      });
    });
  }

  /** Makes a client on seats of so many members, and leaves them if that fails. */
  #seated<T>(members: number, create: (ports: readonly ClientPort[]) => T): T {
    const ports: ClientPort[] = [];
    try {
      for (let member = 0; member < members; member++) ports.push(this.#linksTo(member).seat());
      return create(ports);
    } catch (error) {
      for (const port of ports) port.close(() => undefined);
      throw error;
    }
  }

  #linksTo(member: number): SharedLinks {
    if (member === 0) return this.#links;
    if (this.#members[0]?.closed ?? true) {
      this.#members = Array.from({ length: this.groups }, (_, index) => this.#dial(index));
    }
    return this.#members[member - 1] as SharedLinks;
  }

  #dial(index: number): SharedLinks {
    const scheduler = this.#scheduler;
    const addresses = this.#replicas.map(({ members }) => members?.[index]?.client as string);
    const links = new ReplicaLinks(diallerTo(addresses, this.#options, scheduler), scheduler);
    links.open(() => undefined);
    return new SharedLinks(links, scheduler);
  }

  #initOf(options: OwnOptions) {
    const { deadlineMs = 5000, events = silence } = this.#options;
    const session = options.session ?? this.#options.session;
    return {
      scheduler: this.#scheduler,
      replicas: this.#replicas.map(({ id }) => id),
      nonce: crypto.getRandomValues(new Uint8Array(16)),
      deadlineMs: options.deadlineMs ?? deadlineMs,
      events,
      resubmit: this.optimistic?.resubmit,
      ...(session === undefined ? {} : { config: session }),
    };
  }
}

function diallerTo(
  addresses: readonly string[],
  options: ConnectOptions,
  scheduler: Scheduler,
  onRefused: (link: number) => void = () => undefined,
): TcpDialler {
  return new TcpDialler({
    ...accessOf(options),
    scheduler,
    events: options.events ?? silence,
    clusterId: null,
    addresses,
    seed: fnv1a(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(16)))),
    onRefused,
  });
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
  const { addresses, deadlineMs = 5000, scheduler = new SystemScheduler() } = options;
  if (addresses.length < 1 || addresses.length > ADDRESSES_MAX) {
    throw new ConfigError(`a client takes 1 to ${ADDRESSES_MAX} addresses, got ${addresses.length}`);
  }
  for (const address of addresses) parseAddress(address);
  const refusals: Refusals = { refused: new Set(), onRefused: () => undefined };
  const dialler = diallerTo(addresses, options, scheduler, (link) => {
    refusals.refused.add(link);
    refusals.onRefused();
  });
  const links = new ReplicaLinks(dialler, scheduler);
  const replicas = await firstWelcome(links, scheduler, deadlineMs, addresses, refusals);
  // An address that is that of another member leads to a stream which takes no sessions; it has told the right ones.
  const others = new Set(replicas.flatMap(({ members = [] }) => members.map(({ client }) => client)));
  const own = addresses.filter((address) => !others.has(address));
  const missing = replicas.map((replica) => replica.client).filter((address) => !addresses.includes(address));
  if (missing.length > 0 || own.length < addresses.length) {
    dialler.setAddresses([...own, ...missing].slice(0, ADDRESSES_MAX));
  }
  return new ClusterConnection(options, scheduler, links, replicas);
}

/**
 * Connects one block client on a connection of its own, which closes with it. Rejects as `connectCluster` does. Where the
 * cluster has groups and `service` names one that they can share, its blocks go to the groups of their commands.
 */
export async function connectBlockClient(
  options: ConnectOptions & { readonly handlers: BlockClientHandlers; readonly service?: string },
): Promise<BlockClient> {
  const { handlers, service } = options;
  const shared = service === undefined ? null : serviceEntry(service).shared;
  const connection = await connectCluster(options);
  const mapping = shared === null ? undefined : connection.mappingOf(shared.name);
  return connection.openClient({ handlers, mapping });
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
  const connection = await connectCluster({ ...options, scheduler });
  if (service !== undefined) {
    const mapping = connection.mappingOf(service.name, sharedDefinedService(service));
    return createServiceClient(service, callsOver(connection, scheduler, deadlineMs, mapping));
  }
  const mapping = connection.mappingOf("kv");
  return new KvClient(callsOver(connection, scheduler, deadlineMs, mapping));
}

/** Calls over a connection: over all streams if there are groups and it is known which of them commands concern. */
function callsOver(
  connection: ClusterConnection,
  scheduler: Scheduler,
  deadlineMs: number,
  mapping?: GroupMapping,
): Calls {
  if (mapping !== undefined) {
    const grouped = new GroupedCalls({ scheduler, deadlineMs, mapping });
    grouped.attach(connection.openStreams({ handlersOf: (stream) => grouped.handlersOf(stream) }));
    return grouped;
  }
  const calls = new PromiseClient({ scheduler, deadlineMs, reads: connection.groups === 1 });
  calls.attach(connection.openClient({ handlers: calls.handlers }));
  return calls;
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
