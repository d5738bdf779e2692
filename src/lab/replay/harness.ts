import { ThreadError } from "../../model/index.js";
import { createPsmrParts } from "../../execution/index.js";
import { type ThreadHandle, WorkerThreads } from "../../platform/index.js";
import { BtreeOperation, type TreeDescription } from "../../service/index.js";
import {
  type BarrierKind,
  commandsBetween,
  countedWindows,
  encodeCommands,
  type Encoded,
  leftBehind,
  type Mapping,
  planStreams,
  recordStreams,
  type Workload,
} from "../streams/index.js";
import type { CommandMemory, FromReplayThread, ReplayThreadData, System, Task, ToReplayThread } from "./task.js";

/** Threads of the harness: real mode compares one with two. */
const THREADS = 2;
const START_MS = 300_000;
/** A replay that takes longer than this hangs. */
const TASK_MS = 300_000;
const MODULE = new URL("./thread-main.js", import.meta.url);

/** One thing to measure: a system and what it executes. */
export interface Case {
  readonly system: System;
  readonly threads: number;
  readonly barrier: BarrierKind;
  readonly mapping: Mapping;
  readonly workload: Workload;
  readonly windowCommands: number;
}

/** Commands per second of the counted part of the repetitions. */
export interface Measured {
  readonly repetitions: number;
  readonly fastest: number;
  readonly median: number;
  /** Share of the fastest repetition in which a thread, the one that lost most, was ready to run and had no core. */
  readonly withoutCore: number;
  /**
   * How long a window took, in ns: the median of the windows of a repetition, of the thread that takes longest,
   * in the repetition with the shortest. Unlike the rates it hardly knows of moments in which others had the cores.
   */
  readonly windowNs: number;
}

interface Repetition {
  readonly rate: number;
  readonly windowNs: number;
  readonly withoutCore: number;
}

interface Thread {
  readonly handle: ThreadHandle;
  readonly exited: Promise<Error | null>;
  /** Takes the next message; null while nobody waits for one. */
  take: ((message: FromReplayThread) => void) | null;
}

/**
 * A replica that executes recorded streams as fast as it can: two threads with event loops of their own, one tree in shared
 * memory. Everything is recorded before the clock runs; barriers are waited for by spinning.
 */
export class ReplayHarness {
  readonly #threads: readonly Thread[];
  #failure: Error | null = null;
  /** Those who wait for a message. */
  readonly #waiting = new Set<(error: Error) => void>();

  /** Fills a tree with `keys` keys. Throws `ThreadError` if a thread fails. */
  static async open(keys: number): Promise<ReplayHarness> {
    const harness = new ReplayHarness(keys);
    try {
      const shared = await harness.#next(0);
      const tree = (shared as { readonly tree: TreeDescription }).tree;
      for (let thread = 1; thread < THREADS; thread++) {
        harness.#threads[thread]?.handle.post({ kind: "attach", tree } satisfies ToReplayThread);
        await harness.#next(thread);
      }
      return harness;
    } catch (error) {
      await harness.close();
      throw error;
    }
  }

