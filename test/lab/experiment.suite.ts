/** What every experiment on execution models has to do, with tiny sizes: it runs, and makes the checks that it has to make. No timed assertion. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Experiment,
  experiments,
  type ExperimentRun,
  type Mode,
  renderReport,
  runExperiment,
} from "#src/lab/index.js";

const SIZES = {
  keys: 2000,
  commands: 2048,
  barrierCommands: 256,
  windowCommands: 64,
  repetitions: 1,
  budgetMs: 0,
  simulatedCommands: 8192,
  // Of latencies in virtual time.
  latencyKeys: 2000,
  stepMs: 30,
  saturationMs: 6,
};

export function tinyRun(modes: readonly Mode[]): ExperimentRun {
  return { modes: new Set(modes), quick: true, seed: 7, progress: () => undefined, sizes: SIZES };
}

export const experimentNamed = (name: string): Experiment => experiments.find((each) => each.name === name)!;

/** Runs an experiment in all its modes; `required` are its checks by name, in order, as EXPERIMENTS has them. */
export function testExperiment(name: string, required: readonly string[]): void {
  test(`${name} runs and makes its checks`, async () => {
    const experiment = experimentNamed(name);
    const { result, findings } = await runExperiment(experiment, tinyRun(experiment.modes));
    assert.deepEqual(
      result.checks.map((check) => check.name),
      required,
    );
    for (const check of result.checks) {
      assert.ok(check.measured !== null && check.holds !== null, `${check.name} was made`);
      assert.equal(check.deviation !== undefined, check.holds === false, `${check.name} says why, if it fails`);
      assert.doesNotMatch(check.measured, /NaN|undefined/, check.name);
    }
    assert.equal(result.experiment, name);
    for (const row of result.rows) assert.ok(Number(row["throughput"]) >= 0, JSON.stringify(row));
    for (const mode of experiment.modes)
      assert.ok(
        result.rows.some((row) => row["mode"] === mode),
        mode,
      );
    // What more threads than were measured cost is assumed, and the rows say so.
    for (const row of result.rows.filter((each) => Number(each["threads"]) > 2)) assert.equal(row["assumed"], true);
    for (const field of ["e_1_ns", "e_2_ns", "s_2_ns"]) assert.equal(typeof result.config[field], "number", field);
    const page = renderReport(experiment, result, findings);
    assert.ok(page.includes("<svg") && page.includes(name));
    for (const check of required) assert.ok(page.includes(`<td>${check}</td>`), check);
    assert.doesNotMatch(page, /<script|https?:|NaN/, "the page needs nothing else");
    assert.doesNotThrow(() => JSON.stringify(result));
  });
}
