import { type Curve, type Experiment, type Mode, MODES, type Plot, type Row } from "../frame/index.js";
import { LEAF_CAPACITY } from "../../service/index.js";
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
  aboveSmr,
  allLatency,
  cpu,
  failedLatency,
  failRateFalls,
  failRateLevel,
  latencyAtSaturation,
  optRises,
  overPsmr,
  perThread,
  psmrDrop,
  psmrFalls,
  smrFlat,
} from "./checks.js";
import { ASSUMED } from "./latency-model.js";
import { type LatencyRow, loadSteps, saturation } from "./latency-rows.js";

const PAPER = "Marandi, Pedone: Optimistic Parallel State-Machine Replication (SRDS 2014)";
const DEPENDENT_X = "dependent commands in %";

/** The rows of the latency model among those of a study. */
const latencies = (more: readonly Row[]): LatencyRow[] =>
  more.filter((row): row is LatencyRow => typeof row["latency_ms"] === "number");

const smrAt = (rows: readonly RateRow[], dependent: number): number =>
  findRow(rows, { system: "sequential", threads: 1, dependent }, "sim")?.throughput ?? NaN;

/** Points of a paper's curve, over our SMR; those of rows that were not made are left out. */
function paperCurve(name: string, points: readonly (readonly [number, number])[]): Curve {
  return { name, paper: true, points: points.filter(([, y]) => Number.isFinite(y)) };
}

const psmrCurve = (rows: readonly RateRow[]): Curve =>
  paperCurve("P-SMR, K = 8, over our SMR", [
    [0, 3.15 * smrAt(rows, 0)],
    [48, smrAt(rows, 50)],
    [100, 0.5 * smrAt(rows, 100)],
  ]);

/** Throughput of the systems over the share of dependent commands. */
function sharesPlot(rows: readonly RateRow[], optimistic: boolean, paper: readonly Curve[], shape: string): Plot {
  return {
    title: "Throughput over the share of dependent commands",
    x: DEPENDENT_X,
    y: "commands/s",
    shape,
    curves: drawn([
      ...MODES.flatMap((mode) => {
        const threads = mode === "real" ? MEASURED_THREADS : PAPER_THREADS;
        const over = (name: string, variant: Omit<Variant, "dependent">): Curve =>
          curve(name, SHARES, rows, mode, (dependent) => ({ ...variant, dependent }));
        return [
          ...(optimistic ? [over(`opt-PSMR K = ${threads}`, { system: "opt-psmr", threads })] : []),
          over(`P-SMR K = ${threads}, command barriers`, { system: "psmr", threads, barrier: "command" }),
          over(`P-SMR K = ${threads}, run barriers`, { system: "psmr", threads }),
          over("sequential SMR", { system: "sequential", threads: 1 }),
        ];
      }),
      ...paper,
    ]),
  };
}

const SEQUENTIAL_SHARES = SHARES.map((dependent): Variant => ({ system: "sequential", threads: 1, dependent }));
const PSMR_SHARES = SHARES.flatMap((dependent): Variant[] => [
  { system: "psmr", threads: MEASURED_THREADS, dependent, barrier: "command" },
  { system: "psmr", threads: MEASURED_THREADS, dependent },
]);

const fig2: Design = {
  optimistic: true,
  variants: [...PSMR_SHARES, ...SEQUENTIAL_SHARES],
  simulated: SHARES.map((dependent) => ({
    dependent,
    threads: [PAPER_THREADS],
    barriers: ["command", "run"],
    optimistic: false,
  })),
  checks: (rows, costs) => [smrFlat(rows), breakEven(rows, costs, "crossing")],
  plots: (rows) => [
    sharesPlot(
      rows,
      false,
      [psmrCurve(rows)],
      "P-SMR far above SMR without dependent commands, then falling all the way, below SMR from slightly under 50 % on; SMR flat.",
    ),
  ],
};

