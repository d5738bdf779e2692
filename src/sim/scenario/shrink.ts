import { SIM_LINK_DEFAULTS } from "../../platform/index.js";
import type { Scenario, WorkloadScenario } from "./scenario.js";
import type { Strike } from "./strike.js";

/** Runs of a world that a shrinking may take, by default. */
export const SHRINK_RUNS_MAX = 400;
/** A candidate that does not fail is tried with this many seeds: whatever is changed changes every later draw. */
const SEEDS_PER_CANDIDATE = 2;
const THINK_MS_MAX = 2000;

export interface Shrinking {
  readonly scenario: Scenario;
  /** Worlds that were run. */
  readonly runs: number;
  /** True if nothing more could be taken away; false if the runs were used up before. */
  readonly complete: boolean;
}

/** Runs a scenario: the virtual time in ms at which it breaks the invariant in question, or null. */
export type Attempt = (candidate: Scenario) => number | null;

/**
 * Reduces a scenario that fails, with an explicit schedule, to a smaller one that fails in the same way: fewer strikes and
 * standing faults, fewer clients and smaller commands, less time. Greedy: each change that keeps the failure stays. Ends when
 * no change does, or when `runsMax` worlds were run.
 */
export function shrink(failing: Scenario, attempt: Attempt, runsMax = SHRINK_RUNS_MAX): Shrinking {
  const shrinker = new Shrinker(failing, attempt, runsMax);
  const complete = shrinker.run();
  return { scenario: withoutDefaults(shrinker.best), runs: shrinker.runs, complete };
}

class Shrinker {
  best: Scenario;
  runs = 0;
  readonly #attempt: Attempt;
  readonly #runsMax: number;

  constructor(failing: Scenario, attempt: Attempt, runsMax: number) {
    this.best = failing;
    this.#attempt = attempt;
    this.#runsMax = runsMax;
  }

  /** True when a whole round has taken nothing away. */
  run(): boolean {
    for (;;) {
      const before = this.best;
      this.#strikes();
      this.#standingFaults();
      this.#sizes();
      this.#groups();
      this.#time();
      this.#options();
      if (this.runs >= this.#runsMax) return false;
      if (this.best === before) return true;
    }
  }

  /** Keeps the candidate if it fails. What stands in the schedule behind the failure goes along. */
  #keeps(candidate: Scenario): boolean {
    for (let more = 0; more < SEEDS_PER_CANDIDATE && this.runs < this.#runsMax; more++) {
      const seeded = { ...candidate, seed: candidate.seed + more };
      this.runs++;
      const failedMs = this.#attempt(seeded);
      if (failedMs === null) continue;
      this.best = failedMs >= seeded.safetyMs ? seeded : this.#endedAt(seeded, Math.ceil(failedMs));
      return true;
    }
    return false;
  }

