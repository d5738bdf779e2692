/**
 * The registry: the one file below the lab that names siblings. Everything else asks here by the name that stands in a
 * cluster's configuration, and learns here which siblings go together.
 *
 * | ordering | execution models | reads | groups |
 * |---|---|---|---|
 * | multi-paxos | sequential, pipelined | quorum, ordered | 1 |
 * | none | sequential, pipelined | quorum, ordered | 1, and 1 replica |
 * | multi-paxos | psmr, opt-psmr | quorum, ordered with 1 group; ordered with more | 1 to 16, of a service that threads can share |
 *
 * With one group psmr and opt-psmr run as pipelined: a barrier of one thread is none, and no other thread is in the way of a command.
 *
 * Names that are planned but not built are known, so that asking for one says so rather than calling it a typing error.
 */
import { assert } from "../base/index.js";
import { createPipelined, createSequential } from "../execution/index.js";
import {
  type ClusterConfig,
  ConfigError,
  type GroupMapping,
  GROUPS_CONFIGURED_MAX,
  isOptimistic,
  OPTIMISTIC_EXECUTION,
  type ProtocolModule,
  type ServiceModule,
  type SharedServiceModule,
} from "../model/index.js";
import { multiPaxos } from "../ordering/multi-paxos/index.js";
import { none } from "../ordering/none/index.js";
import { btree, counter, kv, sharedBtree, sharedBtreeWith, sharedKv } from "../service/index.js";
import type { ReplicaSiblings } from "./replica/api.js";
import { isServiceModule } from "./user-service/service-module.js";

const orderings: readonly ProtocolModule<unknown, unknown, unknown>[] = [multiPaxos, none];

/** Those of a single group. What the threads of several have is made by the members (`groups/`). */
const executions = {
  sequential: createSequential,
  pipelined: createPipelined,
  psmr: createPipelined,
  [OPTIMISTIC_EXECUTION]: createPipelined,
} as const;

/** One row of the table of legal combinations. */
interface Combination {
  readonly ordering: string;
  readonly executions: readonly string[];
  /** With one group; several have ordered ones. */
  readonly reads: readonly string[];
  readonly groupsMax: number;
  /** By default as many as a cluster may have. */
  readonly replicasMax?: number;
}

const combinations: readonly Combination[] = [
  { ordering: "multi-paxos", executions: ["sequential", "pipelined"], reads: ["quorum", "ordered"], groupsMax: 1 },
  {
    ordering: "none",
    executions: ["sequential", "pipelined"],
    reads: ["quorum", "ordered"],
    groupsMax: 1,
    replicasMax: 1,
  },
  {
    ordering: "multi-paxos",
    executions: ["psmr", OPTIMISTIC_EXECUTION],
    reads: ["quorum", "ordered"],
    groupsMax: GROUPS_CONFIGURED_MAX,
  },
];

/** A service and what it needs from the processes around it. */
export interface ServiceEntry {
  readonly name: string;
  /** Null for a service that a user defined: a replica's thread loads its module (`loadServiceModule`). */
  readonly module: ServiceModule | null;
  /** For several groups; null for a service whose state threads can't share. */
  readonly shared: SharedServiceModule | null;
  /** True if clients can reach it by the Redis protocol. */
  readonly resp: boolean;
}

const services: readonly ServiceEntry[] = [
  { name: "kv", module: kv, shared: sharedKv, resp: true },
  { name: "btree", module: btree, shared: sharedBtree, resp: false },
  { name: "counter", module: counter, shared: null, resp: false },
];

/** Every name of the product contract, built or not, in the order it lists them. */
const planned = {
  ordering: ["multi-paxos", "ring-paxos", "raft", "pbft", "zyzzyva", "none"],
  execution: ["sequential", "pipelined", "sdpe", "execute-verify", "psmr", "opt-psmr"],
  reads: ["quorum", "lease", "ordered"],
  service: ["kv", "btree", "counter", "fs"],
} as const;

export type SiblingFamily = keyof typeof planned;

/** Every start of a replica asks for them, and a simulation starts thousands. */
const built: Readonly<Record<SiblingFamily, readonly string[]>> = {
  ordering: planned.ordering.filter((name) => combinations.some((row) => row.ordering === name)),
  execution: planned.execution.filter((name) => combinations.some((row) => row.executions.includes(name))),
  reads: planned.reads.filter((name) => combinations.some((row) => row.reads.includes(name))),
  service: planned.service.filter((name) => services.some((entry) => entry.name === name)),
};

/** The names of a family that this version has built: what `--help` lists. */
export function builtNames(family: SiblingFamily): readonly string[] {
  return built[family];
}

/** Throws `ConfigError` unless `name` is a sibling of the family and built, or a module of the user's that may define one. */
export function checkName(family: SiblingFamily, name: string): void {
  const names = built[family];
  if (names.includes(name)) return;
  if (family === "service" && isServiceModule(name)) return;
  const known = (planned[family] as readonly string[]).includes(name);
  const others = family === "service" ? `${names.join(", ")}, or a module: ./service.js` : names.join(", ");
  throw new ConfigError(`${family} "${name}" is ${known ? "not built yet" : "unknown"}; there is ${others}`);
}

