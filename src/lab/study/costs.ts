import type { Row } from "../frame/index.js";
import { type BarrierKind, type Copies, EVERYBODY, isDependent, NO_COPIES, type Plan } from "../streams/index.js";

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
  /** An insert or delete with its safety check, in parallel mode, with one thread and with two busy ones. */
  readonly optimistic?: { readonly o1: number; readonly o2: number };
  /** Bare operations of two threads over those of one, where they were measured. */
  readonly treeRatio?: number;
  /** What disturbed the machine while they were measured, if anything did. */
  readonly disturbance?: string;
}

/** Threads up to which costs are measured. */
export const MEASURED_THREADS = 2;

export function executionCost({ e1, e2 }: Costs, threads: number): number {
  return grown(e1, e2, threads);
}

/** The same of an insert or delete with its safety check. */
export function optimisticCost({ optimistic, e1, e2, d1 }: Costs, threads: number): number {
  return optimistic === undefined ? grown(d1, (d1 * e2) / e1, threads) : grown(optimistic.o1, optimistic.o2, threads);
}

const grown = (one: number, two: number, threads: number): number => one * (two / one) ** Math.log2(threads);

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
    ...(costs.optimistic === undefined ? {} : { o_1_ns: costs.optimistic.o1, o_2_ns: costs.optimistic.o2 }),
    speed_up_a_2: (2 * costs.e1) / costs.e2,
    speed_up_a_8: (8 * costs.e1) / executionCost(costs, 8),
    bare_tree_ratio: costs.treeRatio ?? null,
    costs_disturbed: costs.disturbance ?? null,
    beyond_two_threads: "assumed: e_K = e_1 (e_2/e_1)^log2(K), s_K = s_2 (K-1)",
  };
}

/** What the commands of a plan cost and where its threads meet: with the copies of its windows, if it is an optimistic one. */
export interface Priced {
  readonly plan: Plan;
  readonly costs: Costs;
  readonly barrier: BarrierKind;
  readonly copies?: readonly Copies[];
}

/** What a window brings. */
export interface WindowCost {
  /** By thread, what it executes in parallel mode, in ns. */
  readonly own: Float64Array;
  /** Meetings of all threads behind it, and what is executed there, in ns. */
  meetings: number;
  alone: number;
}

/**
 * Goes through the windows of a plan; `visit` is shown the same object each time. With run barriers threads meet once for the
 * dependent commands of a window, and once for each of those that execute copies; with command barriers for each command, and
 * each block of copies.
 */
export function forEachWindow({ plan, costs, barrier, copies }: Priced, visit: (cost: WindowCost) => void): void {
  const { owner, threads, windows, windowCommands, workload } = plan;
  const { operations } = workload;
  const independentCost = executionCost(costs, threads);
  const checkedCost = optimisticCost(costs, threads);
  const dependentCost = plan.mapped === "optimistic" ? checkedCost : threads === 1 ? costs.d1 : independentCost;
  const alone = aloneCost(costs, barrier);
  const cost: WindowCost = { own: new Float64Array(threads), meetings: 0, alone: 0 };
  for (let window = 0; window < Math.max(windows, copies?.length ?? 0); window++) {
    const end = Math.min((window + 1) * windowCommands, owner.length);
    let dependent = 0;
    cost.own.fill(0);
    for (let i = window * windowCommands; i < end; i++) {
      const thread = owner[i] as number;
      if (thread === EVERYBODY) dependent++;
      else {
        const each = isDependent(operations[i] as number) ? dependentCost : independentCost;
        cost.own[thread] = (cost.own[thread] as number) + each;
      }
    }
    const again = copies?.[window] ?? NO_COPIES;
    cost.alone = dependent * alone + again.commands * alone;
    cost.meetings = barrier === "run" ? (dependent === 0 ? 0 : 1) + again.executors : dependent + again.blocks;
    visit(cost);
  }
}

/**
 * The makespan of a plan in ns: Σ over intervals between barriers of the fullest thread's commands, and for each barrier
 * what is executed alone and the barrier itself. A barrier waits for the fullest thread.
 */
export function makespan(priced: Priced): number {
  const { threads } = priced.plan;
  const s = barrierCost(priced.costs, threads);
  /** Time that each thread has been busy since the last barrier. */
  const busy = new Float64Array(threads);
  let total = 0;
  forEachWindow(priced, ({ own, meetings, alone }) => {
    for (let thread = 0; thread < threads; thread++) busy[thread] = (busy[thread] as number) + (own[thread] as number);
    if (meetings === 0) return;
    total += Math.max(...busy) + alone + meetings * s;
    busy.fill(0);
  });
  return total + Math.max(...busy);
}

/** The time that one thread takes for all commands of a workload, in ns. */
export function sequentialTime(operations: Uint8Array, costs: Costs): number {
  let total = 0;
  for (const operation of operations) total += isDependent(operation) ? costs.d1 : costs.e1;
  return total;
}
