/** Fixed seeds of the simulator: whole clusters under faults, in both execution models, whatever else the seed draws. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { replayCommand, runSeed, runSeeds, type SeedResult, type SimArguments } from "#src/sim/index.js";
import { regressions } from "./regressions.js";

async function run(first: number, last: number, wanted: Omit<SimArguments, "seed">): Promise<SeedResult[]> {
  const results: SeedResult[] = [];
  const onResult = (result: SeedResult): boolean => results.push(result) > 0;
  await runSeeds({ seeds: [first, last], jobs: 2, arguments: wanted, bug: null, onResult });
  assert.equal(results.length, last - first + 1);
  const failed = results.filter(({ passed }) => !passed);
  const lines = failed.map(({ seed, invariant, message }) => {
    return `${invariant}: ${message}\n  replay: ${replayCommand({ ...wanted, seed })}`;
  });
  assert.equal(failed.length, 0, `\n${lines.join("\n")}`);
  return results;
}

describe("simulated clusters", () => {
  test("150 seeds pass, and between them meet what they are for", async () => {
    const results = await run(1, 150, {});
    const sum = (of: (result: SeedResult) => number): number =>
      results.reduce((total, result) => total + of(result), 0);
    // A world in which nothing happens passes too: these would be 0 if faults, recovery or transfer never came about.
    assert.ok(sum((result) => result.operations) > 10_000);
    assert.ok(sum((result) => result.elections) > 300);
    assert.ok(sum((result) => result.rejoins) > 30);
    assert.ok(sum((result) => result.installs) > 30);
    assert.ok(sum((result) => result.checkpoints) > 500);
    for (const execution of ["sequential", "pipelined"]) {
      assert.ok(results.filter(({ scenario }) => scenario.execution === execution).length > 20, execution);
    }
  });

  test("a cluster without faults answers everything", async () => {
    for (const result of await run(1, 6, { faults: [], durability: "fsync", replicas: 3 })) {
      assert.equal(result.elections, 1, `seed ${result.seed}`);
    }
  });

  for (const { was, ...wanted } of regressions) {
    test(`seed ${wanted.seed}, which found: ${was}`, () => {
      const { passed, invariant, message } = runSeed(wanted);
      assert.ok(passed, `${invariant}: ${message}\n  replay: ${replayCommand(wanted)}`);
    });
  }
});
