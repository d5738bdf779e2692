import type { Check, Curve, Experiment, ExperimentRun, Findings, Plot } from "../frame/index.js";
import { busiestShare, drawWorkload, encodeCommands, planStreams } from "../streams/index.js";
import { Bench, CALIBRATION, costsOf, findRow, type RateRow, type Variant } from "./bench.js";
import {
  breakEven,
  model,
  monotone,
  PAPER_THREADS,
  paysForBarriers,
  realTwoThreads,
  runBarriersRecover,
  schedulersStayBehind,
  SHARES,
  SIMULATED_THREADS,
  simScales,
  skewCosts,
} from "./checks.js";
import { type Costs, describeCosts, makespan, MEASURED_THREADS } from "./costs.js";
import { simulatedRows, type SimulatedCase } from "./simulated-rows.js";
import { type Sizes, sizesOf } from "./sizes.js";

const PSMR = "Marandi, Bezerra, Pedone: Rethinking State-Machine Replication for Parallelism (ICDCS 2014)";
const OPT_PSMR = "Marandi, Pedone: Optimistic Parallel State-Machine Replication (SRDS 2014)";

/** What differs between the experiments of P-SMR. */
interface Design {
  /** What simulation alone needs measured besides the calibration. */
  readonly calibration?: readonly Variant[];
  /** What real mode measures besides the calibration. */
  readonly variants: readonly Variant[];
  readonly simulated: readonly SimulatedCase[];
  checks(rows: readonly RateRow[], costs: Costs): readonly Check[];
  plots(rows: readonly RateRow[]): readonly Plot[];
}

/** Measures, calibrates the simulation with what was measured, and simulates. */
async function study(run: ExperimentRun, design: Design): Promise<Findings> {
  const sizes = sizesOf(run);
  const bench = await Bench.open(run, sizes);
  const rows: RateRow[] = [];
  let costs: Costs;
  try {
    const calibration = [...CALIBRATION, ...(design.calibration ?? [])];
    const variants = run.modes.has("real") ? [...calibration, ...design.variants] : calibration;
    const measured = await bench.rows(unique(variants));
    costs = costsOf(measured);
    if (run.modes.has("real")) rows.push(...measured.map((row) => withMakespan(row, run, sizes, costs)));
  } finally {
    await bench.close();
  }
  if (run.modes.has("sim")) {
    for (const [i, wanted] of design.simulated.entries()) {
      run.progress(`simulated ${i} of ${design.simulated.length}`);
      rows.push(...simulatedRows(run, sizes, costs, wanted));
    }
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
    independent: "half reads, half updates",
    dependent: "half inserts, half deletes; each does its work, and the tree keeps its size",
    throughput: "commands/s of the fastest of the interleaved repetitions",
    waiting: "spinning, then sleeping where others want the cores",
    ...describeCosts(costs),
  };
  return { config, rows, checks: design.checks(rows, costs), plots: design.plots(rows) };
}

/** Each variant once: what several comparisons need is measured for all of them. */
function unique(variants: readonly Variant[]): Variant[] {
  const names = new Set<string>();
  return variants.filter(({ system, threads, barrier, dependent, skew, mapping }) => {
    const name = [system, threads, barrier ?? "run", dependent ?? 0, skew ?? "uniform", mapping ?? "range"].join(" ");
    if (names.has(name)) return false;
    names.add(name);
    return true;
  });
}

/** A row of real mode with what the makespan of its own stream predicts. */
function withMakespan(row: RateRow, run: ExperimentRun, { keys, windowCommands }: Sizes, costs: Costs): RateRow {
  if (row.system !== "psmr") return row;
  const { dependent_percent: percent, skew, threads, mapping, barrier } = row;
  const commands = Number(row["commands"]);
  const workload = drawWorkload({ seed: run.seed, commands, keys, dependent: percent / 100, skew });
  const encoded = encodeCommands(workload.operations, workload.keys, keys);
  const plan = planStreams(workload, encoded, threads, mapping, windowCommands, barrier === "command");
  const predicted = (commands * 1e9) / makespan(plan, costs, barrier);
  return { ...row, busiest_share: busiestShare(plan), makespan_throughput: predicted };
}

