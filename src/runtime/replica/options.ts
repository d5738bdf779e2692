import { ConfigError } from "../../model/index.js";
import type { ReplicaOptions } from "./api.js";

const MiB = 1024 * 1024;

export const replicaDefaults: ReplicaOptions = Object.freeze({
  seed: 1,
  heartbeatMs: 50,
  electionTimeoutMs: 400,
  electionJitterMs: 200,
  windowInstancesMax: 64,
  windowBytesMax: 16 * MiB,
  batchBytesMax: 1 * MiB,
  ingressBytesMax: 8 * MiB,
  checkpointBytes: 64 * MiB,
  checkpointInstances: 200_000,
  logBytesMax: 256 * MiB,
  largeLogBytesMax: 2048 * MiB,
  logMemoryBytesMax: 16 * MiB,
  arenaChunkBytes: 4 * MiB,
  checkpointSliceBytes: 128 * 1024,
  compareCommands: 0,
});

/** Completes and checks options. Throws `ConfigError` that names both numbers of a violated relation. */
export function replicaOptions(partial: Partial<ReplicaOptions> = {}): ReplicaOptions {
  const options = { ...replicaDefaults, ...partial };
  for (const name of Object.keys(options) as (keyof typeof options)[]) {
    const value = options[name];
    if (!(Number.isFinite(value) && value >= 0))
      throw new ConfigError(`${name} must be a number of at least 0, got ${value}`);
  }
  if (options.logBytesMax < 2 * options.checkpointBytes) {
    throw new ConfigError(
      `logBytesMax must be at least 2 checkpoint intervals = ${2 * options.checkpointBytes}, got ${options.logBytesMax}`,
    );
  }
  if (options.logBytesMax < 4 * options.arenaChunkBytes) {
    throw new ConfigError(
      `logBytesMax must be at least 4 arena chunks = ${4 * options.arenaChunkBytes}, got ${options.logBytesMax}`,
    );
  }
  // While there are gaps half of the log is for closing them, and a quarter is given out only as a checkpoint gets on: what is left
  // has room for a window, or a log could be full of what is not decided.
  if (options.logBytesMax < 4 * options.windowBytesMax) {
    throw new ConfigError(
      `logBytesMax must be at least 4 windows = ${4 * options.windowBytesMax}, got ${options.logBytesMax}`,
    );
  }
  if (options.batchBytesMax > options.windowBytesMax) {
    throw new ConfigError(
      `batchBytesMax must be at most windowBytesMax = ${options.windowBytesMax}, got ${options.batchBytesMax}`,
    );
  }
  return Object.freeze(options);
}
