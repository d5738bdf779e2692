import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Prng } from "#src/base/index.js";
import { Waiting } from "#src/execution/index.js";
import { coarseMapping, ReplyStatus } from "#src/model/index.js";
import { cutOf, digestOf, planOf, restored, runAgainstOracle } from "./psmr-check.js";
import { writtenPlan } from "./psmr-plan.js";
import { PsmrReplica } from "./psmr-replica.js";

const SEEDS = 40;

describe("P-SMR: threads under a seeded scheduler", () => {
  for (const barrier of ["run", "command"] as const) {
    test(`replies, state and digests are those of a sequential execution (barrier per ${barrier})`, () => {
      for (let seed = 1; seed <= SEEDS; seed++) {
        const plan = planOf(seed);
        try {
          const first = runAgainstOracle(plan, seed, { barrier });
          const second = runAgainstOracle(plan, seed + 1_000_000, { barrier });
          assert.deepEqual(second.digests, first.digests, "digests at common positions");
          assert.ok(first.digests.size > 0);
        } catch (error) {
          throw new Error(`seed ${seed}`, { cause: error });
        }
      }
    });
  }
});

describe("P-SMR: sessions", () => {
  test("whatever is forgotten, of idle sessions, too many sessions and old replies, all replicas forget alike", () => {
    const limits = { sessionIdleMs: 60, sessionsMax: 4, sessionRepliesMax: 2 };
    let forgotten = 0;
    for (let seed = 1; seed <= 20; seed++) {
      const plan = planOf(seed, { stepMs: 20, own: 30 });
      const replicas = [1, 2].map((run) => {
        const replica = new PsmrReplica(plan, limits);
        replica.run(new Prng(seed * run));
        assert.equal(replica.complaint(), null, `seed ${seed}`);
        return replica;
      });
      const [first, second] = replicas as [PsmrReplica, PsmrReplica];
      assert.deepEqual(second.digests, first.digests, `seed ${seed}`);
      assert.deepEqual(second.answers, first.answers, `seed ${seed}`);
      for (const model of first.threads) {
        model.queues((queue, value, maximum) => assert.ok(value <= maximum, `seed ${seed}: ${queue}`));
      }
      // Status 2, `sessionExpired`, in the header of a reply block.
      forgotten += [...first.answers.values()].filter((answer) => answer.slice(48, 50) === "02").length;
    }
    assert.ok(forgotten > 20, "or the test is about nothing");
  });
});

