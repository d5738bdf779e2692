/** P-SMR over kv in partitions: under seeded schedules, from checkpoints, and in threads that really run at once. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import { ByteWriter, Prng } from "#src/base/index.js";
import { type BarrierPoint, createPsmrParts, type Cut, type PsmrOptions, Waiting } from "#src/execution/index.js";
import type { SharedService, SnapshotSource } from "#src/model/index.js";
import { createSharedKv, type PartitionedKv, sharedKv, STORE_LIMITS } from "#src/service/index.js";
import { digestOf, restoreInto } from "../service/kv-command.js";
import { type KvPlan, type KvPlanOptions, KvThread, makeKvPlan, noPoint } from "./psmr-kv.js";
import type { KvThreadData, KvThreadResult } from "./psmr-kv-thread.js";

interface Checkpoint {
  readonly service: Uint8Array;
  readonly parts: readonly Uint8Array[];
}

/** The threads of a replica, which a seeded scheduler lets take turns. */
class Replica {
  readonly root: PartitionedKv;
  readonly threads: KvThread[] = [];
  readonly #plan: KvPlan;
  readonly #given: number[];
  readonly #views: SharedService[] = [];

  constructor(plan: KvPlan, options: Partial<PsmrOptions>, checkpoint: Checkpoint | null = null) {
    const threads = plan.length;
    const parts = createPsmrParts(threads);
    this.#plan = plan;
    this.root = createSharedKv(threads, STORE_LIMITS, 2 ** 32);
    if (checkpoint !== null) restoreInto(this.root.restore(), checkpoint.service, [500]);
    const description = this.root.share();
    for (let thread = 0; thread < threads; thread++) {
      const view: SharedService = thread === 0 ? this.root : sharedKv.attach(description, thread, threads);
      this.#views.push(view);
      const own = new KvThread(parts, thread, view, options);
      if (checkpoint !== null) restoreInto(own.model.restore(), checkpoint.parts[thread] as Uint8Array, [37]);
      this.threads.push(own);
    }
    this.#given = this.threads.map(({ model }) => model.inspect().executed + model.inspect().executedAll);
  }

