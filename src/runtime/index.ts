/**
 * runtime: hosts that drive the pure cores with a platform: the replica host and the client host. `registry.ts` alone names
 * all siblings.
 */
export * from "./client/block-client.js";
export * from "./replica/api.js";
export { replicaDefaults, replicaOptions } from "./replica/options.js";
export { createReplica } from "./replica/replica.js";
