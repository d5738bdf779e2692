import { type Check, checkOf, type Clause, figure } from "../frame/index.js";
import { disturbance, findRow, type RateRow, rowOf } from "./bench.js";
import { barrierCost, type Costs, executionCost, MEASURED_THREADS } from "./costs.js";

/** What rules on rows have in common. A mode that was not run has no rows, and its clauses are left out. */

export type RowMode = RateRow["mode"];

/** Shares of dependent commands, in percent, that the mixed workload is measured at. */
export const SHARES = [0, 1, 5, 10, 25, 50, 75, 100] as const;
/** Threads of the simulation. */
export const SIMULATED_THREADS = [1, 2, 4, 8, 16] as const;
/** Threads of the papers' figures. */
export const PAPER_THREADS = 8;

export const has = (rows: readonly RateRow[], mode: RowMode): boolean => rows.some((row) => row.mode === mode);

/** What explains figures of real threads that are not as they should be, as far as the rows know. */
export function because(rows: readonly RateRow[]): { readonly reason?: string } {
  const reason = disturbance(rows);
  return reason === undefined ? {} : { reason };
}

/** The same of simulated ones: the costs that they come from. */
export function calibrated({ s2, d1, disturbance: busy }: Costs): { readonly reason: string } {
  const reason = `s_2 = ${figure(s2)} ns, ${figure(d1)} ns for a dependent command`;
  return { reason: busy === undefined ? reason : `${reason}; ${busy}` };
}

/** In texts: results with more threads than were measured depend on the costs that are assumed. */
export const conditional = (threads: number): string => (threads > MEASURED_THREADS ? " (conditional)" : "");

/** P-SMR with command barriers over the shares, as points. */
export function overShares(rows: readonly RateRow[], mode: RowMode): [share: number, throughput: number][] {
  const threads = mode === "real" ? MEASURED_THREADS : PAPER_THREADS;
  return SHARES.flatMap((dependent) => {
    const row = findRow(rows, { system: "psmr", threads, dependent, barrier: "command" }, mode);
    return row === undefined ? [] : [[dependent, row.throughput] as [number, number]];
  });
}

/** The share at which P-SMR with command barriers falls to SMR; null if it never does. */
export function breakEvenShare(rows: readonly RateRow[], mode: RowMode): number | null {
  const points = overShares(rows, mode).map(([x, y]) => {
    const smr = rowOf(rows, { system: "sequential", threads: 1, dependent: x }, mode).throughput;
    return [x, y / smr - 1] as const;
  });
  for (let i = 1; i < points.length; i++) {
    const [x0, y0] = points[i - 1] as readonly [number, number];
    const [x1, y1] = points[i] as readonly [number, number];
    if (y0 >= 0 && y1 < 0) return x0 + ((x1 - x0) * y0) / (y0 - y1);
  }
  return null;
}

/** Where P-SMR meets SMR, as a check of this name. */
export function breakEven(rows: readonly RateRow[], costs: Costs, name = "break-even"): Check {
  const clauses: Clause[] = [];
  if (has(rows, "sim")) {
    const share = breakEvenShare(rows, "sim");
    const e8 = executionCost(costs, PAPER_THREADS);
    const s8 = barrierCost(costs, PAPER_THREADS);
    const busy = costs.disturbance === undefined ? "" : `; ${costs.disturbance}`;
    const assumed = `e_8 = ${figure(e8)} ns, s_8 = ${figure(s8)} ns, ${figure(costs.c1)} ns for a dependent command`;
    clauses.push({
      text: `${share === null ? "none" : `${figure(share)} %`} (sim, K = 8, conditional)`,
      holds: share !== null && share >= 30 && share <= 50,
      reason: `${assumed}: s_8 / e_1 = ${figure(s8 / costs.e1)}, or ${figure((s8 + costs.c1 - costs.d1) / costs.e1)} with what a barrier alone costs, where the paper's break-even asks for 0.75 to 1${busy}`,
    });
  }
  const check = checkOf(name, "p at which P-SMR = SMR; sim at K = 8 between 30 and 50 %", clauses, "sim");
  if (!has(rows, "real")) return check;
  const real = breakEvenShare(rows, "real");
  const text = `${real === null ? "none" : `${figure(real)} %`} (real, K = 2)`;
  return { ...check, measured: check.measured === null ? text : `${check.measured}; ${text}` };
}
