import { ByteWriter, KiB } from "../../base/index.js";
import type { BlockSlot } from "./block-slot.js";
import type { Protocol } from "./encoding.js";
import { ParseProgress } from "./request.js";
import type { Transaction } from "./transaction.js";

/** Why the next request of a connection is not executed now. Its input stays where it is. */
export const Wait = {
  none: 0,
  /** Until all commands of this connection are answered (order, or too many replies kept behind them). */
  answers: 1,
  /** Until the cluster takes blocks again. */
  room: 2,
  /** Until the client has read replies. */
  drain: 3,
  /** Until the password it has shown is checked. */
  verdict: 4,
} as const;
export type Wait = (typeof Wait)[keyof typeof Wait];

/** What became of the password that a connection has shown and that no command has answered for yet. */
export const Verdict = { none: 0, asked: 1, accepted: 2, refused: 3 } as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

/** Input buffers grown beyond this are not kept once they are empty. */
const INPUT_BYTES_KEPT = 16 * KiB;

/**
 * What a gateway knows of one client.
 *
 * Invariant: not both `orderedOpen` and `readsOpen` are above 0, and unanswered reads stand in one block only. `slot` is
 * null exactly when both are 0.
 */
export class Connection {
  /** The port's name of the connection. */
  readonly number: number;
  /** What CLIENT ID says: 1, 2, 3, … in the order of arrival. */
  readonly id: number;
  readonly remote: string;
  readonly openedAtMs: number;
  protocol: Protocol = 2;
  name = "";
  libraryName = "";
  libraryVersion = "";
  noEvict = false;
  noTouch = false;
  lastCommand = "NULL";
  lastAtMs: number;

  /** It may execute every command: see Admission. */
  authenticated = true;
  certified = false;
  user = "default";
  /** Whose password `verdict` is about. */
  asUser = "default";
  verdict: Verdict = Verdict.none;
  strangerSinceMs = 0;

  /** Unanswered commands in blocks of the ordered stream. */
  orderedOpen = 0;
  /** Unanswered commands in a block of reads. */
  readsOpen = 0;
  /** The newest block with unanswered commands of this connection: replies made here queue up behind it. */
  slot: BlockSlot | null = null;

  /** What MULTI began. */
  transaction: Transaction | null = null;
  /** What EXEC has sent, while commands that are not of the store wait for its reply; the connection waits too. */
  executing: Transaction | null = null;
  /** Id of its watch, 0 if there is none. */
  watch = 0;
  /** WATCH commands whose replies have not come: the id of the watch is not known yet. */
  watchesOpen = 0;
  /** A WATCH failed, so that it is not known what is watched: EXEC fails until all watches are given up. */
  watchLost = false;

  wait: Wait = Wait.none;
  /** Reading from the socket is paused. */
  paused = false;
  /** The client sends nothing more: the connection ends when what it sent is answered. */
  inputEnded = false;
  /** The last reply is on its way: further input is ignored. */
  ending = false;
  closed = false;

  /** Input not yet executed: the beginning of a request, or, while the connection waits, requests. */
  input: ByteWriter | null = null;
  readonly progress = new ParseProgress();

  constructor(number: number, id: number, remote: string, nowMs: number) {
    this.number = number;
    this.id = id;
    this.remote = remote;
    this.openedAtMs = nowMs;
    this.lastAtMs = nowMs;
  }

  get inputBytes(): number {
    return this.input === null ? 0 : this.input.length;
  }

  keepInput(bytes: Uint8Array, start: number, end: number, bytesMax: number): void {
    this.input ??= new ByteWriter(Math.max(256, end - start), bytesMax);
    this.input.copy(bytes, start, end);
  }

  /** Forgets the first `count` bytes of the kept input. */
  dropInput(count: number): void {
    const input = this.input;
    if (input === null) return;
    const left = input.length - count;
    if (left > 0) {
      input.bytes.copyWithin(0, count, input.length);
      input.length = left;
    } else {
      input.clear();
      if (input.bytes.length > INPUT_BYTES_KEPT) this.input = null;
    }
  }
}
