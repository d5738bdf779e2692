import type { ExperimentRun, Row } from "../frame/index.js";
import { type Case, type Foreseen, type Measured, ReplayHarness, type System, type Waiting } from "../replay/index.js";
import {
  type BarrierKind,
  copiesOf,
  drawWorkload,
  type KeySpace,
  type Mapping,
  type Skew,
  type Workload,
} from "../streams/index.js";
import type { Costs } from "./costs.js";
import type { Sizes } from "./sizes.js";

/** A case by what it is called in rows. */
export interface Variant {
  readonly system: System;
  readonly threads: number;
  readonly barrier?: BarrierKind;
  /** Share of dependent commands in percent. */
  readonly dependent?: number;
  readonly skew?: Skew;
  readonly mapping?: Mapping;
  /** `spin` by default. */
  readonly waiting?: Waiting;
}

/** A row of a measurement; commands per second are those of the fastest repetition, and in the median. */
export interface RateRow extends Row {
  readonly mode: "real" | "sim";
  readonly system: System;
  readonly threads: number;
  readonly barrier: BarrierKind;
  readonly dependent_percent: number;
  readonly skew: Skew;
  readonly mapping: Mapping;
  readonly waiting: Waiting;
  readonly throughput: number;
}

/** A thread that had no core for more than this share of its time was slowed down by others on the machine. */
const DISTURBED = 0.02;

/** Says so if threads of these rows had to wait for a core; such figures are of the machine's load as much as of ours. */
export function disturbance(rows: readonly RateRow[]): string | undefined {
  const worst = Math.max(0, ...rows.map((row) => Number(row["without_core"] ?? 0)));
  if (worst <= DISTURBED) return undefined;
  return `the machine was busy: a thread had no core for ${Math.round(100 * worst)} % of its time`;
}

/** Time that the longest replay with a barrier for each command may take, in seconds. */
const REPLAY_SECONDS_MAX = 0.5;
const PILOT_COMMANDS = 512;
const BARRIER_COMMANDS_MIN = 512;
/** Barriers for which threads sleep are so many times as slow as those that they spin at, more or less. */
const SLEEPS_COST = 8;

/** Everything that is measured on this machine in one run of an experiment: one tree, streams drawn once. */
export class Bench {
  readonly sizes: Sizes;
  readonly #run: ExperimentRun;
  readonly #harness: ReplayHarness;
  readonly #workloads = new Map<string, Workload>();
  readonly space: KeySpace;
  readonly #foreseen = new Map<RateRow, Foreseen>();
  /** Commands of streams with a barrier for each, as the pilot has found. */
  readonly barrierCommands: number;

  private constructor(
    run: ExperimentRun,
    sizes: Sizes,
    harness: ReplayHarness,
    barrierCommands: number,
    space: KeySpace,
  ) {
    this.#run = run;
    this.sizes = sizes;
    this.#harness = harness;
    this.barrierCommands = barrierCommands;
    this.space = space;
  }

  /** Fills a tree with keys that lie in this way. */
  static async open(run: ExperimentRun, sizes: Sizes, space: KeySpace = "even"): Promise<Bench> {
    run.progress(`filling a tree with ${sizes.keys} keys`);
    const { keys } = sizes;
    const harness = await ReplayHarness.open(keys, space);
    run.finished?.(`a tree with ${keys} keys filled`);
    const pilot = drawWorkload({
      seed: run.seed,
      keys,
      commands: PILOT_COMMANDS,
      dependent: 1,
      skew: "uniform",
      space,
    });
    const cases: Case[] = [
      { system: "psmr", threads: 2, barrier: "command", mapping: "range", workload: pilot, windowCommands: 64 },
    ];
    const [measured] = await harness.measure(cases, 3, 0, () => undefined);
    const fits = Math.floor((measured?.fastest ?? 0) * REPLAY_SECONDS_MAX);
    const barrierCommands = Math.min(sizes.barrierCommands, Math.max(BARRIER_COMMANDS_MIN, fits));
    return new Bench(run, sizes, harness, barrierCommands, space);
  }

  async close(): Promise<void> {
    await this.#harness.close();
  }

  /** Measures variants, interleaved. */
  async rows(variants: readonly Variant[]): Promise<RateRow[]> {
    const { repetitions, budgetMs, windowCommands } = this.sizes;
    const cases = variants.map((variant): Case => {
      const { system, threads, barrier = "run", mapping = "range", waiting = "spin" } = variant;
      return { system, threads, barrier, mapping, waiting, workload: this.#workload(variant), windowCommands };
    });
    const measured = await this.#harness.measure(cases, repetitions, budgetMs, (done, all) =>
      this.#run.progress(`replayed ${done} of ${all}`),
    );
    return variants.map((variant, i) => this.#row(variant, measured[i] as Measured));
  }

  /** What was foreseen of a row of opt-PSMR. */
  foreseen(row: RateRow): Foreseen {
    const found = this.#foreseen.get(row);
    if (found === undefined) throw new RangeError("nothing was foreseen for this row");
    return found;
  }

  /** Which commands of a workload fail with so many threads, on the tree as it is now. */
  async foresee(workload: Workload, threads: number): Promise<Foreseen> {
    return this.#harness.foresee(workload, threads, this.sizes.windowCommands);
  }

  /** The workload of a variant; those of the systems of a comparison are the same one. */
  #workload({ system, barrier, waiting, threads, dependent = 0, skew = "uniform" }: Variant): Workload {
    const slow = system === "psmr" && barrier === "command" && threads > 1 && dependent > 0;
    const dependentMax = this.barrierCommands / (waiting === "sleep" ? SLEEPS_COST : 1);
    // As many dependent commands as the pilot says, and those between them.
    const fitting = Math.ceil(dependentMax / Math.max(dependent / 100, 0.01));
    const commands = slow ? Math.min(fitting, this.sizes.commands) : this.sizes.commands;
    const name = `${commands} ${dependent} ${skew}`;
    const before = this.#workloads.get(name);
    if (before !== undefined) return before;
    const drawn = drawWorkload({
      seed: this.#run.seed,
      commands,
      keys: this.sizes.keys,
      dependent: dependent / 100,
      skew,
      space: this.space,
    });
    this.#workloads.set(name, drawn);
    return drawn;
  }

