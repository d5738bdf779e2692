/** Streams, their makespan and the virtual time: what is recorded is what was drawn, and time is what the formulas say. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ByteWriter } from "#src/base/index.js";
import { createSequential } from "#src/execution/index.js";
import { checkBatch, type ExecutionSink } from "#src/model/index.js";
import { barrierCost, type Costs, executionCost, makespan, sequentialTime, simulate } from "#src/lab/study/index.js";
import { Deliveries } from "#src/lab/replay/index.js";
import {
  busiestShare,
  copiesOf,
  drawWorkload,
  encodeCommands,
  EVERYBODY,
  failRate,
  isDependent,
  keyWord,
  type Plan,
  planStreams,
  recordStreams,
  serviceOptions,
  takenBack,
  TABLE_WORDS,
  walkKeys,
  walkOptimism,
  type Workload,
} from "#src/lab/streams/index.js";
import { Btree, BtreeOperation } from "#src/service/index.js";

const COSTS: Costs = { e1: 100, e2: 110, d1: 150, c1: 170, s2: 40 };

function plan(seed: number, dependent: number, threads: number, mapping: "range" | "hash" = "range"): Plan {
  const workload = drawWorkload({ seed, commands: 3000, keys: 500, dependent, skew: "uniform" });
  return planStreams(workload, encodeCommands(workload.operations, workload.keys, 500), threads, mapping, 64);
}

describe("lab: streams", () => {
  test("walkKeys visits every number once", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3000 }), fc.nat(), (count, first) => {
        const next = walkKeys(count, first % count);
        assert.equal(new Set(Array.from({ length: count }, next)).size, count);
      }),
    );
  });

  test("each insert adds a key and each delete removes one; what is left behind is known", () => {
    for (let seed = 0; seed < 20; seed++) {
      const workload = drawWorkload({ seed, commands: 2000, keys: 5000, dependent: 0.7, skew: "uniform" });
      const there = new Set<number>();
      for (const [i, operation] of workload.operations.entries()) {
        const key = workload.keys[i]!;
        if (operation === BtreeOperation.insert) assert.ok(!there.has(key) && there.add(key), `seed ${seed}`);
        else if (operation === BtreeOperation.delete) assert.ok(there.delete(key), `seed ${seed}`);
        else assert.equal(key % 2, 0, "reads and updates find what was there from the beginning");
      }
      const back = takenBack(workload);
      assert.deepEqual(new Set(back.keys), there);
      assert.ok(back.operations.every((operation) => operation === BtreeOperation.delete));
    }
  });

  test("of scattered keys inserts add some and deletes remove any; what takes it back is known", () => {
    for (let seed = 0; seed < 20; seed++) {
      const options = { seed, commands: 1500, keys: 300, dependent: 0.8, skew: "uniform", space: "scattered" } as const;
      const workload = drawWorkload(options);
      const there = new Set(Array.from({ length: 300 }, (_, i) => i));
      const apply = ({ operations, keys }: Pick<Workload, "operations" | "keys">): void => {
        for (const [i, operation] of operations.entries()) {
          const key = keys[i]!;
          if (operation === BtreeOperation.insert) assert.ok(!there.has(key) && there.add(key), `seed ${seed}`);
          else if (operation === BtreeOperation.delete) assert.ok(there.delete(key), `seed ${seed}`);
          else assert.ok(there.has(key), `seed ${seed}: reads find their key`);
        }
      };
      apply(workload);
      apply(takenBack(workload));
      assert.deepEqual(
        [...there].sort((a, b) => a - b),
        Array.from({ length: 300 }, (_, i) => i),
      );
      const words = new Set(Array.from(workload.keys, (key) => keyWord(key, 300, "scattered")));
      assert.equal(words.size, new Set(workload.keys).size, "each number has a word of its own");
    }
  });

  test("Zipf keys: one thread has most of the load by range, and its share of it by hash", () => {
    const workload = drawWorkload({ seed: 1, commands: 20_000, keys: 100_000, dependent: 0, skew: "zipf" });
    const encoded = encodeCommands(workload.operations, workload.keys, 100_000);
    const by = (mapping: "range" | "hash"): number => busiestShare(planStreams(workload, encoded, 8, mapping, 256));
    assert.ok(by("range") > 0.75 && by("hash") < 0.3, `${by("range")} ${by("hash")}`);
  });

  test("dependent commands concern everybody, the others the group of their key", () => {
    for (const mapping of ["range", "hash"] as const) {
      const { owner, workload, threads } = plan(3, 0.3, 4, mapping);
      const groups = new Map<number, number>();
      for (const [i, thread] of owner.entries()) {
        assert.equal(thread === EVERYBODY, isDependent(workload.operations[i]!));
        if (thread === EVERYBODY) continue;
        assert.ok(thread < threads);
        const key = workload.keys[i]!;
        assert.equal(groups.get(key) ?? thread, thread, "one key, one group");
        groups.set(key, thread);
      }
      assert.equal(new Set(groups.values()).size, threads);
    }
    const one = plan(3, 0.3, 1);
    assert.ok(!one.owner.includes(EVERYBODY), "with one group all is of one group");
    const encoded = encodeCommands(one.workload.operations, one.workload.keys, 500);
    const apart = planStreams(one.workload, encoded, 1, "range", 64, "apart");
    assert.deepEqual(
      [...apart.owner].map((thread) => thread === EVERYBODY),
      [...one.workload.operations].map(isDependent),
    );
  });

  test("recorded batches are whole, and a replica that executes them answers every command", () => {
    const { workload } = plan(5, 0.4, 1);
    const encoded = encodeCommands(workload.operations, workload.keys, 500);
    const single = planStreams(workload, encoded, 1, "range", 64);
    const recording = recordStreams(single, encoded, "single");
    const table = new Uint32Array(recording.table);
    const view = new DataView(recording.bytes);
    for (let i = 0; i < recording.batches; i++) {
      const [start, length] = [table[i * TABLE_WORDS + 1]!, table[i * TABLE_WORDS + 2]!];
      assert.equal(checkBatch(view, start, start + length), length, `batch ${i}`);
    }
    let commands = 0;
    const replies = new ByteWriter(1 << 20);
    const sink: ExecutionSink = {
      executed: () => undefined,
      replies: () => replies,
      replied: (_session, _position, at) => {
        assert.equal(replies.view.getUint8(at + 24), 0, "status ok");
        commands += replies.view.getUint32(at + 4, true);
      },
      readDone: () => undefined,
      wantWork: () => undefined,
      digestTaken: () => undefined,
      trace: () => undefined,
    };
    const model = createSequential(new Btree(serviceOptions(500, 1, "range")));
    const deliveries = new Deliveries(recording, 0);
    for (const [i, batch] of deliveries.batches.entries()) {
      model.step({ kind: "decided", stream: 0, instance: deliveries.instances[i]!, batch }, sink);
    }
    assert.equal(commands, workload.operations.length);
    assert.equal(deliveries.commands, 64 * (47 - 2 * 4), "the first and the last twelfth are not counted");
  });
});

describe("lab: makespan and virtual time", () => {
  test("costs beyond two threads follow the formulas", () => {
    assert.equal(executionCost(COSTS, 1), 100);
    assert.ok(Math.abs(executionCost(COSTS, 2) - 110) < 1e-9);
    assert.ok(Math.abs(executionCost(COSTS, 8) - 100 * 1.1 ** 3) < 1e-9);
    assert.equal(barrierCost(COSTS, 1), 0);
    assert.equal(barrierCost(COSTS, 2), 40);
    assert.equal(barrierCost(COSTS, 8), 280);
  });

  /** The definition of EXPERIMENTS, word by word: intervals between barriers, their fullest thread, what is executed alone. */
  function byDefinition({ owner, threads, windowCommands }: Plan, barrier: "run" | "command"): number {
    let total = 0;
    let counts = Array.from({ length: threads }, () => 0);
    for (let first = 0; first < owner.length; first += windowCommands) {
      const window = [...owner.subarray(first, first + windowCommands)];
      for (const thread of window) if (thread !== EVERYBODY) counts[thread]!++;
      const dependent = window.filter((thread) => thread === EVERYBODY).length;
      if (dependent === 0) continue;
      total += Math.max(...counts) * executionCost(COSTS, threads);
      total +=
        dependent * (barrier === "run" ? COSTS.d1 : COSTS.c1) +
        (barrier === "run" ? 1 : dependent) * barrierCost(COSTS, threads);
      counts = counts.map(() => 0);
    }
    return total + Math.max(...counts) * executionCost(COSTS, threads);
  }

  test("the makespan is what its definition says", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 1000 }),
        fc.constantFrom(0, 0.01, 0.2, 1),
        fc.constantFrom(2, 4, 8, 16),
        fc.constantFrom("run" as const, "command" as const),
        (seed, dependent, threads, barrier) => {
          const made = plan(seed, dependent, threads);
          const expected = byDefinition(made, barrier);
          assert.ok(Math.abs(makespan({ plan: made, costs: COSTS, barrier }) - expected) < 1e-6 * expected + 1e-6);
        },
      ),
      { numRuns: 30 },
    );
  });

  test("copies execute alone, behind the window that brings them, at a meeting of each thread that has some", () => {
    const workload = drawWorkload({
      seed: 4,
      commands: 640,
      keys: 500,
      dependent: 1,
      skew: "uniform",
      space: "scattered",
    });
    const encoded = encodeCommands(workload.operations, workload.keys, 500, "scattered");
    const made = planStreams(workload, encoded, 2, "range", 64, "optimistic");
    assert.ok(!made.owner.includes(EVERYBODY));
    // Of the first window the first two commands of one thread fail, and the last of the other.
    const failed = new Uint8Array(640);
    const [first = 0, second = 0] = [...made.owner.keys()].filter((i) => made.owner[i] === 0);
    const last = made.owner.subarray(0, 64).lastIndexOf(1);
    for (const command of [first, second, last]) failed[command] = 1;
    const optimism = { failed, delayWindows: 2 };
    const order: (readonly [window: number, stream: number, sequence: number])[] = [];
    walkOptimism(made, optimism, {
      copies: (window, copies) =>
        void order.push(...copies.map(({ stream, sequence }) => [window, stream, sequence] as const)),
    });
    const before = made.owner.subarray(0, last + 1).filter((thread) => thread === 1).length;
    assert.deepEqual(order, [
      [2, 2, before],
      [2, 1, 1],
      [2, 1, 2],
    ]);
    const copies = copiesOf(made, optimism);
    assert.equal(copies.length, 12, "the last copies come behind the last window");
    assert.deepEqual(copies[2], { commands: 3, blocks: 2, executors: 2 });
    assert.ok(Math.abs(failRate(optimism) - 3 / 640) < 1e-12);
    const costs: Costs = { ...COSTS, optimistic: { o1: 200, o2: 220 } };
    const fullest = (from: number, to: number): number => {
      const ones = made.owner.subarray(from, to).filter((thread) => thread === 1).length;
      return 220 * Math.max(ones, to - from - ones);
    };
    const expected = fullest(0, 192) + 3 * COSTS.d1 + 2 * COSTS.s2 + fullest(192, 640);
    const found = makespan({ plan: made, costs, barrier: "run", copies });
    assert.ok(Math.abs(found - expected) < 1e-6, `${found} ${expected}`);
  });

  test("with one thread it is the time of sequential execution", () => {
    const made = plan(1, 0.3, 1);
    const expected = sequentialTime(made.workload.operations, COSTS);
    assert.ok(Math.abs(makespan({ plan: made, costs: COSTS, barrier: "command" }) - expected) < 1e-6 * expected);
  });

  test("virtual threads take what the makespan of their stream says, but for the twelfths that are dropped", () => {
    for (const threads of [2, 8]) {
      for (const barrier of ["run", "command"] as const) {
        const made = plan(2, 0.1, threads);
        const { throughput, busy, barriers } = simulate({ plan: made, costs: COSTS, barrier });
        const whole = (made.owner.length * 1e9) / makespan({ plan: made, costs: COSTS, barrier });
        assert.ok(Math.abs(throughput / whole - 1) < 0.1, `${throughput} ${whole}`);
        assert.ok(busy > 0 && busy <= 1, String(busy));
        assert.ok(barriers > 0);
      }
    }
  });
});