/** Points of a curve; those that were not measured are left out. */
function curve(
  name: string,
  xs: readonly number[],
  rows: readonly RateRow[],
  mode: "real" | "sim",
  variant: (x: number) => Variant,
): Curve {
  const points = xs.flatMap((x) => {
    const row = findRow(rows, variant(x), mode);
    return row === undefined ? [] : [[x, row.throughput] as const];
  });
  return { name: `${name} (${mode})`, points };
}

const drawn = (curves: readonly Curve[]): Curve[] => curves.filter(({ points }) => points.length > 0);

/**
 * What the papers' texts say in numbers, in units of our SMR: about 3.15 times SMR without dependent commands (P-SMR's abstract),
 * the break-even slightly below 50 % and about half of SMR at 100 % (opt-PSMR, section IV-A).
 */
function paperCurve(rows: readonly RateRow[]): Curve {
  const smr = (dependent: number): number =>
    findRow(rows, { system: "sequential", threads: 1, dependent }, "sim")?.throughput ?? NaN;
  const points = [
    [0, 3.15 * smr(0)],
    [48, smr(50)],
    [100, 0.5 * smr(100)],
  ] as const;
  return { name: "P-SMR, K = 8, over our SMR", paper: true, points: points.filter(([, y]) => Number.isFinite(y)) };
}

const independent: Design = {
  calibration: [
    { system: "tree", threads: 1 },
    { system: "tree", threads: 2 },
  ],
  variants: [
    { system: "none", threads: 1 },
    { system: "sequential", threads: 1 },
    { system: "pipelined", threads: 1 },
  ],
  simulated: [{ threads: SIMULATED_THREADS }],
  checks: (rows, costs) => [realTwoThreads(rows), simScales(rows, costs), schedulersStayBehind(rows)],
  plots: (rows) => [
    {
      title: "Throughput with independent commands",
      x: "threads",
      y: "commands/s",
      shape: "P-SMR grows with every thread up to eight, to about three times SMR; schedulers peak at two to four.",
      curves: drawn([
        curve("P-SMR", [1, 2], rows, "real", (threads) => ({ system: "psmr", threads })),
        curve("P-SMR", SIMULATED_THREADS, rows, "sim", (threads) => ({ system: "psmr", threads })),
        curve("bare tree", [1, 2], rows, "real", (threads) => ({ system: "tree", threads })),
        curve("sequential SMR", [1, 2], rows, "real", () => ({ system: "sequential", threads: 1 })),
        curve("non-replicated", [1, 2], rows, "real", () => ({ system: "none", threads: 1 })),
      ]),
    },
    {
      title: "Throughput per thread, normalised to one thread",
      x: "threads",
      y: "share of one thread",
      shape: "Close to 1 throughout: nothing central is in the way of independent commands.",
      curves: drawn(
        (["real", "sim"] as const).map((mode) => {
          const all = curve("P-SMR", SIMULATED_THREADS, rows, mode, (threads) => ({ system: "psmr", threads }));
          const one = all.points[0]?.[1] ?? 1;
          return { name: all.name, points: all.points.map(([x, y]) => [x, y / x / one] as const) };
        }),
      ),
    },
  ],
};

const dependent: Design = {
  variants: [
    { system: "sequential", threads: 1, dependent: 100 },
    { system: "psmr", threads: 2, dependent: 100, barrier: "run" },
  ],
  simulated: [{ dependent: 100, threads: SIMULATED_THREADS, barriers: ["run", "command"] }],
  checks: (rows, costs) => [paysForBarriers(rows), runBarriersRecover(rows, costs)],
  plots: (rows) => [
    {
      title: "Throughput with dependent commands only",
      x: "threads",
      y: "commands/s",
      shape: "SMR is best; P-SMR has about half of it and falls as threads are added, for all meet at every command.",
      curves: drawn(
        (["real", "sim"] as const).flatMap((mode) => [
          curve("command barriers", [2, 4, 8, 16], rows, mode, (threads) => ({
            system: "psmr",
            threads,
            dependent: 100,
            barrier: "command",
          })),
          curve("run barriers", [2, 4, 8, 16], rows, mode, (threads) => ({
            system: "psmr",
            threads,
            dependent: 100,
          })),
          curve("sequential SMR", [2, 4, 8, 16], rows, mode, () => ({
            system: "sequential",
            threads: 1,
            dependent: 100,
          })),
        ]),
      ),
    },
  ],
};

