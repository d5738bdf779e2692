/** Services: the deterministic state machines which Synod replicates, and the adapter that defines new ones. */
export * from "./btree/index.js";
export * from "./byte-store/index.js";
export * from "./command/index.js";
export * from "./counter/index.js";
export * from "./define/index.js";
export * from "./kv/index.js";
export * from "./tree/index.js";
