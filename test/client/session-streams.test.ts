/**
 * Clients of several streams of one cluster: each has a session that the client of stream 0 opens and lends. Scenarios state
 * what one event does; the property lets openings, expiries, elections, links and losses of all streams meet at random.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { BlockKind } from "#src/model/index.js";
import { recurring } from "./recurring.js";
import { replicas, type Submitted, World } from "./streams-world.js";

const outcomes = (blocks: readonly Submitted[]): string[] => blocks.map(({ outcome }) => outcome);

describe("clients of several streams", () => {
  test("have a session each, opened in stream 0 and used in their own", () => {
    const world = new World(1, 3).start();
    const blocks = [0, 1, 2, 3].flatMap((stream) => [world.submit(stream, 2), world.submit(stream)]);
    world.settle().check();
    assert.ok(blocks.every(({ outcome }) => outcome === "resolved"));
    assert.equal(world.lanes[0]!.cluster.opened, 4);
    assert.equal(new Set(world.lanes.map(({ model }) => model.inspect().session)).size, 4);
    for (const { stream, cluster } of world.lanes) {
      const others = cluster.received.filter(({ kind }) => kind !== BlockKind.commands);
      assert.ok(stream === 0 || others.length === 0, "only blocks of commands leave for other streams");
    }
  });

  test("know the leader of each stream by itself", () => {
    const world = new World(2, 2).start();
    for (const { stream } of world.lanes) world.submit(stream);
    world.settle();
    assert.deepEqual(
      world.lanes.map(({ model }) => model.inspect().leader),
      [1, 2, 3],
    );
  });

  test("wait for their session without sending, and go on while stream 0 has no leader", () => {
    const world = new World(3, 2);
    world.lanes[0]!.cluster.elect(0);
    world.start().run(500);
    const waiting = world.submit(1);
    world.run(500);
    assert.deepEqual(world.lanes[1]!.cluster.received, []);
    world.lanes[0]!.cluster.elect(2);
    world.settle();
    assert.equal(waiting.outcome, "resolved");
    // From here on it has a session, so that stream 0 is not needed.
    world.lanes[0]!.cluster.elect(0);
    const next = world.submit(1);
    world.run(10).check();
    assert.equal(next.outcome, "resolved");
  });

  test("a block that waits for a session longer than its deadline fails as certainly not applied", () => {
    const world = new World(4, 1);
    world.lanes[0]!.cluster.elect(0);
    world.start();
    const block = world.submit(1, 1, { deadlineMs: 100 });
    world.run(200).check();
    assert.equal(block.outcome, "try-again");
  });

  test("an opening whose reply is lost is sent again, and so is one that was redirected", () => {
    const world = new World(5, 2).start(false);
    world.faults.lose = 1;
    for (const { stream } of world.lanes) for (const replica of replicas) world.link(stream, replica, true);
    const blocks = [1, 2].map((stream) => world.submit(stream));
    world.run(100);
    assert.deepEqual(outcomes(blocks), ["open", "open"]);
    world.faults.lose = 0;
    world.lanes[0]!.cluster.elect(3);
    world.lanes[0]!.cluster.tell(1, 3);
    world.settle().check();
    assert.deepEqual(outcomes(blocks), ["resolved", "resolved"]);
  });

  test("an expiry in one stream opens another session for that stream and leaves the others", () => {
    const world = new World(6, 2).start();
    for (const { stream } of world.lanes) world.submit(stream);
    world.settle();
    const before = world.lanes.map(({ model }) => model.inspect().session);
    world.lanes[2]!.cluster.expireSessions();
    const sent = [0, 1, 2].map((stream) => world.submit(stream));
    world.settle().check();
    assert.deepEqual(outcomes(sent), ["resolved", "resolved", "indeterminate"]);
    const next = world.submit(2);
    world.settle().check();
    assert.equal(next.outcome, "resolved");
    const after = world.lanes.map(({ model }) => model.inspect().session);
    assert.deepEqual(after.slice(0, 2), before.slice(0, 2));
    assert.notEqual(after[2], before[2]);
    assert.equal(world.leaked(), 0, "the session that was replaced is closed");
  });

  test("a stream that idled borrows another session before it is used", () => {
    const world = new World(7, 1, { sessionIdleMs: 10_000 }).start();
    for (let i = 0; i < 5; i++) {
      world.submit(0);
      world.settle().run(3000);
    }
    world.lanes[1]!.cluster.expireSessions();
    const block = world.submit(1);
    world.settle().check();
    assert.equal(block.outcome, "resolved");
    assert.equal(world.lanes[0]!.cluster.opened, 3, "that of stream 0 was in use");
  });

  test("a misrouted block fails alone: what was sent behind it executes in another session, in order", () => {
    const world = new World(8, 1).start().run(20);
    const blocks = [
      world.submit(1),
      world.submit(1, 2, { misfit: true }),
      world.submit(1, 3),
      world.submit(1),
      world.submit(1, 1, { misfit: true }),
      world.submit(1),
    ];
    world.settle().check();
    assert.deepEqual(outcomes(blocks), ["resolved", "misrouted", "resolved", "resolved", "misrouted", "resolved"]);
    assert.deepEqual(world.lanes[1]!.executed, [1, 4, 5, 6, 7, 9]);
    assert.equal(world.lanes[0]!.cluster.opened, 4, "two sessions at first, one after each misrouted block");
    assert.equal(world.leaked(), 0);
  });

  test("a misrouted block whose answers are lost does not hang, and is never reported as possibly applied", () => {
    const world = new World(9, 1).start().run(20);
    world.faults.lose = 1;
    const blocks = [world.submit(1, 1, { misfit: true }), world.submit(1)];
    world.run(200);
    world.faults.lose = 0;
    world.settle().check();
    assert.deepEqual(outcomes(blocks), ["misrouted", "resolved"]);
  });

  test("closing ends the sessions of all streams", () => {
    const world = new World(10, 3).start();
    for (const { stream } of world.lanes) world.submit(stream);
    world.settle();
    const open = [0, 1, 2, 3].map((stream) => world.submit(stream));
    world.close();
    assert.ok(open.every(({ outcome }) => outcome === "closed"));
    world.run(10);
    assert.equal(world.lanes[0]!.cluster.closed, 4);
    assert.equal(world.lanes[0]!.cluster.sessions.size, 0);
  });
});

/** Random faults in all streams for some virtual seconds, then a healthy cluster. */
function history(seed: number): World {
  const groups = 1 + (seed % 3);
  const world = new World(seed, groups, { blocksMax: 32, seed, ...(seed % 5 === 0 ? { sessionIdleMs: 1600 } : {}) });
  const { prng, kernel } = world;
  const faultsEnd = 6000;
  Object.assign(world.faults, {
    lose: prng.float() * 0.3,
    repeat: prng.float() * 0.3,
    delayMsMin: 0,
    delayMsMax: prng.pick([2, 30, 200]),
  });
  world.start();
  const every = recurring(kernel, prng, faultsEnd);
  const misfits = prng.chance(0.4) ? 0.05 : 0;
  for (const { stream, cluster, model } of world.lanes) {
    every(prng.pick([15, 60, 900]), () => {
      if (!model.inspect().open) return;
      const misfit = stream > 0 && prng.chance(misfits);
      world.submit(stream, 1 + prng.below(3), { misfit, deadlineMs: prng.pick([50, 400, 5000]) });
    });
    every(900, () => {
      cluster.elect(prng.pick([0, 1, 2, 3]));
      for (const replica of replicas) {
        const told = (): void => cluster.tell(replica, prng.chance(0.8) ? cluster.leader : prng.below(4));
        kernel.after(prng.float() * 600, told);
      }
    });
    every(700, () => world.link(stream, prng.pick(replicas), prng.chance(0.6)));
    every(900, () => (prng.chance(0.4) ? cluster.silent.add(prng.pick(replicas)) : cluster.silent.clear()));
    every(1200, () => (cluster.refuseNext = prng.below(5)));
    if (prng.chance(0.5)) every(1500, () => cluster.expireSessions());
  }
  world.run(faultsEnd);
  Object.assign(world.faults, { lose: 0, repeat: 0, delayMsMax: 2 });
  for (const { stream, cluster } of world.lanes) {
    cluster.silent.clear();
    cluster.refuseNext = 0;
    cluster.elect(prng.pick(replicas));
    for (const replica of replicas) {
      cluster.tell(replica, cluster.leader);
      world.link(stream, replica, true);
    }
  }
  return world;
}

describe("over random faults of several streams", () => {
  test("every block has one outcome, each stream sees one dense sequence, and all recover", () => {
    const seen = new Map<string, number>();
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 31 }), (seed) => {
        const world = history(seed);
        world.settle(20_000).check();
        for (const { stream } of world.lanes) {
          // A forgotten session is the one thing that a healthy cluster may still have in store.
          const probe = world.submit(stream);
          world.settle(20_000).check();
          if (probe.outcome === "resolved") continue;
          assert.equal(probe.outcome, "indeterminate");
          const second = world.submit(stream);
          world.settle(20_000).check();
          assert.equal(second.outcome, "resolved");
        }
        for (const { outcome } of world.submitted) seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
      }),
      { numRuns: 60 },
    );
    for (const outcome of ["resolved", "try-again", "indeterminate", "session-expired", "misrouted"]) {
      assert.ok((seen.get(outcome) ?? 0) > 10, `too tame: ${JSON.stringify([...seen])}`);
    }
  });
});
