import type { ClientFailure, ReplicaId, SessionId, Span } from "../../model/index.js";

/**
 * A session of a cluster for programs that work per block: the gateway, the load generator, the promise client.
 * Single threaded; callbacks never run inside `submit` or `more`.
 */
export interface BlockClient {
  /** True while `submit` is taken; when it turns true again `opened` is called. */
  readonly open: boolean;
  readonly session: SessionId;
  readonly leader: ReplicaId;
  /**
   * Submits `commands` commands standing in `bytes[start, end)` as one block; the bytes are copied. `read` sends them as
   * unordered reads. `token` names the block in the callbacks. Everything submitted in a turn leaves at its end.
   * `deadline` in monotonic ms; by default the client's own `deadlineMs` from now.
   */
  submit(
    token: number,
    read: boolean,
    commands: number,
    bytes: Uint8Array,
    view: DataView,
    start: number,
    end: number,
    deadline?: number,
  ): void;
  /**
   * Asks for the next part of a block that was resolved with a part of its replies, not necessarily at once; with a deadline
   * that has passed gives the rest up, which then fails.
   */
  more(token: number, deadline?: number): void;
  /** Fails what is open with `closed`, ends the session and closes the port. */
  close(done: () => void): void;
}

export interface BlockClientHandlers {
  /**
   * `replies` is a checked reply block with status ok and one reply per command; valid only during the call. Of reads whose
   * replies are long in all (`READ_REPLIES_BYTES_TARGET`) it may have status `split` and the replies to the next commands only; the
   * block stays open, and `more` asks for the rest.
   */
  resolve(token: number, replies: Span): void;
  fail(token: number, failure: ClientFailure): void;
  /**
   * opt-PSMR: so many commands of the block failed their safety check. `replies`, valid only during the call, has the replies to
   * the others, and four bytes of length in the place of each that failed. The block is resolved with all when they are executed.
   */
  pending?(token: number, commands: number, replies: Span): void;
  opened(): void;
  /** The last open block is done with, those included whose outcome was told as unknown: none of them is applied later. */
  idle?(): void;
  /** The replica believed to lead changed. */
  leaderChanged?(leader: ReplicaId): void;
}
