/** Each planted bug is found, by the invariant that it breaks; the unmodified system passes the very seeds that found it. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { bugs, runSeed, type SeedResult } from "#src/sim/index.js";

describe("planted bugs", () => {
  for (const bug of bugs) {
    test(`${bug.name}: ${bug.description}`, () => {
      let found: SeedResult | null = null;
      for (let seed = bug.seeds[0]; seed <= bug.seeds[1] && found === null; seed++) {
        const result = runSeed({ ...bug.arguments, seed }, bug.plant());
        if (!result.passed) found = result;
      }
      assert.ok(found !== null, `none of the seeds ${bug.seeds.join("..")} found it`);
      assert.equal(found.invariant, bug.invariant, found.message ?? "");
      const unmodified = runSeed({ ...bug.arguments, seed: found.seed });
      assert.ok(unmodified.passed, `seed ${found.seed} without the bug: ${unmodified.message}`);
    });
  }

  test("there are at least eight, with names of their own", () => {
    assert.ok(bugs.length >= 8);
    assert.equal(new Set(bugs.map(({ name }) => name)).size, bugs.length);
  });
});
