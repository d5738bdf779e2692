import assert from "node:assert/strict";
import { test } from "node:test";
import { faultKinds, needsMachines } from "./fault.js";
import { passed, runNemesis } from "./nemesis.js";

// Faults that need no root, at random; the others, and long runs, are `npm run soak -- nemesis`.
const faults = faultKinds.filter((kind) => !needsMachines(kind));

for (const [service, seconds] of [
  ["kv", 8],
  ["btree", 4],
  ["examples/bank/bank.js", 4],
] as const) {
  test(`DESIGN section 8: the nemesis on ${service}, short: linearizable, nothing acknowledged lost, digests equal`, async () => {
    const seed = 20_260;
    const report = await runNemesis({
      seconds,
      seed,
      service,
      pauseMs: 4,
      faults,
    });
    const replay = `npm run soak -- nemesis --service ${service} --seed ${seed}`;
    assert(passed(report), `${JSON.stringify(report)}; ${replay}`);
    assert(report.operations.ok > 100, `only ${report.operations.ok} operations succeeded; ${replay}`);
  });
}
