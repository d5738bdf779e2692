/** Multi-ring: the experiment on merging streams. `checks.ts` are the rules its runs are held to. */
export { idleLatency, type MergeConfig, type MergeKind, type MergeRow, sameOrder, skipRate } from "./checks.js";
export { multiRingMerge } from "./experiment.js";
