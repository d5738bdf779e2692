import { AssertionError } from "../../base/index.js";
import { type Instance, isOptimistic, TraceCode } from "../../model/index.js";
import { checkHistory } from "../check/index.js";
import { Nemesis } from "../faults/index.js";
import { drawScenario, type FaultName, type Scenario, type SimArguments, type Strike } from "../scenario/index.js";
import { type CommandSource, DeterminismFinding, type LoadClient } from "../workload/index.js";
import { type CrashPointCount, type Disguise, SimWorld, WorldViolation } from "../world/index.js";

/** Steps of the search for a linear order; histories of a run need a few thousand. */
const CHECK_STEPS_MAX = 100_000_000;

/**
 * Virtual time within which each client is answered something once the faults have ended. It is what the slowest healing
 * takes: a connection that is tried again after a second, replicas that start, recover and rejoin, an election that collides,
 * a client that asks around for the leader.
 */
const PROGRESS_MS = 10_000;

/** What opt-PSMR has met in one run. */
export interface OptimismCounts {
  /** Commands that failed their safety check, and those of them that were executed conservatively. */
  readonly failed: number;
  readonly conservative: number;
  /** On all replicas: conservative executions refused since an earlier command of the session waited, and blocks multicast again. */
  readonly refused: number;
  readonly again: number;
}

/** What became of one seed. */
export interface SeedResult {
  readonly seed: number;
  readonly passed: boolean;
  /** Equal for equal seeds and arguments, whatever the machine. */
  readonly traceDigest: string;
  /** The invariant that does not hold, and what was seen; null for a seed that passed. */
  readonly invariant: string | null;
  readonly message: string | null;
  /** Operations of the clients' history. */
  readonly operations: number;
  readonly virtualMs: number;
  /** Virtual time in ms at which the invariant was seen to be broken; null for a seed that passed. */
  readonly failedMs: number | null;
  readonly events: number;
  readonly elections: number;
  readonly rejoins: number;
  readonly installs: number;
  readonly checkpoints: number;
  /** Starts of replicas from logs that lacked values, which came back from others without a rejoin. */
  readonly repairs: number;
  /** How often processes came by each crash point, and died there; in the order of `crashPoints`. */
  readonly crashPoints: readonly CrashPointCount[];
  /** Sessions that a replica has let expire, counted once a replica and life. */
  readonly sessionsExpired: number;
  /** What opt-PSMR has met; null for another execution model. */
  readonly optimism: OptimismCounts | null;
  /** Commands answered over Redis connections; each reply was compared with what the order of its connection makes of it. */
  readonly connectionReplies: number;
  /** False if the search for an order came to no end, and the witness along the decided order has judged alone. */
  readonly searched: boolean;
  /** How often each enabled fault came about. */
  readonly faultCounts: ReadonlyMap<FaultName, number>;
  /** Virtual ms from the end of the faults until each client had been answered something; null if never. */
  readonly progressMs: number | null;
  /** Virtual ms from the end of the faults until clients had finished and replicas stood at one place; null if never. */
  readonly healedMs: number | null;
  readonly scenario: Scenario;
  /** The strikes of the nemesis: with them as its schedule, the scenario runs without drawing any. */
  readonly schedule: readonly Strike[];
  /** What happened in the world, one line each: the log of a failed seed; empty for one that passed. */
  readonly notes: readonly string[];
}

/** Runs one world from its creation to the verdict over it. Throws only for bad arguments (`ConfigError`). */
export function runSeed(wanted: SimArguments, disguise: Disguise = {}): SeedResult {
  return runScenario(drawScenario(wanted), disguise);
}

/**
 * Runs the world of a scenario, whether a seed drew it or somebody wrote it down. `source`: what clients ask, in place of what
 * the service is asked by default.
 */
export function runScenario(
  scenario: Scenario,
  disguise: Disguise = {},
  source: CommandSource | null = null,
): SeedResult {
  const world = new SimWorld(scenario, disguise, source);
  world.source.begin?.(() => world.kernel.now);
  const nemesis = new Nemesis(world);
  let failure: WorldViolation | null = null;
  const healing: Healing = { progressMs: null, healedMs: null, searched: true };
  try {
    live(world, nemesis, healing);
  } catch (error) {
    failure = violationOf(error);
  }
  const count = (code: number): number => world.traced.get(code) ?? 0;
  return {
    seed: scenario.seed,
    passed: failure === null,
    traceDigest: world.kernel.trace.hex(),
    invariant: failure?.invariant ?? null,
    message: failure?.message ?? null,
    operations: world.history.operations.length,
    virtualMs: Math.round(world.kernel.now),
    failedMs: failure === null ? null : world.kernel.now,
    events: world.kernel.events,
    elections: count(TraceCode.elected),
    rejoins: count(TraceCode.rejoined),
    installs: count(TraceCode.installed),
    checkpoints: count(TraceCode.checkpointed),
    repairs: world.repairs,
    crashPoints: world.coverage.counts,
    sessionsExpired: count(TraceCode.sessionExpired),
    optimism: optimismOf(world),
    connectionReplies: world.connectionReplies(),
    faultCounts: world.faultCounts(),
    ...healing,
    scenario,
    schedule: nemesis.struck,
    notes: failure === null ? [] : world.notes,
  };
}