const mixed: Design = {
  variants: SHARES.flatMap((share): Variant[] => [
    { system: "psmr", threads: 2, dependent: share, barrier: "command" },
    { system: "psmr", threads: 2, dependent: share, barrier: "run" },
    { system: "sequential", threads: 1, dependent: share },
  ]),
  simulated: SHARES.map((share) => ({
    dependent: share,
    threads: [2, 4, PAPER_THREADS],
    barriers: ["command", "run"],
  })),
  checks: (rows, costs) => [monotone(rows), model(rows), breakEven(rows, costs)],
  plots: (rows) => [
    {
      title: "Throughput over the share of dependent commands",
      x: "dependent commands in %",
      y: "commands/s",
      shape:
        "P-SMR far above SMR at 0 %, with a steep fall already to 1 %, crossing below SMR shortly before 50 %; SMR flat.",
      curves: drawn(
        (["real", "sim"] as const).flatMap((mode) => {
          const threads = mode === "real" ? MEASURED_THREADS : PAPER_THREADS;
          const name = `K = ${threads}`;
          return [
            curve(`P-SMR ${name}, command barriers`, SHARES, rows, mode, (x) => ({
              system: "psmr",
              threads,
              dependent: x,
              barrier: "command",
            })),
            curve(`P-SMR ${name}, run barriers`, SHARES, rows, mode, (x) => ({
              system: "psmr",
              threads,
              dependent: x,
            })),
            curve("sequential SMR", SHARES, rows, mode, (x) => ({ system: "sequential", threads: 1, dependent: x })),
            ...(mode === "sim" ? [paperCurve(rows)] : []),
          ];
        }),
      ),
    },
  ],
};

const skew: Design = {
  variants: (["uniform", "zipf"] as const).flatMap((keys): Variant[] => [
    { system: "psmr", threads: 1, skew: keys },
    { system: "psmr", threads: 2, skew: keys, mapping: "range" },
    { system: "psmr", threads: 2, skew: keys, mapping: "hash" },
  ]),
  simulated: (["uniform", "zipf"] as const).map((keys) => ({
    skew: keys,
    threads: SIMULATED_THREADS,
    mappings: ["range", "hash"],
  })),
  checks: (rows) => [skewCosts(rows)],
  plots: (rows) => [
    {
      title: "Reads and updates, uniform and Zipf keys",
      x: "threads",
      y: "commands/s",
      shape: "Skew lowers P-SMR: popular keys that lie together make one thread the bottleneck.",
      curves: drawn(
        (["real", "sim"] as const).flatMap((mode) =>
          (["range", "hash"] as const).flatMap((mapping) =>
            (["uniform", "zipf"] as const).map((keys) =>
              curve(`${keys}, by ${mapping}`, SIMULATED_THREADS, rows, mode, (threads) => ({
                system: "psmr",
                threads,
                skew: keys,
                mapping,
              })),
            ),
          ),
        ),
      ),
    },
  ],
};

export const psmrExperiments: readonly Experiment[] = [
  {
    name: "psmr-independent",
    paper: `${PSMR}, independent commands`,
    shows:
      "Independent commands: threads that order, deliver and execute on their own scale where one scheduler does not.",
    run: async (run) => study(run, independent),
  },
  {
    name: "psmr-dependent",
    paper: `${PSMR}, dependent commands`,
    shows: "Dependent commands only: what it costs that all threads meet, at every command and at every run of them.",
    run: async (run) => study(run, dependent),
  },
  {
    name: "psmr-mixed",
    paper: `${OPT_PSMR}, figure 2`,
    shows: "P-SMR against SMR as the share of dependent commands grows, and where the two meet.",
    run: async (run) => study(run, mixed),
  },
  {
    name: "psmr-skew",
    paper: `${PSMR}, skewed keys`,
    shows: "Popular keys: what an uneven load of the threads costs, by range mapping and by hash mapping.",
    run: async (run) => study(run, skew),
  },
];
