/**
 * sequential: classical state machine replication, the baseline of the papers. One instance is open at a time, and its
 * batch executes at once when it is decided, in the same step: ordering and execution never overlap.
 */
import type { ExecutionModel, Service } from "../../model/index.js";
import { checkReplicatedStateOptions, type ReplicatedStateOptions } from "../replicated-state/index.js";
import { Sequential } from "./model.js";

/** Throws `ConfigError` for an option out of bounds. */
export function createSequential(service: Service, options: Partial<ReplicatedStateOptions> = {}): ExecutionModel {
  return new Sequential(service, checkReplicatedStateOptions(options));
}
