/** A thread that has a view of a shared tree: what `tree-shared.test.ts` runs in two threads at once. */

import { parentPort, workerData } from "node:worker_threads";
import { ByteWriter, Prng } from "#src/base/index.js";
import { Btree, type TreeDescription } from "#src/service/index.js";
import { type Command, runOf } from "./btree-command.js";

export const KEYS = 12_000;
/** What each thread executes in a round. */
const UPDATES = 3000;
export const ROUNDS = 24;
export const THREADS = 2;

/** What a thread executes in a round: keys that are `thread` modulo `THREADS`, so that every leaf is written by both. */
export function updatesOf(thread: number, round: number): Command[] {
  const prng = new Prng(1000 * round + thread);
  return Array.from({ length: UPDATES }, () => {
    const key = BigInt(THREADS * prng.below(KEYS / THREADS) + thread);
    return { operation: "update", key, value: BigInt(prng.u32()) };
  });
}

/** What thread 0 executes alone in front of a round. */
export function changesOf(round: number): Command[] {
  const prng = new Prng(7 * round + 1);
  return Array.from({ length: 200 }, (): Command => {
    const key = BigInt(prng.below(KEYS));
    return prng.chance(0.4) ? { operation: "delete", key } : { operation: "insert", key, value: BigInt(prng.u32()) };
  });
}

/** Meets the other threads. Ends after a minute without them, so that a test that fails ends. */
export function meet(words: Int32Array, thread: number, number: number): void {
  Atomics.store(words, thread, number);
  Atomics.notify(words, thread);
  for (let other = 0; other < THREADS; other++) {
    for (let seen = Atomics.load(words, other); seen < number; seen = Atomics.load(words, other)) {
      if (Atomics.wait(words, other, seen, 60_000) === "timed-out") throw new Error(`thread ${other} is missing`);
    }
  }
}

export interface SharedData {
  readonly description: TreeDescription;
  readonly words: SharedArrayBuffer;
}

if (parentPort !== null && workerData !== null && "description" in (workerData as object)) {
  const { description, words } = workerData as SharedData;
  const service = Btree.attach(description, 1);
  const numbers = new Int32Array(words);
  for (let round = 1; round <= ROUNDS; round++) {
    const updates = runOf(updatesOf(1, round));
    const replies = new ByteWriter(1 << 20);
    meet(numbers, 1, 2 * round - 1);
    service.adopt();
    service.execute(updates, replies, null);
    service.publish(false);
    meet(numbers, 1, 2 * round);
  }
}