const fig3: Design = {
  optimistic: true,
  variants: [],
  simulated: [],
  assumed: ASSUMED,
  more: loadSteps,
  checks: (_rows, _costs, more) => {
    const steps = latencies(more);
    return [failedLatency(steps), allLatency(steps), failRateFalls(steps), failRateLevel(steps, LEAF_CAPACITY)];
  },
  plots: (_rows, _costs, more) => {
    const over = (
      name: string,
      merge: LatencyRow["merge"],
      y: (row: LatencyRow) => number,
      resubmit: LatencyRow["resubmit"] = "client",
    ): Curve => ({
      name,
      points: latencies(more)
        .filter((row) => row.merge === merge && row.resubmit === resubmit)
        .map((row) => [row.throughput / 1000, y(row)] as const),
    });
    const x = "thousand commands/s";
    const passed = over("passed", "skips", (row) => row.passed_ms);
    return [
      {
        title: "Fail rate",
        x,
        y: "%",
        shape: "The fail rate falls as the throughput rises.",
        curves: drawn([
          over("skips", "skips", (row) => 100 * row.fail_rate),
          over("merge points", "points", (row) => 100 * row.fail_rate),
        ]),
      },
      {
        title: "Failed commands",
        x,
        y: "commands",
        shape: "Their number rises, less than the throughput does.",
        curves: drawn([
          over("skips", "skips", (row) => row.failures),
          over("merge points", "points", (row) => row.failures),
        ]),
      },
      {
        title: "Latency",
        x,
        y: "ms",
        shape: "Failed commands take about twice as long as those that pass; the mean over all is that of these.",
        curves: drawn([
          over("failed, skips", "skips", (row) => row.failed_ms),
          over("failed, merge points", "points", (row) => row.failed_ms),
          over("failed, skips, again from the replicas", "skips", (row) => row.failed_ms, "replicas"),
          over("passed, skips", "skips", (row) => row.passed_ms),
          over("passed, merge points", "points", (row) => row.passed_ms),
          over("all, skips", "skips", (row) => row.latency_ms),
          paperCurve(
            "failed: twice as long as passed",
            passed.points.map(([at, y]) => [at, 2 * y] as const),
          ),
        ]),
      },
    ];
  },
};

/** Fail rates by an x that rows have, as curves. */
function failRates(
  rows: readonly RateRow[],
  x: "dependent_percent" | "threads",
  among: (row: RateRow) => boolean,
): Curve[] {
  return drawn(
    MODES.map((mode) => ({
      name: `opt-PSMR (${mode})`,
      points: rows
        .filter((row) => row.mode === mode && row.system === "opt-psmr" && row.barrier === "run")
        .filter((row) => row.waiting === "spin" && among(row))
        .map((row) => [row[x], 100 * Number(row["fail_rate"])] as const)
        .toSorted(([a], [b]) => a - b),
    })),
  );
}

function latencyCurves(more: readonly Row[], x: "dependent_percent" | "threads"): Curve[] {
  return drawn(
    (["opt-psmr", "psmr", "sequential"] as const).map((system) => ({
      name: `${system} (sim)`,
      points: latencies(more)
        .filter((row) => row.system === system)
        .map((row) => [row[x], row.latency_ms] as const),
    })),
  );
}

const fig4: Design = {
  optimistic: true,
  clusters: (["mixed", "insert-delete"] as const).flatMap((workload): ClusterVariant[] => [
    { groups: 1, execution: "pipelined", workload },
    { groups: 2, execution: "psmr", workload },
    { groups: 2, execution: "opt-psmr", workload },
  ]),
  variants: [
    ...SHARES.map((dependent): Variant => ({ system: "opt-psmr", threads: MEASURED_THREADS, dependent })),
    ...PSMR_SHARES,
    ...SEQUENTIAL_SHARES,
  ],
  simulated: SHARES.map((dependent) => ({ dependent, threads: [PAPER_THREADS], barriers: ["command", "run"] })),
  assumed: ASSUMED,
  more: async (run, costs) => saturation(run, costs, [PAPER_THREADS]),
  checks: (rows, costs, more) => [
    aboveSmr(rows, costs),
    overPsmr(rows, costs),
    psmrDrop(rows, costs),
    latencyAtSaturation(latencies(more)),
  ],
  plots: (rows, _costs, more) => [
    sharesPlot(
      rows,
      true,
      [
        psmrCurve(rows),
        paperCurve("opt-PSMR, K = 8, over our SMR", [
          [0, 3.15 * smrAt(rows, 0)],
          [100, 2.4 * 0.5 * smrAt(rows, 100)],
        ]),
      ],
      "opt-PSMR stays above SMR everywhere, 2.4 times P-SMR; P-SMR falls steeply from 0 to 1 % and crosses SMR at about half.",
    ),
    {
      title: "Fail rate",
      x: DEPENDENT_X,
      y: "%",
      shape: "Low at every share.",
      curves: failRates(
        rows,
        "dependent_percent",
        ({ threads }) => threads === MEASURED_THREADS || threads === PAPER_THREADS,
      ),
    },
    {
      title: "Latency at each system's own saturation",
      x: DEPENDENT_X,
      y: "ms",
      shape: "That of opt-PSMR is slightly higher than the others', since its throughput is.",
      curves: latencyCurves(more, "dependent_percent"),
    },
  ],
};

