import { AssertionError, KiB, MiB } from "../../base/index.js";
import { TraceCode } from "../../model/index.js";
import type { WitnessCounts } from "../check/index.js";
import { Nemesis } from "../faults/index.js";
import { drawScenario, type FaultName, type Scenario } from "../scenario/index.js";
import { commandSource, UnrecordedCommands, WideKvCommands } from "../workload/index.js";
import { type Disguise, SimWorld, WorldViolation } from "../world/index.js";

export interface LongRunArguments {
  readonly seed: number;
  /** A service with a reference model. */
  readonly service: string;
  /** The run ends when clients have been answered so many commands. */
  readonly operations: number;
  /** Called about every tenth of a virtual second with the commands answered so far. */
  readonly onProgress?: (operations: number) => void;
}

export interface LongRunResult {
  /** `unknown`: something could not be judged, `counts.reasons` says what and how much. A violation found is certain. */
  readonly verdict: "right" | "violation" | "unknown";
  readonly invariant: string | null;
  readonly message: string | null;
  readonly counts: WitnessCounts;
  /** Commands that clients were answered. */
  readonly operations: number;
  readonly virtualMs: number;
  readonly elections: number;
  readonly strikes: ReadonlyMap<FaultName, number>;
}

/** Faults that a run goes on through: the load stays high, and leaders change. */
const FAULTS: readonly FaultName[] = ["crash", "partition", "pause", "delay"];
const FAULT_MEAN_MS = 2000;
/** A slice of virtual time, in ms. */
const SLICE_MS = 100;
/** A run that answers nothing for so long in virtual ms has come to a stop. */
const SILENCE_MS_MAX = 30_000;
const KEYS = 500;

/**
 * One simulated cluster under faults and a load that no search for an order could check: every operation of a service, with
 * ranges and transactions, from many clients with many commands open, a million of them and more. Replicas are compared with
 * each other as in every run, and clients and replicas with the witness along the decided order.
 */
export function runLong(wanted: LongRunArguments, disguise: Disguise = {}): LongRunResult {
  const scenario = longScenario(wanted);
  const own = commandSource(wanted.service, scenario.workload);
  const source =
    wanted.service === "kv" ? new WideKvCommands(KEYS, scenario.workload.reads) : new UnrecordedCommands(own);
  const world = new SimWorld(scenario, disguise, source);
  const nemesis = new Nemesis(world);
  let violation: WorldViolation | null = null;
  try {
    world.start();
    nemesis.start();
    goOn(world, wanted);
    nemesis.stop();
    for (const client of world.clients) client.finish(0);
    world.run(world.kernel.now + scenario.livenessMs, () => world.clients.every((client) => client.idle));
    world.finish();
  } catch (error) {
    violation = violationOf(error);
  }
  const counts = world.witness?.counts() ?? { commands: 0, reads: 0, answered: 0, unjudged: 0, reasons: [] };
  return {
    verdict: violation !== null ? "violation" : counts.unjudged > 0 ? "unknown" : "right",
    invariant: violation?.invariant ?? null,
    message: violation?.message ?? null,
    counts,
    operations: completed(world),
    virtualMs: Math.round(world.kernel.now),
    elections: world.traced.get(TraceCode.elected) ?? 0,
    strikes: world.faultCounts(),
  };
}

function goOn(world: SimWorld, { operations, onProgress }: LongRunArguments): void {
  let before = 0;
  let silentSinceMs = 0;
  for (;;) {
    world.run(world.kernel.now + SLICE_MS);
    const answered = completed(world);
    if (answered > before) silentSinceMs = world.kernel.now;
    before = answered;
    onProgress?.(answered);
    if (answered >= operations) return;
    if (world.kernel.now - silentSinceMs > SILENCE_MS_MAX) {
      throw new WorldViolation("progress", `nothing was answered for ${SILENCE_MS_MAX} ms; ${world.describe()}`);
    }
  }
}

const completed = (world: SimWorld): number => world.clients.reduce((sum, client) => sum + client.completed, 0);

function violationOf(error: unknown): WorldViolation {
  if (error instanceof WorldViolation) return error;
  if (error instanceof AssertionError) return new WorldViolation("assertion", error.stack ?? error.message);
  if (error instanceof Error) return new WorldViolation("exception", error.stack ?? error.message);
  throw error;
}

/** The seed draws what it draws for short runs; load, limits and rates are those of a long one. */
function longScenario({ seed, service }: LongRunArguments): Scenario {
  const drawn = drawScenario({ seed, service, durability: "fsync", replicas: 3, faults: FAULTS });
  return {
    ...drawn,
    faults: new Map([...drawn.faults].map(([fault, meanMs]) => [fault, meanMs > 0 ? FAULT_MEAN_MS : 0])),
    safetyMs: Infinity,
    options: {
      seed,
      checkpointBytes: 4 * MiB,
      checkpointInstances: 5000,
      logBytesMax: 64 * MiB,
      arenaChunkBytes: 256 * KiB,
      windowBytesMax: 4 * MiB,
    },
    knobs: { ...drawn.knobs, executeLagMax: 4096, logInstancesMax: 1_000_000, catchUpBytes: 64 * KiB },
    limits: { sessionIdleMs: 20_000, sessionRepliesMax: 1024 },
    segmentBytes: 1 * MiB,
    workload: {
      clients: 6,
      lanes: 4,
      keys: 40,
      thinkMs: 2,
      blockCommandsMax: 60,
      reads: 0.4,
      unordered: 0.5,
      valueBytesMax: 0,
      deadlineMs: 5000,
      lastCommands: 0,
      connections: 0,
    },
  };
}
