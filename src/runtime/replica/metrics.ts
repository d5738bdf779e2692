import type { Instance, TraceCode } from "../../model/index.js";

/** Upper bounds of the buckets in seconds, 1–2–5 from 50 µs to 10 s; one more takes what is longer. */
const BOUNDS_S: readonly number[] = Object.freeze([
  0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10,
]);

/** Proposals whose time is remembered; a power of two, well above the instances that may be open at once. */
const PROPOSALS_MAX = 4096;
/** Trace codes lie below this. */
const TRACE_CODES = 64;

/** A histogram of durations as it stands, in plain values that can be posted between threads. */
export interface DurationReading {
  /** Upper bounds of the buckets, in seconds. */
  readonly bounds: readonly number[];
  /** One count a bucket, not cumulative; the last is of those beyond every bound. */
  readonly counts: readonly number[];
  readonly sumSeconds: number;
}

/** Counts durations in fixed buckets. Recording allocates nothing. */
export class DurationHistogram {
  readonly #counts = new Float64Array(BOUNDS_S.length + 1);
  #sumMs = 0;

  record(durationMs: number): void {
    const seconds = durationMs / 1000;
    let bucket = 0;
    while (bucket < BOUNDS_S.length && seconds > (BOUNDS_S[bucket] as number)) bucket++;
    (this.#counts[bucket] as number)++;
    this.#sumMs += durationMs;
  }

  read(): DurationReading {
    return { bounds: BOUNDS_S, counts: Array.from(this.#counts), sumSeconds: this.#sumMs / 1000 };
  }
}

/** Begins to measure; the function it returns says how many ms of processor time it has been since, of this thread. */
export type Stopwatch = () => () => number;

/**
 * What a replica counts about itself while it runs. Everything here is done once a batch, a sync or a traced event, never
 * once a command; commands, sessions and sizes come from the views that the cores keep anyway (`ReplicaStatus`).
 */
export class ReplicaMetrics {
  /** From the proposal of a batch to its decision, at the coordinator that proposed it. */
  readonly commit = new DurationHistogram();
  /** From the start of a write to the log until it was durable. */
  readonly logWrite = new DurationHistogram();
  /** Which instance each slot is of, and when it was proposed. */
  readonly #proposed = new Float64Array(PROPOSALS_MAX);
  readonly #proposedMs = new Float64Array(PROPOSALS_MAX);
  readonly #traced = new Float64Array(TRACE_CODES);
  /** Each piece of work for a checkpoint that the thread does without looking up: what a pause by one would consist of. */
  readonly checkpointWork = new DurationHistogram();
  /** The longest of them, in ms. */
  checkpointWorkMaxMs = 0;
  readonly #stopwatch: Stopwatch | null;

  constructor(stopwatch: Stopwatch | null = null) {
    this.#stopwatch = stopwatch;
  }

  /** Does a piece of work for a checkpoint, and measures it if there is something to measure with. */
  checkpointing(work: () => void): void {
    if (this.#stopwatch === null) return work();
    const spentMs = this.#stopwatch();
    work();
    const ms = spentMs();
    this.checkpointWork.record(ms);
    if (ms > this.checkpointWorkMaxMs) this.checkpointWorkMaxMs = ms;
  }

  proposed(instance: Instance, nowMs: number): void {
    const slot = instance % PROPOSALS_MAX;
    this.#proposed[slot] = instance;
    this.#proposedMs[slot] = nowMs;
  }

  decided(instance: Instance, nowMs: number): void {
    const slot = instance % PROPOSALS_MAX;
    // Instances that others proposed have no slot, or one that an older instance has left behind.
    if (this.#proposed[slot] !== instance) return;
    this.#proposed[slot] = 0;
    this.commit.record(nowMs - (this.#proposedMs[slot] as number));
  }

  traced(code: TraceCode): void {
    (this.#traced[code] as number)++;
  }

  /** How often an event of this code was traced since the start. */
  count(code: TraceCode): number {
    return this.#traced[code] as number;
  }
}
