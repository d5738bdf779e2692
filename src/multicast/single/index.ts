/** Multicast to one group: nothing to merge. The sibling that a cluster with K = 1 runs. */
export * from "./merge.js";