  #row(variant: Variant, measured: Measured): RateRow {
    const { fastest, median, repetitions, withoutCore, windowNs, cores, coreNs, foreseen } = measured;
    const { system, threads, barrier = "run", mapping = "range", dependent = 0, skew = "uniform" } = variant;
    const row: RateRow = {
      mode: "real",
      system,
      threads,
      barrier,
      dependent_percent: dependent,
      skew,
      mapping,
      waiting: variant.waiting ?? "spin",
      throughput: fastest,
      throughput_median: median,
      repetitions,
      without_core: Number(withoutCore.toFixed(3)),
      command_ns: windowNs / this.sizes.windowCommands,
      commands: this.#workload(variant).options.commands,
      cores: Number(cores.toFixed(3)),
      core_ns: coreNs,
      ...(foreseen === null ? {} : optimismFields(foreseen)),
    };
    if (foreseen !== null) this.#foreseen.set(row, foreseen);
    return row;
  }
}

/** What a row of opt-PSMR says of its streams. */
export function optimismFields({ plan, optimism, failRate }: Foreseen): Row {
  const copies = copiesOf(plan, optimism);
  const meetings = copies.reduce((sum, { executors }) => sum + executors, 0);
  return { fail_rate: failRate, meetings_per_window: meetings / plan.windows };
}

/** What `costsOf` takes the costs from: put among the variants of every experiment. */
export const CALIBRATION: readonly Variant[] = [
  { system: "psmr", threads: 1 },
  { system: "psmr", threads: 2 },
  { system: "psmr", threads: 1, dependent: 100 },
  { system: "psmr", threads: 1, dependent: 100, barrier: "command" },
  { system: "psmr", threads: 2, dependent: 100, barrier: "command" },
];

/** The row of a variant; the experiment has measured it. */
export function rowOf(rows: readonly RateRow[], variant: Variant, mode: "real" | "sim" = "real"): RateRow {
  const found = findRow(rows, variant, mode);
  if (found === undefined) throw new RangeError(`nothing was measured for ${JSON.stringify({ mode, ...variant })}`);
  return found;
}

export function findRow(
  rows: readonly RateRow[],
  { system, threads, barrier = "run", dependent = 0, skew = "uniform", mapping = "range", waiting = "spin" }: Variant,
  mode: "real" | "sim",
): RateRow | undefined {
  return rows.find(
    (row) =>
      row.mode === mode &&
      row.system === system &&
      row.threads === threads &&
      row.barrier === barrier &&
      row.dependent_percent === dependent &&
      row.skew === skew &&
      row.mapping === mapping &&
      row.waiting === waiting,
  );
}

/** And of opt-PSMR, beside the others. */
export const OPTIMISTIC_CALIBRATION: readonly Variant[] = [
  { system: "opt-psmr", threads: 1, dependent: 100 },
  { system: "opt-psmr", threads: 2, dependent: 100 },
];

/**
 * Costs from what was measured: e_1 and e_2 from independent commands of one thread and of two, the cost of a dependent one
 * from one thread that executes nothing else, in runs and with a barrier for each, and a barrier over two threads as what these
 * add to the latter. What an optimistic command costs is what is left of a window of them when its copies and the barriers of
 * these are taken away.
 * They are medians over windows, so that a machine with other work costs the threads time but hardly falsifies what they need.
 */
export function costsOf(rows: readonly RateRow[], windowCommands: number): Costs {
  const [one, two, dependent, apart, barrier] = CALIBRATION.map((variant) =>
    Number(rowOf(rows, variant)["command_ns"]),
  ) as [number, number, number, number, number];
  const tree = ([1, 2] as const).map((threads) =>
    Number(findRow(rows, { system: "tree", threads }, "real")?.["command_ns"]),
  );
  const treeRatio = (tree[0] ?? NaN) / (tree[1] ?? NaN);
  const s2 = Math.max(0, barrier - apart);
  const optimistic = OPTIMISTIC_CALIBRATION.flatMap((variant) => {
    const row = findRow(rows, variant, "real");
    if (row === undefined) return [];
    const { threads } = variant;
    const copies = Number(row["fail_rate"]) * dependent;
    const meetings = (Number(row["meetings_per_window"]) * s2 * (threads - 1)) / windowCommands;
    // It is never less than a read takes, which looks for its leaf as well; on a busy machine barriers may seem to have cost more than all.
    const least = threads === 1 ? one : 2 * two;
    return [Math.max(least, threads * (Number(row["command_ns"]) - copies - meetings))];
  });
  const [o1, o2] = optimistic;
  const found = disturbance(
    [...CALIBRATION, ...OPTIMISTIC_CALIBRATION].flatMap((each) => findRow(rows, each, "real") ?? []),
  );
  return {
    e1: one,
    e2: 2 * two,
    d1: dependent,
    c1: apart,
    s2,
    ...(o1 === undefined || o2 === undefined ? {} : { optimistic: { o1, o2 } }),
    ...(Number.isFinite(treeRatio) ? { treeRatio } : {}),
    ...(found === undefined ? {} : { disturbance: found }),
  };
}
