import type { Check } from "./check.js";
import type { Machine } from "./machine.js";

/**
 * How an experiment is run. `real`: threads at full speed on the cores of this machine. `sim`: virtual time, with costs that
 * are measured on this machine in the same run as far as it has cores, and assumed beyond.
 */
export type Mode = "real" | "sim";
export const MODES: readonly Mode[] = ["real", "sim"];

export interface ExperimentRun {
  readonly modes: ReadonlySet<Mode>;
  /** Fewer keys and shorter runs: within 50 s on two cores. */
  readonly quick: boolean;
  /** Seed of the workloads. */
  readonly seed: number;
  /** Told what is going on, in a few words. */
  progress(text: string): void;
  /** Told of each part of the experiment that is finished, in one line: for who stops it before its end. */
  finished?(text: string): void;
  /** Puts a load on a whole cluster; absent where none can be started. */
  cluster?(wanted: ClusterCase): Promise<ClusterFigures>;
  /** Sizes other than those of the mode; for tests. */
  readonly sizes?: Readonly<Record<string, number>>;
}

/** A whole cluster under load: three replicas in processes of their own on this machine, and clients in another. */
export interface ClusterCase {
  readonly groups: number;
  readonly execution: "pipelined" | "psmr" | "opt-psmr";
  readonly barrier: "run" | "command";
  /** What clients ask for, by the names of `synod bench`. */
  readonly workload: "mixed" | "insert-delete" | "ycsb-a";
  readonly keys: number;
  readonly clients: number;
  /** Commands that each client has outstanding. */
  readonly window: number;
  /** Measured time, in seconds. */
  readonly seconds: number;
}

export interface ClusterFigures {
  /** Commands answered per second. */
  readonly throughput: number;
  readonly latencyMs: { readonly p50: number; readonly p99: number };
  /** Commands that failed for good; none in a cluster that works. */
  readonly errors: number;
  /** Of opt-PSMR the share of commands that failed their check, and how long those took in the median, and the others, in ms. */
  readonly optimistic?: { readonly failRate: number; readonly passedMs: number; readonly failedMs: number };
  /** CPU seconds of all replicas for a million commands, where the system tells. */
  readonly cpuSecondsPerMillion: number | null;
}

/** Fields of a measurement, flat so that they make a table. */
export type Row = Readonly<Record<string, string | number | boolean | null>>;

/** A curve of ours, or one that a paper's text describes in points. */
export interface Curve {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** True for what the paper says; it is drawn dashed. */
  readonly paper?: boolean;
}

export interface Plot {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly curves: readonly Curve[];
  /** What the figure of the paper looks like, in words. */
  readonly shape: string;
}

/** What the code of an experiment brings. */
export interface Findings {
  readonly config: Row;
  readonly rows: readonly Row[];
  readonly checks: readonly Check[];
  readonly plots: readonly Plot[];
}

/** An experiment of a paper. */
export interface Experiment {
  readonly name: string;
  /** Paper and figure. */
  readonly paper: string;
  /** What it shows, in one sentence. */
  readonly shows: string;
  /** How it can be run. */
  readonly modes: readonly Mode[];
  run(run: ExperimentRun): Promise<Findings>;
}

/** What `synod lab run` prints; the field names are a contract. */
export interface Result {
  readonly experiment: string;
  readonly paper: string;
  readonly config: Row;
  readonly machine: Machine;
  readonly rows: readonly Row[];
  readonly checks: readonly Check[];
}
