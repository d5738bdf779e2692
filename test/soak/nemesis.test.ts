import assert from "node:assert/strict";
import { test } from "node:test";
import { runNemesis } from "./nemesis.js";

test("DESIGN section 8: the nemesis, short: linearizable, nothing acknowledged lost, digests equal", async () => {
  const seed = 20_260;
  const report = await runNemesis({ seconds: 20, seed, pauseMs: 4 });
  const replay = `npm run soak -- nemesis --seed ${seed}`;
  assert.equal(report.verdict.verdict, "linearizable", `${JSON.stringify(report.verdict)}; ${replay}`);
  assert(report.operations.ok > 100, `only ${report.operations.ok} operations succeeded; ${replay}`);
  assert.equal(new Set(report.digests).size, 1, `digests ${report.digests.join(" ")}; ${replay}`);
  assert.notEqual(report.digests[0], null, replay);
  assert.equal(report.exitCode, 0, replay);
});
