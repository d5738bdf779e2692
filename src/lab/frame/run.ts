import { loadavg } from "node:os";
import type { Experiment, ExperimentRun, Findings, Result } from "./experiment.js";
import { describeMachine } from "./machine.js";

/** Runs an experiment; the result is what programs read, the findings have the curves of the report besides. */
export async function runExperiment(
  experiment: Experiment,
  run: ExperimentRun,
): Promise<{ readonly result: Result; readonly findings: Findings }> {
  const machine = describeMachine(loadavg()[0] ?? 0);
  const findings = await experiment.run(run);
  const { name, paper } = experiment;
  const config = { modes: [...run.modes].join(" "), quick: run.quick, seed: run.seed, ...findings.config };
  const { rows, checks } = findings;
  return { result: { experiment: name, paper, config, machine, rows, checks }, findings };
}
