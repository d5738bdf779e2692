/**
 * psmr: the experiments on P-SMR. `bench.ts` measures with real threads, `simulate.ts` runs in virtual time with the costs that
 * `bench.ts` has found, `checks.ts` are the rules that the rows are held to.
 */
export { costsOf, type RateRow } from "./bench.js";
export * from "./checks.js";
export { aloneCost, barrierCost, type Costs, executionCost, makespan, sequentialTime, treeSpeedUp } from "./costs.js";
export { psmrExperiments } from "./experiments.js";
export { simulate, type Simulated } from "./simulate.js";
export { type Sizes, sizesOf } from "./sizes.js";