  /** Until no thread gets any further; `between` runs after each step. */
  run(prng: Prng, between: () => void = () => {}): void {
    const points = this.threads.map((): BarrierPoint | null => null);
    const canStep = (thread: number): boolean => {
      const point = points[thread];
      if (point !== null && point !== undefined && Atomics.load(point.words, point.index) === point.value) return false;
      return (this.threads[thread] as KvThread).model.inspect().queuedBatches > 0;
    };
    const canBeGiven = (thread: number): boolean =>
      (this.#given[thread] as number) < (this.#plan[thread] ?? []).length &&
      !(this.threads[thread] as KvThread).model.full;
    for (;;) {
      const able = this.threads.map((_, thread) => thread).filter((thread) => canStep(thread) || canBeGiven(thread));
      if (able.length === 0) break;
      const thread = prng.pick(able);
      const own = this.threads[thread] as KvThread;
      if (canBeGiven(thread) && (!canStep(thread) || prng.chance(0.5))) {
        const given = this.#given[thread] as number;
        const delivery = this.#plan[thread]?.[given];
        assert.ok(delivery !== undefined);
        this.#given[thread] = given + 1;
        own.model.step({ kind: "decided", ...delivery }, own);
      } else {
        own.model.step({ kind: "work", budget: 1 + prng.below(3) }, own);
        const point = noPoint();
        points[thread] = own.model.waitsAt(point) ? point : null;
      }
      between();
    }
    for (const { model } of this.threads) {
      const { queuedBatches, waiting } = model.inspect();
      assert.deepEqual([queuedBatches, waiting], [0, Waiting.no], `thread ${model.thread} has come to its end`);
    }
  }

  get answers(): Map<string, string> {
    return new Map(this.threads.flatMap((own) => own.answers));
  }

  get digests(): Map<number, string> {
    return new Map(this.threads.flatMap((own) => own.digests));
  }

  /** The digest of the state at the end, behind a look at every invariant. */
  check(): string {
    const everybody = 2 ** this.threads.length - 1;
    this.#views.forEach((view, thread) => view.publish(false, 1 << thread));
    this.root.adopt(everybody);
    this.root.check();
    return digestOf(this.root);
  }
}

function planOf(seed: number): KvPlan {
  const prng = new Prng(seed);
  return makeKvPlan({
    threads: 1 + prng.below(5),
    seed,
    all: 5 + prng.below(30),
    own: prng.below(60),
    keys: 20 + prng.below(200),
  });
}

function unequal(found: ReadonlyMap<unknown, string>, wanted: ReadonlyMap<unknown, string>): unknown[] {
  return [...found].filter(([name, value]) => wanted.get(name) !== value).slice(0, 3);
}

/** Reads the sources of a cut in slices, whenever it is asked to, also while their threads wait. */
class CutReader {
  readonly #prng: Prng;
  readonly #sources = new Map<SnapshotSource, ByteWriter>();
  readonly #done = new Map<SnapshotSource, Uint8Array>();

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  slice(cuts: readonly Cut[]): void {
    for (const source of cuts.flatMap(({ part, service }) => (service === null ? [part] : [part, service]))) {
      if (this.#done.has(source) || this.#prng.chance(0.5)) continue;
      const writer = this.#sources.get(source) ?? new ByteWriter(64, 1 << 28);
      this.#sources.set(source, writer);
      if (!source.next(writer, 1 + this.#prng.below(300))) this.#done.set(source, writer.toBytes());
    }
  }

  /** What a source brought: its rest comes now. */
  bytes(source: SnapshotSource): Uint8Array {
    const writer = this.#sources.get(source) ?? new ByteWriter(64, 1 << 28);
    const done = this.#done.get(source);
    if (done !== undefined) return done;
    while (source.next(writer, 1000));
    return writer.toBytes();
  }
}

describe("P-SMR over kv in partitions", () => {
  for (const barrier of ["run", "command"] as const) {
    test(`whatever the schedule, answers, digests and state are the same (barrier per ${barrier})`, () => {
      for (let seed = 1; seed <= 25; seed++) {
        const plan = planOf(seed);
        const [first, second] = [1, 2].map((run) => {
          const replica = new Replica(plan, { barrier });
          replica.run(new Prng(seed * run));
          return replica;
        }) as [Replica, Replica];
        assert.deepEqual(unequal(second.answers, first.answers), [], `seed ${seed}`);
        assert.equal(second.answers.size, first.answers.size);
        assert.deepEqual(second.digests, first.digests, `seed ${seed}`);
        assert.ok(first.digests.size > 0);
        assert.equal(second.check(), first.check(), `seed ${seed}`);
      }
    });
  }

  test("a replica that goes on from a cut, read while others execute, answers and ends as one that ran through", () => {
    let cuts = 0;
    for (let seed = 1; seed <= 25; seed++) {
      const barrier = seed % 2 === 0 ? "run" : "command";
      const plan = planOf(seed);
      const prng = new Prng(seed);
      const through = new Replica(plan, { barrier });
      through.run(prng);
      const cutting = new Replica(plan, { barrier });
      const reader = new CutReader(prng);
      const first = cutting.threads[0] as KvThread;
      let steps = prng.below(60);
      cutting.run(prng, () => {
        if (steps-- === 0) first.model.requestCut();
        for (const own of cutting.threads) reader.slice(own.cuts);
      });
      assert.deepEqual(unequal(cutting.answers, through.answers), [], `seed ${seed}`);
      assert.equal(cutting.check(), through.check());
      const [cut] = first.cuts;
      if (cut === undefined) continue;
      cuts++;
      const checkpoint: Checkpoint = {
        service: reader.bytes(cut.service as SnapshotSource),
        parts: cutting.threads.map((own) => reader.bytes((own.cuts[0] as Cut).part)),
      };
      const later = new Replica(plan, { barrier }, checkpoint);
      later.run(prng);
      assert.deepEqual(unequal(later.answers, through.answers), [], `seed ${seed}`);
      assert.deepEqual(unequal(later.digests, through.digests), [], `seed ${seed}`);
      assert.equal(later.check(), through.check(), `seed ${seed}`);
    }
    assert.ok(cuts > 10, "or the test is about nothing");
  });

  for (const barrier of ["run", "command"] as const) {
    test(`threads that run at once answer as threads that take turns (barrier per ${barrier})`, async () => {
      const kvPlan: KvPlanOptions = { threads: barrier === "run" ? 2 : 3, seed: 5, all: 60, own: 400, keys: 3000 };
      const inline = new Replica(makeKvPlan(kvPlan), { barrier });
      inline.run(new Prng(1));
      const results = await runThreads(kvPlan, barrier);
      const answers = new Map(results.flatMap((result) => result.answers));
      assert.deepEqual(unequal(answers, inline.answers), []);
      assert.equal(answers.size, inline.answers.size);
      assert.deepEqual(new Map(results.flatMap((result) => result.digests)), inline.digests);
    });
  }
});

async function runThreads(kvPlan: KvPlanOptions, barrier: KvThreadData["barrier"]): Promise<KvThreadResult[]> {
  const parts = createPsmrParts(kvPlan.threads);
  const start = (thread: number, description: unknown): Worker => {
    const data: KvThreadData = { kvPlan, barrier, thread, parts, description };
    return new Worker(new URL("./psmr-kv-thread.js", import.meta.url), { workerData: data });
  };
  const first = start(0, null);
  const workers = [first];
  try {
    const [description] = (await once(first, "message")) as [unknown];
    for (let thread = 1; thread < kvPlan.threads; thread++) workers.push(start(thread, description));
    // A worker that fails emits `error`, which rejects.
    const messages = await Promise.all(workers.map((worker) => once(worker, "message") as Promise<[KvThreadResult]>));
    return messages.map(([result]) => result);
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}
