/** Fixed seeds of the simulator, the first half: whole clusters under faults, whatever else the seed draws. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import type { SeedResult } from "#src/sim/index.js";
import { run } from "./seeds.js";

describe("simulated clusters", () => {
  test("seeds 1 to 100 pass, and between them meet what they are for", async () => {
    const results = await run(1, 100, {});
    const sum = (of: (result: SeedResult) => number): number =>
      results.reduce((total, result) => total + of(result), 0);
    // A world in which nothing happens passes too: these would be 0 if faults, recovery or transfer never came about.
    assert.ok(sum((result) => result.operations) > 6000);
    assert.ok(sum((result) => result.elections) > 200);
    assert.ok(sum((result) => result.rejoins) > 20);
    assert.ok(sum((result) => result.installs) > 20);
    assert.ok(sum((result) => result.checkpoints) > 300);
    for (const execution of ["sequential", "pipelined"]) {
      assert.ok(results.filter(({ scenario }) => scenario.execution === execution).length > 10, execution);
    }
  });

  test("a cluster without faults answers everything", async () => {
    for (const result of await run(1, 6, { faults: [], durability: "fsync", replicas: 3 })) {
      assert.equal(result.elections, 1, `seed ${result.seed}`);
    }
  });
});
