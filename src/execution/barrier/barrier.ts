// Hot file: every thread passes here at least twice for each dependent run. Nothing allocates. Watched by bench/psmr.mjs.
import { assert } from "../../base/index.js";

/** Most threads of a barrier: a set of them is a mask of 31 bits. */
export const BARRIER_THREADS_MAX = 31;

/** Words of a thread, so that no two threads write to one pair of cache lines. */
const THREAD_WORDS = 32;
const ARRIVED = 0;
const RELEASED = 1;

/** Where a thread waits: until the word has another value. The object is reused. */
export interface BarrierPoint {
  words: Int32Array;
  index: number;
  value: number;
}

/**
 * Barriers numbered 1, 2, 3, … in the order in which all threads come to them. At each, a set of threads meets: one of them,
 * the executor, goes on alone when all of the set have arrived, and later releases the others. Sets that have no thread in
 * common do not wait for each other, so that a later barrier may be released before an earlier one: a release is therefore
 * kept by the executor that makes it, whose own come in order.
 *
 * Every thread calls `arrive` for every number, in order, also for barriers at which it does not take part. Numbers are
 * compared modulo 2^32, and threads are less than 2^31 barriers apart.
 *
 * What a thread wrote before `arrive` is there for who has seen `allArrived`, and what the executor wrote before `release` for
 * who has seen `released`.
 */
export class Barrier {
  /** The memory, for `Atomics.wait` and its like on `arrivalWord` and `releaseWord`. */
  readonly words: Int32Array;
  readonly #threads: number;

  /** Over memory of `bytesFor(threads)` bytes that was 0 before the first use; every thread makes an object of its own. */
  constructor(memory: SharedArrayBuffer, threads: number) {
    assert(threads >= 1 && threads <= BARRIER_THREADS_MAX, `1 to ${BARRIER_THREADS_MAX} threads, got ${threads}`);
    assert(memory.byteLength >= Barrier.bytesFor(threads), "the memory of a barrier is too short for its threads");
    this.words = new Int32Array(memory, 0, threads * THREAD_WORDS);
    this.#threads = threads;
  }

  static bytesFor(threads: number): number {
    return 4 * THREAD_WORDS * threads;
  }

  /** Where `arrive` of a thread writes. */
  arrivalWord(thread: number): number {
    return thread * THREAD_WORDS + ARRIVED;
  }

  /** Where `release` of an executor writes. */
  releaseWord(executor: number): number {
    return executor * THREAD_WORDS + RELEASED;
  }

  /** The thread has come to this barrier. */
  arrive(thread: number, number: number): void {
    // What it was to release before, it has. The words go round, and one that stood still for half of that would seem to be ahead.
    const released = thread * THREAD_WORDS + RELEASED;
    if (((number - Atomics.load(this.words, released)) | 0) > 2 ** 30)
      Atomics.store(this.words, released, (number - 1) | 0);
    Atomics.store(this.words, thread * THREAD_WORDS + ARRIVED, number | 0);
  }

  /** Whether all threads of a set have come to this barrier or further. */
  allArrived(number: number, mask: number): boolean {
    for (let thread = 0; thread < this.#threads; thread++) {
      if ((mask & (1 << thread)) === 0) continue;
      const arrived = Atomics.load(this.words, thread * THREAD_WORDS + ARRIVED);
      if (((arrived - number) | 0) < 0) return false;
    }
    return true;
  }

  /** The executor lets the threads that it has met at this barrier go on. */
  release(executor: number, number: number): void {
    Atomics.store(this.words, executor * THREAD_WORDS + RELEASED, number | 0);
  }

  /** Whether the executor has released this barrier. */
  released(executor: number, number: number): boolean {
    return ((Atomics.load(this.words, executor * THREAD_WORDS + RELEASED) - number) | 0) >= 0;
  }
}
