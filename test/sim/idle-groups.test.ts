/** A cluster with several groups that nobody uses any more comes to rest: nothing that it does calls for the next thing. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { drawScenario, SimWorld } from "#src/sim/index.js";

/** Virtual time behind the last command in which barriers for it, marks and checkpoints come to an end, in ms. */
const SETTLE_MS = 15_000;
const REST_MS = 30_000;
/** What a stream may still decide in that time: the digest by which a session that expires, or a checkpoint, makes itself felt. */
const DECIDED_AT_REST_MAX = 3;

describe("an idle cluster with groups", () => {
  for (const seed of [1, 2, 3, 4]) {
    const groups = 2 + (seed % 2);
    test(`orders nothing more once its last command was executed: seed ${seed}, ${groups} groups`, () => {
      const scenario = drawScenario({ seed, groups, merge: "points", execution: "psmr", faults: [], replicas: 3 });
      const world = new SimWorld({ ...scenario, safetyMs: 2000 });
      world.start();
      world.run(2000);
      for (const client of world.clients) client.finish(scenario.workload.lastCommands);
      world.run(world.kernel.now + scenario.livenessMs, () => world.clients.every(({ idle }) => idle));
      assert.ok(world.clients.every(({ idle }) => idle));
      world.run(world.kernel.now + SETTLE_MS);
      const before = world.decided();
      assert.ok(Math.min(...before) > 0, `all streams were used: ${before.join()}`);
      world.run(world.kernel.now + REST_MS);
      const after = world.decided();
      for (const [stream, decided] of after.entries()) {
        const more = decided - (before[stream] as number);
        assert.ok(more <= DECIDED_AT_REST_MAX, `stream ${stream} decided ${more} instances of nothing`);
      }
    });
  }
});
