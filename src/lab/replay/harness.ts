import { ThreadError } from "../../model/index.js";
import { createPsmrParts } from "../../execution/index.js";
import { type ThreadHandle, WorkerThreads } from "../../platform/index.js";
import type { TreeDescription } from "../../service/index.js";
import {
  type BarrierKind,
  commandsBetween,
  countedWindows,
  encodeCommands,
  drawWorkload,
  type Encoded,
  failRate,
  type KeySpace,
  type Mapping,
  type Optimism,
  type Plan,
  planStreams,
  recordStreams,
  type Recording,
  takenBack,
  type Workload,
} from "../streams/index.js";
import {
  type CommandMemory,
  type FromReplayThread,
  isParallel,
  type ReplayThreadData,
  type System,
  type Task,
  type ToReplayThread,
  type Waiting,
} from "./task.js";

/** Threads of the harness: real mode compares one with two. */
const THREADS = 2;
const START_MS = 300_000;
/** A replay that takes longer than this hangs. */
const TASK_MS = 300_000;
const MODULE = new URL("./thread-main.js", import.meta.url);
/**
 * Windows from a command that fails to its copy: with so many commands outstanding that a window is executed while others are
 * ordered, an agreement takes about as long as a few of them.
 */
const AGREEMENT_WINDOWS = 4;
/** Seeds of workloads that are drawn again are so far apart, out of the way of those that users give. */
const REDRAWN_SEEDS = 2 ** 32;

/** One thing to measure: a system and what it executes. */
export interface Case {
  readonly system: System;
  readonly threads: number;
  readonly barrier: BarrierKind;
  readonly mapping: Mapping;
  readonly workload: Workload;
  readonly windowCommands: number;
  /** `spin` by default. */
  readonly waiting?: Waiting;
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
  /** Cores that all threads together have had in the fastest repetition, and what that makes for each command, in ns. */
  readonly cores: number;
  readonly coreNs: number;
  /** Of the fastest repetition of opt-PSMR what it was foreseen to do; null for the others. */
  readonly foreseen: Foreseen | null;
}

/** An optimistic plan with what will happen to it. */
export interface Foreseen {
  readonly plan: Plan;
  readonly optimism: Optimism;
  /** Share of the commands that fail. */
  readonly failRate: number;
}

interface Repetition {
  readonly rate: number;
  readonly windowNs: number;
  readonly withoutCore: number;
  readonly cores: number;
  readonly coreNs: number;
  readonly foreseen: Foreseen | null;
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
  /** Workloads that were drawn again. */
  #redrawn = 0;
  /** Commands of workloads, encoded once for all that execute them. */
  readonly #encoded = new Map<Workload, EncodedWorkload>();

