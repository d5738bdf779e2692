import type { Curve } from "../frame/index.js";
import { findRow, type RateRow, type Variant } from "./bench.js";

/** Points of a curve; those that were not measured are left out. */
export function curve(
  name: string,
  xs: readonly number[],
  rows: readonly RateRow[],
  mode: "real" | "sim",
  variant: (x: number) => Variant,
): Curve {
  const points = xs.flatMap((x) => {
    const row = findRow(rows, variant(x), mode);
    return row === undefined ? [] : [[x, row.throughput] as const];
  });
  return { name: `${name} (${mode})`, points };
}

export const drawn = (curves: readonly Curve[]): Curve[] => curves.filter(({ points }) => points.length > 0);
