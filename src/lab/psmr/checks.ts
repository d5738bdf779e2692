import { type Check, checkOf, type Clause, figure, rate } from "../frame/index.js";
import {
  because,
  calibrated,
  conditional,
  type Costs,
  disturbance,
  has,
  MEASURED_THREADS,
  overShares,
  PAPER_THREADS,
  type RateRow,
  rowOf,
  SIMULATED_THREADS,
  treeSpeedUp,
  type Variant,
} from "../study/index.js";

/** The checks of EXPERIMENTS.md on P-SMR, as functions of rows. A mode that was not run has no rows, and its clauses are left out. */

export function realTwoThreads(rows: readonly RateRow[]): Check {
  const clauses: Clause[] = [];
  if (has(rows, "real")) {
    const variants: readonly Variant[] = [
      { system: "psmr", threads: 2 },
      { system: "psmr", threads: 1 },
      { system: "tree", threads: 2 },
      { system: "tree", threads: 1 },
    ];
    const found = variants.map((variant) => rowOf(rows, variant));
    const [two, one, treeTwo, treeOne] = found.map((row) => row.throughput) as [number, number, number, number];
    const ratio = two / one;
    const tree = treeTwo / treeOne;
    clauses.push({
      text: `two threads over one: ${figure(ratio)}; bare tree: ${figure(tree)}; quotient ${figure(ratio / tree)}`,
      holds: ratio >= 0.95 * tree,
      ...because(found),
    });
  }
  return checkOf(
    "real-two-threads",
    "tput(P-SMR, 2) / tput(P-SMR, 1) ≥ 0.95 × the bare-tree ratio of the run",
    clauses,
    "real",
  );
}

export function simScales(rows: readonly RateRow[], costs: Costs): Check {
  const clauses: Clause[] = [];
  if (has(rows, "sim")) {
    const rates = [1, 2, 4, 8].map((threads) => rowOf(rows, { system: "psmr", threads }, "sim").throughput);
    clauses.push({
      text: `with 1, 2, 4, 8 threads: ${rates.map(rate).join(", ")}${conditional(8)}`,
      holds: rates.every((each, i) => i === 0 || each > (rates[i - 1] as number)),
    });
    const tree = treeSpeedUp(costs.treeRatio ?? 2, PAPER_THREADS);
    const ratio = (rates[3] as number) / (rates[0] as number);
    const limited = tree < 6 ? "; below 6 by itself, so that the rule asks for nothing" : "";
    clauses.push({
      text: `8 threads over one: ${figure(ratio)}; the bare tree allows A = ${figure(tree)}${limited}${conditional(8)}`,
      holds: ratio >= 6 || tree < 6,
    });
  }
  const expected = "sim tput grows with every K up to 8; at 8 ≥ 6 × one thread when the tree allows it";
  return checkOf("sim-scales", expected, clauses, "sim");
}

export function schedulersStayBehind(rows: readonly RateRow[]): Check {
  const clauses: Clause[] = [];
  const others = ["none", "sequential", "pipelined"] as const;
  if (has(rows, "real")) {
    const ours = rowOf(rows, { system: "psmr", threads: 2 });
    for (const system of others) {
      const theirs = rowOf(rows, { system, threads: 1 });
      const name = system === "none" ? "non-replicated" : system;
      clauses.push({
        text: `${name} ${rate(theirs.throughput)} against ${rate(ours.throughput)} (real, K = 2)`,
        holds: theirs.throughput < ours.throughput,
        ...because([ours, theirs]),
      });
    }
  }
  if (has(rows, "sim")) {
    const theirs = rowOf(rows, { system: "sequential", threads: 1 }, "sim").throughput;
    for (const threads of SIMULATED_THREADS.filter((count) => count > 1)) {
      const ours = rowOf(rows, { system: "psmr", threads }, "sim").throughput;
      clauses.push({
        text: `sequential ${rate(theirs)} against ${rate(ours)} (sim, K = ${threads}${conditional(threads)})`,
        holds: theirs < ours,
      });
    }
  }
  const expected = "non-replicated and sequential below P-SMR at K ≥ 2 (SDPE does not exist yet)";
  return checkOf("schedulers-stay-behind", expected, clauses, "real");
}

const ALL_DEPENDENT = { system: "psmr", dependent: 100 } as const;

export function paysForBarriers(rows: readonly RateRow[]): Check {
  const clauses: Clause[] = [];
  for (const mode of ["real", "sim"] as const) {
    if (!has(rows, mode)) continue;
    const smr = rowOf(rows, { system: "sequential", threads: 1, dependent: 100 }, mode).throughput;
    let before = Infinity;
    for (const threads of mode === "real" ? [2] : SIMULATED_THREADS.filter((count) => count > 1)) {
      const { throughput } = rowOf(rows, { ...ALL_DEPENDENT, threads, barrier: "command" }, mode);
      clauses.push({
        text: `${rate(throughput)} against ${rate(smr)} (${mode}, K = ${threads}${conditional(threads)})`,
        holds: throughput < smr && throughput < before,
      });
      before = throughput;
    }
  }
  const expected = "tput(P-SMR, K) < tput(SMR) at p = 100 % with command barriers, falling with K";
  return checkOf("pays-for-barriers", expected, clauses, "real");
}

