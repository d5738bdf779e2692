/** The experiments on opt-PSMR, with tiny sizes; and what they show of whole clusters and of a run that is stopped. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type ClusterCase, runExperiment } from "#src/lab/index.js";
import { experimentNamed, testExperiment, tinyRun } from "./experiment.suite.js";

describe("lab: experiments on opt-PSMR", () => {
  testExperiment("opt-psmr-fig2", ["smr-flat", "crossing"]);
  testExperiment("opt-psmr-fig3", ["failed-latency", "all-latency", "fail-rate-falls", "fail-rate-level"]);
  testExperiment("opt-psmr-fig4", ["above-smr", "over-psmr", "psmr-drop", "latency"]);
  testExperiment("opt-psmr-fig5", ["opt-rises", "psmr-falls", "per-thread", "cpu"]);

  test("commands that fail are measured, and their share is printed", async () => {
    const { result } = await runExperiment(experimentNamed("opt-psmr-fig5"), tinyRun(["real"]));
    const all = result.rows.filter((row) => row["system"] === "opt-psmr");
    const shares = all.map((row) => Number(row["fail_rate"]));
    assert.ok(shares.length >= 3 && shares.every((share) => share > 0 && share < 0.5), shares.join(" "));
    for (const field of ["o_1_ns", "o_2_ns", "fail_rate_1", "fail_rate_2"]) {
      assert.equal(typeof result.config[field], "number", field);
    }
  });

  test("whole clusters are asked for one after the other, and what is finished is told", async () => {
    const asked: ClusterCase[] = [];
    const finished: string[] = [];
    let running = 0;
    const { result } = await runExperiment(experimentNamed("psmr-dependent"), {
      ...tinyRun(["real"]),
      quick: false,
      finished: (text) => void finished.push(text),
      async cluster(wanted) {
        asked.push(wanted);
        running++;
        await new Promise(setImmediate);
        assert.equal(running--, 1);
        return { throughput: 1000, latencyMs: { p50: 1, p99: 2 }, errors: 0, cpuSecondsPerMillion: null };
      },
    });
    assert.deepEqual(
      asked.map(({ groups, execution, barrier }) => [groups, execution, barrier]),
      [
        [1, "pipelined", "run"],
        [2, "psmr", "run"],
        [2, "psmr", "command"],
      ],
    );
    assert.equal(result.rows.filter((row) => row["system"] === "whole cluster").length, 3);
    assert.match(String(result.config["whole_clusters"]), /three replicas/);
    assert.match(
      finished.join("; "),
      /^a tree with 2000 keys filled; \d+ cases measured with real threads; 3 whole clusters$/,
    );
  });
});
