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
  /** Sizes other than those of the mode; for tests. */
  readonly sizes?: Readonly<Record<string, number>>;
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