export function serviceEntry(name: string): ServiceEntry {
  checkName("service", name);
  return services.find((entry) => entry.name === name) ?? { name, module: null, shared: null, resp: false };
}

/** A service that threads of a replica can share. Throws `ConfigError` for one that they can't. */
function sharedServiceOf(name: string): SharedServiceModule {
  const { shared } = serviceEntry(name);
  if (shared === null) {
    const able = services.filter((entry) => entry.shared !== null).map((entry) => entry.name);
    throw new ConfigError(
      `service ${name} has one group: its state can't be shared by threads; there is ${able.join(", ")}`,
    );
  }
  return shared;
}

/** What says how a cluster's threads share its service. */
export type SharingConfig = Pick<ClusterConfig, "service" | "execution" | "groups" | "bounds">;

/**
 * The service that the threads of a replica of this cluster share. Throws `ConfigError` for one that they can't share, or that is a
 * user's: its module is loaded elsewhere.
 */
export function sharedServiceFor(config: SharingConfig): SharedServiceModule {
  const shared = sharedServiceOf(config.service);
  // Leaves belong to threads only where keys do by ranges; elsewhere a hash spreads those that are popular.
  return shared === sharedBtree && isOptimistic(config) ? sharedBtreeWith(config.bounds) : shared;
}

/**
 * How clients and gateways of this cluster choose the streams of their blocks; for a user's service `module` is what its
 * definition makes. Throws as `sharedServiceFor`.
 */
export function clientMappingOf(config: SharingConfig, module = sharedServiceFor(config)): GroupMapping {
  const { groups } = config;
  return (isOptimistic(config) ? module.optimisticMapping?.(groups) : undefined) ?? module.mapping(groups);
}

/** The siblings that a cluster's configuration names. Throws `ConfigError` for one that is not built. */
export function siblingsOf(config: Pick<ClusterConfig, "service" | "ordering" | "execution">): ReplicaSiblings {
  checkName("ordering", config.ordering);
  checkName("execution", config.execution);
  const { module } = serviceEntry(config.service);
  return {
    ordering: orderings.find((candidate) => candidate.name === config.ordering) as (typeof orderings)[number],
    createExecution: executions[config.execution as keyof typeof executions],
    createService: () => {
      assert(module !== null, `the module ${config.service} was not loaded`);
      return module.create();
    },
  };
}

/** Throws `ConfigError` naming both sides of a combination that does not work, or a name that is not built. */
export function checkCombination(wanted: {
  readonly service: string;
  readonly ordering: string;
  readonly execution: string;
  readonly reads: string;
  readonly groups: number;
  readonly replicas?: number | undefined;
  readonly merge?: string | undefined;
  readonly barrier?: string | undefined;
  readonly resubmit?: string | undefined;
  readonly bounds?: readonly string[] | undefined;
}): void {
  const { ordering, execution, reads, groups } = wanted;
  for (const family of ["service", "ordering", "execution", "reads"] as const) checkName(family, wanted[family]);
  const row = combinations.find((each) => each.ordering === ordering && each.executions.includes(execution));
  if (row === undefined) throw new ConfigError(`execution ${execution} does not run on ordering ${ordering}`);
  if (!row.reads.includes(reads)) throw new ConfigError(`ordering ${ordering} offers no ${reads} reads`);
  if (groups > row.groupsMax) {
    const parallel = combinations.find((each) => each.ordering === ordering && each.groupsMax >= groups);
    const hint =
      parallel === undefined ? "" : `; ${parallel.executions.join(" and ")} have up to ${parallel.groupsMax}`;
    throw new ConfigError(
      `ordering ${ordering} with execution ${execution} has at most ${row.groupsMax} group, got ${groups}${hint}`,
    );
  }
  const { replicas = 1 } = wanted;
  if (row.replicasMax !== undefined && replicas > row.replicasMax) {
    throw new ConfigError(`ordering ${ordering} has ${row.replicasMax} replica at most, got ${replicas}`);
  }
  for (const name of ["merge", "barrier"] as const) {
    if (wanted[name] !== undefined && row.groupsMax === 1) {
      throw new ConfigError(`${name} ${wanted[name]} needs execution psmr or opt-psmr, got ${execution}`);
    }
  }
  for (const name of ["resubmit", "bounds"] as const) {
    if (wanted[name] !== undefined && execution !== OPTIMISTIC_EXECUTION) {
      throw new ConfigError(
        `${name} ${String(wanted[name])} needs execution ${OPTIMISTIC_EXECUTION}, got ${execution}`,
      );
    }
  }
  if (wanted.bounds !== undefined && wanted.service !== "btree") {
    throw new ConfigError(`bounds are of the keys of service btree, got service ${wanted.service}`);
  }
  if (groups === 1) return;
  if (reads !== "ordered") throw new ConfigError(`with ${groups} groups reads are ordered, got ${reads}`);
  // The tables of a user's service are always cut up by keys.
  if (!isServiceModule(wanted.service)) sharedServiceOf(wanted.service);
}
