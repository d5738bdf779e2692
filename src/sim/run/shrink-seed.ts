import type { Bug } from "../bugs/index.js";
import {
  drawScenario,
  type Scenario,
  shrink,
  SHRINK_RUNS_MAX,
  type SimArguments,
  writeScenario,
} from "../scenario/index.js";
import { runScenario, type SeedResult } from "./run-seed.js";

/** What shrinking has made of a seed that fails. */
export interface Shrunk {
  /** The smallest scenario found, as `readScenario` takes it. */
  readonly text: string;
  readonly result: SeedResult;
  /** Worlds that were run for it, and whether it was the bound on them that ended the search. */
  readonly runs: number;
  readonly complete: boolean;
  /** The seed's own run. */
  readonly first: SeedResult;
}

/**
 * Runs a seed, and if it fails, shrinks its scenario to one that breaks the same invariant. Null for a seed that passes.
 * `onRun` is called after each run of a world with the number of runs so far and of strikes in the smallest scenario.
 */
export function shrinkSeed(
  wanted: SimArguments,
  bug: Bug | null,
  runsMax = SHRINK_RUNS_MAX,
  onRun: (runs: number) => void = () => {},
): Shrunk | null {
  const run = (scenario: Scenario): SeedResult => runScenario(scenario, bug?.plant());
  const first = run(drawScenario(wanted));
  if (first.passed) return null;
  let runs = 0;
  const attempt = (candidate: Scenario): number | null => {
    onRun(++runs);
    const result = run(candidate);
    return result.invariant === first.invariant ? result.failedMs : null;
  };
  // The faults as they struck. From here on nothing is drawn for when they do.
  const explicit = { ...first.scenario, schedule: first.schedule };
  const shrunk = shrink(explicit, attempt, runsMax);
  const result = run(shrunk.scenario);
  const still = result.invariant === first.invariant;
  const scenario = still ? shrunk.scenario : first.scenario;
  const text = writeScenario({
    scenario,
    bug: bug?.name ?? null,
    expected: first.invariant,
    remarks: [`Shrunk from seed ${wanted.seed} in ${runs} runs.`],
  });
  return { text, result: still ? result : first, runs, complete: shrunk.complete, first };
}
