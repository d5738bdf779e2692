/** The experiments on P-SMR, with tiny sizes. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { runExperiment } from "#src/lab/index.js";
import { experimentNamed, testExperiment, tinyRun } from "./experiment.suite.js";

describe("lab: experiments on P-SMR", () => {
  testExperiment("psmr-independent", ["real-two-threads", "sim-scales", "schedulers-stay-behind"]);
  testExperiment("psmr-dependent", ["pays-for-barriers", "run-barriers-recover"]);
  testExperiment("psmr-mixed", ["monotone", "model", "break-even"]);
  testExperiment("psmr-skew", ["skew-costs"]);

  test("a check that needs the other mode is not made and says so", async () => {
    const { result } = await runExperiment(experimentNamed("psmr-independent"), tinyRun(["sim"]));
    const [real, sim] = result.checks;
    assert.deepEqual([real?.name, real?.measured, real?.holds], ["real-two-threads", null, null]);
    assert.match(String(real?.deviation), /--mode real/);
    assert.equal(sim?.holds !== null, true);
    assert.ok(result.rows.every((row) => row["mode"] === "sim"));
  });
});
