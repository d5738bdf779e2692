/** What the siblings of multicast share: the interface of a merge, the marks in batches, and the queue of one stream. */
export * from "./mark.js";
export * from "./merge.js";
export * from "./pacing.js";
export * from "./stream-queue.js";
