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

/** Keys below the middle belong to thread 0, the others to thread 1, where threads insert and delete at once. */
export const BOUNDS = [[KEYS / 2, 0]] as const;

/** What a thread attempts in a round: inserts and deletes of its own keys, in waves so that leaves are met at both limits. */
export function attemptsOf(thread: number, round: number): Command[] {
  const prng = new Prng(1000 * round + thread);
  const inserts = round % 8 < 4 ? 0.6 : 0.4;
  return Array.from({ length: UPDATES }, (): Command => {
    const key = BigInt((thread * KEYS) / 2 + prng.below(KEYS / 2));
    return prng.chance(inserts)
      ? { operation: "insert", key, value: BigInt(prng.u32()) }
      : { operation: "delete", key };
  });
}

/** Which commands of a round failed, written down by each thread for whoever executes them: their number, then their indexes. */
export class Failures {
  readonly #words: Int32Array;
  static readonly BYTES = 4 * THREADS * (1 + UPDATES);

  constructor(words: SharedArrayBuffer) {
    this.#words = new Int32Array(words);
  }

  of(thread: number): number[] {
    const at = thread * (1 + UPDATES);
    return [...this.#words.subarray(at + 1, at + 1 + (this.#words[at] as number))];
  }

  set(thread: number, indexes: readonly number[]): void {
    this.#words.set([indexes.length, ...indexes], thread * (1 + UPDATES));
  }
}

/** One thread's part of a round; returns the indexes of what failed. */
export function attemptRound(service: Btree, thread: number, round: number, replies: ByteWriter): number[] {
  const run = runOf(attemptsOf(thread, round));
  const failed: number[] = [];
  for (let first = 0; first < run.count;) {
    first = service.attempt(run, first, thread, replies);
    if (first < run.count) failed.push(first++);
  }
  return failed;
}

/** The part of the thread that executes at the barrier behind a round: what has failed in each. */
export function failedOf(round: number, failures: Failures): Command[] {
  return Array.from({ length: THREADS }, (_, thread) => {
    const commands = attemptsOf(thread, round);
    return failures.of(thread).map((index) => commands[index] as Command);
  }).flat();
}

export interface SharedData {
  readonly description: TreeDescription;
  readonly words: SharedArrayBuffer;
  /** Where failures stand if the threads attempt commands, null if they update. */
  readonly failures: SharedArrayBuffer | null;
}

function update(service: Btree, numbers: Int32Array): void {
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

function attempt(service: Btree, numbers: Int32Array, failures: Failures): void {
  for (let round = 1; round <= ROUNDS; round++) {
    const replies = new ByteWriter(1 << 20);
    failures.set(1, attemptRound(service, 1, round, replies));
    service.publish(false);
    meet(numbers, 1, 2 * round - 1);
    if (round % 2 === 1) {
      service.adopt();
      service.execute(runOf(failedOf(round, failures)), replies, null);
      service.publish(true);
    }
    meet(numbers, 1, 2 * round);
    if (round % 2 === 0) service.adopt();
  }
}

if (parentPort !== null && workerData !== null && "description" in (workerData as object)) {
  const { description, words, failures } = workerData as SharedData;
  const numbers = new Int32Array(words);
  if (failures === null) update(Btree.attach(description, 1), numbers);
  else attempt(Btree.attach(description, 1, { bounds: BOUNDS }), numbers, new Failures(failures));
}
