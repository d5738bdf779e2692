import type { Span } from "./batch.js";
import type { ReplicaId, SessionId } from "./ids.js";

/**
 * The contract of a client: sessions, retransmission, redirection, deadlines, and in later siblings prediction and rollback.
 * Pure. Work is per block: `token` is the caller's name for a block it submitted.
 */
export interface ClientModel {
  step(event: ClientEvent, out: ClientSink): void;
  inspect(): ClientView;
}

export type ClientEvent =
  | { readonly kind: "start"; readonly now: number }
  | { readonly kind: "tick"; readonly now: number }
  /**
   * Commands, one behind the other, in `span`. The model frames them as a block (ordered or read) and copies them.
   * Only when `inspect().open`. `deadline` is monotonic ms.
   */
  | {
      readonly kind: "submit";
      readonly now: number;
      readonly token: number;
      readonly read: boolean;
      readonly commands: number;
      readonly span: Span;
      readonly deadline: number;
    }
  /**
   * The next part of a block of reads that was resolved with a part of its replies (status `split`). With a deadline that has
   * passed the rest is given up: it fails soon, and nothing is sent.
   */
  | { readonly kind: "more"; readonly now: number; readonly token: number; readonly deadline: number }
  /** A reply block from a replica (checked). */
  | { readonly kind: "reply"; readonly now: number; readonly from: ReplicaId; readonly span: Span }
  /** A replica says who leads; 0 if it does not know. */
  | { readonly kind: "redirect"; readonly now: number; readonly from: ReplicaId; readonly leader: ReplicaId }
  | { readonly kind: "link"; readonly now: number; readonly replica: ReplicaId; readonly up: boolean }
  /**
   * To the client of g_all: the client of `stream` needs a session. The one that it was lent before is over, and another is
   * opened.
   */
  | { readonly kind: "borrow"; readonly now: number; readonly stream: number }
  /** To a client that has borrowed one: its session. */
  | { readonly kind: "lend"; readonly now: number; readonly session: SessionId }
  /**
   * To the client of g_all: commands of another stream's client that failed opt-PSMR's safety check, as a whole block of kind
   * `conservative`, valid only now. It is sent, and forgotten: whose session it is waits for the replies, and asks `again`.
   */
  | { readonly kind: "resubmit"; readonly now: number; readonly span: Span; readonly again: boolean }
  /** Stop: fail what is open, close the session if possible, and those that were lent. */
  | { readonly kind: "close"; readonly now: number };

export interface ClientView {
  readonly session: SessionId;
  readonly leader: ReplicaId;
  /** A `submit` is taken now (window not full). */
  readonly open: boolean;
  readonly blocksOpen: number;
  readonly bytesOpen: number;
}

/**
 * Why a block failed: certainly not applied (`try-again`, `session-expired`, `misrouted`), or perhaps applied. `misrouted`: it
 * was sent through a stream that does not take its commands; sent again as it is, it would fail again.
 */
export type ClientFailure = "try-again" | "indeterminate" | "session-expired" | "misrouted" | "closed";

export interface ClientSink {
  /** Send a frame of this kind whose body is the span (see `FrameKind`). */
  send(to: ReplicaId, kind: number, span: Span): void;
  /**
   * All commands of a block are answered; `replies` is the reply block. With status `split`, only of reads, these are the
   * replies to the next commands of the block, in order: the rest is read when the caller asks for `more`, so that it
   * decides how much of long replies is in memory at once.
   */
  resolve(token: number, replies: Span): void;
  fail(token: number, failure: ClientFailure): void;
  /** A speculative client guesses the reply; what depends on it is not shown outside before `resolve`. */
  predict(token: number, replies: Span): void;
  /** The guess was wrong: everything since that block's prediction is undone by the caller. */
  rollback(token: number): void;
  /**
   * From the client of a stream other than 0: it needs a session, another than it may have had. Sessions are opened in g_all
   * only, so the client of g_all is asked by a `borrow` event, and answers by `lend`.
   */
  borrow(): void;
  /** From the client of g_all: the session that the client of `stream` has asked for. */
  lend(stream: number, session: SessionId): void;
  /**
   * So many commands of a block failed opt-PSMR's safety check; `replies` is the reply block with those to the others, and empty
   * ones in their places (`FAILED_REPLY_BYTES`), valid only now. The block is resolved, whole, when they are executed. Told at most
   * once for a block, before `resolve` or `fail`.
   */
  pending(token: number, commands: number, replies: Span): void;
  /**
   * From the client of a stream other than 0, if it is clients who multicast failed commands again: a block of kind
   * `conservative` for the client of g_all, which gets it by a `resubmit` event. The span is valid only now. `again`: nothing has
   * come of it for a timeout.
   */
  resubmit(block: Span, again: boolean): void;
  wakeAt(time: number): void;
  /** `inspect().open` turned true again. */
  opened(): void;
}
