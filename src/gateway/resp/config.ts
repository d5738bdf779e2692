import { KiB, MiB } from "../../base/index.js";
import {
  BLOCK_BYTES_MAX,
  BLOCK_COMMANDS_MAX,
  BLOCK_HEADER_BYTES,
  COMMAND_BYTES_MAX,
  ConfigError,
} from "../../model/index.js";
import { ARGUMENTS_MAX, VALUE_BYTES_MAX } from "../../service/kv/index.js";

/** What one gateway may hold, and what happens beyond. */
export interface RespLimits {
  /** Open connections; the next one is told "-ERR max number of clients reached" and closed. */
  readonly connectionsMax: number;
  /** Arguments of one request, its name included; more is a protocol error. */
  readonly argumentsMax: number;
  /** Bytes of one argument; more is a protocol error. */
  readonly bulkBytesMax: number;
  /** Bytes of one inline request, and of a line that announces a length; more is a protocol error. */
  readonly inlineBytesMax: number;
  /** Bytes of one whole request as it came; more is a protocol error. */
  readonly requestBytesMax: number;
  /** Input kept for a connection whose next command has to wait; beyond it the connection is not read. */
  readonly inputBytesMax: number;
  /** Input kept for all connections together; a connection that would exceed it is closed. */
  readonly inputBytesTotalMax: number;
  /** Replies made here that wait behind unanswered commands, per block; beyond it their connection waits. */
  readonly localBytesMax: number;
  /** Unsent replies of a connection; beyond it nothing more of it is executed until it has drained. */
  readonly outputBytesMax: number;
  /** A block is submitted within the turn when it holds this many bytes… */
  readonly blockBytes: number;
  /** …or this many commands. */
  readonly blockCommands: number;
  /** Blocks being built, waiting or unanswered; beyond it connections wait. */
  readonly blocksMax: number;
  /** Bytes of commands that wait for the cluster to take blocks; beyond it connections wait. */
  readonly waitingBytesMax: number;
  /**
   * Bytes of replies expected to unanswered ordered blocks; a further block waits. The cluster remembers as many for a
   * session (`sessionReplyBytesMax`), so that a reply lost on its way can always be asked for again.
   */
  readonly orderedReplyBytesMax: number;
  /** Bytes of replies expected to unanswered blocks of reads; a further block waits. No more than a replica leaves unsent. */
  readonly readReplyBytesMax: number;
  /** Age at which an unanswered command is answered: -TRYAGAIN if the cluster certainly did not take it, else -INDETERMINATE. */
  readonly deadlineMs: number;
  /** Connections that have yet to authenticate, where that is asked for; beyond it the oldest is closed. */
  readonly strangersMax: number;
  /** Input kept of the incomplete request of such a connection; beyond it the connection is closed. */
  readonly strangerInputBytesMax: number;
  /** A connection that has not authenticated after this long is closed. */
  readonly strangerMs: number;
}

export const respLimitDefaults: RespLimits = Object.freeze({
  connectionsMax: 10_000,
  argumentsMax: ARGUMENTS_MAX,
  bulkBytesMax: VALUE_BYTES_MAX + 4 * KiB,
  inlineBytesMax: 64 * KiB,
  requestBytesMax: 2 * MiB,
  inputBytesMax: 256 * KiB,
  inputBytesTotalMax: 256 * MiB,
  localBytesMax: MiB,
  outputBytesMax: 4 * MiB,
  blockBytes: 256 * KiB,
  blockCommands: 4096,
  blocksMax: 1024,
  waitingBytesMax: 8 * MiB,
  orderedReplyBytesMax: 4 * MiB,
  readReplyBytesMax: 8 * MiB,
  deadlineMs: 5000,
  strangersMax: 256,
  strangerInputBytesMax: 16 * KiB,
  strangerMs: 10_000,
});

/** Completes limits with the defaults and freezes them. Throws `ConfigError` naming both numbers of a broken relation. */
export function resolveRespLimits(given: Partial<RespLimits> = {}): RespLimits {
  const limits = { ...respLimitDefaults, ...given };
  for (const [name, value] of Object.entries(limits)) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new ConfigError(`${name} needs to be a whole number of at least 1, got ${String(value)}`);
    }
  }
  const atMost = (name: keyof RespLimits, bound: number, what: string): void => {
    if (limits[name] > bound) throw new ConfigError(`${name} may be at most ${bound} (${what}), got ${limits[name]}`);
  };
  atMost("argumentsMax", ARGUMENTS_MAX, "arguments of a command");
  atMost("bulkBytesMax", limits.requestBytesMax, "requestBytesMax");
  atMost("inlineBytesMax", limits.requestBytesMax, "requestBytesMax");
  atMost("requestBytesMax", limits.inputBytesTotalMax, "inputBytesTotalMax");
  // Reads that move to the ordered block join what is there, and one command more may follow (block-stream.ts).
  atMost("blockCommands", BLOCK_COMMANDS_MAX / 2 - 1, "half the commands of a block, less one");
  atMost(
    "blockBytes",
    (BLOCK_BYTES_MAX - BLOCK_HEADER_BYTES - COMMAND_BYTES_MAX) / 2,
    "half the bytes of a block, less one command",
  );
  return Object.freeze(limits);
}
