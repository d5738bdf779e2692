import { performance } from "node:perf_hooks";
import { TraceCode } from "../../model/index.js";
import type { ReplicaStatus } from "../replica/api.js";
import { DurationHistogram, type DurationReading, type ReplicaMetrics } from "../replica/metrics.js";

/** What a gateway counts since its start. */
export interface GatewayCounters {
  readonly connections: number;
  readonly connectionsTotal: number;
  readonly connectionsRefused: number;
  readonly requests: number;
}

/**
 * A member of a replica as it stands, or the only one, with what it has counted since its thread began: plain values, posted
 * between threads.
 */
export interface MemberReading {
  readonly status: ReplicaStatus;
  /** It takes part: recovered, or rejoined as a voter. */
  readonly recovered: boolean;
  readonly commit: DurationReading;
  readonly logWrite: DurationReading;
  /** By how much a timer of the replica's thread was late. */
  readonly loopDelay: DurationReading;
  /** Processor time of each piece of work for a checkpoint, and of the longest. */
  readonly checkpointWork: DurationReading;
  readonly checkpointWorkMaxMs: number;
  /** How long the thread's event loop was busy, since it began. */
  readonly loopActiveMs: number;
  /** JavaScript heap in use by the thread, and memory outside of it that belongs to its objects. */
  readonly heapBytes: number;
  readonly externalBytes: number;
  readonly elected: number;
  readonly steppedDown: number;
  readonly checkpoints: number;
  readonly statesInstalled: number;
  readonly rejoined: number;
}

/** A replica as it stands. With several groups its own fields are those of the member of g_all. */
export interface ReplicaReading extends MemberReading {
  /** Of a replica with several groups all members, that of g_all first; else absent. */
  readonly members?: readonly MemberReading[];
  readonly resp: GatewayCounters | null;
}

/** How often the delay of the event loop is measured, in ms: often enough for a histogram, and too seldom to cost anything. */
const LOOP_SAMPLE_MS = 100;

/**
 * Measures processor time of this thread. Versions of Node that don't tell it tell that of the process: what the thread took is
 * at most that, and at most the time that has passed.
 */
export function threadStopwatch(): () => number {
  const startedMs = performance.now();
  const startedCpuMs = cpuMs();
  return () => Math.min(performance.now() - startedMs, cpuMs() - startedCpuMs);
}

function cpuMs(): number {
  const told = process as { readonly threadCpuUsage?: () => NodeJS.CpuUsage };
  const { user, system } = told.threadCpuUsage?.() ?? process.cpuUsage();
  return (user + system) / 1000;
}

/** Takes readings of the replica in this thread. */
export class ReplicaReader {
  readonly #metrics: ReplicaMetrics;
  readonly #loopDelay = new DurationHistogram();
  readonly #sampling: NodeJS.Timeout;

  constructor(metrics: ReplicaMetrics) {
    this.#metrics = metrics;
    let dueMs = performance.now() + LOOP_SAMPLE_MS;
    this.#sampling = setInterval(() => {
      const nowMs = performance.now();
      this.#loopDelay.record(Math.max(0, nowMs - dueMs));
      dueMs = nowMs + LOOP_SAMPLE_MS;
    }, LOOP_SAMPLE_MS).unref();
  }

  read(status: ReplicaStatus, recovered: boolean): MemberReading {
    const metrics = this.#metrics;
    const memory = process.memoryUsage();
    return {
      status,
      recovered,
      commit: metrics.commit.read(),
      logWrite: metrics.logWrite.read(),
      loopDelay: this.#loopDelay.read(),
      checkpointWork: metrics.checkpointWork.read(),
      checkpointWorkMaxMs: metrics.checkpointWorkMaxMs,
      loopActiveMs: performance.eventLoopUtilization().active,
      heapBytes: memory.heapUsed,
      externalBytes: memory.external,
      elected: metrics.count(TraceCode.elected),
      steppedDown: metrics.count(TraceCode.steppedDown),
      checkpoints: metrics.count(TraceCode.checkpointed),
      statesInstalled: metrics.count(TraceCode.installed),
      rejoined: metrics.count(TraceCode.rejoined),
    };
  }

  close(): void {
    clearInterval(this.#sampling);
  }
}
