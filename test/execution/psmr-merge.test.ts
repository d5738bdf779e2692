/** P-SMR behind the merges of atomic multicast: batches arrive in any order, and every replica executes the same. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ByteWriter, Prng } from "#src/base/index.js";
import { type Batch, BATCH_HEADER_BYTES, BatchArena, batchTime, BlockKind } from "#src/model/index.js";
import {
  defaultMultiRingConfig,
  type Merge,
  MergePointMerge,
  MultiRingMerge,
  writeMark,
} from "#src/multicast/index.js";
import { planOf, runAgainstOracle } from "./psmr-check.js";
import type { Delivery, Plan } from "./psmr-plan.js";

const SEEDS = 12;

/** A batch again, with a coordinator's mark at its head. */
function marked(
  arena: BatchArena,
  batch: Batch,
  kind: typeof BlockKind.mergePoint | typeof BlockKind.skip,
  value: number,
): Batch {
  const writer = new ByteWriter();
  writeMark(writer, kind, value);
  writer.copy(batch.bytes, batch.start + BATCH_HEADER_BYTES, batch.end);
  const time = batchTime(batch.view, batch.start);
  return arena.build(writer.bytes, 0, writer.length, batch.blocks + 1, batch.commands, time);
}

/** The logs of all streams, by stream, from a plan's own order. */
function logsOf(plan: Plan): Batch[][] {
  const logs: Batch[][] = [];
  for (const deliveries of plan.merged) {
    for (const { stream, instance, batch } of deliveries) (logs[stream] ??= [])[instance - 1] = batch;
  }
  return Array.from({ length: plan.threads + 1 }, (_, stream) => logs[stream] ?? []);
}

/** What a merge delivers when the instances of its streams arrive in some order. */
function deliver(
  merge: Merge,
  logs: readonly (readonly Batch[])[],
  streams: readonly number[],
  prng: Prng,
): Delivery[] {
  const delivered: Delivery[] = [];
  const next = new Map(streams.map((stream) => [stream, 0]));
  for (;;) {
    const open = streams.filter((stream) => (next.get(stream) as number) < (logs[stream] as readonly Batch[]).length);
    if (open.length > 0) {
      const stream = prng.pick(open);
      const index = next.get(stream) as number;
      assert.ok(merge.offer(stream, index + 1, logs[stream]?.[index] as Batch));
      next.set(stream, index + 1);
    }
    const count = merge.deliver(
      { delivered: (stream, instance, batch) => delivered.push({ stream, instance, batch }) },
      1 + prng.below(4),
    );
    if (open.length === 0 && count === 0) return delivered;
  }
}

/** Two replicas, whose merges saw other arrivals and whose threads took other turns. */
function compare(
  plan: Plan,
  seed: number,
  mergesOf: (prng: Prng) => readonly (readonly Delivery[])[],
  digests: number,
): void {
  const runs = [1, 2].map((replica) => {
    const merged = mergesOf(new Prng(seed + 1000 * replica));
    return runAgainstOracle({ ...plan, merged }, seed + 1000 * replica);
  });
  assert.deepEqual(runs[1]?.digests, runs[0]?.digests, `seed ${seed}`);
  assert.deepEqual(runs[1]?.answers, runs[0]?.answers, `seed ${seed}`);
  assert.ok((runs[0]?.digests.size ?? 0) >= digests, "everything was delivered");
}

describe("P-SMR behind a merge", () => {
  test("of merge points", () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const plan = planOf(seed, { own: 5 + seed });
      const arena = new BatchArena();
      const logs = logsOf(plan);
      // The plan's own order, said by marks, and an empty batch at the end of each group that asks for the rest of g_all.
      for (let stream = 1; stream <= plan.threads; stream++) {
        let point = 0;
        for (const { stream: from, instance, batch } of plan.merged[stream - 1] as readonly Delivery[]) {
          if (from === 0) point = instance;
          else if (point > 0)
            (logs[stream] as Batch[])[instance - 1] = marked(arena, batch, BlockKind.mergePoint, point);
        }
        (logs[stream] as Batch[]).push(marked(arena, arena.empty(1), BlockKind.mergePoint, point));
      }
      compare(
        plan,
        seed,
        (prng) =>
          plan.merged.map((deliveries, thread) => {
            const delivered = deliver(new MergePointMerge(thread + 1), logs, [0, thread + 1], prng);
            const order = delivered.map(({ stream, instance }) => `${stream}/${instance}`);
            assert.deepEqual(
              order.slice(0, -1),
              deliveries.map(({ stream, instance }) => `${stream}/${instance}`),
            );
            return delivered;
          }),
        1,
      );
    }
  });

  test("of rings with skips", () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const plan = planOf(seed, { own: 5 + seed });
      const arena = new BatchArena();
      // Behind its last batch each stream skips so far that all of the others is delivered.
      const logs = logsOf(plan).map((log) => [...log, marked(arena, arena.empty(1), BlockKind.skip, 1_000_000)]);
      const config = { ...defaultMultiRingConfig, turn: 1 + (seed % 5) };
      compare(
        plan,
        seed,
        (prng) =>
          plan.merged.map((deliveries, thread) => {
            const delivered = deliver(new MultiRingMerge([0, thread + 1], config), logs, [0, thread + 1], prng);
            assert.ok(delivered.length >= deliveries.length, `seed ${seed}`);
            return delivered;
          }),
        1,
      );
    }
  });
});
