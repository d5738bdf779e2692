import type { Check, ExperimentRun, Findings, Plot, Row } from "../frame/index.js";
import { busiestShare, copiesOf, drawWorkload, encodeCommands, planStreams } from "../streams/index.js";
import { Bench, CALIBRATION, costsOf, OPTIMISTIC_CALIBRATION, type RateRow, rowOf, type Variant } from "./bench.js";
import { clusterRows, clustersMeasured, type ClusterVariant } from "./cluster-rows.js";
import { type Costs, describeCosts, makespan, type Priced } from "./costs.js";
import { simulatedRows, type SimulatedCase } from "./simulated-rows.js";
import { sizesOf } from "./sizes.js";

/** What differs between the experiments that compare execution models. */
export interface Design {
  /** Whether opt-PSMR is among them: keys are then scattered, and independent commands are reads. */
  readonly optimistic?: boolean;
  /** What simulation alone needs measured besides the calibration. */
  readonly calibration?: readonly Variant[];
  /** What real mode measures besides the calibration. */
  readonly variants: readonly Variant[];
  readonly simulated: readonly SimulatedCase[];
  /** What is assumed besides, for the configuration of the result. */
  readonly assumed?: Row;
  /** Whole clusters that real mode puts a load on. */
  readonly clusters?: readonly ClusterVariant[];
  /** Rows of other kinds that need the costs. */
  more?(run: ExperimentRun, costs: Costs): Promise<readonly Row[]>;
  checks(rows: readonly RateRow[], costs: Costs, more: readonly Row[]): readonly Check[];
  plots(rows: readonly RateRow[], costs: Costs, more: readonly Row[]): readonly Plot[];
}

/** Measures, calibrates the simulation with what was measured, and simulates. */
export async function study(run: ExperimentRun, design: Design): Promise<Findings> {
  const optimistic = design.optimistic === true;
  const sizes = sizesOf(run, optimistic);
  const bench = await Bench.open(run, sizes, optimistic ? "scattered" : "even");
  const rows: RateRow[] = [];
  let costs: Costs;
  let failRates: Row = {};
  try {
    const calibration = [...CALIBRATION, ...(optimistic ? OPTIMISTIC_CALIBRATION : []), ...(design.calibration ?? [])];
    const variants = run.modes.has("real") ? [...calibration, ...design.variants] : calibration;
    const measured = await bench.rows(unique(variants));
    run.finished?.(`${measured.length} cases measured with real threads`);
    costs = costsOf(measured, sizes.windowCommands);
    if (optimistic) failRates = failRatesOf(measured);
    if (run.modes.has("real")) rows.push(...measured.map((row) => withMakespan(row, run, bench, costs)));
    if (run.modes.has("sim")) {
      for (const [i, wanted] of design.simulated.entries()) {
        run.progress(`simulated ${i} of ${design.simulated.length}`);
        rows.push(...(await simulatedRows(run, bench, costs, { optimistic, ...wanted })));
      }
      run.finished?.(`${design.simulated.length} workloads simulated`);
    }
  } finally {
    await bench.close();
  }
  const config = {
    service: "btree",
    keys: sizes.keys,
    key_bytes: 8,
    commands: sizes.commands,
    commands_with_command_barriers: bench.barrierCommands,
    window_commands: sizes.windowCommands,
    group_descent: false,
    dropped: "first and last twelfth of each run",
    key_space: optimistic ? "scattered: inserts of keys anywhere, deletes of any" : "even",
    independent: optimistic ? "reads" : "half reads, half updates",
    dependent: "half inserts, half deletes; each does its work, and the tree keeps its size",
    throughput: "commands/s of the fastest of the interleaved repetitions",
    waiting: "spinning, then sleeping where others want the cores",
    ...(design.clusters === undefined ? {} : { whole_clusters: clustersMeasured(run) }),
    ...describeCosts(costs),
    ...failRates,
    ...design.assumed,
  };
  const more = [...((await design.more?.(run, costs)) ?? []), ...(await clusterRows(run, design.clusters ?? []))];
  return {
    config,
    rows: [...rows, ...more],
    checks: design.checks(rows, costs, more),
    plots: design.plots(rows, costs, more),
  };
}

/** φ of inserts and deletes, with one thread and with two, in the latest stream of each. */
function failRatesOf(measured: readonly RateRow[]): Row {
  const [one, two] = OPTIMISTIC_CALIBRATION.map((variant) => Number(rowOf(measured, variant)["fail_rate"]));
  return { fail_rate_1: one ?? null, fail_rate_2: two ?? null };
}

/** Each variant once: what several comparisons need is measured for all of them. */
function unique(variants: readonly Variant[]): Variant[] {
  const names = new Set<string>();
  return variants.filter(({ system, threads, barrier, dependent, skew, mapping, waiting }) => {
    const name = [
      system,
      threads,
      barrier ?? "run",
      dependent ?? 0,
      skew ?? "uniform",
      mapping ?? "range",
      waiting ?? "spin",
    ].join(" ");
    if (names.has(name)) return false;
    names.add(name);
    return true;
  });
}

/** A row of real mode with what the makespan of its own stream predicts. */
function withMakespan(row: RateRow, run: ExperimentRun, bench: Bench, costs: Costs): RateRow {
  const { dependent_percent: percent, skew, threads, mapping, barrier } = row;
  const { keys, windowCommands } = bench.sizes;
  const commands = Number(row["commands"]);
  const predicted = (priced: Priced): RateRow => ({
    ...row,
    busiest_share: busiestShare(priced.plan),
    makespan_throughput: (commands * 1e9) / makespan(priced),
  });
  if (row.system === "opt-psmr") {
    const { plan, optimism } = bench.foreseen(row);
    return predicted({ plan, costs, barrier, copies: copiesOf(plan, optimism) });
  }
  if (row.system !== "psmr") return row;
  const { space } = bench;
  const workload = drawWorkload({ seed: run.seed, commands, keys, dependent: percent / 100, skew, space });
  const encoded = encodeCommands(workload.operations, workload.keys, keys, space);
  const mapped = barrier === "command" ? "apart" : "conservative";
  return predicted({
    plan: planStreams(workload, encoded, threads, mapping, windowCommands, mapped),
    costs,
    barrier,
  });
}
