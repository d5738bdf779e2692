/** Bounded memory: every queue of a replica is watched in the simulated world, and one that overflows is named. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ExecutionModel, QueueVisitor } from "#src/model/index.js";
import { describeOverfull, drawScenario, QueueBounds, runSeed } from "#src/sim/index.js";
import { SimWorld } from "#src/sim/world/index.js";

describe("the checker of queues", () => {
  test("names the first queue that holds more than its maximum, and no other", () => {
    const bounds = new QueueBounds();
    bounds.sample("replica 1", "ingress bytes", 100, 100);
    assert.equal(bounds.overfull, null);
    bounds.sample("replica 2", "ingress bytes", 101, 100);
    bounds.sample("replica 3", "sessions", 9, 8);
    assert.ok(bounds.overfull !== null);
    assert.equal(describeOverfull(bounds.overfull), "replica 2: ingress bytes hold 101, their maximum is 100");
    assert.deepEqual(
      bounds.peaks.map(({ queue, value }) => [queue, value]),
      [
        ["sessions", 9],
        ["ingress bytes", 101],
      ],
    );
  });

  test("a size that is no number is above every maximum", () => {
    const bounds = new QueueBounds();
    bounds.sample("replica 1", "sessions", NaN, 8);
    assert.equal(bounds.overfull?.queue, "sessions");
  });
});

describe("the simulated world", () => {
  test("watches every queue of every replica, and some come near their maximum", () => {
    const seen = new Map<string, number>();
    for (let seed = 1; seed <= 12; seed++) {
      const world = new SimWorld(drawScenario({ seed, service: "kv", replicas: 3 }));
      world.start();
      world.run(2000);
      for (const { queue, share } of world.queues.peaks) seen.set(queue, Math.max(share, seen.get(queue) ?? 0));
    }
    const names = [
      "ingress bytes",
      "read bytes",
      "read groups",
      "records to persist",
      "routes of sessions",
      "routes of openings",
      "log bytes",
      "decisions held back",
      "bytes of waiting reads",
      "sessions",
      "session replies",
      "session reply bytes",
      "reply bytes",
      "unsent bytes to a peer",
    ];
    for (const name of names) assert.ok(seen.has(name), `${name} is not watched`);
    assert.ok((seen.get("session replies") ?? 0) >= 0.5, `session replies: ${seen.get("session replies")}`);
  });

  test("a replica that remembers more than it may ends the run", () => {
    // Nothing else differs, so nothing else can end the run before.
    const result = runSeed(
      { seed: 1, service: "kv", replicas: 3, faults: [] },
      {
        siblings: (real) => ({
          ...real,
          createExecution: (service, limits) => overfull(real.createExecution(service, limits)),
        }),
      },
    );
    assert.equal(result.invariant, "bounded-memory", result.message ?? "it passed");
    assert.match(result.message ?? "", /^replica [123]: sessions hold \d+, their maximum is 1$/);
  });
});

/** A model that reports a maximum of one session, and keeps as many as ever. */
function overfull(inner: ExecutionModel): ExecutionModel {
  return {
    step: (event, out) => inner.step(event, out),
    inspect: () => inner.inspect(),
    digest: (into) => inner.digest(into),
    snapshot: () => inner.snapshot(),
    restore: (through) => inner.restore(through),
    queues: (visit: QueueVisitor) =>
      inner.queues?.((queue, value, maximum) => visit(queue, value, queue === "sessions" ? 1 : maximum)),
  };
}
