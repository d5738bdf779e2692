import type { ExperimentRun } from "../frame/index.js";

/** How large an experiment of P-SMR is. */
export interface Sizes {
  /** Keys in the tree. */
  readonly keys: number;
  /** Commands of a stream. */
  readonly commands: number;
  /** Commands of a stream with a barrier for each dependent one, at most: where cores are wanted by others, a barrier takes ms. */
  readonly barrierCommands: number;
  /** Commands outstanding at all clients together: a window of the streams. */
  readonly windowCommands: number;
  readonly repetitions: number;
  /** Time for all repetitions of the experiment, in ms; each case is measured once at least. */
  readonly budgetMs: number;
  /** Commands of a simulated stream. */
  readonly simulatedCommands: number;
}

const FULL: Sizes = {
  keys: 10_000_000,
  commands: 1_000_000,
  barrierCommands: 1_000_000,
  windowCommands: 256,
  repetitions: 9,
  budgetMs: 300_000,
  simulatedCommands: 1_000_000,
};

const QUICK: Sizes = {
  keys: 500_000,
  commands: 120_000,
  barrierCommands: 120_000,
  windowCommands: 256,
  repetitions: 5,
  budgetMs: 10_000,
  simulatedCommands: 60_000,
};

/** Streams of opt-PSMR are shorter: they are run over the tree once more, in one thread, before each time they are measured. */
const OPTIMISTIC = {
  full: { commands: 300_000, barrierCommands: 300_000, repetitions: 7, simulatedCommands: 200_000 },
  quick: { commands: 60_000, barrierCommands: 60_000, repetitions: 3, simulatedCommands: 40_000 },
} as const;

export function sizesOf({ quick, sizes }: ExperimentRun, optimistic: boolean): Sizes {
  const shorter = optimistic ? OPTIMISTIC[quick ? "quick" : "full"] : {};
  return { ...(quick ? QUICK : FULL), ...shorter, ...sizes };
}
