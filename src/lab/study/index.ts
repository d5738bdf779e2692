/**
 * Study: how execution models are compared. `bench.ts` measures with real threads, `simulate.ts` runs in virtual time with the costs that
 * `bench.ts` has found (`costs.ts`), `design.ts` does both for an experiment, `clauses.ts` is what rules on the rows share.
 */
export { Bench, disturbance, findRow, type RateRow, rowOf, type Variant } from "./bench.js";
export * from "./clauses.js";
export { clusterRows, type ClusterVariant } from "./cluster-rows.js";
export {
  aloneCost,
  barrierCost,
  type Costs,
  executionCost,
  makespan,
  MEASURED_THREADS,
  optimisticCost,
  type Priced,
  sequentialTime,
  treeSpeedUp,
} from "./costs.js";
export { curve, drawn } from "./curves.js";
export { type Design, study } from "./design.js";
export { simulate, type Simulated } from "./simulate.js";
export { type SimulatedCase } from "./simulated-rows.js";
export { type Sizes, sizesOf } from "./sizes.js";