export function runBarriersRecover(rows: readonly RateRow[], costs: Costs): Check {
  const clauses: Clause[] = [];
  for (const mode of ["real", "sim"] as const) {
    if (!has(rows, mode)) continue;
    const smr = rowOf(rows, { system: "sequential", threads: 1, dependent: 100 }, mode).throughput;
    for (const threads of mode === "real" ? [2] : SIMULATED_THREADS.filter((count) => count > 1)) {
      const row = rowOf(rows, { ...ALL_DEPENDENT, threads }, mode);
      clauses.push({
        text: `${figure(row.throughput / smr)} × SMR (${mode}, K = ${threads}${conditional(threads)})`,
        holds: row.throughput >= 0.9 * smr,
        ...(mode === "real" ? because([row]) : calibrated(costs)),
      });
    }
  }
  const expected = "with run barriers ≥ 0.9 × SMR at p = 100 %";
  return checkOf("run-barriers-recover", expected, clauses, "real");
}

export function monotone(rows: readonly RateRow[]): Check {
  const clauses: Clause[] = [];
  for (const mode of ["real", "sim"] as const) {
    if (!has(rows, mode)) continue;
    const points = overShares(rows, mode);
    const name = mode === "real" ? "real, K = 2" : `sim, K = ${PAPER_THREADS}, conditional`;
    const rises = points.filter(([, y], i) => i > 0 && y > (points[i - 1]?.[1] ?? 0)).map(([x]) => `${x} %`);
    const list = points.map(([x, y]) => `${x} %: ${rate(y)}`).join(", ");
    const busy = disturbance(rows.filter((row) => row.mode === mode));
    clauses.push({
      text: `${list} (${name})`,
      holds: rises.length === 0,
      reason: `it rises at ${rises.join(", ")}${busy === undefined ? "" : `; ${busy}`}`,
    });
    const slopes = points.slice(1).map(([x, y], i) => {
      const [beforeX, beforeY] = points[i] as [number, number];
      return { through: x, fall: (beforeY - y) / (x - beforeX) };
    });
    const steepest = slopes.reduce((a, b) => (b.fall > a.fall ? b : a));
    clauses.push({ text: `steepest in front of ${steepest.through} % (${name})`, holds: steepest.through <= 10 });
  }
  const expected = "tput(P-SMR) non-increasing in p, steepest between 0 and 10 % with command barriers";
  return checkOf("monotone", expected, clauses, "real");
}

export function model(rows: readonly RateRow[]): Check {
  const clauses: Clause[] = [];
  for (const row of rows) {
    const expected = row["makespan_throughput"];
    if (row.system !== "psmr" || typeof expected !== "number") continue;
    const off = row.throughput / expected - 1;
    if (row.mode === "sim" && row.threads !== PAPER_THREADS) continue;
    clauses.push({
      text: `${row.dependent_percent} % ${row.barrier} (${row.mode}, K = ${row.threads}): ${(100 * off).toFixed(1)} %`,
      holds: Math.abs(off) <= 0.15,
      reason: disturbance([row]) ?? (off < 0 ? "slower than its makespan" : "faster than its makespan"),
    });
  }
  return checkOf("model", "each point within 15 % of the stream's own makespan", clauses, "real");
}

export function skewCosts(rows: readonly RateRow[]): Check {
  const clauses: Clause[] = [];
  for (const mode of ["real", "sim"] as const) {
    if (!has(rows, mode)) continue;
    for (const threads of mode === "real" ? [MEASURED_THREADS] : SIMULATED_THREADS.filter((count) => count > 1)) {
      const of = (skew: "uniform" | "zipf", mapping: "range" | "hash"): RateRow =>
        rowOf(rows, { system: "psmr", threads, skew, mapping }, mode);
      const name = `${mode}, K = ${threads}${conditional(threads)}`;
      const range = of("zipf", "range");
      const uniform = of("uniform", "range").throughput;
      const share = (100 * Number(range["busiest_share"])).toFixed(1);
      const cached = "popular keys stay in the caches, so that a command costs less than a uniform one";
      clauses.push({
        text: `Zipf ${rate(range.throughput)} against ${rate(uniform)}, busiest thread ${share} % (${name})`,
        holds: range.throughput < uniform,
        reason: mode === "real" ? (disturbance([range]) ?? cached) : "the load is even",
      });
      const lossRange = 1 - range.throughput / uniform;
      const lossHash = 1 - of("zipf", "hash").throughput / of("uniform", "hash").throughput;
      clauses.push({
        text: `loss by hash ${(100 * lossHash).toFixed(1)} %, by range ${(100 * lossRange).toFixed(1)} % (${name})`,
        holds: lossHash < lossRange,
      });
    }
  }
  const expected =
    "tput(Zipf 0.99) < tput(uniform); busiest thread's share printed; hash mapping loses less than range mapping";
  return checkOf("skew-costs", expected, clauses, "real");
}
