import { type Check, checkOf, type Clause, figure, rate } from "../frame/index.js";
import {
  because,
  calibrated,
  conditional,
  type Costs,
  disturbance,
  findRow,
  has,
  MEASURED_THREADS,
  PAPER_THREADS,
  type RateRow,
  rowOf,
  SHARES,
  SIMULATED_THREADS,
  type Variant,
} from "../study/index.js";
import type { LatencyRow } from "./latency-rows.js";

/** The checks of EXPERIMENTS.md on opt-PSMR, as functions of rows. A mode that was not run has no rows, and its clauses are left out. */

const MODES = ["real", "sim"] as const;
const BARRIERS = ["run", "command"] as const;
const SEQUENTIAL = { system: "sequential", threads: 1 } as const;
/** Threads that a mode compares systems with. */
const threadsOf = (mode: RateRow["mode"]): number => (mode === "real" ? MEASURED_THREADS : PAPER_THREADS);
const percent = (share: number): string => `${figure(100 * share)} %`;

export function smrFlat(rows: readonly RateRow[]): Check {
  const clauses: Clause[] = [];
  for (const mode of MODES) {
    if (!has(rows, mode)) continue;
    const found = SHARES.map((dependent) => rowOf(rows, { ...SEQUENTIAL, dependent }, mode));
    const rates = found.map(({ throughput }) => throughput);
    const [least, most] = [Math.min(...rates), Math.max(...rates)];
    clauses.push({
      text: `${rate(least)} to ${rate(most)}, ${percent(1 - least / most)} (${mode})`,
      holds: least > 0.85 * most,
      reason: disturbance(found) ?? "an insert or delete moves items of a leaf, which a read does not",
    });
  }
  return checkOf("smr-flat", "tput(SMR) varies < 15 % over p", clauses, "real");
}

export function aboveSmr(rows: readonly RateRow[], costs: Costs): Check {
  const clauses: Clause[] = [];
  for (const mode of MODES) {
    if (!has(rows, mode)) continue;
    const threads = threadsOf(mode);
    for (const dependent of SHARES) {
      const ours = rowOf(rows, { system: "opt-psmr", threads, dependent }, mode);
      const smr = rowOf(rows, { ...SEQUENTIAL, dependent }, mode);
      clauses.push({
        text: `${dependent} %: ${figure(ours.throughput / smr.throughput)} × SMR (${mode}, K = ${threads}${conditional(threads)})`,
        holds: ours.throughput >= smr.throughput,
        ...(mode === "real" ? because([ours, smr]) : calibrated(costs)),
      });
    }
  }
  const expected = "tput(opt-PSMR) ≥ tput(SMR) at every p (real with spinning barriers; run barriers)";
  return checkOf("above-smr", expected, clauses, "real");
}

/** At 100 %: the quotient of what was measured of opt-PSMR and P-SMR, beside that of the makespans of their streams. */
export function overPsmr(rows: readonly RateRow[], costs: Costs): Check {
  const clauses: Clause[] = [];
  const at = { dependent: 100 } as const;
  if (has(rows, "real")) {
    const threads = MEASURED_THREADS;
    const ours = rowOf(rows, { ...at, system: "opt-psmr", threads }, "real");
    const theirs = rowOf(rows, { ...at, system: "psmr", threads }, "real");
    const ratio = ours.throughput / theirs.throughput;
    const predicted = Number(ours["makespan_throughput"]) / Number(theirs["makespan_throughput"]);
    clauses.push({
      text: `${figure(ratio)} × P-SMR, by the makespans ${figure(predicted)} (real, K = 2, run barriers)`,
      holds: Math.abs(ratio / predicted - 1) <= 0.1,
      ...because([ours, theirs]),
    });
  }
  if (has(rows, "sim")) {
    const threads = PAPER_THREADS;
    const smr = rowOf(rows, { ...SEQUENTIAL, ...at }, "sim").throughput;
    for (const barrier of BARRIERS) {
      const ours = rowOf(rows, { ...at, system: "opt-psmr", threads, barrier }, "sim").throughput;
      const theirs = rowOf(rows, { ...at, system: "psmr", threads, barrier }, "sim").throughput;
      const best = Math.max(smr, theirs);
      clauses.push({
        text: `${figure(ours / theirs)} × P-SMR, ${figure(ours / best)} × the better of P-SMR and SMR (sim, K = 8, ${barrier} barriers, conditional)`,
        holds: ours >= 2.4 * theirs,
        ...calibrated(costs),
      });
    }
  }
  const expected =
    "at p = 100 %: real: ratio to P-SMR within 10 % of the ratio of the two makespans; sim K = 8: ≥ 2.4 (conditional)";
  return checkOf("over-psmr", expected, clauses, "real");
}

