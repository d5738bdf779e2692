import { contradictionOf } from "./contradiction.js";
import type { Operation } from "./history.js";
import { StateBoundError } from "./model.js";
import { groupByKey, type Partition } from "./partition.js";
import { programOf, Search, type SearchBudget, type SearchResult } from "./search.js";
import { ValueBoundError } from "./values.js";

export interface CheckOptions {
  /** Looks at single operations that all searches together may take; some ten million a second. */
  readonly stepsMax?: number;
  /** Configurations that one search remembers; up to 64 bytes each. */
  readonly configurationsMax?: number;
  /** Operations up to which keys that are touched together are checked together. */
  readonly jointOperationsMax?: number;
  /** Called after each partition with the operations checked so far and in all. */
  readonly onProgress?: (checked: number, total: number) => void;
}

export const checkDefaults = {
  stepsMax: 400_000_000,
  configurationsMax: 8_000_000,
  jointOperationsMax: 20_000,
} as const;

/** Process of the operations that stand for what came before a contradicting part. */
export const BEFORE_PROCESS = "(before)";

/** The smallest contradicting part that was found. */
export interface Violation {
  readonly keys: readonly string[];
  /**
   * Operations in order of invocation, a history in itself: no order of them keeps to real time and explains the results.
   * A part from the middle of a long history begins with operations of processes named `(before)`, concurrent ones, that
   * lead to each state in which it can have begun.
   */
  readonly part: readonly Operation[];
}

export interface Verdict {
  /** `unknown`: a bound was hit or an operation is not modelled; `reasons` says which. A violation found is always certain. */
  readonly verdict: "linearizable" | "violation" | "unknown";
  /** Operations taken into account: all but those that certainly did not happen. */
  readonly operations: number;
  readonly keys: number;
  readonly violation: Violation | null;
  readonly reasons: readonly string[];
  /** Steps used by the searches for an order. */
  readonly steps: number;
}

/**
 * Decides whether a history is linearizable: whether every operation can be given one instant between its invocation and
 * its completion (any later instant, or none, if its outcome is unknown) so that each result is right. Keys are independent
 * of each other except where an operation touches several. See `meaningOf` for the operations that are known.
 *
 * Deterministic and bounded by `options` in time and memory: a history that would need more gets `unknown`.
 */
export function checkHistory(operations: readonly Operation[], options: CheckOptions = {}): Verdict {
  const stepsMax = options.stepsMax ?? checkDefaults.stepsMax;
  const configurationsMax = options.configurationsMax ?? checkDefaults.configurationsMax;
  const jointOperationsMax = options.jointOperationsMax ?? checkDefaults.jointOperationsMax;
  const grouping = groupByKey(operations, jointOperationsMax);
  const reasons = [...grouping.reasons];
  const summary = { operations: grouping.operations, keys: grouping.keys };
  // Small groups first: what they leave of their share is there for the large ones.
  const groups = [...grouping.groups].sort((a, b) => a.operations - b.operations);
  let left = stepsMax;
  let checked = 0;
  for (const [index, group] of groups.entries()) {
    const parts = group.whole === null ? group.projections : [...group.projections, group.whole];
    for (const [at, part] of parts.entries()) {
      const share = Math.floor(left / (groups.length - index) / (parts.length - at));
      const budget: SearchBudget = { steps: share, configurationsMax };
      const result = search(part, budget);
      left -= share - Math.max(0, budget.steps);
      if (result.outcome === "exhausted") {
        const violation = violationOf(part, result.passed, configurationsMax);
        return { verdict: "violation", ...summary, violation, reasons: [], steps: stepsMax - left };
      }
      if (result.outcome !== "found" && part === group.whole) {
        const bound = result.outcome === "steps" ? `${share} steps` : "its memory";
        reasons.push(`the search of ${named(part.keys)} (${part.items.length} operations) did not end within ${bound}`);
      }
    }
    if (group.whole === null) {
      const keys = group.projections.flatMap((part) => part.keys);
      reasons.push(
        `operations on several keys connect ${named(keys)} (${keys.length} keys, ${group.operations} operations), more ` +
          `than the ${jointOperationsMax} operations that are checked together; each key was checked alone`,
      );
    }
    checked += group.operations;
    options.onProgress?.(checked, summary.operations);
  }
  const verdict = reasons.length === 0 ? "linearizable" : "unknown";
  return { verdict, ...summary, violation: null, reasons, steps: stepsMax - left };
}

function search(part: Partition, budget: SearchBudget): SearchResult {
  try {
    return new Search(programOf(part.model, part.model.initial, part.items), budget).run();
  } catch (error) {
    if (error instanceof ValueBoundError || error instanceof StateBoundError) {
      return { outcome: "memory", order: [], passed: 0 };
    }
    throw error;
  }
}

function violationOf(part: Partition, passed: number, configurationsMax: number): Violation {
  const contradiction = contradictionOf(part, passed, configurationsMax);
  const found = contradiction.operations.map((index) => part.operations[index] as Operation);
  found.sort((a, b) => a.invokedNs - b.invokedNs);
  const opening = (contradiction.before ?? []).map((state, index) =>
    openingOf(part, state, index, (found[0] as Operation).invokedNs),
  );
  return { keys: part.keys, part: [...opening, ...found] };
}

/** An operation that leads to the given state, whatever was there before it. */
function openingOf(part: Partition, state: number, index: number, beforeNs: number): Operation {
  const values = Object.entries(part.model.describe(state));
  const present = values.filter((entry): entry is [string, string] => entry[1] !== null);
  const process = index === 0 ? BEFORE_PROCESS : `${BEFORE_PROCESS}'${index}`;
  const times = { process, outcome: "ok", invokedNs: beforeNs - 2, completedNs: beforeNs - 1 } as const;
  const [key, value] = values[0] as [string, string | null];
  if (part.counter && values.length === 1) return { ...times, op: "add", args: [key, value], result: value };
  // Where nothing is present there is one state only, and it is that of the beginning.
  if (present.length === 0) return { ...times, op: "del", args: values.map(([name]) => name), result: null };
  return { ...times, op: "mset", args: present.flat(), result: "OK" };
}

/** Up to three keys by name. */
function named(keys: readonly string[]): string {
  const list = keys.slice(0, 3).map((key) => JSON.stringify(key));
  return `${keys.length === 1 ? "key" : "keys"} ${list.join(", ")}${keys.length > 3 ? ", …" : ""}`;
}
