/** A worker that is one thread of P-SMR over kv: what `psmr-kv.test.ts` runs at full speed, several at once. */

import { parentPort, workerData } from "node:worker_threads";
import { Barrier, type PsmrOptions, type PsmrParts } from "#src/execution/index.js";
import { createSharedKv, sharedKv, STORE_LIMITS } from "#src/service/index.js";
import { type KvPlanOptions, KvThread, makeKvPlan, noPoint } from "./psmr-kv.js";

export interface KvThreadData {
  readonly kvPlan: KvPlanOptions;
  readonly barrier: PsmrOptions["barrier"];
  readonly thread: number;
  readonly parts: PsmrParts;
  /** Null for thread 0, which makes the store and posts its description. */
  readonly description: unknown;
}

export type KvThreadResult = Pick<KvThread, "answers" | "digests">;

/** A thread that waits longer is in a test that fails, and ends so that the test does. */
const WAIT_MS = 60_000;

if (parentPort !== null && workerData !== null && "kvPlan" in (workerData as object)) {
  const { kvPlan, barrier, thread, parts, description } = workerData as KvThreadData;
  const { threads } = kvPlan;
  const deliveries = makeKvPlan(kvPlan)[thread] ?? [];
  let view = description === null ? null : sharedKv.attach(description, thread, threads);
  if (view === null) {
    const root = createSharedKv(threads, STORE_LIMITS, 2 ** 32);
    parentPort.postMessage(root.share());
    view = root;
  }
  const own = new KvThread(parts, thread, view, { barrier });
  const { words, arrivalWord, releaseWord } = wordsOf(parts, thread);
  own.notify = (word) => void Atomics.notify(words, word === "arrival" ? arrivalWord : releaseWord);
  for (const delivery of deliveries) {
    own.model.step({ kind: "decided", ...delivery }, own);
    own.model.step({ kind: "work", budget: 1000 }, own);
  }
  const point = noPoint();
  while (own.model.inspect().queuedBatches > 0) {
    own.model.step({ kind: "work", budget: 1000 }, own);
    if (own.model.waitsAt(point) && Atomics.wait(point.words, point.index, point.value, WAIT_MS) === "timed-out") {
      throw new Error("nobody wakes this thread");
    }
  }
  parentPort.postMessage({ answers: own.answers, digests: own.digests } satisfies KvThreadResult);
}

function wordsOf(
  parts: PsmrParts,
  thread: number,
): { readonly words: Int32Array; readonly arrivalWord: number; readonly releaseWord: number } {
  const barrier = new Barrier(parts.memory, parts.threads);
  return { words: barrier.words, arrivalWord: barrier.arrivalWord(thread), releaseWord: barrier.releaseWord(thread) };
}
