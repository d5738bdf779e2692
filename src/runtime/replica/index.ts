/**
 * replica: the host of one replica. It drives the ordering protocol, the execution model and the service of a group with a
 * platform, which is real or simulated: turns, ingress, recovery, checkpoints, state transfer.
 */
export * from "./api.js";
export { type BackupOffer } from "./backup-serving.js";
export * from "./metrics.js";
export { replicaDefaults, replicaOptions } from "./options.js";
export { createReplica } from "./replica.js";
