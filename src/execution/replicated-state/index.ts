/**
 * replicated-state: what the execution models with one thread share. `ReplicatedState` is {agreed time, session table,
 * service} and applies decided batches to it: exactly-once execution, sessions and their expiry, remembered replies, the
 * digest, and snapshots that are consistent at their mark while commands go on. `WaitingReads` holds unordered reads until
 * the state they must see is there.
 */
export { checkReplicatedStateOptions, replicatedStateDefaults, type ReplicatedStateOptions } from "./config.js";
export { ReplicatedState, Role, type StreamRules } from "./state.js";
export { type WaitingRead, WaitingReads } from "./waiting-reads.js";
