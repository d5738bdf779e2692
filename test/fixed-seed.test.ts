/** What the runner says about seeds holds in every test file. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";

test("properties draw from the seed of the run, the same inputs each time", () => {
  const seed = process.env["SYNOD_TEST_SEED"];
  assert.equal(fc.readConfigureGlobal()?.seed, seed === undefined ? undefined : Number(seed));
  const draw = (): number[] => {
    const drawn: number[] = [];
    fc.assert(
      fc.property(fc.integer(), (value) => {
        drawn.push(value);
      }),
      { numRuns: 20 },
    );
    return drawn;
  };
  if (seed !== undefined) assert.deepEqual(draw(), draw());
});
