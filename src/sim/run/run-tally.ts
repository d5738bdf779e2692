import { type FaultName, faultNames } from "../scenario/index.js";
import { type CrashPoint, crashPoints } from "../world/index.js";
import type { OptimismCounts, SeedResult } from "./run-seed.js";

/** How one fault fared in a run of many seeds. */
export interface FaultTally {
  /** Seeds that had drawn it. */
  enabled: number;
  /** Seeds in which it came about, and how often it did in all of them. */
  seeds: number;
  times: number;
}

/** How one crash point fared in a run of many seeds: how often a process came by, and how often one died there. */
export interface CrashPointTally {
  passes: number;
  deaths: number;
}

/** The slowest of the seeds in something. */
export interface Slowest {
  readonly ms: number;
  readonly seed: number;
}

/** Adds up what many seeds have met, so that a run says what it has tried and not only that nothing broke. */
export class RunTally {
  seeds = 0;
  readonly failed: number[] = [];
  operations = 0;
  virtualMs = 0;
  elections = 0;
  rejoins = 0;
  installs = 0;
  checkpoints = 0;
  repairs = 0;
  sessionsExpired = 0;
  connectionReplies = 0;
  /** What opt-PSMR has met; `seeds` are those that ran it. */
  readonly optimism = { seeds: 0, failed: 0, conservative: 0, refused: 0, again: 0 };
  /** Seeds that the witness judged alone. */
  unsearched = 0;
  /** Of the seeds that passed: the time from the end of the faults until all clients were answered, and until all was healed. */
  slowestProgress: Slowest | null = null;
  slowestHealing: Slowest | null = null;
  /** Every fault there is, in the order of `faultNames`. */
  readonly faults: ReadonlyMap<FaultName, FaultTally> = new Map(
    faultNames.map((name) => [name, { enabled: 0, seeds: 0, times: 0 }]),
  );
  /** Every crash point there is, in the order of `crashPoints`. */
  readonly crashPoints: ReadonlyMap<CrashPoint, CrashPointTally> = new Map(
    crashPoints.map((point) => [point, { passes: 0, deaths: 0 }]),
  );

  add(result: SeedResult): void {
    this.seeds++;
    if (!result.passed) this.failed.push(result.seed);
    this.operations += result.operations;
    this.virtualMs += result.virtualMs;
    this.elections += result.elections;
    this.rejoins += result.rejoins;
    this.installs += result.installs;
    this.checkpoints += result.checkpoints;
    this.repairs += result.repairs;
    for (const { point, passes, deaths } of result.crashPoints) {
      const tally = this.crashPoints.get(point);
      if (tally === undefined) continue;
      tally.passes += passes;
      tally.deaths += deaths;
    }
    this.sessionsExpired += result.sessionsExpired;
    this.connectionReplies += result.connectionReplies;
    this.#addOptimism(result.optimism);
    if (!result.searched) this.unsearched++;
    this.slowestProgress = slower(this.slowestProgress, result.progressMs, result.seed);
    this.slowestHealing = slower(this.slowestHealing, result.healedMs, result.seed);
    for (const [name, times] of result.faultCounts) {
      const tally = this.faults.get(name);
      if (tally === undefined) continue;
      tally.enabled++;
      tally.times += times;
      if (times > 0) tally.seeds++;
    }
  }

  #addOptimism(met: OptimismCounts | null): void {
    if (met === null) return;
    const { optimism } = this;
    optimism.seeds++;
    for (const name of ["failed", "conservative", "refused", "again"] as const) optimism[name] += met[name];
  }
}

function slower(known: Slowest | null, ms: number | null, seed: number): Slowest | null {
  if (ms === null || (known !== null && known.ms >= ms)) return known;
  return { ms: Math.round(ms), seed };
}
