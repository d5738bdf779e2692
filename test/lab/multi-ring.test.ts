/** The experiment on merging streams: it runs and makes its checks, and its rules fail for runs that are not as they should be. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { experiments, renderReport, runExperiment } from "#src/lab/index.js";
import { idleLatency, type MergeConfig, type MergeRow, sameOrder, skipRate } from "#src/lab/multi-ring/index.js";
import { MulticastModel } from "#src/lab/delivery/index.js";
import { type Merge, MergePointMerge, MergePointPacing, SingleMerge, singlePacing } from "#src/multicast/index.js";

const CONFIG: MergeConfig = { lambda: 1000, intervalMs: 1, instancesMax: 512 };

function row(fields: Partial<MergeRow>): MergeRow {
  return {
    scenario: "idle g_all",
    merge: "points",
    seed: 1,
    learners: 3,
    learners_equal: 3,
    delivered: 100,
    throughput: 1000,
    median_delay_ms: 1,
    waiting_max: 1,
    ...fields,
  };
}

describe("lab: multi-ring-merge", () => {
  test("runs and makes its checks, the same each time", async () => {
    const experiment = experiments.find(({ name }) => name === "multi-ring-merge");
    assert.ok(experiment !== undefined);
    const run = async (): ReturnType<typeof runExperiment> =>
      runExperiment(experiment, {
        modes: new Set(["sim"]),
        quick: true,
        seed: 3,
        progress: () => undefined,
        sizes: { durationMs: 1500, seeds: 3 },
      });
    const { result, findings } = await run();
    assert.deepEqual(
      result.checks.map(({ name }) => name),
      ["same-order", "idle-latency", "skip-rate"],
    );
    // Virtual time: these do not depend on the machine.
    for (const check of result.checks) assert.equal(check.holds, true, `${check.name}: ${check.deviation}`);
    const page = renderReport(experiment, result, findings);
    assert.ok(page.includes("<svg"));
    assert.doesNotMatch(page, /<script|https?:|NaN/);
    assert.deepEqual((await run()).result.rows, result.rows);
  });

  test("in real mode alone nothing is checked", async () => {
    const experiment = experiments.find(({ name }) => name === "multi-ring-merge")!;
    const { result } = await runExperiment(experiment, {
      modes: new Set(["real"]),
      quick: true,
      seed: 3,
      progress: () => undefined,
    });
    assert.ok(result.checks.every(({ holds, deviation }) => holds === null && /--mode sim/.test(String(deviation))));
  });

  test("same-order fails for learners that differ", () => {
    const good = row({ scenario: "failover" });
    assert.equal(sameOrder([good]).holds, true);
    const bad = sameOrder([good, row({ scenario: "failover", seed: 9, learners_equal: 2 })]);
    assert.equal(bad.holds, false);
    assert.match(String(bad.deviation), /seeds 9/);
    assert.equal(sameOrder([row({ scenario: "failover", delivered: 0 })]).holds, false, "nothing was delivered");
    assert.equal(sameOrder([]).holds, null);
  });

  test("idle-latency fails for delays that are too long", () => {
    const alone = row({ merge: "alone" });
    const check = (points: number, skips: number): boolean | null =>
      idleLatency([alone, row({ median_delay_ms: points }), row({ merge: "skips", median_delay_ms: skips })], CONFIG)
        .holds;
    assert.equal(check(1.1, 2), true);
    assert.equal(check(1.11, 2), false);
    assert.equal(check(1.1, 2.01), false);
  });

  test("skip-rate fails for buffers that stay low, delivery that does not fall, and merge points that wait", () => {
    const check = (waiting: number, delivered: number, points: number): boolean | null =>
      skipRate(
        [
          row({ scenario: "above lambda", merge: "skips", waiting_max: waiting, throughput: delivered }),
          row({ scenario: "above lambda", waiting_max: points }),
        ],
        CONFIG,
      ).holds;
    assert.equal(check(512, 1000, 51), true);
    assert.equal(check(511, 1000, 51), false);
    assert.equal(check(512, 1101, 51), false);
    assert.equal(check(512, 1000, 52), false);
  });

  test("the model tells learners apart whose merge goes by arrival", () => {
    /** A planted bug: g_all is delivered when it arrives, whatever the log of the group says. */
    const byArrival = (group: number): Merge => {
      const own = new SingleMerge(group);
      const all = new SingleMerge(0);
      const of = (stream: number): Merge => (stream === 0 ? all : own);
      return {
        offer: (stream, instance, batch) => of(stream).offer(stream, instance, batch),
        deliver: (out, most) => all.deliver(out, most) + own.deliver(out, most),
        get waitsFor() {
          return own.waitsFor;
        },
        delivered: (stream) => of(stream).delivered(stream),
        expected: (stream) => of(stream).expected(stream),
        save: () => undefined,
        restore: (_view, at) => at,
        queues: () => undefined,
      };
    };
    const run = (makeMerge: (group: number) => Merge): boolean => {
      const learners = new MulticastModel({
        seed: 5,
        groups: 2,
        rates: [500, 1000, 500],
        durationMs: 300,
        withAll: true,
        failovers: [],
        makeMerge,
        makePacing: (stream) => (stream === 0 ? singlePacing : new MergePointPacing()),
      }).run();
      const [first, ...others] = learners.map((threads) => JSON.stringify(threads.map(({ sequence }) => sequence)));
      return others.every((sequences) => sequences === first);
    };
    assert.ok(run((group) => new MergePointMerge(group)));
    assert.ok(!run(byArrival));
  });
});