const fig5: Design = {
  optimistic: true,
  variants: [
    { system: "sequential", threads: 1, dependent: 100 },
    { system: "psmr", threads: MEASURED_THREADS, dependent: 100 },
    { system: "opt-psmr", threads: MEASURED_THREADS, dependent: 100, waiting: "sleep" },
    { system: "psmr", threads: MEASURED_THREADS, dependent: 100, waiting: "sleep" },
    { system: "psmr", threads: MEASURED_THREADS, dependent: 100, barrier: "command", waiting: "sleep" },
  ],
  simulated: [{ dependent: 100, threads: SIMULATED_THREADS, barriers: ["command", "run"] }],
  assumed: ASSUMED,
  more: async (run, costs) => saturation(run, costs, [1, 2, 4, 8], [100]),
  checks: (rows, costs) => [optRises(rows, costs), psmrFalls(rows, costs), perThread(rows, costs), cpu(rows)],
  plots: (rows, _costs, more) => {
    const systems = (mode: "real" | "sim", each: (y: number, threads: number, one: number) => number): Curve[] =>
      (
        [
          ["opt-PSMR", { system: "opt-psmr" }],
          ["P-SMR, command barriers", { system: "psmr", barrier: "command" }],
          ["P-SMR, run barriers", { system: "psmr" }],
        ] as const
      ).map(([name, variant]) => {
        const all = curve(name, SIMULATED_THREADS, rows, mode, (threads) => ({ ...variant, threads, dependent: 100 }));
        const one = all.points[0]?.[1] ?? 1;
        return { ...all, points: all.points.map(([x, y]) => [x, each(y, x, one)] as const) };
      });
    const cores = (["opt-psmr", "psmr"] as const).map((system): Curve => ({
      name: `${system} (real, asleep at barriers)`,
      points: rows
        .filter((row) => row.system === system && row.waiting === "sleep")
        .filter((row) => row.barrier === (system === "psmr" ? "command" : "run"))
        .map((row) => [row.threads, Number(row["cores"])] as const),
    }));
    return [
      {
        title: "Throughput with dependent commands only",
        x: "threads",
        y: "commands/s",
        shape: "opt-PSMR rises with the threads, P-SMR falls.",
        curves: drawn([
          ...MODES.flatMap((mode) => systems(mode, (y) => y)),
          paperCurve("opt-PSMR, over our SMR", [
            [1, smrAt(rows, 100)],
            [8, 1.2 * smrAt(rows, 100)],
          ]),
          paperCurve("P-SMR, over our SMR", [
            [1, smrAt(rows, 100)],
            [8, 0.5 * smrAt(rows, 100)],
          ]),
        ]),
      },
      {
        title: "Throughput per thread, normalised to one thread",
        x: "threads",
        y: "share of one thread",
        shape: "That of opt-PSMR falls somewhat, because of failed commands; that of P-SMR falls steeply.",
        curves: drawn(MODES.flatMap((mode) => systems(mode, (y, threads, one) => y / threads / one))),
      },
      {
        title: "Fail rate",
        x: "threads",
        y: "%",
        shape: "Low with any number of threads.",
        curves: failRates(rows, "threads", (row) => row.dependent_percent === 100),
      },
      {
        title: "Latency at each system's own saturation",
        x: "threads",
        y: "ms",
        shape: "The gain in throughput costs opt-PSMR little latency.",
        curves: latencyCurves(more, "threads"),
      },
      {
        title: "Cores in use",
        x: "threads",
        y: "CPU seconds per second",
        shape: "opt-PSMR uses more, since it executes more.",
        curves: drawn(cores),
      },
    ];
  },
};

/** An experiment of the paper on opt-PSMR. */
function figure(number: number, shows: string, design: Design, modes: readonly Mode[] = MODES): Experiment {
  const run: Experiment["run"] = async (asked) => study(asked, design);
  return { name: `opt-psmr-fig${number}`, paper: `${PAPER}, figure ${number}`, shows, modes, run };
}

export const optPsmrExperiments: readonly Experiment[] = [
  figure(2, "P-SMR against SMR with inserts, deletes and reads: what static dependencies cost.", fig2),
  // Latency under load is a matter of agreement, which real mode has recorded before its clock runs.
  figure(3, "What a failed safety check costs the command, and how often that happens as load rises.", fig3, ["sim"]),
  figure(4, "opt-PSMR beside P-SMR and SMR from 0 to 100 % dependent commands.", fig4),
  figure(5, "opt-PSMR beside P-SMR with dependent commands only, from 1 to 16 threads.", fig5),
];