  private constructor(keys: number) {
    const port = new WorkerThreads({ waiting: "spin", spinsMax: 10_000, startMs: START_MS });
    this.#threads = Array.from({ length: THREADS }, (_, thread) => {
      let onExit: (error: Error | null) => void = () => undefined;
      const exited = new Promise<Error | null>((resolve) => {
        onExit = resolve;
      });
      const made: Thread = {
        exited,
        take: null,
        handle: port.start(
          { name: `replay-${thread}`, module: MODULE, data: { thread, keys } satisfies ReplayThreadData },
          {
            onStart: () => undefined,
            onMessage: (message) => {
              const { take } = made;
              made.take = null;
              take?.(message as FromReplayThread);
            },
            onExit: (error) => {
              this.#fail(error ?? new ThreadError(`thread replay-${thread} has ended`));
              onExit(error);
            },
          },
        ),
      };
      return made;
    });
  }

  /**
   * Measures each case `repetitions` times, interleaved, so that what disturbs the machine disturbs them all; less often, but
   * once, if `budgetMs` are over before. `progress` is told of each repetition.
   */
  async measure(
    cases: readonly Case[],
    repetitions: number,
    budgetMs: number,
    progress: (done: number, all: number) => void,
  ): Promise<Measured[]> {
    const recorded = new Recorder();
    const tasks = cases.map((each) => recorded.taskOf(each));
    const runs = cases.map((): Repetition[] => []);
    const stopMs = performance.now() + budgetMs;
    for (let repetition = 0; repetition < repetitions; repetition++) {
      if (repetition > 0 && performance.now() > stopMs) break;
      for (const [i, { make, commands }] of tasks.entries()) {
        runs[i]?.push(await this.#run(make(), commands));
        progress(repetition * cases.length + i + 1, repetitions * cases.length);
      }
    }
    return runs.map((list) => {
      list.sort((a, b) => a.rate - b.rate);
      const fastest = list.at(-1) as Repetition;
      const median = list[list.length >> 1] as Repetition;
      return {
        repetitions: list.length,
        fastest: fastest.rate,
        median: median.rate,
        withoutCore: fastest.withoutCore,
        windowNs: Math.min(...list.map((each) => each.windowNs)),
      };
    });
  }

  async close(): Promise<void> {
    for (const { handle } of this.#threads) handle.stop();
    await Promise.all(this.#threads.map(async ({ exited }) => exited));
  }

  /**
   * Runs a task and returns its rate. All threads have passed a position when the last of them has: the clients of a stream
   * that is behind wait for it, however fast the others are.
   */
  async #run(task: Task, commands: number): Promise<Repetition> {
    const parts = this.#threads.slice(0, task.threads).map(async ({ handle }, thread) => {
      handle.post(task);
      return this.#next(thread);
    });
    let begin = 0;
    let end = 0;
    let own = 0;
    let waited = 0;
    let answered = 0;
    let windowNs = 0;
    for (const part of await Promise.all(parts)) {
      if (part.kind !== "done") throw new ThreadError(`a thread of the replay says ${part.kind}`);
      begin = Math.max(begin, part.beginNs);
      end = Math.max(end, part.endNs);
      own += part.commands;
      answered += part.answered;
      waited = Math.max(waited, part.waitedNs);
      windowNs = Math.max(windowNs, part.windowNs);
    }
    const { commands: all } = task.recording;
    if (answered !== all) throw new ThreadError(`${task.system} executed ${answered} of ${all} recorded commands`);
    // What two threads do to the bare tree has no windows: each counts its own part.
    const ns = Math.max(1, end - begin);
    // And its pieces, as long as a window, go on in all threads at the same time.
    if (task.system === "tree") windowNs /= task.threads;
    const withoutCore = Math.min(1, waited / ns);
    return { rate: ((task.system === "tree" ? own : commands) * 1e9) / ns, withoutCore, windowNs };
  }

  async #next(thread: number): Promise<FromReplayThread> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== null) {
        reject(this.#failure);
        return;
      }
      const limit = setTimeout(() => this.#fail(new ThreadError(`a replay took longer than ${TASK_MS} ms`)), TASK_MS);
      const onFailure = (error: Error): void => {
        clearTimeout(limit);
        reject(error);
      };
      this.#waiting.add(onFailure);
      (this.#threads[thread] as Thread).take = (message) => {
        clearTimeout(limit);
        this.#waiting.delete(onFailure);
        resolve(message);
      };
    });
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const reject of this.#waiting) reject(error);
    this.#waiting.clear();
  }
}

/** Streams of cases, recorded once for all cases that execute the same ones. */
class Recorder {
  readonly #encoded = new Map<Workload, { encoded: Encoded; commands: CommandMemory; cleanup: CommandMemory }>();

  taskOf({ system, threads, barrier, mapping, workload, windowCommands }: Case): {
    make: () => Task;
    commands: number;
  } {
    const { encoded, commands, cleanup } = this.#encode(workload);
    const apart = system === "psmr" && barrier === "command";
    const plan = planStreams(workload, encoded, threads, mapping, windowCommands, apart);
    const grouped = system === "psmr" || system === "tree";
    const recording = recordStreams(plan, encoded, grouped ? "groups" : "single");
    // Parts and the meeting point serve one run only.
    const make = (): Task => ({
      kind: "task",
      system,
      threads,
      barrier,
      mapping,
      recording,
      commands,
      cleanup,
      parts: system === "psmr" ? createPsmrParts(threads) : null,
      start: new SharedArrayBuffer(4),
      sleepers: new SharedArrayBuffer(4),
    });
    return { make, commands: commandsBetween(plan, ...countedWindows(plan.windows)) };
  }

  #encode(workload: Workload): { encoded: Encoded; commands: CommandMemory; cleanup: CommandMemory } {
    const before = this.#encoded.get(workload);
    if (before !== undefined) return before;
    const { operations, keys, options } = workload;
    const encoded = encodeCommands(operations, keys, options.keys);
    const left = leftBehind(workload);
    const deletes = encodeCommands(new Uint8Array(left.length).fill(BtreeOperation.delete), left, options.keys);
    const made = { encoded, commands: shareCommands(encoded), cleanup: shareCommands(deletes) };
    this.#encoded.set(workload, made);
    return made;
  }
}

function shareCommands({ bytes, offsets }: Encoded): CommandMemory {
  const length = offsets.at(-1) ?? 0;
  const memory = { bytes: new SharedArrayBuffer(length), offsets: new SharedArrayBuffer(offsets.byteLength) };
  new Uint8Array(memory.bytes).set(bytes.subarray(0, length));
  new Uint32Array(memory.offsets).set(offsets);
  return memory;
}