describe("P-SMR: checkpoints", () => {
  test("a replica that goes on from a cut answers and ends as one that ran through", () => {
    for (let seed = 1; seed <= 25; seed++) {
      const barrier = seed % 2 === 0 ? "run" : "command";
      const plan = planOf(seed);
      const prng = new Prng(seed);
      try {
        const through = runAgainstOracle(plan, seed, { barrier });
        const cutting = new PsmrReplica(plan, { barrier });
        // The source is read while later batches execute, so that what it shows must be kept for it.
        cutting.run(prng, [prng.below(plan.threads)]);
        const checkpoint = cutOf(cutting, prng);
        assert.equal(cutting.complaint(), null);
        assert.deepEqual(cutting.digests, through.digests);
        const later = restored(plan, checkpoint, { barrier });
        later.run(prng);
        assert.equal(later.complaint(), null);
        assert.deepEqual(digestOf(later.service), digestOf(through.service));
        for (const [position, digest] of later.digests)
          assert.equal(digest, through.digests.get(position), `${position}`);
        const unequal = [...later.answers].filter(([block, answer]) => through.answers.get(block) !== answer);
        assert.deepEqual(unequal.slice(0, 3), []);
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
  });

  test("a part of another thread, a truncated one, and one with a byte too many are refused", () => {
    const plan = planOf(3, { threads: 3, all: 10, own: 10 });
    const checkpoint = cutOf(new PsmrReplica(plan), new Prng(3));
    const fresh = (): PsmrReplica["threads"][number] =>
      new PsmrReplica(plan).threads[1] as PsmrReplica["threads"][number];
    const part = checkpoint.parts[1] as Uint8Array;
    const give = (bytes: Uint8Array) => (): void => {
      const sink = fresh().restore();
      sink.write(bytes, 0, bytes.length);
      sink.finish();
    };
    give(part)();
    const refused = { name: "CheckpointDamagedError" };
    assert.throws(give(checkpoint.parts[0] as Uint8Array), refused);
    for (let length = 0; length < part.length; length += 7) assert.throws(give(part.subarray(0, length)), refused);
    assert.throws(give(Uint8Array.of(...part, 0)), refused);
  });
});

describe("P-SMR: mapping", () => {
  test("with the coarse one reads execute in any thread, and all else in g_all", () => {
    const key = 5n;
    const plan = writtenPlan(3, 300, [
      { stream: 0, commands: [{ operation: "insert", key, value: 1n }] },
      { stream: 1, commands: [{ operation: "read", key }] },
      { stream: 3, commands: [{ operation: "read", key }] },
      { stream: 2, commands: [{ operation: "update", key, value: 2n }] },
      { stream: 0, commands: [{ operation: "update", key, value: 3n }] },
      { stream: 2, commands: [{ operation: "read", key }] },
    ]);
    for (let seed = 1; seed <= 10; seed++) {
      const replica = new PsmrReplica(plan, { mapping: coarseMapping });
      replica.run(new Prng(seed));
      assert.equal(replica.complaint(), null);
      // The header of a reply block is 32 bytes, with the status behind 24; the value of a read is at 8 behind that.
      const status = (block: string): number => Buffer.from(replica.answers.get(block) ?? "", "hex").readUInt8(24);
      const value = (block: string): number =>
        Buffer.from(replica.answers.get(block) ?? "", "hex").readUInt32LE(32 + 8);
      assert.equal(status("2/1/0"), ReplyStatus.misrouted, "an update through a group");
      assert.deepEqual([value("1/1/0"), value("3/1/0")], [1, 1]);
      assert.equal(status("0/3/0"), ReplyStatus.ok);
      assert.equal(status("2/2/0"), ReplyStatus.retry, "what was refused has left a gap");
    }
  });
});

describe("P-SMR: barriers", () => {
  test("a thread that lags at a barrier keeps no other from being delivered to, and those outside γ execute", () => {
    const update = (key: number) => [{ operation: "update", key: BigInt(key), value: 1n } as const];
    // Keys 100 to 299 are those of groups 1 and 2, which are γ of the range.
    const plan = writtenPlan(4, 400, [
      { stream: 0, commands: [{ operation: "range", key: 150n, last: 250n, pairs: 9 }] },
      ...[1, 2, 3, 4].map((stream) => ({ stream, commands: update(100 * stream - 50) })),
      { stream: 0, commands: [{ operation: "insert", key: 7n, value: 7n }] },
    ]);
    const replica = new PsmrReplica(plan);
    const states = (): (readonly [executed: number, all: number, waiting: Waiting])[] =>
      replica.threads.map((model) => {
        const { executed, executedAll, waiting } = model.inspect();
        return [executed, executedAll, waiting];
      });
    replica.givenMax = 1;
    replica.run(new Prng(1));
    replica.givenMax = Infinity;
    // Thread 2 comes to the range, which thread 1, its executor, does not: 0 and 3 pass, and wait for all at the insert.
    replica.run(new Prng(2), [1]);
    assert.deepEqual(states(), [
      [1, 2, Waiting.arrivals],
      [0, 1, Waiting.no],
      [0, 1, Waiting.release],
      [1, 2, Waiting.release],
    ]);
    assert.deepEqual(replica.given, [4, 1, 4, 4], "deliveries queue meanwhile");
    replica.run(new Prng(3));
    assert.equal(replica.complaint(), null);
    assert.deepEqual(states(), Array(4).fill([1, 3, Waiting.no]));
  });

  test("a later run does not overtake an earlier one of other threads", () => {
    const range = (key: number) => [
      { operation: "range", key: BigInt(key), last: BigInt(key + 150), pairs: 9 } as const,
    ];
    const plan = writtenPlan(4, 400, [
      { stream: 0, commands: range(20) },
      { stream: 0, commands: range(220) },
    ]);
    const replica = new PsmrReplica(plan);
    replica.givenMax = 1;
    replica.run(new Prng(1));
    replica.givenMax = Infinity;
    replica.run(new Prng(2), [0]);
    assert.deepEqual(
      replica.threads.map((model) => model.inspect().executedAll),
      [1, 1, 2, 2],
      "threads 2 and 3 have passed the first range, and met for the second, which waits for the first",
    );
    replica.run(new Prng(3));
    assert.equal(replica.complaint(), null);
    assert.deepEqual(
      replica.witness.filter(({ stream }) => stream === 0).map(({ instance }) => instance),
      [1, 2, 3],
    );
  });
});
