/** Services of users in the simulator: good ones pass, and of others the command is named that makes them differ. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ConfigError } from "#src/model/index.js";
import { runSeeds, type SeedResult } from "#src/sim/index.js";

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

async function run(service: string, first: number, last: number): Promise<SeedResult[]> {
  const results: SeedResult[] = [];
  const onResult = (result: SeedResult): boolean => results.push(result) > 0;
  await runSeeds({ seeds: [first, last], jobs: 2, arguments: { service }, bug: null, onResult });
  return results;
}

describe("user-defined services in simulation", () => {
  for (const name of ["bank", "lock"]) {
    test(`examples/${name} passes, under faults, and replays`, async () => {
      const module = at(`../../../examples/${name}/${name}.js`);
      const results = await run(module, 1, 6);
      for (const { seed, passed, invariant, message } of results)
        assert.ok(passed, `${seed}: ${invariant}: ${message}`);
      assert.ok(results.reduce((sum, { operations }) => sum + operations, 0) > 500);
      const again = await run(module, 5, 6);
      assert.deepEqual(
        again.map(({ traceDigest }) => traceDigest),
        results.slice(4, 6).map(({ traceDigest }) => traceDigest),
      );
    });
  }

  for (const [path, invariant, message] of [
    [
      "services/clocked.js",
      "service-determinism",
      /^stamp\(\{"key":"k\d"\}\): .*Date\.now\(\).*\(at \S*clocked\.[jt]s:\d+:\d+\)$/,
    ],
    [
      "services/hidden.js",
      "service-determinism",
      /^number\(\{"key":"k\d"\}\) does otherwise on replica \d and replica \d, from equal/,
    ],
    [
      "../synod/leaky.js",
      "service-determinism",
      /^leak\(\{"key":"k\d"\}\) does otherwise on replica \d and replica \d, from equal/,
    ],
  ] as const) {
    test(`${path} is caught, with the command that did it`, async () => {
      const failed = (await run(at(path), 1, 12)).filter(({ passed }) => !passed);
      assert.ok(failed.length >= 3, `${failed.length} of 12 seeds found it`);
      for (const result of failed) {
        assert.equal(result.invariant, invariant, result.message ?? "");
        assert.match(result.message ?? "", message);
      }
    });
  }

  test("a service's own check is heard", async () => {
    const results = await run(at("services/objecting.js"), 1, 3);
    for (const { invariant } of results) assert.ok(invariant === null || invariant === "service-check");
    assert.ok(results.some(({ message }) => /^\d+ additions made \d+$/.test(message ?? "")));
  });

  test("a module without a load is refused, and says what is missing", async () => {
    await assert.rejects(run(at("../synod/bank.js"), 1, 2), (error) => {
      return (
        error instanceof ConfigError && /bank\.js says nothing about its load; it exports simulate/.test(error.message)
      );
    });
  });
});
