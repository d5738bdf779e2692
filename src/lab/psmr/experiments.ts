import { type Curve, type Experiment, MODES } from "../frame/index.js";
import {
  breakEven,
  type ClusterVariant,
  curve,
  type Design,
  drawn,
  findRow,
  MEASURED_THREADS,
  PAPER_THREADS,
  type RateRow,
  SHARES,
  SIMULATED_THREADS,
  study,
  type Variant,
} from "../study/index.js";
import {
  model,
  monotone,
  paysForBarriers,
  realTwoThreads,
  runBarriersRecover,
  schedulersStayBehind,
  simScales,
  skewCosts,
} from "./checks.js";

const PSMR = "Marandi, Bezerra, Pedone: Rethinking State-Machine Replication for Parallelism (ICDCS 2014)";
const OPT_PSMR = "Marandi, Pedone: Optimistic Parallel State-Machine Replication (SRDS 2014)";

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

/** Whole clusters under one workload, with a thread that executes everything and with two groups. */
const oneAndTwoGroups = (workload: ClusterVariant["workload"]): ClusterVariant[] => [
  { groups: 1, execution: "pipelined", workload },
  { groups: 2, execution: "psmr", workload },
];

const independent: Design = {
  clusters: oneAndTwoGroups("mixed"),
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
  clusters: [
    ...oneAndTwoGroups("insert-delete"),
    { groups: 2, execution: "psmr", workload: "insert-delete", barrier: "command" },
  ],
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
  clusters: [...oneAndTwoGroups("mixed"), ...oneAndTwoGroups("insert-delete")],
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
  clusters: [...oneAndTwoGroups("mixed"), ...oneAndTwoGroups("ycsb-a")],
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
    modes: MODES,
    run: async (run) => study(run, independent),
  },
  {
    name: "psmr-dependent",
    paper: `${PSMR}, dependent commands`,
    shows: "Dependent commands only: what it costs that all threads meet, at every command and at every run of them.",
    modes: MODES,
    run: async (run) => study(run, dependent),
  },
  {
    name: "psmr-mixed",
    paper: `${OPT_PSMR}, figure 2`,
    shows: "P-SMR against SMR as the share of dependent commands grows, and where the two meet.",
    modes: MODES,
    run: async (run) => study(run, mixed),
  },
  {
    name: "psmr-skew",
    paper: `${PSMR}, skewed keys`,
    shows: "Popular keys: what an uneven load of the threads costs, by range mapping and by hash mapping.",
    modes: MODES,
    run: async (run) => study(run, skew),
  },
];
