/**
 * runtime: hosts that drive the pure cores with a platform: the replica host and the client host. `registry.ts` alone names
 * all siblings.
 */
export * from "./client/index.js";
export * from "./replica/api.js";
export { replicaDefaults, replicaOptions } from "./replica/options.js";
export { createReplica } from "./replica/replica.js";
export * from "./node/index.js";
export { builtNames, checkCombination, checkName, serviceEntry, type SiblingFamily, siblingsOf } from "./registry.js";
