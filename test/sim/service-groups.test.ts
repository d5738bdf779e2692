/** Services of users on several groups in the simulator: their tables in partitions, and each command compared where its thread runs it. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { runSeeds, type SeedResult } from "#src/sim/index.js";

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

async function run(service: string, first: number, last: number, execution = "psmr"): Promise<SeedResult[]> {
  const results: SeedResult[] = [];
  const onResult = (result: SeedResult): boolean => results.push(result) > 0;
  const wanted = { service, groups: 2, execution, replicas: 3 };
  await runSeeds({ seeds: [first, last], jobs: 2, arguments: wanted, bug: null, onResult });
  return results;
}

describe("user-defined services with two groups in simulation", () => {
  for (const [name, operations, execution] of [
    ["bank", 300, "psmr"],
    ["lock", 300, "psmr"],
    // Its orders and its tidying say what they are likely to touch, and often touch more.
    ["stock", 300, "opt-psmr"],
  ] as const) {
    test(`examples/${name} passes, under faults, and replays (${execution})`, async () => {
      const module = at(`../../../examples/${name}/${name}.js`);
      const results = await run(module, 1, 4, execution);
      for (const { seed, passed, invariant, message } of results)
        assert.ok(passed, `${seed}: ${invariant}: ${message}`);
      assert.ok(results.reduce((sum, result) => sum + result.operations, 0) > operations);
      const [again] = await run(module, 4, 4, execution);
      assert.equal(again?.traceDigest, results[3]?.traceDigest);
    });
  }

  for (const [path, message] of [
    ["services/clocked.js", /^stamp\(\{"key":"k\d"\}\): .*Date\.now\(\).*\(at \S*clocked\.[jt]s:\d+:\d+\)$/],
    ["services/hidden.js", /^number\(\{"key":"k\d"\}\) does otherwise on replica \d and replica \d, from equal/],
  ] as const) {
    test(`${path} is caught, with the command that did it`, async () => {
      const failed = (await run(at(path), 1, 6)).filter(({ passed }) => !passed);
      assert.ok(failed.length >= 2, `${failed.length} of 6 seeds found it`);
      for (const result of failed) {
        assert.equal(result.invariant, "service-determinism", result.message ?? "");
        assert.match(result.message ?? "", message);
      }
    });
  }
});
