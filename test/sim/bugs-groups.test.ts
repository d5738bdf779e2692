/** The planted bugs of clusters with several groups, but those of opt-PSMR. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { bugs } from "#src/sim/index.js";
import { describeBugs } from "./bugs.suite.js";

const ofGroups = bugs.filter((bug) => bug.arguments.groups !== undefined && bug.arguments.execution !== "opt-psmr");

describeBugs("planted bugs of several groups", ofGroups);

test("there are at least 8 of several groups", () => {
  assert.ok(ofGroups.length >= 8, `${ofGroups.length}`);
});
