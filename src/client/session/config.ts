import { MiB } from "../../base/index.js";
import { BLOCK_BYTES_MAX, ConfigError } from "../../model/index.js";

/** Bounds and timeouts of a session client. All times are monotonic ms. */
export interface SessionClientConfig {
  /** Open blocks at most: ordered ones from the oldest unanswered on, those not sent yet, and reads. */
  readonly blocksMax: number;
  /** A block is taken while fewer bytes than this are open, so at most one block more than this is held. */
  readonly bytesMax: number;
  /**
   * Replies held of blocks whose other commands failed opt-PSMR's safety check and wait to be executed, in bytes. Beyond it those
   * of the oldest block alone are taken; the others are asked for again when there is room.
   */
  readonly repliesHeldBytesMax: number;
  /** Without progress for this long, everything unanswered is sent again; doubles up to `retransmitMsMax`. */
  readonly retransmitMs: number;
  readonly retransmitMsMax: number;
  /** Without a known leader one block is tried at one replica after another, this far apart; doubles up to `probeMsMax`. */
  readonly probeMs: number;
  readonly probeMsMax: number;
  /**
   * A session in which nothing was sent for this long is replaced before it is used again, so that an idle client does not
   * run into its expiry. Less than the time after which the cluster expires sessions.
   */
  readonly sessionIdleMs: number;
  /** Seed of the jitter of both timeouts, so that clients that lost the same leader do not return in step. */
  readonly seed: number;
}

export const defaultSessionClientConfig: SessionClientConfig = Object.freeze({
  blocksMax: 256,
  bytesMax: 8 * MiB,
  repliesHeldBytesMax: 32 * MiB,
  retransmitMs: 300,
  retransmitMsMax: 1500,
  probeMs: 20,
  probeMsMax: 160,
  sessionIdleMs: 240_000,
  seed: 1,
});

/** Completes and checks a configuration. Throws `ConfigError`. */
export function sessionClientConfig(partial: Partial<SessionClientConfig> = {}): SessionClientConfig {
  const config = { ...defaultSessionClientConfig, ...partial };
  if (!Number.isInteger(config.blocksMax) || config.blocksMax < 1 || config.blocksMax > 65_536) {
    throw new ConfigError(`blocksMax is a whole number of 1 to 65536, got ${config.blocksMax}`);
  }
  if (!(config.bytesMax >= BLOCK_BYTES_MAX)) {
    throw new ConfigError(`bytesMax must hold one block of ${BLOCK_BYTES_MAX} bytes, got ${config.bytesMax}`);
  }
  if (!(config.repliesHeldBytesMax >= 0)) {
    throw new ConfigError(`repliesHeldBytesMax is at least 0, got ${config.repliesHeldBytesMax}`);
  }
  for (const [low, high] of [
    ["retransmitMs", "retransmitMsMax"],
    ["probeMs", "probeMsMax"],
  ] as const) {
    if (!(config[low] > 0 && config[low] <= config[high])) {
      throw new ConfigError(`${low} must be above 0 and at most ${high} = ${config[high]}, got ${config[low]}`);
    }
  }
  if (!(config.sessionIdleMs > config.retransmitMsMax)) {
    throw new ConfigError(
      `sessionIdleMs must be above retransmitMsMax = ${config.retransmitMsMax}, got ${config.sessionIdleMs}`,
    );
  }
  return Object.freeze(config);
}