function optimismOf({ config, streams, refusedSiblings, multicastAgain }: SimWorld): OptimismCounts | null {
  if (!isOptimistic(config) || streams === null) return null;
  const { failed, conservative } = streams;
  return { failed, conservative, refused: refusedSiblings, again: multicastAgain };
}

function violationOf(error: unknown): WorldViolation {
  if (error instanceof WorldViolation) return error;
  if (error instanceof DeterminismFinding) return new WorldViolation("service-determinism", error.message);
  if (error instanceof AssertionError) return new WorldViolation("assertion", error.stack ?? error.message);
  if (error instanceof Error) return new WorldViolation("exception", error.stack ?? error.message);
  throw error;
}

/** What the liveness phase took and how the end was judged, filled in as it goes. */
interface Healing {
  progressMs: number | null;
  healedMs: number | null;
  searched: boolean;
}

/** The part of a run without faults: it began at `sinceMs`, and everything in it has to come about within a bound. */
interface Calm {
  readonly world: SimWorld;
  readonly sinceMs: number;
}

/** Safety phase, liveness phase, verdict. Throws `WorldViolation` for whatever does not hold. */
function live(world: SimWorld, nemesis: Nemesis, healing: Healing): void {
  const { scenario, kernel, clients } = world;
  world.start();
  nemesis.start();
  world.run(scenario.safetyMs);
  nemesis.stop();
  for (const client of clients) client.finish(scenario.workload.lastCommands);
  const calm = { world, sinceMs: kernel.now };
  const before = clients.map(({ completed }) => completed);
  const silent = (): LoadClient[] =>
    clients.filter((client, index) => client.completed === before[index] && !client.idle);
  const describe = (waiting: readonly LoadClient[]): string => waiting.map(({ waitsFor }) => waitsFor).join("; ");
  within(
    calm,
    Math.min(PROGRESS_MS, scenario.livenessMs),
    "progress",
    () => silent().length === 0,
    () => describe(silent()),
  );
  healing.progressMs = kernel.now - calm.sinceMs;
  within(
    calm,
    scenario.livenessMs,
    "clients-finish",
    () => clients.every((client) => client.idle),
    () => describe(clients.filter((client) => !client.idle)),
  );
  readEverything(calm);
  nemesis.completeReplicas();
  const decided = world.decided();
  within(
    calm,
    scenario.livenessMs,
    "replicas-catch-up",
    () => (scenario.groups === undefined ? caughtUp(world) : cameThrough(world, decided)),
    () => "they stand apart",
  );
  healing.healedMs = kernel.now - calm.sinceMs;
  world.finish();
  const objection = world.source.verdict?.() ?? null;
  if (objection !== null) throw new WorldViolation("service-check", objection);
  const { verdict, violation, reasons } = checkHistory(world.history.operations, { stepsMax: CHECK_STEPS_MAX });
  if (verdict === "linearizable") return;
  if (verdict === "unknown") {
    // The witness has seen every operation and objected to none, or the run would have ended by it. With several groups that is the
    // checker of merged orders, and each key alone was searched.
    healing.searched = false;
    const unjudged = world.witness?.counts().unjudged ?? world.streams?.merged?.counts().unjudged ?? Infinity;
    if (unjudged > 0) throw new WorldViolation("checkable", reasons.join("; "));
    return;
  }
  throw new WorldViolation("linearizability", JSON.stringify(violation));
}

function within(
  { world, sinceMs }: Calm,
  limitMs: number,
  invariant: string,
  done: () => boolean,
  missing: () => string,
): void {
  world.run(sinceMs + limitMs, done);
  if (done()) return;
  throw new WorldViolation(
    invariant,
    `not within ${limitMs} ms after the faults had ended: ${missing()}; ${world.describe()}`,
  );
}

/** Ordered reads of every key by a client of its own: they show the state that all acknowledged commands left. */
function readEverything(calm: Calm): void {
  const { world } = calm;
  let answered = false;
  const reader = world.client("reader");
  reader.finish(0);
  reader.ask(world.source.finalReads(), () => {
    answered = true;
  });
  within(
    calm,
    world.scenario.livenessMs,
    "clients-finish",
    () => answered,
    () => reader.waitsFor,
  );
}

/**
 * With several groups coordinators may order marks for ever. Every member of every replica has come through what was decided
 * when the clients had finished.
 */
function cameThrough(world: SimWorld, decided: readonly Instance[]): boolean {
  return world.replicas.every((replica) =>
    replica.members.every((member, index) => {
      const status = member?.status();
      return status !== undefined && status.role !== "recovering" && status.executed >= (decided[index] as number);
    }),
  );
}

function caughtUp(world: SimWorld): boolean {
  const executed = world.replicas.map((replica) => replica.replica?.status());
  const [first] = executed;
  if (first === undefined) return false;
  return executed.every((status) => status?.executed === first.executed && status.role !== "recovering");
}
