/** Every named place where a process can die is one where processes do die, and the cluster survives it. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { crashPointOf, crashPoints, drawScenario, RunTally, runScenario, type Scenario } from "#src/sim/index.js";

/** The first half does it on most days; whatever makes a world another one may need some more. */
const SEEDS_MAX = 12;
const APART_MS = 150;

/** Draws of strikes: one of each of the points, and one that is met soon. */
function drawsOf(points: readonly string[], from: number): number[] {
  return points.map((point) => {
    for (let draw = from; ; draw++) {
      const armed = crashPointOf(draw);
      if (armed.point === point && armed.passes <= 4) return draw;
    }
  });
}

/** A world of few differences but what dies where: points of all occasions are passed in it. Those given are struck first. */
function deadly(seed: number, points: readonly string[]): Scenario {
  const drawn = drawScenario({
    seed,
    replicas: 3,
    durability: "fsync",
    service: "kv",
    connections: 0,
    faults: ["crash-point"],
  });
  const draws = drawsOf(points, seed * 10_000);
  const schedule = draws.map((draw, index) => ({ atMs: 300 + index * APART_MS, fault: "crash-point" as const, draw }));
  return {
    ...drawn,
    safetyMs: 1500 + schedule.length * APART_MS,
    schedule,
    segmentBytes: 4096,
    options: { ...drawn.options, checkpointInstances: 10 },
    knobs: { ...drawn.knobs, logInstancesMax: 1000 },
  };
}

describe("crash points", () => {
  test("a fixed set of seeds covers all of them", (context) => {
    const tally = new RunTally();
    const spared = (): string[] =>
      [...tally.crashPoints].flatMap(([point, { deaths }]) => (deaths === 0 ? [point] : []));
    for (let seed = 1; seed <= SEEDS_MAX && spared().length > 0; seed++) {
      const result = runScenario(deadly(seed, spared()));
      assert.ok(result.passed, `seed ${seed}: ${result.invariant}: ${result.message}`);
      tally.add(result);
    }
    assert.deepEqual(spared(), [], JSON.stringify([...tally.crashPoints]));
    const deaths = [...tally.crashPoints.values()].reduce((sum, point) => sum + point.deaths, 0);
    assert.equal(deaths, tally.faults.get("crash-point")?.times);
    context.diagnostic(`${tally.seeds} seeds, ${deaths} deaths at ${crashPoints.length} points`);
  });

  test("a point that nobody dies at is not covered", () => {
    const tally = new RunTally();
    tally.add(runScenario(deadly(1, [])));
    for (const [point, { passes, deaths }] of tally.crashPoints) {
      assert.equal(deaths, 0);
      if (point.includes("append") || point.includes("send")) assert.ok(passes > 0, point);
    }
  });
});
