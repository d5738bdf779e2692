import { aloneCost, barrierCost, type Costs, executionCost } from "./costs.js";
import {
  type BarrierKind,
  commandsBetween,
  countedWindows,
  EVERYBODY,
  isDependent,
  type Plan,
} from "../streams/index.js";

export interface Simulated {
  /** Commands per second of virtual time. */
  readonly throughput: number;
  /** Share of the threads' time in which they executed commands. */
  readonly busy: number;
  readonly barriers: number;
}

/**
 * Threads with clocks of their own deliver their batches in merged order: one in parallel mode moves its own clock, one in
 * synchronous mode moves all of them to the end of what the executor does once the last has come.
 */
export function simulate(plan: Plan, costs: Costs, barrier: BarrierKind): Simulated {
  const { owner, threads, windows, windowCommands, workload } = plan;
  const e = executionCost(costs, threads);
  const s = barrierCost(costs, threads);
  const alone = aloneCost(costs, barrier);
  const clocks = new Float64Array(threads);
  const [first, last] = countedWindows(windows);
  let begin = 0;
  let end = 0;
  let worked = 0;
  let barriers = 0;
  for (let window = 0; window < windows; window++) {
    if (window === first) begin = Math.max(...clocks);
    const stop = Math.min((window + 1) * windowCommands, owner.length);
    let dependent = 0;
    for (let i = window * windowCommands; i < stop; i++) {
      const thread = owner[i] as number;
      if (thread === EVERYBODY) dependent++;
      else {
        const cost = threads === 1 && isDependent(workload.operations[i] as number) ? costs.d1 : e;
        clocks[thread] = (clocks[thread] as number) + cost;
        worked += cost;
      }
    }
    // Under command barriers the threads meet again for each command of the batch; none has anything to do in between.
    const meetings = dependent === 0 ? 0 : barrier === "run" ? 1 : dependent;
    if (meetings > 0) clocks.fill(Math.max(...clocks) + dependent * alone + meetings * s);
    worked += dependent * alone;
    barriers += meetings;
    if (window === last - 1) end = Math.max(...clocks);
  }
  const commands = commandsBetween(plan, first, last);
  const whole = Math.max(...clocks) * threads;
  return { throughput: (commands * 1e9) / (end - begin), busy: whole === 0 ? 0 : worked / whole, barriers };
}
