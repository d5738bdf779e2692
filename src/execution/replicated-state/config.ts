import { KiB, MiB } from "../../base/index.js";
import { ConfigError } from "../../model/index.js";

/**
 * Limits of the replicated state. The first group decides what is expired and what is remembered, so it is part of the
 * state machine: it has to be equal on all replicas of a cluster and must not change while the cluster exists.
 */
export interface ReplicatedStateOptions {
  /** A session without a block for longer than this, in ms of agreed time, expires. */
  readonly sessionIdleMs: number;
  /** Sessions at most; opening one more expires the one that was active least recently. */
  readonly sessionsMax: number;
  /** Reply blocks remembered per session for retransmission; beyond this the oldest are forgotten. */
  readonly sessionRepliesMax: number;
  /** Bytes of these at most. The newest is kept even if it is larger alone. */
  readonly sessionReplyBytesMax: number;
  /** Bytes of remembered reply blocks of all sessions; beyond this the oldest of all are forgotten. */
  readonly replyBytesMax: number;
  /**
   * Commands of a session, in one stream, that failed their safety check (opt-PSMR) and have not been executed since: a block with
   * which there could be more is answered `retry`, unless there is none yet. Of as many that have been executed since the replies
   * are remembered for retransmission, with as many bytes as reply blocks; beyond this the oldest are forgotten.
   */
  readonly sessionFailedMax: number;
  /** The same for all sessions of a thread; beyond this the newest replies are not remembered. */
  readonly failedMax: number;

  /** Bytes of unordered reads that wait for the state to come up; beyond this they are answered `retry`. Per process. */
  readonly waitingReadBytesMax: number;
  /** Decided batches that wait for execution (pipelined); beyond this the oldest executes at once. Per process. */
  readonly queueBatchesMax: number;
}

export const replicatedStateDefaults: ReplicatedStateOptions = Object.freeze({
  sessionIdleMs: 10 * 60 * 1000,
  sessionsMax: 100_000,
  sessionRepliesMax: 1024,
  sessionReplyBytesMax: 4 * MiB,
  replyBytesMax: 256 * MiB,
  sessionFailedMax: 65_536,
  failedMax: 262_144,
  waitingReadBytesMax: 16 * MiB,
  queueBatchesMax: 65_536,
});

/** Completes the options with the defaults. Throws `ConfigError` that names the field and prints the number. */
export function checkReplicatedStateOptions(options: Partial<ReplicatedStateOptions>): ReplicatedStateOptions {
  const complete = { ...replicatedStateDefaults, ...options };
  for (const [field, value] of Object.entries(complete)) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new ConfigError(`${field} must be a whole number of at least 1, got ${value}`);
    }
  }
  if (complete.replyBytesMax < complete.sessionReplyBytesMax) {
    throw new ConfigError(
      `replyBytesMax must be at least sessionReplyBytesMax = ${complete.sessionReplyBytesMax}, got ${complete.replyBytesMax}`,
    );
  }
  if (complete.failedMax < complete.sessionFailedMax) {
    throw new ConfigError(
      `failedMax must be at least sessionFailedMax = ${complete.sessionFailedMax}, got ${complete.failedMax}`,
    );
  }
  if (complete.waitingReadBytesMax < 64 * KiB) {
    throw new ConfigError(`waitingReadBytesMax must be at least ${64 * KiB}, got ${complete.waitingReadBytesMax}`);
  }
  return Object.freeze(complete);
}
