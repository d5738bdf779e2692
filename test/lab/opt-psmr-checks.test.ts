/** The rules on opt-PSMR hold for rows that have the paper's shape, and fail for rows that have not. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  aboveSmr,
  allLatency,
  cpu,
  estimatedFailRate,
  failedLatency,
  failRateFalls,
  failRateLevel,
  latencyAtSaturation,
  type LatencyRow,
  optRises,
  overPsmr,
  perThread,
  psmrDrop,
  psmrFalls,
  smrFlat,
} from "#src/lab/opt-psmr/index.js";
import { type Costs, type RateRow, SHARES, SIMULATED_THREADS } from "#src/lab/study/index.js";

const COSTS: Costs = { e1: 1000, e2: 1100, d1: 1000, c1: 1000, s2: 120 };

function row(fields: Partial<RateRow> & { readonly throughput: number }): RateRow {
  return {
    mode: "sim",
    system: "opt-psmr",
    threads: 8,
    barrier: "run",
    dependent_percent: 100,
    skew: "uniform",
    mapping: "range",
    waiting: "spin",
    ...fields,
  };
}

const smr = (throughput: number, dependent = 100, mode: RateRow["mode"] = "sim"): RateRow =>
  row({ mode, system: "sequential", threads: 1, dependent_percent: dependent, throughput });

function latency(fields: Partial<LatencyRow>): LatencyRow {
  return {
    mode: "sim",
    system: "opt-psmr",
    merge: "skips",
    resubmit: "client",
    threads: 8,
    keys: 100_000,
    dependent_percent: 100,
    offered_per_s: 10_000,
    throughput: 10_000,
    passed_ms: 3,
    failed_ms: 6,
    latency_ms: 3.03,
    fail_rate: 0.01,
    failures: 100,
    ...fields,
  };
}

describe("lab: rules on opt-PSMR", () => {
  test("smr-flat", () => {
    const flat = (last: number): RateRow[] => SHARES.map((share) => smr(share === 100 ? last : 100, share));
    assert.equal(smrFlat(flat(86)).holds, true);
    assert.equal(smrFlat(flat(84)).holds, false);
    assert.equal(smrFlat([]).holds, null);
  });

  test("above-smr", () => {
    const rows = (last: number): RateRow[] =>
      SHARES.flatMap((share) => [
        smr(100, share),
        row({ dependent_percent: share, throughput: share === 100 ? last : 300 }),
      ]);
    assert.equal(aboveSmr(rows(101), COSTS).holds, true);
    const below = aboveSmr(rows(99), COSTS);
    assert.equal(below.holds, false);
    assert.match(String(below.deviation), /^100 %: 0\.990 × SMR/);
  });

  test("over-psmr", () => {
    const real = (ours: number): RateRow[] => [
      row({ mode: "real", threads: 2, throughput: ours, makespan_throughput: 180 }),
      row({ mode: "real", system: "psmr", threads: 2, throughput: 100, makespan_throughput: 100 }),
    ];
    assert.equal(overPsmr(real(165), COSTS).holds, true);
    assert.equal(overPsmr(real(160), COSTS).holds, false, "less than the makespans say");
    assert.equal(overPsmr(real(200), COSTS).holds, false, "more than the makespans say");
    const sim = (ours: number): RateRow[] => [
      smr(100),
      ...(["run", "command"] as const).flatMap((barrier) => [
        row({ barrier, throughput: ours }),
        row({ barrier, system: "psmr", throughput: 100 }),
      ]),
    ];
    assert.equal(overPsmr(sim(240), COSTS).holds, true);
    assert.equal(overPsmr(sim(239), COSTS).holds, false);
  });

  test("psmr-drop", () => {
    const rows = (five: number): RateRow[] =>
      [0, 5].map((share) =>
        row({ system: "psmr", barrier: "command", dependent_percent: share, throughput: share === 0 ? 100 : five }),
      );
    assert.equal(psmrDrop(rows(80), COSTS).holds, true);
    assert.equal(psmrDrop(rows(81), COSTS).holds, false);
  });

  test("opt-rises, psmr-falls and per-thread", () => {
    const rows = (ours: readonly number[], theirs: readonly number[]): RateRow[] =>
      SIMULATED_THREADS.flatMap((threads, i) => [
        row({ threads, throughput: ours[i]! }),
        row({ threads, system: "psmr", barrier: "command", throughput: theirs[i]! }),
      ]);
    const good = rows([90, 170, 300, 500, 450], [100, 90, 80, 60, 40]);
    for (const check of [optRises, psmrFalls, perThread]) assert.equal(check(good, COSTS).holds, true, check.name);
    assert.equal(optRises(rows([90, 170, 160, 500, 600], [100, 90, 80, 60, 40]), COSTS).holds, false);
    assert.equal(psmrFalls(rows([90, 170, 300, 500, 600], [100, 101, 80, 60, 40]), COSTS).holds, false);
    assert.equal(perThread(rows([90, 80, 70, 50, 30], [100, 90, 80, 60, 40]), COSTS).holds, false);
  });

  test("cpu", () => {
    const rows = (cores: number, each: number): RateRow[] => {
      const common = { mode: "real", threads: 2, waiting: "sleep" } as const;
      return [
        row({ ...common, throughput: 1, cores, core_ns: each }),
        row({ ...common, throughput: 1, system: "psmr", barrier: "command", cores: 1, core_ns: 1000 }),
      ];
    };
    assert.equal(cpu(rows(1.2, 900)).holds, true);
    assert.equal(cpu(rows(0.9, 900)).holds, false);
    assert.equal(cpu(rows(1.2, 1100)).holds, false);
    assert.equal(cpu([]).holds, null, "it is measured asleep at barriers only");
  });

  test("latency at saturation", () => {
    const rows = (ours: number): LatencyRow[] => [
      latency({ latency_ms: ours }),
      latency({ system: "sequential", latency_ms: 4 }),
    ];
    assert.equal(latencyAtSaturation(rows(6)).holds, true);
    assert.equal(latencyAtSaturation(rows(6.1)).holds, false);
  });

  test("failed-latency", () => {
    assert.equal(failedLatency([latency({}), latency({ merge: "points", failed_ms: 9 })]).holds, true);
    assert.equal(failedLatency([latency({ failed_ms: 5.3 })]).holds, false);
    assert.equal(failedLatency([latency({ merge: "points", failed_ms: 7 })]).holds, false);
    // What the replicas send again is shown beside it, and has no bounds of its own.
    const beside = failedLatency([latency({}), latency({ resubmit: "replicas", failed_ms: 4.5 })]);
    assert.equal(beside.holds, true);
    assert.match(String(beside.measured), /from the replicas 1\.50/);
  });

  test("all-latency", () => {
    assert.equal(allLatency([latency({ latency_ms: 3.3 })]).holds, true);
    assert.equal(allLatency([latency({ latency_ms: 3.4 })]).holds, false);
  });

  test("fail-rate-falls", () => {
    const steps = (rates: readonly number[], failures: readonly number[]): LatencyRow[] =>
      rates.map((rate, i) => latency({ offered_per_s: 1000 * 2 ** i, fail_rate: rate, failures: failures[i]! }));
    assert.equal(failRateFalls(steps([0.012, 0.01, 0.008], [30, 60, 100])).holds, true);
    assert.equal(failRateFalls(steps([0.01, 0.0101, 0.008], [100, 200, 300])).holds, true, "as chance has it");
    assert.equal(failRateFalls(steps([0.01, 0.012, 0.008], [100, 240, 300])).holds, false, "it rises in between");
    assert.equal(failRateFalls(steps([0.01, 0.01], [100, 200])).holds, false, "it does not fall");
    assert.equal(failRateFalls(steps([0.012, 0.01, 0.002], [30, 60, 50])).holds, false, "fewer fail");
  });

  test("fail-rate-level goes by the estimate for the capacity", () => {
    assert.ok(Math.abs(estimatedFailRate(32) - 0.025) < 1e-12);
    assert.ok(Math.abs(estimatedFailRate(64) - 0.009) < 1e-12);
    const between = estimatedFailRate(60);
    assert.ok(between > 0.009 && between < 0.012, String(between));
    const level = (rate: number): boolean | null =>
      failRateLevel([latency({ merge: "points", fail_rate: rate })], 60).holds;
    assert.deepEqual([level(between), level(between / 2.1), level(2.1 * between)], [true, false, false]);
  });
});
