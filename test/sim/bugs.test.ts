/** The planted bugs of clusters with one group, and what all of them have in common. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { bugs } from "#src/sim/index.js";
import { describeBugs } from "./bugs.suite.js";

describeBugs(
  "planted bugs",
  bugs.filter((bug) => bug.arguments.groups === undefined),
);

test("there are at least 25, with names of their own", () => {
  assert.ok(bugs.length >= 25, `${bugs.length}`);
  assert.equal(new Set(bugs.map(({ name }) => name)).size, bugs.length);
});
