import type { Experiment, ExperimentRun, Findings, Plot } from "../frame/index.js";
import {
  ALL,
  defaultMergeLimits,
  type Merge,
  MergePointMerge,
  MergePointPacing,
  MultiRingMerge,
  MultiRingPacing,
  type Pacing,
  SingleMerge,
  singlePacing,
  type StreamId,
} from "../../multicast/index.js";
import { idleLatency, type MergeConfig, type MergeKind, type MergeRow, sameOrder, skipRate } from "./checks.js";
import { type Delivered, FAILOVER_MS, MulticastModel } from "../delivery/index.js";

const GROUPS = 3;
/** λ is 1.5 times the highest rate of the scenarios that it is meant for. */
const CONFIG: MergeConfig = { lambda: 3000, intervalMs: 1, instancesMax: 512 };
/** Shares of λ at which streams of the scenario `above lambda` and of the curve send. */
const LOADS = [0.25, 0.5, 0.75, 0.9, 1.1, 1.5, 2] as const;

interface Scenario {
  readonly name: MergeRow["scenario"];
  /** Commands per second, g_all first. */
  readonly rates: readonly number[];
  /** Streams whose coordinators crash, at even distances. */
  readonly crashes: readonly StreamId[];
}

const IDLE: Scenario = { name: "idle g_all", rates: [0, 2000, 2000, 2000], crashes: [] };
const UNEQUAL: Scenario = { name: "unequal rates", rates: [100, 2000, 200, 20], crashes: [] };
const CRASHING: Scenario = { name: "failover", rates: [200, 2000, 400, 40], crashes: [1, ALL, 2, ALL, 1, 3] };

function partsOf(merge: MergeKind): { makeMerge(thread: StreamId): Merge; makePacing(stream: StreamId): Pacing } {
  const limits = { ...defaultMergeLimits, instancesMax: CONFIG.instancesMax };
  const ring = { instancesPerSecond: CONFIG.lambda, intervalMs: CONFIG.intervalMs, turn: 1, startMs: 0 };
  switch (merge) {
    case "alone":
      return { makeMerge: (thread) => new SingleMerge(thread, limits), makePacing: () => singlePacing };
    case "points":
      return {
        makeMerge: (thread) => new MergePointMerge(thread, limits),
        makePacing: (stream) => (stream === ALL ? singlePacing : new MergePointPacing()),
      };
    case "skips":
      return {
        makeMerge: (thread) => new MultiRingMerge([ALL, thread], ring, limits),
        makePacing: () => new MultiRingPacing(ring),
      };
  }
}

function measure(merge: MergeKind, scenario: Scenario, seed: number, durationMs: number): MergeRow {
  const gap = durationMs / (scenario.crashes.length + 1);
  const model = new MulticastModel({
    seed,
    groups: GROUPS,
    rates: scenario.rates,
    durationMs,
    withAll: merge !== "alone",
    failovers: scenario.crashes.map((stream, i) => ({ atMs: (i + 1) * gap, stream })),
    ...partsOf(merge),
  });
  const learners = model.run();
  const [first = []] = learners;
  // g_1 is the busiest group of every scenario.
  const busiest = first[0] as Delivered;
  const half = durationMs / 2;
  const late = busiest.atMs.filter((atMs) => atMs >= half && atMs < durationMs).length;
  const delays = Float64Array.from(busiest.delaysMs).sort();
  const pauses = busiest.atMs.map((atMs, i) => atMs - (busiest.atMs[i - 1] ?? 0));
  return {
    mode: "sim",
    scenario: scenario.name,
    merge,
    seed,
    learners: learners.length,
    learners_equal: learners.filter((each) => sameSequences(each, first)).length,
    delivered: first.reduce((sum, { delaysMs }) => sum + delaysMs.length, 0),
    offered_per_s: scenario.rates[1] ?? 0,
    throughput: (1000 * late) / half,
    median_delay_ms: quantile(delays, 0.5),
    p99_delay_ms: quantile(delays, 0.99),
    longest_pause_ms: pauses.reduce((a, b) => Math.max(a, b), 0),
    waiting_max: first.reduce((most, { waitingMax }) => Math.max(most, waitingMax), 0),
  };
}

