import { countedWindows, commandsBetween } from "../streams/index.js";
import { barrierCost, forEachWindow, type Priced } from "./costs.js";

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
export function simulate(priced: Priced): Simulated {
  const { plan } = priced;
  const { threads } = plan;
  const s = barrierCost(priced.costs, threads);
  const clocks = new Float64Array(threads);
  const [first, last] = countedWindows(plan.windows);
  let window = 0;
  let begin = 0;
  let end = 0;
  let worked = 0;
  let barriers = 0;
  forEachWindow(priced, ({ own, meetings, alone }) => {
    if (window === first) begin = Math.max(...clocks);
    for (let thread = 0; thread < threads; thread++) {
      const cost = own[thread] as number;
      clocks[thread] = (clocks[thread] as number) + cost;
      worked += cost;
    }
    // Where threads meet several times behind a window, none has anything to do in between.
    if (meetings > 0) clocks.fill(Math.max(...clocks) + alone + meetings * s);
    worked += alone;
    barriers += meetings;
    window++;
    if (window === last) end = Math.max(...clocks);
  });
  const commands = commandsBetween(plan, first, last);
  const whole = Math.max(...clocks) * threads;
  return { throughput: (commands * 1e9) / (end - begin), busy: whole === 0 ? 0 : worked / whole, barriers };
}
