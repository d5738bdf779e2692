import type { SessionId } from "../../model/index.js";

/**
 * A command of a session that failed its safety check (opt-PSMR) and waits for its conservative copy. Its bytes are not kept:
 * the copy brings them, and the hash says that they are the same.
 */
export class PendingCommand {
  readonly session: SessionId;
  readonly sequence: number;
  /** Hash of its bytes. */
  readonly hash: number;
  /** Its conflict columns, as `Service.conflicts` gives them. */
  readonly low: number;
  readonly high: number;
  readonly writes: boolean;
  /** Whether it keeps its place behind all pending commands of its session, and not only behind those it conflicts with. */
  readonly strict: boolean;

  constructor(
    session: SessionId,
    sequence: number,
    hash: number,
    low: number,
    high: number,
    writes: boolean,
    strict: boolean,
  ) {
    this.session = session;
    this.sequence = sequence;
    this.hash = hash;
    this.low = low;
    this.high = high;
    this.writes = writes;
    this.strict = strict;
  }
}

/** The reply to a command that failed and has been executed conservatively since. */
export class LateReply {
  readonly session: SessionId;
  readonly sequence: number;
  /** The reply with its length in front. */
  readonly bytes: Uint8Array;
  /** Hash of the bytes. */
  readonly hash: number;

  constructor(session: SessionId, sequence: number, bytes: Uint8Array, hash: number) {
    this.session = session;
    this.sequence = sequence;
    this.bytes = bytes;
    this.hash = hash;
  }
}

/** Where the first of ascending entries is whose sequence number is at least this one; their number if there is none. */
export function firstFrom(entries: readonly { readonly sequence: number }[], sequence: number): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((entries[middle] as { readonly sequence: number }).sequence < sequence) low = middle + 1;
    else high = middle;
  }
  return low;
}