function sameSequences(these: readonly Delivered[], those: readonly Delivered[]): boolean {
  return these.every(({ sequence }, thread) => {
    const other = those[thread]?.sequence ?? [];
    return sequence.length === other.length && sequence.every((name, i) => name === other[i]);
  });
}

function quantile(sorted: Float64Array, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}

async function study(run: ExperimentRun): Promise<Findings> {
  const durationMs = run.sizes?.["durationMs"] ?? (run.quick ? 2000 : 10_000);
  const seeds = run.sizes?.["seeds"] ?? (run.quick ? 8 : 50);
  const rows: MergeRow[] = [];
  if (run.modes.has("sim")) {
    for (const merge of ["alone", "points", "skips"] as const) {
      run.progress(`${merge}, ${rows.length} runs so far`);
      rows.push(measure(merge, IDLE, run.seed, durationMs));
    }
    for (const merge of ["points", "skips"] as const) {
      rows.push(measure(merge, UNEQUAL, run.seed, durationMs));
      for (const load of LOADS) {
        run.progress(`${merge}, ${rows.length} runs so far`);
        // The merge of the thread under load waits for g_all, whose skips come at λ.
        const rates = [0, load * CONFIG.lambda, 200, 200];
        const scenario: Scenario = { name: load === 2 ? "above lambda" : "unequal rates", rates, crashes: [] };
        rows.push(measure(merge, scenario, run.seed, durationMs));
        // What was simulated in one go is long enough: others on this thread have their turn.
        await new Promise(setImmediate);
      }
      for (let seed = run.seed; seed < run.seed + seeds; seed++) rows.push(measure(merge, CRASHING, seed, durationMs));
      run.finished?.(`${rows.length} runs through ${merge}`);
    }
  }
  const config = {
    groups: GROUPS,
    lambda_per_s: CONFIG.lambda,
    delta_ms: CONFIG.intervalMs,
    turn: 1,
    waiting_instances_max: CONFIG.instancesMax,
    failover_ms: FAILOVER_MS,
    duration_ms: durationMs,
    seeds_with_failover: seeds,
    time: "virtual: consensus 0.3 to 0.5 ms, to learners 0.05 to 0.15 ms",
  };
  const checks = [sameOrder(rows), idleLatency(rows, CONFIG), skipRate(rows, CONFIG)];
  return { config, rows, checks, plots: plots(rows) };
}

function plots(rows: readonly MergeRow[]): Plot[] {
  const curves = (y: (row: MergeRow) => number): Plot["curves"] =>
    (["points", "skips"] as const).map((merge) => ({
      name: merge === "points" ? "merge points" : "skips",
      points: rows
        .filter((row) => row.merge === merge && Number(row["offered_per_s"]) > 0 && isLoad(row))
        .map((row) => [Number(row["offered_per_s"]) / CONFIG.lambda, y(row)] as const),
    }));
  const x = "rate of the busy group over λ";
  return [
    {
      title: "Delivered commands of the busy group",
      x,
      y: "commands/s",
      shape:
        "Up to λ everything is delivered; beyond it skips of the other streams do not keep up, and delivery stays at λ.",
      curves: curves((row) => row.throughput),
    },
    {
      title: "Median delay from arrival to delivery",
      x,
      y: "ms",
      shape: "Flat below λ, by at most Δ above the latency of one ring; above λ it grows until buffers are full.",
      curves: curves((row) => row.median_delay_ms),
    },
  ];
}

const isLoad = (row: MergeRow): boolean => LOADS.some((load) => row["offered_per_s"] === load * CONFIG.lambda);

export const multiRingMerge: Experiment = {
  name: "multi-ring-merge",
  paper: "Marandi, Primi, Pedone: Multi-Ring Paxos (DSN 2012)",
  shows:
    "One order from many streams: skips against merge points when g_all is idle, rates differ, and coordinators crash.",
  modes: ["sim"],
  run: study,
};
