/** Fixed seeds of the simulator with threads of opt-PSMR. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { runSeed, type SeedResult } from "#src/sim/index.js";
import { run } from "./seeds.js";

const optimistic = { groups: 2, execution: "opt-psmr", service: "btree" } as const;

describe("simulated clusters with opt-PSMR", () => {
  test("seeds 1 to 8 pass with two groups, and between them meet what they are for", async () => {
    const results = await run(1, 8, optimistic);
    const sum = (of: (result: SeedResult) => number | undefined): number =>
      results.reduce((total, result) => total + (of(result) ?? 0), 0);
    // A world in which nothing fails its safety check passes too.
    const failed = sum(({ optimism }) => optimism?.failed);
    const conservative = sum(({ optimism }) => optimism?.conservative);
    assert.ok(failed > 200, `${failed} commands failed`);
    assert.ok(conservative > 0.8 * failed, `${conservative} of ${failed} were executed`);
    assert.ok(sum(({ optimism }) => optimism?.again) > 100, "blocks were multicast again");
    for (const resubmit of ["replicas", "client"]) {
      assert.ok(results.filter(({ scenario }) => scenario.groups?.resubmit === resubmit).length > 1, resubmit);
    }
  });

  test("a seed passes with four groups, and one with kv, of which no command fails", async () => {
    await run(1, 1, { ...optimistic, groups: 4, merge: "points" });
    const [result] = await run(2, 2, { ...optimistic, service: "kv" });
    assert.equal(result?.optimism?.failed, 0);
  });

  test("in a cluster without faults all that fails is executed", async () => {
    for (const resubmit of ["replicas", "client"] as const) {
      const wanted = { ...optimistic, faults: [], durability: "fsync", replicas: 3, resubmit } as const;
      for (const { optimism } of await run(1, 1, wanted)) {
        assert.ok(optimism !== null && optimism.failed > 0);
        assert.equal(optimism.conservative, optimism.failed);
      }
    }
  });

  test("a seed gives the same run again, event for event", () => {
    const [first, second] = [1, 2].map(() => runSeed({ seed: 3, ...optimistic, merge: "points" }));
    assert.equal(first?.traceDigest, second?.traceDigest);
    assert.equal(first?.events, second?.events);
  });
});
