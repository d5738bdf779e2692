import { KiB, Prng } from "../../base/index.js";
import { ConfigError, type Durability, OPTIMISTIC_EXECUTION } from "../../model/index.js";
import type { SimLinkSettings } from "../../platform/index.js";
import { checkCombination, type ReplicaOptions } from "../../runtime/index.js";
import { type FaultName, faultNames } from "./fault-name.js";
import type { Strike } from "./strike.js";

/** What the caller of a run fixes; everything else follows from the seed. */
export interface SimArguments {
  readonly seed: number;
  readonly ordering?: string | undefined;
  readonly execution?: string | undefined;
  readonly service?: string | undefined;
  readonly durability?: Durability | undefined;
  readonly replicas?: number | undefined;
  /** Exactly these faults are enabled; by default the seed draws a subset. */
  readonly faults?: readonly FaultName[] | undefined;
  /** Redis connections of a gateway; only to the service `kv`. */
  readonly connections?: number | undefined;
  /** Groups beside g_all, 2 to 16; absent or 1: one stream. Seeds draw none by themselves. */
  readonly groups?: number | undefined;
  readonly merge?: GroupsScenario["merge"] | undefined;
  readonly barrier?: GroupsScenario["barrier"] | undefined;
  /** Of opt-psmr on several groups. */
  readonly resubmit?: "replicas" | "client" | undefined;
}

/** What a world with several groups has besides. */
export interface GroupsScenario {
  readonly count: number;
  readonly merge: "points" | "skips";
  readonly barrier: "run" | "command";
  /** Who sends again what failed its safety check; of opt-psmr. */
  readonly resubmit: "replicas" | "client";
  /** A member that is rung for wakes after up to so many ms. */
  readonly bellMsMax: number;
  /** 1: one replica stays down until the clients have finished, if none has forgotten anything; 0: all are there. */
  readonly oneDown: 0 | 1;
}

/** Knobs of an ordering beyond those that replicas are configured with; small here, so that their bounds are met. */
export interface OrderingKnobs {
  readonly executeLagMax: number;
  readonly logInstancesMax: number;
  readonly catchUpBytes: number;
  readonly promiseChunkBytes: number;
  readonly candidateLagMax: number;
}

export interface WorkloadScenario {
  readonly clients: number;
  /** Commands each client has open at once, at most: one a lane. */
  readonly lanes: number;
  readonly keys: number;
  /** Mean pause of a lane between two commands, in ms. */
  readonly thinkMs: number;
  /** A lane sends up to this many commands as one block. */
  readonly blockCommandsMax: number;
  /** Share of reads among the commands, and share of those that are sent unordered. */
  readonly reads: number;
  readonly unordered: number;
  /** Bytes that a written value is filled up with, at most. */
  readonly valueBytesMax: number;
  readonly deadlineMs: number;
  /** Redis connections of a gateway beside the clients; 0: no gateway. Only with the service `kv`. */
  readonly connections: number;
  /** Commands that each lane completes after the faults have ended. */
  readonly lastCommands: number;
}

/** One simulated world before it runs: a pure function of its arguments. */
export interface Scenario {
  readonly seed: number;
  readonly ordering: string;
  readonly execution: string;
  readonly service: string;
  readonly durability: Durability;
  readonly replicas: number;
  /** Length of the safety phase in virtual ms. */
  readonly safetyMs: number;
  /** Virtual ms after the end of all faults within which everything must have completed. */
  readonly livenessMs: number;
  readonly network: Partial<SimLinkSettings>;
  /** Enabled faults. The number is the mean time between two events in ms; 0 for those that hold all the time. */
  readonly faults: ReadonlyMap<FaultName, number>;
  /** The strikes of the faults one by one, or null: they are drawn while the world runs. */
  readonly schedule: readonly Strike[] | null;
  readonly options: Partial<ReplicaOptions>;
  readonly knobs: OrderingKnobs;
  /** Limits of the replicated state, the same on all replicas. */
  readonly limits: { readonly sessionIdleMs: number; readonly sessionRepliesMax: number };
  readonly segmentBytes: number;
  readonly workload: WorkloadScenario;
  /** Absent with one group. */
  readonly groups?: GroupsScenario;
}

/** Faults whose place is the network's settings rather than a point in time. */
const standing: ReadonlySet<FaultName> = new Set(["loss", "delay", "duplicate", "reorder"]);

/** Share of the worlds with pauses whose safety phase is long. */
const LONG_SHARE = 0.1;

