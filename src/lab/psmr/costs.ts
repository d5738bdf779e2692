import type { Row } from "../frame/index.js";
import { type BarrierKind, EVERYBODY, isDependent, type Plan } from "../streams/index.js";

/**
 * What commands and barriers cost, in ns. Measured with one and two threads; for more they are assumed (EXPERIMENTS.md):
 * e_K = e_1 × (e_2 / e_1)^(log2 K), and s_K = s_2 × (K − 1).
 */
export interface Costs {
  /** A read or update, with one thread and with two busy ones. */
  readonly e1: number;
  readonly e2: number;
  /** An insert or delete among others, alone. */
  readonly d1: number;
  /** The same at a barrier of its own, with nobody to wait for: a barrier over one thread costs nothing, by the formula. */
  readonly c1: number;
  /** A barrier over two threads: what it costs to wait for the other one. */
  readonly s2: number;
  /** Bare operations of two threads over those of one, where they were measured. */
  readonly treeRatio?: number;
  /** What disturbed the machine while they were measured, if anything did. */
  readonly disturbance?: string;
}

/** Threads up to which costs are measured. */
export const MEASURED_THREADS = 2;

export function executionCost({ e1, e2 }: Costs, threads: number): number {
  return e1 * (e2 / e1) ** Math.log2(threads);
}

export function barrierCost({ s2 }: Costs, threads: number): number {
  return s2 * (threads - 1);
}

/** How many times the operations of one thread the bare tree allows to this many: as e_K, with its own costs. */
export function treeSpeedUp(treeRatio: number, threads: number): number {
  return threads * (treeRatio / 2) ** Math.log2(threads);
}

/** What a dependent command costs its executor: among those of its run, or at a barrier of its own. */
export function aloneCost({ c1, d1 }: Costs, barrier: BarrierKind): number {
  return barrier === "command" ? c1 : d1;
}

export function describeCosts(costs: Costs): Row {
  return {
    e_1_ns: costs.e1,
    e_2_ns: costs.e2,
    e_1_dependent_ns: costs.d1,
    e_1_at_barrier_ns: costs.c1,
    s_2_ns: costs.s2,
    bare_tree_ratio: costs.treeRatio ?? null,
    costs_disturbed: costs.disturbance ?? null,
    beyond_two_threads: "assumed: e_K = e_1 (e_2/e_1)^log2(K), s_K = s_2 (K-1)",
  };
}

/**
 * The makespan of a plan in ns: Σ over intervals between barriers of the fullest thread's commands, and for each barrier
 * what is executed alone and the barrier itself. A barrier waits for the fullest thread.
 */
export function makespan(plan: Plan, costs: Costs, barrier: BarrierKind): number {
  const { owner, threads, windowCommands, workload } = plan;
  const e = executionCost(costs, threads);
  const s = barrierCost(costs, threads);
  const alone = aloneCost(costs, barrier);
  /** Time that each thread has been busy since the last barrier. */
  const busy = new Float64Array(threads);
  let total = 0;
  for (let first = 0; first < owner.length; first += windowCommands) {
    const end = Math.min(first + windowCommands, owner.length);
    let dependent = 0;
    for (let i = first; i < end; i++) {
      const thread = owner[i] as number;
      if (thread === EVERYBODY) dependent++;
      else {
        const cost = threads === 1 && isDependent(workload.operations[i] as number) ? costs.d1 : e;
        busy[thread] = (busy[thread] as number) + cost;
      }
    }
    if (dependent === 0) continue;
    total += Math.max(...busy) + dependent * alone + (barrier === "run" ? 1 : dependent) * s;
    busy.fill(0);
  }
  return total + Math.max(...busy);
}

/** The time that one thread takes for all commands of a workload, in ns. */
export function sequentialTime(operations: Uint8Array, costs: Costs): number {
  let total = 0;
  for (const operation of operations) total += isDependent(operation) ? costs.d1 : costs.e1;
  return total;
}
