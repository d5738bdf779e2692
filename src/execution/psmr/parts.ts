// Hot file: written and read at every barrier. Nothing allocates. Watched by bench/psmr.mjs.
import { Barrier, BARRIER_THREADS_MAX } from "../barrier/index.js";
import { assert } from "../../base/index.js";

/** What the threads of one replica share beside the service: plain data that can be posted to them. */
export interface PsmrParts {
  readonly threads: number;
  readonly memory: SharedArrayBuffer;
}

/** New parts, for threads that all begin at the same state. They cannot be used for others later. */
export function createPsmrParts(threads: number): PsmrParts {
  assert(threads >= 1 && threads <= BARRIER_THREADS_MAX, `1 to ${BARRIER_THREADS_MAX} threads, got ${threads}`);
  const memory = new SharedArrayBuffer(Barrier.bytesFor(threads) + threads * NOTE_BYTES);
  return { threads, memory };
}

/** Each thread's note: what it says to the others at a barrier, then what the executor of a barrier says to it. */
const NOTE_BYTES = 128;
const NOTE_DOUBLES = NOTE_BYTES / 8;
const NOTE_WORDS = NOTE_BYTES / 4;
// Doubles of what a thread says.
const TIME = 0;
const EXECUTED = 1;
const ORDERED = 2;
/** Eight words of digest, in place of doubles 3 to 6. */
const LANES = 6;
const LANES_COUNT = 8;
// What is said to it: a double, and a word behind that.
const AGREED = 8;
const CUT = 2 * AGREED + 2;

/**
 * The notes of the threads. A thread writes what it says before it arrives at a barrier and reads what is said to it once it is
 * released; the executor of a barrier reads and writes the notes of the threads that it has met there, in between.
 */
export class Notes {
  readonly #doubles: Float64Array;
  readonly #words: Int32Array;
  readonly threads: number;

  constructor(parts: PsmrParts) {
    const offset = Barrier.bytesFor(parts.threads);
    this.threads = parts.threads;
    this.#doubles = new Float64Array(parts.memory, offset, parts.threads * NOTE_DOUBLES);
    this.#words = new Int32Array(parts.memory, offset, parts.threads * NOTE_WORDS);
  }

  /** The thread says how far it is: its agreed time, the last instance of its own stream, and commands it has executed. */
  say(thread: number, time: number, executed: number, ordered: number): void {
    this.#doubles[thread * NOTE_DOUBLES + TIME] = time;
    this.#doubles[thread * NOTE_DOUBLES + EXECUTED] = executed;
    this.#doubles[thread * NOTE_DOUBLES + ORDERED] = ordered;
  }

  /** And the digests of its sessions: those in its own stream, and those in g_all as it has them. */
  sayLanes(thread: number, own: Int32Array, all: Int32Array): void {
    const at = thread * NOTE_WORDS + LANES;
    for (let i = 0; i < 4; i++) {
      this.#words[at + i] = own[i] as number;
      this.#words[at + 4 + i] = all[i] as number;
    }
  }

  /** The largest agreed time of a set of threads. */
  timeOf(mask: number): number {
    let time = 0;
    for (let thread = 0; thread < this.threads; thread++) {
      if ((mask & (1 << thread)) === 0) continue;
      time = Math.max(time, this.#doubles[thread * NOTE_DOUBLES + TIME] as number);
    }
    return time;
  }

  executed(thread: number): number {
    return this.#doubles[thread * NOTE_DOUBLES + EXECUTED] as number;
  }

  time(thread: number): number {
    return this.#doubles[thread * NOTE_DOUBLES + TIME] as number;
  }

  /** Digest lane i of a thread, 0 to 7. */
  lane(thread: number, i: number): number {
    assert(i < LANES_COUNT, "a thread has eight lanes");
    return this.#words[thread * NOTE_WORDS + LANES + i] as number;
  }

  /** The executor tells a set of threads the agreed time of a barrier, and whether a checkpoint is cut behind it. */
  tell(mask: number, time: number, cut: boolean): void {
    for (let thread = 0; thread < this.threads; thread++) {
      if ((mask & (1 << thread)) === 0) continue;
      this.#doubles[thread * NOTE_DOUBLES + AGREED] = time;
      this.#words[thread * NOTE_WORDS + CUT] = cut ? 1 : 0;
    }
  }

  agreed(thread: number): number {
    return this.#doubles[thread * NOTE_DOUBLES + AGREED] as number;
  }

  isCut(thread: number): boolean {
    return this.#words[thread * NOTE_WORDS + CUT] === 1;
  }
}