  /** A world goes on exactly as before up to the end of its safety phase, so this needs no run. */
  #endedAt(scenario: Scenario, endMs: number): Scenario {
    return { ...scenario, safetyMs: endMs + 1, schedule: strikesOf(scenario).filter(({ atMs }) => atMs <= endMs) };
  }

  /** Leaves out strikes: halves of the schedule first, then ever smaller runs of it. */
  #strikes(): void {
    for (
      let size = Math.ceil(strikesOf(this.best).length / 2);
      size >= 1;
      size = size === 1 ? 0 : Math.ceil(size / 2)
    ) {
      // From the end: the last strikes are those that matter least often.
      for (let end = strikesOf(this.best).length; end > 0; end -= size) {
        const strikes = strikesOf(this.best);
        const from = Math.max(0, Math.min(end, strikes.length) - size);
        const schedule = [...strikes.slice(0, from), ...strikes.slice(from + size)];
        if (schedule.length < strikes.length) this.#keeps({ ...this.best, schedule });
      }
    }
  }

  #standingFaults(): void {
    const calm: readonly (readonly [string, Partial<Scenario["network"]>])[] = [
      ["loss", { lossProbability: 0 }],
      ["duplicate", { duplicateProbability: 0 }],
      ["delay", { spikeProbability: 0 }],
      ["reorder", { mode: "stream" }],
    ];
    for (const [fault, network] of calm) {
      const faults = new Map([...this.best.faults].filter(([name]) => name !== fault));
      if (faults.size === this.best.faults.size) continue;
      this.#keeps({ ...this.best, faults, network: { ...this.best.network, ...network } });
    }
    // Names of faults that no strike is left of say nothing.
    const struck = new Set(strikesOf(this.best).map(({ fault }) => fault));
    const faults = new Map([...this.best.faults].filter(([name, meanMs]) => meanMs === 0 || struck.has(name)));
    if (faults.size < this.best.faults.size) this.#keeps({ ...this.best, faults });
  }

  #sizes(): void {
    if (this.best.replicas > 3) this.#keeps({ ...this.best, replicas: 3 });
    for (const [field, least] of [
      ["connections", 0],
      ["clients", 1],
      ["lanes", 1],
      ["blockCommandsMax", 1],
      ["keys", 2],
      ["valueBytesMax", 0],
      ["lastCommands", 1],
    ] as const) {
      this.#lower(field, least);
    }
    const { thinkMs } = this.best.workload;
    if (thinkMs * 2 <= THINK_MS_MAX) {
      this.#keeps({ ...this.best, workload: { ...this.best.workload, thinkMs: thinkMs * 2 } });
    }
  }

  /** Two groups, and what is simplest about them, as far as it fails so too. */
  #groups(): void {
    const { groups } = this.best;
    if (groups === undefined) return;
    const simplest = {
      count: 2,
      merge: "points",
      barrier: "run",
      resubmit: "replicas",
      bellMsMax: 0.05,
      oneDown: 0,
    } as const;
    for (const [name, value] of Object.entries(simplest)) {
      const now = this.best.groups ?? groups;
      if (now[name as keyof typeof simplest] !== value)
        this.#keeps({ ...this.best, groups: { ...now, [name]: value } });
    }
  }

  /** To the least if that fails too, else by halves. */
  #lower(field: keyof WorkloadScenario, least: number): void {
    for (let to = least; to < this.best.workload[field]; to = Math.ceil((to + this.best.workload[field]) / 2)) {
      if (this.#keeps({ ...this.best, workload: { ...this.best.workload, [field]: to } })) return;
      if (to === this.best.workload[field] - 1) return;
    }
  }

  /** What replicas are told beside the defaults. The size of their memory's pieces stays: it only costs time. */
  #options(): void {
    for (const name of Object.keys(this.best.options)) {
      if (name === "arenaChunkBytes") continue;
      const options = Object.fromEntries(Object.entries(this.best.options).filter(([option]) => option !== name));
      this.#keeps({ ...this.best, options });
    }
  }

  /** Halves the pauses between strikes, each with everything behind it moving up. */
  #time(): void {
    for (let index = 0; index < strikesOf(this.best).length; index++) {
      const strikes = strikesOf(this.best);
      const since = index === 0 ? 0 : (strikes[index - 1] as Strike).atMs;
      const gained = Math.floor(((strikes[index] as Strike).atMs - since) / 2);
      if (gained < 50) continue;
      const schedule = strikes.map((strike, i) => (i < index ? strike : { ...strike, atMs: strike.atMs - gained }));
      this.#keeps({ ...this.best, schedule, safetyMs: this.best.safetyMs - gained });
    }
  }
}

/** Links behave by default as they do without being told. */
function withoutDefaults(scenario: Scenario): Scenario {
  const told = Object.entries(scenario.network);
  const network = Object.fromEntries(
    told.filter(([name, value]) => SIM_LINK_DEFAULTS[name as keyof typeof SIM_LINK_DEFAULTS] !== value),
  );
  return { ...scenario, network };
}

function strikesOf(scenario: Scenario): readonly Strike[] {
  return scenario.schedule ?? [];
}
