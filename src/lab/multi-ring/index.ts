/**
 * Multi-ring: the experiment on merging streams. `model.ts` is the world in virtual time, `checks.ts` the rules its runs are
 * held to.
 */
export { idleLatency, type MergeConfig, type MergeKind, type MergeRow, sameOrder, skipRate } from "./checks.js";
export { multiRingMerge } from "./experiment.js";
export { type Delivered, type ModelOptions, MulticastModel } from "./model.js";
