import { ConfigError, type ReplicaId } from "../../model/index.js";

/** Knobs of Multi-Paxos. Times in ms, sizes in bytes. */
export interface MultiPaxosConfig {
  /** A coordinator without other traffic sends this often. */
  readonly heartbeatMs: number;
  /** A follower that heard nothing for this long (plus jitter) asks for pre-votes; a coordinator without a quorum steps down. */
  readonly electionTimeoutMs: number;
  /** Most jitter added to an election timeout. */
  readonly electionJitterMs: number;
  /** The replica that is to lead if it can, so that the coordinators of several groups are spread; 0 for no matter which. */
  readonly preferred: ReplicaId;
  /**
   * Streams that this one is merged with, 0 to 31. A log may then be full until another stream gets on, which may wait for this
   * one: so what this replica lacks and others have is taken by a full log as well, and batches without commands are, up to
   * twice its bytes and four times its instances.
   */
  readonly otherStreams: number;
  /** Unanswered messages of phase 1, open instances, catch-up and rejoin requests are sent again after this. */
  readonly retransmitMs: number;
  /** A decision that no accept carries to the followers leaves on its own after this, with 0 at the end of the turn. */
  readonly commitDelayMs: number;
  /** Most open (undecided) instances. */
  readonly windowInstancesMax: number;
  /** Most bytes of open instances. */
  readonly windowBytesMax: number;
  /** Most instances opened beyond what a quorum has executed. */
  readonly executeLagMax: number;
  /**
   * Bytes of log above the trim point: beyond, the coordinator opens nothing and acceptors vote for nothing new. The host may
   * allow more while it runs, never less.
   */
  readonly logBytesMax: number;
  /** Most instances of the log, with the same effect. */
  readonly logInstancesMax: number;
  /**
   * Of a host that reads the log back: beyond so many bytes in memory, what is decided and executed is left to the disk, from
   * where peers that are behind are served.
   */
  readonly logMemoryBytesMax: number;
  /** Bytes of one answer to a catch-up request. */
  readonly catchUpBytes: number;
  /** Bytes of one message of a phase-1 answer. */
  readonly promiseChunkBytes: number;
  /** A candidate this many instances behind a voter is not given its pre-vote. */
  readonly candidateLagMax: number;
}

export const multiPaxosDefaults: MultiPaxosConfig = Object.freeze({
  heartbeatMs: 50,
  electionTimeoutMs: 400,
  electionJitterMs: 200,
  preferred: 0,
  otherStreams: 0,
  retransmitMs: 200,
  commitDelayMs: 2,
  windowInstancesMax: 64,
  windowBytesMax: 16 * 1024 * 1024,
  executeLagMax: 4096,
  logBytesMax: 256 * 1024 * 1024,
  logInstancesMax: 1_000_000,
  logMemoryBytesMax: 16 * 1024 * 1024,
  catchUpBytes: 4 * 1024 * 1024,
  promiseChunkBytes: 1024 * 1024,
  candidateLagMax: 10_000,
});

/** Completes and checks a configuration. Throws `ConfigError` with both numbers of a violated relation. */
export function multiPaxosConfig(partial: Partial<MultiPaxosConfig> = {}): MultiPaxosConfig {
  const config = { ...multiPaxosDefaults, ...partial };
  for (const name of Object.keys(config) as (keyof typeof config)[]) {
    const value = config[name];
    if (!(Number.isFinite(value) && value >= 0))
      throw new ConfigError(`${name} must be a number of at least 0, got ${value}`);
  }
  if (config.electionTimeoutMs < 3 * config.heartbeatMs) {
    throw new ConfigError(
      `electionTimeoutMs must be at least 3 heartbeats = ${3 * config.heartbeatMs}, got ${config.electionTimeoutMs}`,
    );
  }
  if (config.windowInstancesMax < 1)
    throw new ConfigError(`windowInstancesMax must be at least 1, got ${config.windowInstancesMax}`);
  if (config.logBytesMax < 2 * config.windowBytesMax) {
    throw new ConfigError(
      `logBytesMax must be at least 2 windows = ${2 * config.windowBytesMax}, got ${config.logBytesMax}`,
    );
  }
  return Object.freeze(config);
}
