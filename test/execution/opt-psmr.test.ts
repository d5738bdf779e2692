/** opt-PSMR under seeded schedules: whatever the threads do, replicas are equal, and end as a sequential execution does (A9). */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Prng } from "#src/base/index.js";
import { followed, runWorld } from "./opt-psmr-check.js";
import { OptWorld, worldOptions } from "./opt-psmr-world.js";
import { cutOf, differences, digestOf, restored } from "./psmr-check.js";
import { PsmrReplica } from "./psmr-replica.js";

const SEEDS = 30;

describe("opt-PSMR: threads under a seeded scheduler (O1 to O4)", () => {
  for (const optimistic of ["replicas", "client"] as const) {
    for (const barrier of ["run", "command"] as const) {
      test(`are equal, and end as a sequential execution (${optimistic} multicast again, barrier per ${barrier})`, () => {
        const counts = { passed: 0, failed: 0, along: 0, conservative: 0, refused: 0, repeated: 0 };
        for (let seed = 1; seed <= SEEDS; seed++) {
          try {
            const { oracle } = runWorld(worldOptions(seed, { replica: { optimistic, barrier } }));
            for (const [name, count] of Object.entries(oracle.counts)) counts[name as keyof typeof counts] += count;
          } catch (error) {
            throw new Error(`seed ${seed}`, { cause: error });
          }
        }
        for (const [name, count] of Object.entries(counts))
          assert.ok(count > 5, `${name} is hardly ever tried: ${count}`);
      });
    }
  }
});

describe("opt-PSMR: one thread", () => {
  test("passes what a tree of its own does not split or merge for, and ends as sequential execution (K = 1 is SMR)", () => {
    let failed = 0;
    for (let seed = 1; seed <= 10; seed++) {
      const { oracle } = runWorld(worldOptions(seed, { threads: 1, preload: 300 }));
      failed += oracle.counts.failed;
    }
    assert.ok(failed > 10, `or the test is about nothing: ${failed}`);
  });
});

describe("opt-PSMR: what is forgotten", () => {
  test("of late replies and failed commands, all replicas forget alike", () => {
    const limits = { sessionFailedMax: 8, failedMax: 12, sessionReplyBytesMax: 200, replyBytesMax: 300 };
    let putOff = 0;
    for (let seed = 1; seed <= 10; seed++) {
      const options = worldOptions(seed, { replica: { optimistic: "replicas", barrier: "run", ...limits } });
      const world = new OptWorld(options);
      try {
        world.run();
        followed(world, options, seed);
        for (const model of world.replica.threads) {
          model.queues((queue, value, maximum) => assert.ok(value <= maximum, `${queue} has ${value}`));
        }
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
      // Status 1, `retry`, of a block of commands, in the header of a reply block.
      putOff += [...world.replica.answers.values()].filter((answer) => answer.slice(48, 52) === "0100").length;
    }
    assert.ok(putOff > 10, `or the test is about nothing: ${putOff}`);
  });
});

describe("opt-PSMR: checkpoints", () => {
  test("with failed commands in them are gone on from as if nothing had happened", () => {
    let pending = 0;
    for (let seed = 1; seed <= 25; seed++) {
      try {
        const options = worldOptions(seed, {
          replica: { optimistic: "replicas", barrier: seed % 2 === 0 ? "run" : "command" },
        });
        const world = new OptWorld(options);
        world.run();
        const prng = new Prng(seed);
        const cutting = new PsmrReplica(world.plan, options.replica);
        const longest = Math.max(...world.plan.merged.map((deliveries) => deliveries.length));
        cutting.givenMax = 3 + prng.below(longest - 3);
        cutting.run(prng);
        cutting.givenMax = Infinity;
        // The source is read while later batches execute, so that what it shows must be kept for it.
        cutting.run(prng, [prng.below(world.plan.threads)]);
        const checkpoint = cutOf(cutting, prng);
        assert.equal(cutting.complaint(), null);
        assert.deepEqual(cutting.digests, world.replica.digests);
        const later = restored(world.plan, checkpoint, options.replica);
        for (const model of later.threads) {
          model.queues((queue, value) => {
            if (queue === "failed commands") pending += value;
          });
        }
        later.run(prng);
        assert.equal(later.complaint(), null);
        assert.deepEqual(digestOf(later.service), digestOf(world.replica.service));
        const [answers, digests] = [world.replica.answers, world.replica.digests];
        assert.equal(
          differences(later.answers, new Map([...answers].filter(([block]) => later.answers.has(block)))),
          "",
        );
        for (const [position, digest] of later.digests) assert.equal(digest, digests.get(position), `${position}`);
        assert.ok(later.digests.size > 0);
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
    assert.ok(pending > 20, `or the test is about nothing: ${pending}`);
  });
});