export function psmrDrop(rows: readonly RateRow[], costs: Costs): Check {
  const clauses: Clause[] = [];
  if (has(rows, "sim")) {
    const [none, five] = [0, 5].map((dependent) => {
      const variant: Variant = { system: "psmr", threads: PAPER_THREADS, dependent, barrier: "command" };
      return rowOf(rows, variant, "sim").throughput;
    }) as [number, number];
    clauses.push({
      text: `${rate(none)} at 0 %, ${rate(five)} at 5 %: ${percent(1 - five / none)} less (sim, K = 8, conditional)`,
      holds: five <= 0.8 * none,
      ...calibrated(costs),
    });
  }
  const expected = "P-SMR loses ≥ 20 % of its p = 0 tput by p = 5 % with command barriers (sim K = 8)";
  return checkOf("psmr-drop", expected, clauses, "sim");
}

export function latencyAtSaturation(rows: readonly LatencyRow[]): Check {
  const clauses: Clause[] = [];
  for (const ours of rows.filter(({ system }) => system === "opt-psmr")) {
    const { dependent_percent: share } = ours;
    const smr = rows.find((row) => row.system === "sequential" && row.dependent_percent === share);
    if (smr === undefined) continue;
    clauses.push({
      text: `${share} %: ${figure(ours.latency_ms)} ms at ${rate(ours.throughput)}, SMR ${figure(smr.latency_ms)} ms at ${rate(smr.throughput)} (sim, K = ${ours.threads}, conditional)`,
      holds: ours.latency_ms <= 1.5 * smr.latency_ms,
      reason: "its saturation asks for more clients",
    });
  }
  const expected = "opt-PSMR's latency at its own saturation ≤ 1.5 × SMR's at its own";
  return checkOf("latency", expected, clauses, "sim");
}

const ALL = { dependent: 100 } as const;

export function optRises(rows: readonly RateRow[], costs: Costs): Check {
  const clauses: Clause[] = [];
  if (has(rows, "sim")) {
    const counts = SIMULATED_THREADS.filter((threads) => threads <= PAPER_THREADS);
    const rates = counts.map((threads) => rowOf(rows, { ...ALL, system: "opt-psmr", threads }, "sim").throughput);
    clauses.push({
      text: `with ${counts.join(", ")} threads: ${rates.map(rate).join(", ")} (sim${conditional(PAPER_THREADS)})`,
      holds: rates.every((each, i) => i === 0 || each > (rates[i - 1] as number)),
      ...calibrated(costs),
    });
  }
  return checkOf("opt-rises", "p = 100 %: sim tput(opt-PSMR) grows with K up to 8", clauses, "sim");
}

export function psmrFalls(rows: readonly RateRow[], costs: Costs): Check {
  const clauses: Clause[] = [];
  if (has(rows, "sim")) {
    const rates = SIMULATED_THREADS.map(
      (threads) => rowOf(rows, { ...ALL, system: "psmr", threads, barrier: "command" }, "sim").throughput,
    );
    clauses.push({
      text: `with ${SIMULATED_THREADS.join(", ")} threads: ${rates.map(rate).join(", ")} (sim, conditional)`,
      holds: rates.every((each, i) => i === 0 || each < (rates[i - 1] as number)),
      ...calibrated(costs),
    });
  }
  return checkOf("psmr-falls", "p = 100 %: sim tput(P-SMR, command barriers) falls with K", clauses, "sim");
}

