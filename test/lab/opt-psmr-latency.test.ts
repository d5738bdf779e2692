/** A replica behind agreement and merge in virtual time: what the paper's third figure says holds for fixed costs. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Latencies, type LatencyOptions, runLatencyModel } from "#src/lab/opt-psmr/index.js";
import { drawWorkload } from "#src/lab/streams/index.js";
import type { Costs } from "#src/lab/study/index.js";

const COSTS: Costs = { e1: 900, e2: 1000, d1: 1200, c1: 1400, s2: 300, optimistic: { o1: 1300, o2: 1450 } };

function run(fields: Partial<LatencyOptions>, commands = 4000): Latencies {
  const workload = drawWorkload({
    seed: 3,
    commands,
    keys: 10_000,
    dependent: 1,
    skew: "uniform",
    space: "scattered",
  });
  return runLatencyModel({
    system: "opt-psmr",
    merge: "skips",
    resubmit: "client",
    threads: 4,
    workload,
    costs: COSTS,
    seed: 3,
    load: { perSecond: 20_000 },
    durationMs: 150,
    ...fields,
  });
}

describe("lab: latencies of opt-PSMR in virtual time", () => {
  test("a command that fails takes twice as long under skips, and a third agreement under merge points", () => {
    const skips = run({});
    assert.ok(skips.failed > 20, `${skips.failed} failed`);
    const ratio = skips.failedMs / skips.passedMs;
    assert.ok(ratio > 1.8 && ratio < 2.2, String(ratio));
    const points = run({ merge: "points" });
    assert.ok(points.failedMs / points.passedMs > 2.5 && points.failedMs / points.passedMs < 3.5);
    assert.ok(Math.abs(points.passedMs / skips.passedMs - 1) < 0.1, "what passes does not wait for g_all");
    const replicas = run({ resubmit: "replicas" });
    assert.ok(replicas.failedMs < skips.failedMs - 0.5, "the way to the client and back is saved");
  });

  test("every command is answered once, and the same happens each time", () => {
    const once = run({});
    assert.deepEqual(run({}), once);
    const few = run({ load: { perSecond: 1000 } }, 100);
    assert.equal(few.passed + few.failed, 100);
    assert.notDeepEqual(run({ seed: 4 }), once);
  });

  test("clients that each wait for their answer saturate the system; one thread executes as many as its costs allow", () => {
    const sequential = run({ system: "sequential", threads: 1, load: { clients: 4000 }, durationMs: 20 }, 40_000);
    const most = 1e9 / COSTS.d1;
    assert.ok(sequential.throughput > 0.8 * most && sequential.throughput < 1.05 * most, String(sequential.throughput));
    const few = run({ system: "sequential", threads: 1, load: { clients: 100 }, durationMs: 20 }, 40_000);
    assert.ok(few.throughput < 0.1 * most && few.allMs < sequential.allMs, "few clients wait for the network alone");
    const psmr = run({ system: "psmr", load: { clients: 4000 }, durationMs: 20 }, 40_000);
    assert.equal(psmr.failed, 0, "what goes to all groups at once does not fail");
  });
});
