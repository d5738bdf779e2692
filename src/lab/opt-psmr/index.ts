/**
 * opt-psmr: the experiments on opt-PSMR, one for each figure of its paper. `checks.ts` are the rules that rows are held to;
 * `latency-model.ts` is a replica in virtual time behind agreement and merge, `latency-rows.ts` what it is asked.
 */
export * from "./checks.js";
export { optPsmrExperiments } from "./experiments.js";
export { type Latencies, type LatencyOptions, runLatencyModel } from "./latency-model.js";
export type { LatencyRow } from "./latency-rows.js";
