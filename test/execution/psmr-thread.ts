/** A worker that is one thread of P-SMR: what `psmr-threads.test.ts` runs at full speed, several at once. */

import { parentPort, workerData } from "node:worker_threads";
import { ByteWriter } from "#src/base/index.js";
import {
  Barrier,
  type BarrierPoint,
  createOptPsmrThread,
  createPsmrThread,
  type PsmrOptions,
  type PsmrParts,
  type PsmrSink,
  type PsmrThread,
} from "#src/execution/index.js";
import { BATCH_BLOCKS_MAX, declaredMapping, type Digest, optimisticMapping } from "#src/model/index.js";
import { Btree, type TreeDescription } from "#src/service/index.js";
import { OptWorld, type WorldOptions } from "./opt-psmr-world.js";
import { type Delivery, makePlan, type Plan, type PlanOptions } from "./psmr-plan.js";

export interface ThreadData {
  /** What the threads deliver; for opt-PSMR it is recorded from threads that take turns. */
  readonly plan: PlanOptions | WorldOptions;
  readonly barrier: PsmrOptions["barrier"];
  readonly thread: number;
  readonly parts: PsmrParts;
  /** Null for thread 0, which makes the tree and posts its description. */
  readonly description: TreeDescription | null;
}

export interface ThreadResult {
  readonly answers: readonly (readonly [block: string, reply: string])[];
  readonly digests: readonly (readonly [position: number, digest: string])[];
  readonly slept: number;
}

/** A thread that waits longer is in a test that fails, and ends so that the test does. */
const WAIT_MS = 60_000;

class Sink implements PsmrSink {
  readonly answers: [string, string][] = [];
  readonly digests: [number, string][] = [];
  readonly #thread: number;
  readonly #barrier: Barrier;
  readonly #writer = new ByteWriter(64, 1 << 26);
  #pending: [number, string][] = [];

  constructor(thread: number, barrier: Barrier) {
    this.#thread = thread;
    this.#barrier = barrier;
  }

  executed(stream: number, instance: number): void {
    for (const [block, reply] of this.#pending) this.answers.push([`${stream}/${instance}/${block}`, reply]);
    this.#pending = [];
  }
  replies(): ByteWriter {
    this.#writer.clear();
    return this.#writer;
  }
  replied(_session: number, position: number, at: number): void {
    const reply = Buffer.from(this.#writer.bytes.subarray(at, this.#writer.length)).toString("hex");
    this.#pending.push([position % BATCH_BLOCKS_MAX, reply]);
  }
  digestTaken(_high: number, _low: number, position: number, digest: Digest): void {
    this.digests.push([position, Array.from(digest, (lane) => lane.toString(16)).join("-")]);
  }
  arrived(): void {
    Atomics.notify(this.#barrier.words, this.#barrier.arrivalWord(this.#thread));
  }
  released(): void {
    Atomics.notify(this.#barrier.words, this.#barrier.releaseWord(this.#thread));
  }
  cutTaken(): void {}
  wantWork(): void {}
  readDone(): void {}
  trace(): void {}
}

/** Executes all that the plan delivers to this thread, and sleeps at barriers. */
function run(model: PsmrThread, deliveries: readonly Delivery[], data: ThreadData): ThreadResult {
  const sink = new Sink(data.thread, new Barrier(data.parts.memory, data.parts.threads));
  const point: BarrierPoint = { words: new Int32Array(0), index: 0, value: 0 };
  let slept = 0;
  for (const delivery of deliveries) {
    model.step({ kind: "decided", ...delivery }, sink);
    model.step({ kind: "work", budget: 1000 }, sink);
  }
  while (model.inspect().queuedBatches > 0) {
    model.step({ kind: "work", budget: 1000 }, sink);
    if (!model.waitsAt(point)) continue;
    slept++;
    if (Atomics.wait(point.words, point.index, point.value, WAIT_MS) === "timed-out")
      throw new Error("nobody wakes this thread");
  }
  return { answers: sink.answers, digests: sink.digests, slept };
}

if (parentPort !== null && workerData !== null && "parts" in (workerData as object)) {
  const data = workerData as ThreadData;
  const { description, thread, barrier } = data;
  const { options, merged, threads } = planOf(data.plan);
  const service = description === null ? new Btree(options) : Btree.attach(description, thread, options);
  if (description === null) parentPort.postMessage(service.share(threads, 64 * 1024 * 1024));
  const conservative = declaredMapping(service, threads);
  const optimistic = optimisticMapping(service, threads);
  const model =
    "replica" in data.plan
      ? createOptPsmrThread(data.parts, thread, service, { conservative, optimistic }, { barrier })
      : createPsmrThread(data.parts, thread, service, conservative, { barrier });
  parentPort.postMessage(run(model, merged[thread] ?? [], data));
}

function planOf(plan: ThreadData["plan"]): Plan {
  if (!("replica" in plan)) return makePlan(plan);
  const world = new OptWorld(plan);
  world.run();
  return world.plan;
}
