/** The rules on P-SMR hold for rows that have the papers' shape, and fail for rows that have not. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
// The rules are not part of the lab's door: rows of one's own are for tests alone.
import {
  model,
  monotone,
  paysForBarriers,
  realTwoThreads,
  runBarriersRecover,
  schedulersStayBehind,
  simScales,
  skewCosts,
} from "#src/lab/psmr/index.js";
import { breakEven, breakEvenShare, type Costs, type RateRow, SHARES } from "#src/lab/study/index.js";

const COSTS: Costs = { e1: 1000, e2: 1100, d1: 1000, c1: 1000, s2: 120 };

function row(fields: Partial<RateRow> & { readonly throughput: number }): RateRow {
  return {
    mode: "real",
    system: "psmr",
    threads: 1,
    barrier: "run",
    dependent_percent: 0,
    skew: "uniform",
    mapping: "range",
    waiting: "spin",
    ...fields,
  };
}

describe("lab: rules on P-SMR", () => {
  const independent = (two: number, none = 90): RateRow[] => [
    row({ throughput: 100 }),
    row({ throughput: two, threads: 2 }),
    row({ throughput: 120, system: "tree" }),
    row({ throughput: 216, system: "tree", threads: 2 }),
    row({ throughput: none, system: "none" }),
    row({ throughput: 95, system: "sequential" }),
    row({ throughput: 96, system: "pipelined" }),
  ];

  test("real-two-threads", () => {
    assert.equal(realTwoThreads(independent(172)).holds, true);
    const failed = realTwoThreads(independent(170));
    assert.equal(failed.holds, false);
    assert.match(String(failed.deviation), /0\.944/);
    assert.equal(realTwoThreads([]).holds, null);
  });

  test("a failure on a busy machine names it", () => {
    const rows = independent(120).map((each) => ({ ...each, without_core: 0.25 }));
    assert.match(String(realTwoThreads(rows).deviation), /had no core for 25 %/);
  });

  const scaling = (rates: readonly number[]): RateRow[] => [
    row({ mode: "sim", system: "sequential", throughput: 100 }),
    ...[1, 2, 4, 8, 16].map((threads, i) => row({ mode: "sim", threads, throughput: rates[i]! })),
  ];

  test("sim-scales", () => {
    assert.equal(simScales(scaling([100, 190, 360, 650, 900]), COSTS).holds, true);
    assert.equal(simScales(scaling([100, 190, 180, 650, 900]), COSTS).holds, false, "it falls");
    assert.equal(simScales(scaling([100, 190, 300, 500, 600]), COSTS).holds, false, "less than six times");
    const slowTree = { ...COSTS, treeRatio: 1.5 };
    assert.equal(simScales(scaling([100, 130, 170, 220, 290]), slowTree).holds, true, "the tree allows no more");
  });

  test("schedulers-stay-behind", () => {
    assert.equal(schedulersStayBehind(independent(172)).holds, true);
    assert.equal(schedulersStayBehind(independent(172, 180)).holds, false);
    assert.equal(schedulersStayBehind(scaling([100, 90, 360, 650, 900])).holds, false);
  });

  const dependent = (command: number, run: number): RateRow[] => [
    row({ throughput: 100, system: "sequential", dependent_percent: 100 }),
    row({ throughput: command, threads: 2, barrier: "command", dependent_percent: 100 }),
    row({ throughput: run, threads: 2, dependent_percent: 100 }),
  ];

  test("pays-for-barriers and run-barriers-recover", () => {
    assert.equal(paysForBarriers(dependent(60, 95)).holds, true);
    assert.equal(paysForBarriers(dependent(101, 95)).holds, false);
    assert.equal(runBarriersRecover(dependent(60, 95), COSTS).holds, true);
    assert.equal(runBarriersRecover(dependent(60, 89), COSTS).holds, false);
    const simulated = [
      row({ mode: "sim", throughput: 100, system: "sequential", dependent_percent: 100 }),
      ...[2, 4, 8, 16].map((threads, i) =>
        row({
          mode: "sim",
          threads,
          barrier: "command",
          dependent_percent: 100,
          throughput: [80, 60, 61, 40][i]!,
        }),
      ),
    ];
    assert.equal(paysForBarriers(simulated).holds, false, "it rises from 4 to 8 threads");
  });

  const mixed = (curve: readonly number[]): RateRow[] =>
    SHARES.flatMap((share, i) => {
      const common = { mode: "sim", dependent_percent: share } as const;
      return [
        row({ ...common, throughput: 100, system: "sequential" }),
        row({ ...common, throughput: curve[i]!, threads: 8, barrier: "command" }),
      ];
    });

  test("monotone", () => {
    assert.equal(monotone(mixed([500, 450, 350, 280, 170, 90, 70, 55])).holds, true);
    const rising = monotone(mixed([500, 450, 350, 280, 170, 90, 70, 75]));
    assert.equal(rising.holds, false);
    assert.match(String(rising.deviation), /rises at 100 %/);
    assert.equal(monotone(mixed([500, 499, 498, 497, 170, 90, 70, 55])).holds, false, "steepest too late");
  });

  test("break-even", () => {
    const share = breakEvenShare(mixed([500, 450, 350, 280, 170, 90, 70, 55]), "sim");
    assert.ok(share !== null && share > 45 && share < 50, String(share));
    assert.equal(breakEven(mixed([500, 450, 350, 280, 170, 90, 70, 55]), COSTS).holds, true);
    const late = breakEven(mixed([500, 450, 350, 280, 200, 150, 110, 80]), COSTS);
    assert.equal(late.holds, false);
    assert.match(String(late.deviation), /e_8 = .* s_8 = /);
    assert.equal(breakEvenShare(mixed([500, 450, 350, 280, 200, 150, 120, 110]), "sim"), null);
  });

  test("model", () => {
    const close = row({ throughput: 100, threads: 2, makespan_throughput: 110 });
    assert.equal(model([close]).holds, true);
    assert.equal(model([close, row({ throughput: 100, threads: 2, makespan_throughput: 120 })]).holds, false);
    assert.equal(model([close, row({ throughput: 130, threads: 2, makespan_throughput: 110 })]).holds, false);
  });

  const skewed = (zipfRange: number, zipfHash: number): RateRow[] => [
    row({ throughput: 180, threads: 2 }),
    row({ throughput: 180, threads: 2, mapping: "hash" }),
    row({ throughput: zipfRange, threads: 2, skew: "zipf", busiest_share: 0.9 }),
    row({ throughput: zipfHash, threads: 2, skew: "zipf", mapping: "hash", busiest_share: 0.52 }),
  ];

  test("skew-costs", () => {
    const good = skewCosts(skewed(110, 170));
    assert.equal(good.holds, true);
    assert.match(String(good.measured), /busiest thread 90\.0 %/);
    assert.equal(skewCosts(skewed(190, 170)).holds, false);
    assert.equal(skewCosts(skewed(110, 100)).holds, false);
  });
});
