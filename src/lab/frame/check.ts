import type { Mode } from "./experiment.js";

/** A claim of a paper, or of the design, against what was measured. */
export interface Check {
  readonly name: string;
  readonly expected: string;
  /** Null if this run has not measured it. */
  readonly measured: string | null;
  /** Null if this run has not measured it: a check that was not made neither holds nor fails. */
  readonly holds: boolean | null;
  /** Why a check that does not hold fails, or what its result depends on. */
  readonly deviation?: string;
}

/** One condition of a check: what was found, in words with numbers, and whether it is as expected. */
export interface Clause {
  readonly text: string;
  readonly holds: boolean;
  /** What explains it if it does not hold. */
  readonly reason?: string;
}

/** A check of several conditions: it holds if all of them do. Without any it was not made; `needs` says which mode makes it. */
export function checkOf(name: string, expected: string, clauses: readonly Clause[], needs: Mode): Check {
  if (clauses.length === 0) {
    return { name, expected, measured: null, holds: null, deviation: `not measured: it needs --mode ${needs}` };
  }
  const failed = clauses.filter(({ holds }) => !holds);
  const measured = clauses.map(({ text }) => text).join("; ");
  if (failed.length === 0) return { name, expected, measured, holds: true };
  const deviation = failed.map(({ text, reason }) => `${text}${reason === undefined ? "" : ` (${reason})`}`).join("; ");
  return { name, expected, measured, holds: false, deviation };
}

/** A number with three significant digits, for texts. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 6));
}

/** Commands per second in words: 1.23 M/s, 45.6 k/s. */
export function rate(perSecond: number): string {
  if (perSecond >= 1e6) return `${figure(perSecond / 1e6)} M/s`;
  return perSecond >= 1e3 ? `${figure(perSecond / 1e3)} k/s` : `${figure(perSecond)}/s`;
}
