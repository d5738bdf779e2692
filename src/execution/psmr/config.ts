import { ConfigError } from "../../model/index.js";
import {
  checkReplicatedStateOptions,
  type ReplicatedStateOptions,
  replicatedStateDefaults,
} from "../replicated-state/index.js";

/**
 * Options of the threads of a replica. Those of the replicated state, and `barrier`, decide what is remembered and when: they
 * are equal on all replicas of a cluster, and all threads, and never change.
 */
export interface PsmrOptions extends ReplicatedStateOptions {
  /**
   * Where threads meet: once for each `run` of dependent commands, which is an instance of g_all, so that every replica has the
   * same; or once for each `command`, as in the papers.
   */
  readonly barrier: "run" | "command";
}

export const psmrDefaults: PsmrOptions = Object.freeze({ ...replicatedStateDefaults, barrier: "run" });

/** Completes the options with the defaults. Throws `ConfigError` that names the field. */
export function checkPsmrOptions(options: Partial<PsmrOptions>): PsmrOptions {
  const { barrier = psmrDefaults.barrier, ...others } = options;
  if (barrier !== "run" && barrier !== "command") {
    throw new ConfigError(`barrier must be run or command, got ${String(barrier)}`);
  }
  return Object.freeze({ ...checkReplicatedStateOptions(others), barrier });
}
