/** Seeds that found a bug once pass since. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { replayCommand, runSeed } from "#src/sim/index.js";
import { regressions } from "./regressions.js";

describe("seeds that found something", () => {
  for (const { was, ...wanted } of regressions) {
    test(`seed ${wanted.seed}, which found: ${was}`, () => {
      const { passed, invariant, message } = runSeed(wanted);
      assert.ok(passed, `${invariant}: ${message}\n  replay: ${replayCommand(wanted)}`);
    });
  }
});