/** A log has room for the skips of some 10 s. */
const SKIPPED_INSTANCES_MIN = 2000;

/** Faults of what a replica stores; one that stores nothing but who it is has none of them. */
const ofDisks: ReadonlySet<FaultName> = new Set([
  "damage",
  "slow-disk",
  "disk-error",
  "bit-rot",
  "misdirect",
  "misread",
  "full-disk",
  "lose-log",
  "damage-identity",
]);

/** Virtual time that a cluster and its clients have for healing. Bounds everything that backs off, times out or rejoins. */
const LIVENESS_MS = 20_000;

/** Draws the world of a seed. Throws `ConfigError` for siblings that are not there or do not go together. */
export function drawScenario(wanted: SimArguments): Scenario {
  const prng = new Prng(`scenario ${wanted.seed}`);
  // Every number is drawn whether or not an argument overrides it, so that an argument changes nothing but itself.
  const drawn = {
    execution: prng.chance(0.7) ? "pipelined" : "sequential",
    service: drawService(prng.chance(0.9), prng.fork("service")),
    durability: prng.pick<Durability>(["fsync", "fsync", "fsync", "fsync", "fsync", "fsync", "os", "memory"]),
    replicas: prng.pick([3, 3, 3, 3, 3, 5, 5, 7, 4, 2, 1]),
    faults: drawFaults(prng.fork("faults")),
  };
  const replicas = wanted.replicas ?? drawn.replicas;
  const several = (wanted.groups ?? 1) > 1;
  // What is kept in memory alone is gone when a replica's members start anew, as they do behind a state transfer.
  const durability = wanted.durability ?? (several && drawn.durability === "memory" ? "os" : drawn.durability);
  const rates = drawn.faults.rates;
  const enabled = wanted.faults ?? drawn.faults.enabled;
  const groups = drawGroups(wanted);
  const faults = new Map(
    enabled.filter((fault) => isPossible(fault, durability, groups)).map((fault) => [fault, rates.get(fault) ?? 0]),
  );
  const options = drawOptions(prng.fork("options"));
  const scenario: Scenario = {
    seed: wanted.seed,
    ordering: wanted.ordering ?? "multi-paxos",
    execution: wanted.execution ?? (several ? "psmr" : drawn.execution),
    service:
      wanted.service ??
      (several ? new Prng(`service of groups ${wanted.seed}`).pick(["btree", "btree", "kv"]) : drawn.service),
    durability,
    replicas,
    safetyMs: Math.floor(prng.between(3000, 9000) + drawLonger(wanted.seed, faults)),
    livenessMs: LIVENESS_MS,
    network: drawNetwork(prng.fork("network"), faults),
    faults,
    schedule: null,
    options,
    knobs: roomForSkips(drawKnobs(prng.fork("knobs"), options.checkpointInstances), groups),
    limits: {
      sessionIdleMs: prng.pick(faults.has("expire") ? [2000, 2000, 4000] : [4000, 20_000, 600_000]),
      sessionRepliesMax: prng.pick([4, 64, 1024]),
    },
    segmentBytes: prng.pick([4, 8, 16, 16, 64]) * KiB,
    workload: optimisticWorkload(drawWorkload(prng.fork("workload"), several ? 0 : wanted.connections), wanted),
    ...(groups === null ? {} : { groups }),
  };
  checkScenario(scenario);
  if (wanted.resubmit !== undefined && scenario.execution !== OPTIMISTIC_EXECUTION) {
    throw new ConfigError(`resubmit goes with execution ${OPTIMISTIC_EXECUTION}, got ${scenario.execution}`);
  }
  return scenario;
}

const groupsWords: Readonly<Record<"merge" | "barrier" | "resubmit", readonly string[]>> = {
  merge: ["points", "skips"],
  barrier: ["run", "command"],
  resubmit: ["replicas", "client"],
};

/** Throws `ConfigError` for siblings that are not there or do not go together. */
export function checkScenario(scenario: Scenario): void {
  const { groups } = scenario;
  if (scenario.ordering === "none") {
    throw new ConfigError(
      "ordering none is not simulated: a server that is not replicated survives none of the faults here",
    );
  }
  if (groups === undefined) return checkCombination({ ...scenario, reads: "quorum", groups: 1 });
  if (groups.count < 2) throw new ConfigError(`several groups are 2 at least, got ${groups.count}`);
  for (const name of ["merge", "barrier", "resubmit"] as const) {
    const [word, words] = [groups[name], groupsWords[name]];
    if (!words.includes(word)) throw new ConfigError(`${name} is ${words.join(" or ")}, got ${word}`);
  }
  const resubmit = scenario.execution === OPTIMISTIC_EXECUTION ? groups.resubmit : undefined;
  checkCombination({ ...scenario, reads: "ordered", groups: groups.count, resubmit });
}

