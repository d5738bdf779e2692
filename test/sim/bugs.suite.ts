/**
 * Each planted bug is found within its seeds, by an invariant that it breaks; the unmodified system passes the very seed that
 * found it. And each is worth finding: without faults a cluster with the bug passes.
 */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { type Bug, replayCommand, runSeed, type SeedResult } from "#src/sim/index.js";

export function describeBugs(title: string, bugs: readonly Bug[]): void {
  describe(title, () => {
    for (const bug of bugs) {
      test(`${bug.name}: ${bug.description}`, () => {
        let found: SeedResult | null = null;
        for (let seed = bug.seeds[0]; seed <= bug.seeds[1] && found === null; seed++) {
          const result = runSeed({ ...bug.arguments, seed }, bug.plant());
          if (!result.passed) found = result;
        }
        assert.ok(found !== null, `none of the seeds ${bug.seeds.join("..")} found it`);
        const invariants = [bug.invariant, ...(bug.also ?? [])];
        const replay = replayCommand({ ...bug.arguments, seed: found.seed }, bug.name);
        assert.ok(
          invariants.includes(found.invariant ?? ""),
          `${found.invariant}: ${found.message}\n  replay: ${replay}`,
        );
        const unmodified = runSeed({ ...bug.arguments, seed: found.seed });
        assert.ok(unmodified.passed, `seed ${found.seed} without the bug: ${unmodified.message}`);
      });
    }

    test("none of them shows in a calm cluster", () => {
      for (const { name, arguments: wanted, plant } of bugs) {
        const calm = { service: "kv", ...wanted, seed: 1, durability: "fsync", faults: [] } as const;
        const { passed, invariant, message } = runSeed(calm, plant());
        assert.ok(passed, `${name}: ${invariant}: ${message}\n  replay: ${replayCommand(calm)} with the bug ${name}`);
      }
    });
  });
}
