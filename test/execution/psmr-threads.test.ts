/** P-SMR in threads that really run at once: whatever their timing, they answer and end as threads that take turns do. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { Prng } from "#src/base/index.js";
import { createPsmrParts } from "#src/execution/index.js";
import type { TreeDescription } from "#src/service/index.js";
import { OptWorld, worldOptions } from "./opt-psmr-world.js";
import { makePlan, type PlanOptions } from "./psmr-plan.js";
import { isStale, PsmrReplica } from "./psmr-replica.js";
import type { ThreadData, ThreadResult } from "./psmr-thread.js";

async function runThreads(plan: ThreadData["plan"], barrier: ThreadData["barrier"]): Promise<ThreadResult[]> {
  const parts = createPsmrParts(plan.threads);
  const start = (thread: number, description: TreeDescription | null): Worker => {
    const workerData: ThreadData = { plan, barrier, thread, parts, description };
    return new Worker(new URL("./psmr-thread.js", import.meta.url), { workerData });
  };
  const first = start(0, null);
  const workers = [first];
  try {
    const [description] = (await once(first, "message")) as [TreeDescription];
    for (let thread = 1; thread < plan.threads; thread++) workers.push(start(thread, description));
    // A worker that fails emits `error`, which rejects.
    const messages = await Promise.all(workers.map((worker) => once(worker, "message") as Promise<[ThreadResult]>));
    return messages.map(([result]) => result);
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

for (const barrier of ["run", "command"] as const) {
  test(`threads that run at once answer as threads that take turns (barrier per ${barrier})`, async () => {
    let slept = 0;
    for (const seed of barrier === "run" ? [1, 2] : [2]) {
      const plan: PlanOptions = {
        threads: 1 + seed,
        seed,
        all: 40,
        own: 80,
        keys: 3000,
        hashed: seed === 2,
        preload: 500,
      };
      const results = await runThreads(plan, barrier);
      const inline = new PsmrReplica(makePlan(plan), { barrier });
      inline.run(new Prng(seed));
      assert.equal(inline.complaint(), null);
      const told = results.flatMap((result) => result.answers);
      const answers = new Map(told);
      // That a reply is gone is said by each thread that could have had it.
      const gone = told.filter(([, reply]) => isStale(reply)).map(([block]) => block);
      assert.equal(answers.size, told.length - gone.length + new Set(gone).size, "answered once each");
      const unequal = [...inline.answers].filter(([block, answer]) => answers.get(block) !== answer);
      assert.deepEqual(unequal.slice(0, 3), [], `seed ${seed}`);
      assert.equal(answers.size, inline.answers.size);
      assert.deepEqual(new Map(results.flatMap((result) => result.digests)), inline.digests, `seed ${seed}`);
      slept += results.reduce((sum, result) => sum + result.slept, 0);
    }
    assert.ok(slept > 0, "or nobody ever waited for anybody");
  });
}

for (const barrier of ["run", "command"] as const) {
  test(`opt-PSMR: the same commands fail in threads that run at once (barrier per ${barrier})`, async () => {
    for (const seed of barrier === "run" ? [2] : [3]) {
      const options = worldOptions(seed, {
        threads: 1 + seed,
        rounds: 25,
        keys: 1000,
        preload: 300,
        replica: { optimistic: "replicas", barrier },
      });
      const world = new OptWorld(options);
      world.run();
      const results = await runThreads(options, barrier);
      // A block that has commands executed later is answered several times by its thread.
      const answers = new Map<string, string>();
      for (const [block, reply] of results.flatMap((result) => result.answers)) {
        const known = answers.get(block);
        answers.set(block, known === undefined ? reply : `${known} ${reply}`);
      }
      const unequal = [...world.replica.answers].filter(([block, answer]) => answers.get(block) !== answer);
      assert.deepEqual(unequal.slice(0, 3), [], `seed ${seed}`);
      assert.equal(answers.size, world.replica.answers.size);
      assert.deepEqual(new Map(results.flatMap((result) => result.digests)), world.replica.digests, `seed ${seed}`);
      const failed = world.replica.threads.reduce((sum, model) => sum + (model.inspect().failed ?? 0), 0);
      assert.ok(failed > 0, "or nothing ever failed");
    }
  });
}
