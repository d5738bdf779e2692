/**
 * Multicast: merges the ordered streams of groups into the one order in which each thread delivers. Siblings: `single` for one
 * group, `merge-points` and `multi-ring` for several groups beside g_all.
 */
export * from "./merge/index.js";
export * from "./merge-points/index.js";
export * from "./multi-ring/index.js";
export * from "./single/index.js";
