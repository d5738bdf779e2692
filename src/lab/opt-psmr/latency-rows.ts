import type { ExperimentRun, Row } from "../frame/index.js";
import { drawWorkload, type Workload } from "../streams/index.js";
import { type Costs, PAPER_THREADS } from "../study/index.js";
import { type Latencies, type LatencyOptions, runLatencyModel } from "./latency-model.js";

/** Latencies in virtual time, of a load step or at saturation. */
export interface LatencyRow extends Row {
  readonly mode: "sim";
  readonly system: LatencyOptions["system"];
  readonly merge: LatencyOptions["merge"];
  readonly resubmit: LatencyOptions["resubmit"];
  readonly threads: number;
  readonly keys: number;
  readonly dependent_percent: number;
  /** Commands per second that clients send; of closed loops what was answered. */
  readonly offered_per_s: number;
  readonly throughput: number;
  readonly passed_ms: number;
  readonly failed_ms: number;
  readonly latency_ms: number;
  readonly fail_rate: number;
  readonly failures: number;
}

interface LatencySizes {
  readonly keys: number;
  /** Virtual time of a load step, in ms, and loads in commands per second. */
  readonly stepMs: number;
  readonly loads: readonly number[];
  /** Virtual time of a closed loop, in ms. */
  readonly saturationMs: number;
  /** Shares of dependent commands at which saturation is looked for, in percent. */
  readonly shares: readonly number[];
}

/** With so many keys the estimate of the fail rate is stated. */
const KEYS = 100_000;

function latencySizes({ quick, sizes }: ExperimentRun): LatencySizes {
  return {
    keys: sizes?.["latencyKeys"] ?? KEYS,
    stepMs: sizes?.["stepMs"] ?? (quick ? 400 : 1000),
    loads: quick ? [10_000, 40_000, 160_000] : [5000, 10_000, 20_000, 40_000, 80_000, 160_000],
    saturationMs: sizes?.["saturationMs"] ?? (quick ? 30 : 60),
    shares: quick ? [0, 100] : [0, 10, 25, 50, 100],
  };
}

/**
 * opt-PSMR under rising load, inserts and deletes alone: every step is as long and begins with the same tree, which has been
 * filled in random order.
 */
export async function loadSteps(run: ExperimentRun, costs: Costs): Promise<LatencyRow[]> {
  if (!run.modes.has("sim")) return [];
  const { keys, stepMs, loads } = latencySizes(run);
  const rows: LatencyRow[] = [];
  for (const perSecond of loads) {
    // Half as many again as are expected: the model takes what comes in time.
    const workload = workloadOf(run, keys, 100, Math.ceil((1.5 * perSecond * stepMs) / 1000) + 64);
    for (const merge of ["skips", "points"] as const) {
      for (const resubmit of ["client", "replicas"] as const) {
        run.progress(`load steps: ${perSecond} commands/s under ${merge}`);
        const options: LatencyOptions = {
          system: "opt-psmr",
          merge,
          resubmit,
          threads: PAPER_THREADS,
          workload,
          costs,
          seed: run.seed,
          load: { perSecond },
          durationMs: stepMs,
        };
        rows.push(rowOf(options, runLatencyModel(options), perSecond));
        await turn();
      }
    }
    run.finished?.(`the load step of ${perSecond} commands/s`);
  }
  return rows;
}

/** Clients of the first attempt to saturate a system, and by what they grow. */
const CLIENTS_MIN = 500;
const CLIENTS_MAX = 32_000;
/** More than any system answers in a virtual ms. */
const COMMANDS_PER_MS = 10_000;
/** A system is saturated when twice as many clients bring less than this much more. */
const GAIN = 1.25;

/** Every system at its own saturation: the fewest clients, by doubling, beyond which it hardly answers more. */
export async function saturation(
  run: ExperimentRun,
  costs: Costs,
  threads: readonly number[],
  wantedShares?: readonly number[],
): Promise<LatencyRow[]> {
  if (!run.modes.has("sim")) return [];
  const { keys, saturationMs, shares } = latencySizes(run);
  const rows: LatencyRow[] = [];
  for (const share of wantedShares ?? shares) {
    const workload = workloadOf(run, keys, share, Math.ceil(COMMANDS_PER_MS * saturationMs));
    for (const [system, counts] of [
      ["sequential", [1]],
      ["psmr", threads],
      ["opt-psmr", threads],
    ] as const) {
      for (const count of counts) {
        run.progress(`saturation: ${system} with ${count} threads at ${share} %`);
        rows.push(saturated(run, costs, system, count, workload, saturationMs));
        await turn();
      }
    }
  }
  return rows;
}

function saturated(
  run: ExperimentRun,
  costs: Costs,
  system: LatencyOptions["system"],
  threads: number,
  workload: Workload,
  durationMs: number,
): LatencyRow {
  let best: LatencyRow | undefined;
  for (let clients = CLIENTS_MIN; clients <= CLIENTS_MAX; clients *= 2) {
    const options: LatencyOptions = {
      system,
      merge: "points",
      resubmit: "replicas",
      threads,
      workload,
      costs,
      seed: run.seed,
      load: { clients },
      durationMs,
    };
    const found = runLatencyModel(options);
    if (best !== undefined && found.throughput < GAIN * best.throughput) break;
    best = rowOf(options, found, found.throughput, { clients });
  }
  return best as LatencyRow;
}

function workloadOf(run: ExperimentRun, keys: number, share: number, commands: number): Workload {
  return drawWorkload({
    seed: run.seed,
    commands,
    keys,
    dependent: share / 100,
    skew: "uniform",
    space: "scattered",
  });
}

function rowOf(
  { system, merge, resubmit, threads, workload }: LatencyOptions,
  { passed, failed, passedMs, failedMs, allMs, throughput }: Latencies,
  offered: number,
  fields: Row = {},
): LatencyRow {
  return {
    mode: "sim",
    system,
    merge,
    resubmit,
    threads,
    keys: workload.options.keys,
    dependent_percent: 100 * workload.options.dependent,
    offered_per_s: offered,
    throughput,
    passed_ms: passed === 0 ? 0 : passedMs,
    failed_ms: failed === 0 ? 0 : failedMs,
    latency_ms: passed + failed === 0 ? 0 : allMs,
    fail_rate: failed / Math.max(1, passed + failed),
    failures: failed,
    assumed: true,
    ...fields,
  };
}

/** What was simulated in one go is long enough: others on this thread have their turn. */
const turn = async (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