  /** Fills a tree with `keys` keys. Throws `ThreadError` if a thread fails. */
  static async open(keys: number, space: KeySpace = "even"): Promise<ReplayHarness> {
    const harness = new ReplayHarness(keys, space);
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

  private constructor(keys: number, space: KeySpace) {
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
          { name: `replay-${thread}`, module: MODULE, data: { thread, keys, space } satisfies ReplayThreadData },
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
    const prepared = cases.map((each) => this.#prepare(each));
    const runs = cases.map((): Repetition[] => []);
    const stopMs = performance.now() + budgetMs;
    for (let repetition = 0; repetition < repetitions; repetition++) {
      if (repetition > 0 && performance.now() > stopMs) break;
      for (const [i, each] of prepared.entries()) {
        runs[i]?.push(await this.#repeat(cases[i] as Case, each));
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
        cores: fastest.cores,
        coreNs: fastest.coreNs,
        foreseen: fastest.foreseen,
      };
    });
  }

  /** Maps a workload with OC-G, and says which of its commands fail on the tree as it is now. */
  async foresee(workload: Workload, threads: number, windowCommands: number): Promise<Foreseen> {
    return this.#foresee(workload, encodeWorkload(workload), threads, windowCommands);
  }

  async close(): Promise<void> {
    for (const { handle } of this.#threads) handle.stop();
    await Promise.all(this.#threads.map(async ({ exited }) => exited));
  }

  async #foresee(workload: Workload, encoded: Encoded, threads: number, windowCommands: number): Promise<Foreseen> {
    const plan = planStreams(workload, encoded, threads, "range", windowCommands, "optimistic");
    const delayWindows = AGREEMENT_WINDOWS;
    // A view posts all that its buffer has: what lies behind the commands stays here.
    const bytes = encoded.bytes.slice(0, encoded.offsets.at(-1));
    const posted: Encoded = { bytes, view: new DataView(bytes.buffer), offsets: encoded.offsets };
    const asked = { kind: "foresee", plan, encoded: posted, delayWindows } satisfies ToReplayThread;
    (this.#threads[0] as Thread).handle.post(asked);
    const answer = await this.#next(0);
    if (answer.kind !== "foreseen") throw new ThreadError(`a thread of the replay says ${answer.kind}`);
    const optimism = { failed: answer.failed, delayWindows };
    return { plan, optimism, failRate: failRate(optimism) };
  }

  async #repeat(of: Case, prepared: Prepared | null): Promise<Repetition> {
    if (prepared !== null) return this.#run(taskOf(of, prepared), prepared.commands, null);
    // Leaves that a stream has split stay so: again the same keys would hardly fail, and every repetition has others.
    const { options } = of.workload;
    const workload = drawWorkload({ ...options, seed: options.seed + ++this.#redrawn * REDRAWN_SEEDS });
    const memory = shareWorkload(workload);
    const foreseen = await this.#foresee(workload, memory.encoded, of.threads, of.windowCommands);
    const recording = recordStreams(foreseen.plan, memory.encoded, "groups", foreseen.optimism);
    const commands = countedCommands(foreseen.plan);
    return this.#run(taskOf(of, { recording, memory, commands }), commands, foreseen);
  }

  /** What is the same for all repetitions of a case; null for opt-PSMR, which has its streams recorded for each. */
  #prepare({ system, threads, barrier, mapping, workload, windowCommands }: Case): Prepared | null {
    if (system === "opt-psmr") return null;
    const memory = this.#encode(workload);
    const mapped = system === "psmr" && barrier === "command" ? "apart" : "conservative";
    const plan = planStreams(workload, memory.encoded, threads, mapping, windowCommands, mapped);
    const grouped = system === "psmr" || system === "tree";
    const recording = recordStreams(plan, memory.encoded, grouped ? "groups" : "single");
    return { recording, memory, commands: countedCommands(plan) };
  }

  #encode(workload: Workload): EncodedWorkload {
    const before = this.#encoded.get(workload);
    if (before !== undefined) return before;
    const made = shareWorkload(workload);
    this.#encoded.set(workload, made);
    return made;
  }

  /**
   * Runs a task and returns its rate. All threads have passed a position when the last of them has: the clients of a stream
   * that is behind wait for it, however fast the others are.
   */
  async #run(task: Task, commands: number, foreseen: Foreseen | null): Promise<Repetition> {
    const parts = this.#threads.slice(0, task.threads).map(async ({ handle }, thread) => {
      handle.post(task);
      return this.#next(thread);
    });
    let begin = 0;
    let end = 0;
    let own = 0;
    let ran = 0;
    let waited = 0;
    let answered = 0;
    let windowNs = 0;
    for (const part of await Promise.all(parts)) {
      if (part.kind !== "done") throw new ThreadError(`a thread of the replay says ${part.kind}`);
      begin = Math.max(begin, part.beginNs);
      end = Math.max(end, part.endNs);
      own += part.commands;
      answered += part.answered;
      ran += part.ranNs;
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
    const counted = task.system === "tree" ? own : commands;
    return { rate: (counted * 1e9) / ns, withoutCore, windowNs, cores: ran / ns, coreNs: ran / counted, foreseen };
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

interface EncodedWorkload {
  readonly encoded: Encoded;
  readonly commands: CommandMemory;
  readonly cleanup: CommandMemory;
}

/** A case with its streams. */
interface Prepared {
  readonly recording: Recording;
  readonly memory: EncodedWorkload;
  /** Commands of the counted windows. */
  readonly commands: number;
}

/** A task for one run; parts and the meeting point serve one alone. */
function taskOf(
  { system, threads, barrier, mapping, waiting = "spin" }: Case,
  { recording, memory: { commands, cleanup } }: Prepared,
): Task {
  return {
    kind: "task",
    system,
    threads,
    barrier,
    waiting,
    mapping,
    recording,
    commands,
    cleanup,
    parts: isParallel(system) ? createPsmrParts(threads) : null,
    start: new SharedArrayBuffer(4),
    sleepers: new SharedArrayBuffer(4),
  };
}

const countedCommands = (plan: Plan): number => commandsBetween(plan, ...countedWindows(plan.windows));

function encodeWorkload({ operations, keys, options }: Workload): Encoded {
  return encodeCommands(operations, keys, options.keys, options.space);
}

function shareWorkload(workload: Workload): EncodedWorkload {
  const encoded = encodeWorkload(workload);
  const cleanup = encodeWorkload({ ...workload, ...takenBack(workload) });
  return { encoded, commands: shareCommands(encoded), cleanup: shareCommands(cleanup) };
}

function shareCommands({ bytes, offsets }: Encoded): CommandMemory {
  const length = offsets.at(-1) ?? 0;
  const memory = { bytes: new SharedArrayBuffer(length), offsets: new SharedArrayBuffer(offsets.byteLength) };
  new Uint8Array(memory.bytes).set(bytes.subarray(0, length));
  new Uint32Array(memory.offsets).set(offsets);
  return memory;
}
