import { type Check, checkOf, type Clause, figure, rate, type Row } from "../frame/index.js";

/** How streams are merged: one group without g_all, merge points, skips. */
export type MergeKind = "alone" | "points" | "skips";

/** What one run of the model has brought. */
export interface MergeRow extends Row {
  readonly scenario: "idle g_all" | "unequal rates" | "above lambda" | "failover";
  readonly merge: MergeKind;
  readonly seed: number;
  /** Learners whose threads have delivered the same sequences; all of them, if all is well. */
  readonly learners: number;
  readonly learners_equal: number;
  readonly delivered: number;
  /** Single-group commands per second that were delivered in the second half of the run, by the busiest group's thread. */
  readonly throughput: number;
  readonly median_delay_ms: number;
  readonly waiting_max: number;
}

export interface MergeConfig {
  /** λ, in commands per second. */
  readonly lambda: number;
  /** Δ, in ms. */
  readonly intervalMs: number;
  /** Declared maximum of instances that wait in a merge. */
  readonly instancesMax: number;
}

export function sameOrder(rows: readonly MergeRow[]): Check {
  const clauses = (["points", "skips"] as const).flatMap((merge): Clause[] => {
    const runs = rows.filter((row) => row.merge === merge && row.scenario === "failover");
    if (runs.length === 0) return [];
    const different = runs.filter((row) => row.learners_equal !== row.learners || row.delivered === 0);
    const seeds = different.map((row) => row.seed).join(", ");
    return [
      {
        text: `${merge}: ${runs.length - different.length} of ${runs.length} runs with crashing coordinators`,
        holds: different.length === 0,
        reason: `learners differ, or delivered nothing, with seeds ${seeds}`,
      },
    ];
  });
  const expected = "merged sequences of all learners equal, both merges, with coordinator failover";
  return checkOf("same-order", expected, clauses, "sim");
}

export function idleLatency(rows: readonly MergeRow[], { intervalMs }: MergeConfig): Check {
  const of = (merge: MergeKind): number | undefined =>
    rows.find((row) => row.merge === merge && row.scenario === "idle g_all")?.median_delay_ms;
  const [alone, points, skips] = [of("alone"), of("points"), of("skips")];
  const clauses: Clause[] = [];
  if (alone !== undefined && points !== undefined && skips !== undefined) {
    const limit = 1.1 * alone;
    clauses.push(
      { text: `merge points ${figure(points)} ms, one group alone ${figure(alone)} ms`, holds: points <= limit },
      { text: `skips ${figure(skips)} ms with Δ = ${intervalMs} ms`, holds: skips <= intervalMs + alone },
    );
  }
  const expected =
    "g_all idle: median single-group delivery delay under merge points ≤ 1.1 × that with one group alone; under skips ≤ Δ + that";
  return checkOf("idle-latency", expected, clauses, "sim");
}

export function skipRate(rows: readonly MergeRow[], { lambda, instancesMax }: MergeConfig): Check {
  const of = (merge: MergeKind): MergeRow | undefined =>
    rows.find((row) => row.merge === merge && row.scenario === "above lambda");
  const skips = of("skips");
  const points = of("points");
  const clauses: Clause[] = [];
  if (skips !== undefined && points !== undefined) {
    const waiting = (row: MergeRow): string => `${row.waiting_max} of ${instancesMax} instances wait`;
    clauses.push(
      { text: `skips: ${waiting(skips)}`, holds: skips.waiting_max >= instancesMax },
      {
        text: `skips: delivered ${rate(skips.throughput)} where λ = ${rate(lambda)}`,
        holds: Math.abs(skips.throughput / lambda - 1) <= 0.1,
      },
      { text: `merge points: ${waiting(points)}`, holds: points.waiting_max < instancesMax / 10 },
    );
  }
  const expected =
    "with actual rate > λ, under skips buffers reach their declared maximum and delivery falls to what λ allows; " +
    "under merge points they stay below a tenth of it";
  return checkOf("skip-rate", expected, clauses, "sim");
}
