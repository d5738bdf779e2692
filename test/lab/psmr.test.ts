/** The experiments on P-SMR, with tiny sizes: they run, and make the checks that they have to make. No timed assertion. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  type Experiment,
  experiments,
  type ExperimentRun,
  type Mode,
  renderReport,
  runExperiment,
} from "#src/lab/index.js";

/** What EXPERIMENTS asks of each experiment by name. */
const REQUIRED: Readonly<Record<string, readonly string[]>> = {
  "psmr-independent": ["real-two-threads", "sim-scales", "schedulers-stay-behind"],
  "psmr-dependent": ["pays-for-barriers", "run-barriers-recover"],
  "psmr-mixed": ["monotone", "model", "break-even"],
  "psmr-skew": ["skew-costs"],
};

const SIZES = {
  keys: 2000,
  commands: 2048,
  barrierCommands: 256,
  windowCommands: 64,
  repetitions: 1,
  budgetMs: 0,
  simulatedCommands: 8192,
};

function tiny(modes: readonly Mode[]): ExperimentRun {
  return { modes: new Set(modes), quick: true, seed: 7, progress: () => undefined, sizes: SIZES };
}

const named = (name: string): Experiment => experiments.find((each) => each.name === name)!;

describe("lab: experiments on P-SMR", () => {
  for (const [name, required] of Object.entries(REQUIRED)) {
    test(`${name} runs and makes its checks`, async () => {
      const { result, findings } = await runExperiment(named(name), tiny(["real", "sim"]));
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
      for (const row of result.rows) assert.ok(Number(row["throughput"]) > 0, JSON.stringify(row));
      assert.ok(result.rows.some((row) => row["mode"] === "real") && result.rows.some((row) => row["mode"] === "sim"));
      // What more threads than were measured cost is assumed, and the rows say so.
      for (const row of result.rows.filter((each) => Number(each["threads"]) > 2)) assert.equal(row["assumed"], true);
      for (const field of ["e_1_ns", "e_2_ns", "s_2_ns"]) assert.equal(typeof result.config[field], "number", field);
      const page = renderReport(named(name), result, findings);
      assert.ok(page.includes("<svg") && page.includes(name));
      for (const check of required) assert.ok(page.includes(`<td>${check}</td>`), check);
      assert.doesNotMatch(page, /<script|https?:|NaN/, "the page needs nothing else");
      assert.doesNotThrow(() => JSON.stringify(result));
    });
  }

  test("a check that needs the other mode is not made and says so", async () => {
    const { result } = await runExperiment(named("psmr-independent"), tiny(["sim"]));
    const [real, sim] = result.checks;
    assert.deepEqual([real?.name, real?.measured, real?.holds], ["real-two-threads", null, null]);
    assert.match(String(real?.deviation), /--mode real/);
    assert.equal(sim?.holds !== null, true);
    assert.ok(result.rows.every((row) => row["mode"] === "sim"));
  });
});