export function perThread(rows: readonly RateRow[], costs: Costs): Check {
  const clauses: Clause[] = [];
  for (const mode of MODES) {
    if (!has(rows, mode)) continue;
    const share = (system: "psmr" | "opt-psmr", threads: number): number => {
      const barrier = system === "psmr" ? "command" : "run";
      const one = rowOf(rows, { ...ALL, system, threads: 1, barrier }, mode).throughput;
      return rowOf(rows, { ...ALL, system, threads, barrier }, mode).throughput / threads / one;
    };
    for (const threads of mode === "real" ? [MEASURED_THREADS] : SIMULATED_THREADS.filter((count) => count > 1)) {
      const [ours, theirs] = [share("opt-psmr", threads), share("psmr", threads)];
      clauses.push({
        text: `${percent(ours)} against ${percent(theirs)} of one thread (${mode}, K = ${threads}${conditional(threads)})`,
        holds: ours > theirs,
        ...(mode === "real" ? because(rows) : calibrated(costs)),
      });
    }
  }
  return checkOf("per-thread", "tput/K of opt-PSMR decays less than P-SMR's at every K", clauses, "sim");
}

export function cpu(rows: readonly RateRow[]): Check {
  const clauses: Clause[] = [];
  const of = (system: "psmr" | "opt-psmr", barrier: "run" | "command"): RateRow | undefined =>
    findRow(rows, { ...ALL, system, barrier, threads: MEASURED_THREADS, waiting: "sleep" }, "real");
  const ours = of("opt-psmr", "run");
  const theirs = of("psmr", "command");
  if (ours !== undefined && theirs !== undefined) {
    const [oursCores, theirsCores] = [Number(ours["cores"]), Number(theirs["cores"])];
    const [oursEach, theirsEach] = [Number(ours["core_ns"]), Number(theirs["core_ns"])];
    const runs = of("psmr", "run");
    const beside =
      runs === undefined
        ? ""
        : `; P-SMR with run barriers ${figure(Number(runs["cores"]))} s and ${figure(Number(runs["core_ns"]))} ns`;
    clauses.push(
      {
        text: `CPU per second ${figure(oursCores)} s against ${figure(theirsCores)} s`,
        holds: oursCores >= theirsCores,
        ...because([ours, theirs]),
      },
      {
        text: `per command ${figure(oursEach)} ns against ${figure(theirsEach)} ns${beside}`,
        holds: oursEach < theirsEach,
        ...because([ours, theirs]),
      },
    );
  }
  const expected =
    "with blocking barriers (no spinning): CPU per second of opt-PSMR ≥ P-SMR's (command barriers); CPU per command lower";
  return checkOf("cpu", expected, clauses, "real");
}

/** Bounds of what a failed command takes over one that passes. */
const FAILED_OVER_PASSED = { skips: [1.8, 2.2], points: [2.5, 3.5] } as const;

export function failedLatency(rows: readonly LatencyRow[]): Check {
  const clauses: Clause[] = [];
  for (const merge of ["skips", "points"] as const) {
    const [least, most] = FAILED_OVER_PASSED[merge];
    for (const row of stepsOf(rows, merge, "client")) {
      const ratio = row.failed_ms / row.passed_ms;
      const other = rows.find(
        (each) => each.merge === merge && each.resubmit === "replicas" && each.offered_per_s === row.offered_per_s,
      );
      const beside = other === undefined ? "" : `, from the replicas ${figure(other.failed_ms / other.passed_ms)}`;
      clauses.push({
        text: `${merge} at ${rate(row.offered_per_s)}: ${figure(row.failed_ms)} over ${figure(row.passed_ms)} ms = ${figure(ratio)}${beside}`,
        holds: ratio >= least && ratio <= most,
        reason: `${row.failures} failed`,
      });
    }
  }
  const expected =
    "mean latency failed / passed below saturation: 1.8–2.2 under skips with Δ ≤ a tenth of the passed latency; " +
    "2.5–3.5 under merge points (one g_i instance more); the client multicasts again, as in the paper's prototype";
  return checkOf("failed-latency", expected, clauses, "sim");
}

