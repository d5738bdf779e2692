/**
 * pipelined: many instances are open at once, and execution of one overlaps the ordering of those behind it. Decided
 * batches are queued and executed in slices of a command budget, in a `work` step that the host makes after the turn's
 * sends have left, so that execution never holds up votes. Default of the cluster.
 */
import type { ExecutionModel, Service } from "../../model/index.js";
import { checkReplicatedStateOptions, type ReplicatedStateOptions } from "../replicated-state/index.js";
import { Pipelined } from "./model.js";

/** Throws `ConfigError` for an option out of bounds. */
export function createPipelined(service: Service, options: Partial<ReplicatedStateOptions> = {}): ExecutionModel {
  return new Pipelined(service, checkReplicatedStateOptions(options));
}