/** Of a generator of its own, so that a world with one group draws what it always drew; null for one group. */
export function drawGroups({ seed, groups = 1, merge, barrier, resubmit }: SimArguments): GroupsScenario | null {
  if (groups === 1) {
    if (merge !== undefined || barrier !== undefined || resubmit !== undefined) {
      throw new ConfigError("merge, barrier and resubmit go with several groups");
    }
    return null;
  }
  const prng = new Prng(`groups ${seed}`);
  const drawn = {
    merge: prng.pick<GroupsScenario["merge"]>(["points", "points", "skips"]),
    barrier: prng.pick<GroupsScenario["barrier"]>(["run", "run", "command"]),
    bellMsMax: prng.pick([0.05, 0.05, 1, 20]),
    oneDown: prng.pick<0 | 1>([0, 1]),
    resubmit: prng.pick<GroupsScenario["resubmit"]>(["replicas", "replicas", "client"]),
  };
  const wanted = barrier ?? drawn.barrier;
  return {
    ...drawn,
    // Two rings for each command of g_all: with slow ones there is more to order than can ever be executed.
    bellMsMax: wanted === "command" ? Math.min(1, drawn.bellMsMax) : drawn.bellMsMax,
    count: groups,
    merge: merge ?? drawn.merge,
    barrier: wanted,
    resubmit: resubmit ?? drawn.resubmit,
  };
}

/** Pauses of up to 30 s need a phase that goes on behind them; in most worlds they are cut short by its end. */
function drawLonger(seed: number, faults: ReadonlyMap<FaultName, number>): number {
  const prng = new Prng(`longer ${seed}`);
  return faults.has("pause") && prng.chance(LONG_SHARE) ? prng.between(10_000, 40_000) : 0;
}

function drawService(ordered: boolean, prng: Prng): string {
  if (!ordered) return "counter";
  return prng.chance(0.25) ? "btree" : "kv";
}

/** Swarm testing: each seed has its own subset of faults, each at its own rate; what hides a bug in one is off in another. */
function drawFaults(prng: Prng): { enabled: FaultName[]; rates: Map<FaultName, number> } {
  const share = prng.pick([0.1, 0.3, 0.3, 0.5, 0.7]);
  const rates = new Map<FaultName, number>();
  const enabled: FaultName[] = [];
  for (const fault of faultNames) {
    if (prng.chance(share)) enabled.push(fault);
    // Means from several a second to one in the whole phase, evenly on a logarithmic scale.
    rates.set(fault, standing.has(fault) ? 0 : Math.round(prng.logarithmic(250, 5)));
  }
  return { enabled, rates };
}

/** Faults that forget are bounded by who may forget (`ReplicaBudget`); these have no meaning, or would lose what was promised. */
function isPossible(fault: FaultName, durability: Durability, groups: GroupsScenario | null): boolean {
  if (fault === "thread" && groups === null) return false;
  // Streams are filled up to what clocks say: one that is ahead by an hour makes the others' commands wait that long.
  if (groups?.merge === "skips" && (fault === "clock" || fault === "drift")) return false;
  if (durability === "memory" && (fault === "crash-all" || ofDisks.has(fault))) return false;
  if (durability === "os" && ["crash-all", "disk-error"].includes(fault)) return false;
  return true;
}

function drawNetwork(prng: Prng, faults: ReadonlyMap<FaultName, number>): Partial<SimLinkSettings> {
  const reorder = faults.has("reorder") || faults.has("duplicate");
  const far = prng.chance(0.2);
  const spikes = { spikeProbability: prng.pick([0.01, 0.05, 0.2]), spikeMaxMs: prng.pick([20, 200, 1000]) };
  const loss = prng.pick([0.005, 0.02, 0.1, 0.3]);
  const duplicates = prng.pick([0.01, 0.1, 0.5]);
  return {
    mode: reorder ? "datagram" : "stream",
    delayMinMs: far ? 5 : 0.05,
    delayMaxMs: far ? 15 : faults.has("reorder") ? 5 : 0.5,
    ...(faults.has("delay") ? spikes : {}),
    lossProbability: faults.has("loss") ? loss : 0,
    duplicateProbability: faults.has("duplicate") ? duplicates : 0,
    resetProbability: prng.pick([0.1, 0.5, 1]),
  };
}