export function allLatency(rows: readonly LatencyRow[]): Check {
  const clauses = rows
    .filter(({ resubmit }) => resubmit === "client")
    .map((row): Clause => {
      const ratio = row.latency_ms / row.passed_ms;
      return { text: `${row.merge} at ${rate(row.offered_per_s)}: ${ratio.toFixed(3)}`, holds: ratio <= 1.1 };
    });
  return checkOf("all-latency", "mean over all commands ≤ 1.1 × passed", clauses, "sim");
}

/** Steps of equal length that begin with the same tree; a rate may rise by less than what chance does to so many failures. */
export function failRateFalls(rows: readonly LatencyRow[]): Check {
  const clauses: Clause[] = [];
  for (const merge of ["skips", "points"] as const) {
    const steps = stepsOf(rows, merge, "client");
    if (steps.length === 0) continue;
    const falls = steps.every((row, i) => {
      const before = steps[i - 1];
      return before === undefined || row.fail_rate <= before.fail_rate * (1 + 1 / Math.sqrt(before.failures));
    });
    const [first, last] = [steps[0] as LatencyRow, steps.at(-1) as LatencyRow];
    clauses.push({
      text: `${merge}: ${steps.map((row) => `${rate(row.offered_per_s)}: ${percent(row.fail_rate)}, ${row.failures}`).join("; ")}`,
      holds:
        falls &&
        last.fail_rate < first.fail_rate &&
        steps.every((row, i) => i === 0 || row.failures > (steps[i - 1] as LatencyRow).failures),
    });
  }
  return checkOf(
    "fail-rate-falls",
    "fail rate falls and number of failures rises as tput rises (load steps)",
    clauses,
    "sim",
  );
}

/** The estimate of PROTOCOLS section 4.5 for 100,000 keys and eight threads: share of failures by leaf capacity. */
const ESTIMATES = [
  [16, 0.062],
  [32, 0.025],
  [64, 0.009],
  [128, 0.007],
] as const;

/** The estimate for a capacity, between those given as a power of it. */
export function estimatedFailRate(capacity: number): number {
  const after = ESTIMATES.findIndex(([each]) => each >= capacity);
  const i = after < 0 ? ESTIMATES.length - 1 : Math.max(1, after);
  const [c0, y0] = ESTIMATES[i - 1] as (typeof ESTIMATES)[number];
  const [c1, y1] = ESTIMATES[i] as (typeof ESTIMATES)[number];
  return y0 * (y1 / y0) ** (Math.log(capacity / c0) / Math.log(c1 / c0));
}

export function failRateLevel(rows: readonly LatencyRow[], capacity: number): Check {
  const estimate = estimatedFailRate(capacity);
  const clauses = stepsOf(rows, "points", "client").map((row): Clause => {
    const ratio = row.fail_rate / estimate;
    return {
      text: `${percent(row.fail_rate)} at ${rate(row.offered_per_s)}, ${figure(ratio)} × the estimate of ${percent(estimate)} for leaves of ${capacity} items`,
      holds: ratio >= 0.5 && ratio <= 2,
      reason: `${row.keys} keys, ${row.threads} threads`,
    };
  });
  const expected =
    "within a factor 2 of PROTOCOLS section 4.5's estimate for the leaf capacity, at 100 k keys, K = 8, sim";
  return checkOf("fail-rate-level", expected, clauses, "sim");
}

/** Load steps under one merge, by rising load. */
function stepsOf(
  rows: readonly LatencyRow[],
  merge: LatencyRow["merge"],
  resubmit: LatencyRow["resubmit"],
): LatencyRow[] {
  return rows
    .filter((row) => row.merge === merge && row.resubmit === resubmit)
    .toSorted((a, b) => a.offered_per_s - b.offered_per_s);
}
