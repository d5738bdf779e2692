/** Fixed seeds of the simulator with replicas of several groups. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { runSeed, type SeedResult } from "#src/sim/index.js";
import { run } from "./seeds.js";

describe("simulated clusters with several groups", () => {
  test("seeds 1 to 16 pass with two groups, and between them meet what they are for", async () => {
    const results = await run(1, 16, { groups: 2 });
    const sum = (of: (result: SeedResult) => number): number =>
      results.reduce((total, result) => total + of(result), 0);
    // A world in which nothing happens passes too.
    assert.ok(sum((result) => result.operations) > 1000, `${sum((result) => result.operations)} operations`);
    assert.ok(sum((result) => result.elections) > 60);
    assert.ok(sum((result) => result.rejoins) > 5);
    assert.ok(sum((result) => result.checkpoints) > 100);
    for (const merge of ["points", "skips"]) {
      assert.ok(results.filter(({ scenario }) => scenario.groups?.merge === merge).length > 2, merge);
    }
    for (const service of ["btree", "kv"]) {
      assert.ok(results.filter(({ scenario }) => scenario.service === service).length > 2, service);
    }
  });

  test("seeds 1 to 4 pass with four groups", async () => {
    await run(1, 4, { groups: 4, merge: "points" });
  });

  test("a cluster without faults answers everything, and each stream elects one coordinator", async () => {
    for (const { seed, scenario, elections } of await run(1, 4, {
      groups: 2,
      faults: [],
      durability: "fsync",
      replicas: 3,
    })) {
      assert.equal(scenario.groups?.count, 2);
      assert.ok(elections >= 3 && elections <= 6, `seed ${seed}: ${elections} elections`);
    }
  });

  test("a seed gives the same run again, event for event", () => {
    const [first, second] = [1, 2].map(() => runSeed({ seed: 2, groups: 2, merge: "points" }));
    assert.equal(first?.traceDigest, second?.traceDigest);
    assert.equal(first?.events, second?.events);
  });
});