function drawOptions(prng: Prng) {
  const checkpointBytes = prng.pick([4, 16, 64, 256]) * KiB;
  const windowBytesMax = prng.pick([16, 64, 256]) * KiB;
  const heartbeatMs = prng.pick([30, 50, 50, 100]);
  const options = {
    seed: prng.u32(),
    heartbeatMs,
    electionTimeoutMs: heartbeatMs * prng.pick([4, 6, 10]),
    electionJitterMs: prng.pick([50, 200, 300]),
    windowInstancesMax: prng.pick([1, 4, 64]),
    windowBytesMax,
    batchBytesMax: Math.min(windowBytesMax, prng.pick([1, 16, 1024]) * KiB),
    ingressBytesMax: prng.pick([16, 256, 1024]) * KiB,
    checkpointBytes,
    checkpointInstances: prng.pick([10, 40, 150, 1000]),
    // A log that holds less than a few windows and checkpoint intervals would fill up before it may be trimmed.
    logBytesMax: Math.max(4 * windowBytesMax, 4 * checkpointBytes, prng.pick([256, 1024, 65_536]) * KiB),
    arenaChunkBytes: 16 * KiB,
    checkpointSliceBytes: prng.pick([64, 512, 16 * KiB]),
  } satisfies Partial<ReplicaOptions>;
  // Drawn along with the seed, so that what is drawn behind it stays as it was before there was this.
  return { ...options, logMemoryBytesMax: [0, 64 * KiB, 16_384 * KiB][options.seed % 3] as number };
}

function drawKnobs(prng: Prng, checkpointInstances: number): OrderingKnobs {
  return {
    executeLagMax: prng.pick([64, 512, 4096]),
    // Below a few checkpoint intervals a log would fill up before it may be trimmed.
    logInstancesMax: checkpointInstances * prng.pick([6, 20, 10_000]),
    catchUpBytes: prng.pick([100, 2000, 64 * KiB]),
    promiseChunkBytes: prng.pick([100, 2000, 64 * KiB]),
    candidateLagMax: prng.pick([20, 200, 10_000]),
  };
}

/** Streams are filled up by some 200 instances a second, also while one of them has no coordinator. */
function roomForSkips(knobs: OrderingKnobs, groups: GroupsScenario | null): OrderingKnobs {
  if (groups?.merge !== "skips") return knobs;
  return { ...knobs, logInstancesMax: Math.max(knobs.logInstancesMax, SKIPPED_INSTANCES_MIN) };
}

/** Sessions of opt-PSMR have several blocks under way, so that commands come behind such as have failed. */
function optimisticWorkload(drawn: WorkloadScenario, { execution, groups = 1 }: SimArguments): WorkloadScenario {
  if (execution !== OPTIMISTIC_EXECUTION || groups === 1) return drawn;
  const { clients } = drawn;
  const lanes = drawn.lanes + 1;
  const blockCommandsMax = drawn.blockCommandsMax === 1 ? 2 : 6;
  return {
    ...drawn,
    lanes,
    blockCommandsMax,
    keys: Math.max(drawn.keys, Math.ceil((clients * lanes * blockCommandsMax) / 4)),
  };
}

function drawWorkload(prng: Prng, connections: number | undefined): WorkloadScenario {
  const clients = 3 + prng.below(4);
  const lanes = prng.pick([1, 1, 2, 3]);
  const blockCommandsMax = prng.pick([1, 1, 4]);
  const keys = prng.pick([2, 4, 6]);
  const drawn = {
    clients,
    lanes,
    // Everything open at a cut gets an unknown outcome; too many of these on one key can't be checked.
    keys: Math.max(keys, Math.ceil((clients * lanes * blockCommandsMax) / 4)),
    thinkMs: prng.pick([30, 80, 200]),
    blockCommandsMax,
    reads: prng.pick([0.2, 0.5, 0.7]),
    unordered: prng.pick([0, 0.5, 0.9]),
    valueBytesMax: prng.pick([0, 0, 0, 300, 5000]),
    deadlineMs: prng.pick([600, 2000, 5000]),
    lastCommands: 3,
    connections: prng.pick([0, 0, 2, 4]),
  };
  return connections === undefined ? drawn : { ...drawn, connections };
}
