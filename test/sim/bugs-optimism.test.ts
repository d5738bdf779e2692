/** The planted bugs of clusters with opt-PSMR. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { bugs } from "#src/sim/index.js";
import { describeBugs } from "./bugs.suite.js";

const ofOptimism = bugs.filter((bug) => bug.arguments.execution === "opt-psmr");

describeBugs("planted bugs of opt-PSMR", ofOptimism);

test("there are at least 8 of opt-PSMR", () => {
  assert.ok(ofOptimism.length >= 8, `${ofOptimism.length}`);
});
