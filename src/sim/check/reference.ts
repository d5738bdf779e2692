import { latin1 } from "../../base/index.js";
import { REPLY_VALUE_HEADER_BYTES, ReplyKind, replyValueKind, replyValueLength } from "../../service/index.js";

/**
 * A reply as it is compared: a text whose first character tells its kind ("_" nil, "+" ok, ":" integer, "$" bytes, "-" error,
 * "=" word, "%" pairs, bytes being one character each), or a list of replies.
 */
export type Reply = string | readonly Reply[];

/** One command as it stands in a block. */
export interface ReferenceCommand {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly at: number;
}

/**
 * A service once more, as plainly as it can be written and without a line of the service that it is compared with: maps and
 * sorted lists, no expiry index, no undo, no snapshots. It follows the decided order, so it needs to be right, not fast.
 */
export interface ReferenceModel {
  /** An instance begins, at this agreed time in ms. */
  advance(timeMs: number): void;
  /**
   * Executes a command and returns what must be answered. What the service's documentation leaves open (a random key, the
   * steps of a scan, the last digits of a sum) is taken from `observed`, the answer that was given, if it is a right one.
   */
  execute(command: ReferenceCommand, readOnly: boolean, observed: Reply): Reply;
}

/** What a command is about: keys from `low` to `high`, and whether it writes. */
export interface Concern {
  readonly low: number;
  readonly high: number;
  readonly writes: boolean;
}

/** A model of a service of keys in which nothing depends on time, so that what threads do in parallel can be followed. */
export interface KeyedReference extends ReferenceModel {
  /** What two commands have to do with each other is for this to say. Nothing changes. */
  concernOf(command: ReferenceCommand): Concern;
}

export const NIL = "_";
export const OK = "+";

/** The reply value at `at`. The reply was checked when it was received. */
export function replyAt(bytes: Uint8Array, view: DataView, at: number): Reply {
  const start = at + REPLY_VALUE_HEADER_BYTES;
  const end = at + replyValueLength(view, at);
  switch (replyValueKind(view, at)) {
    case ReplyKind.nil:
      return NIL;
    case ReplyKind.ok:
      return OK;
    case ReplyKind.integer:
      return `:${latin1(bytes, start, end)}`;
    case ReplyKind.bulk:
      return `$${latin1(bytes, start, end)}`;
    case ReplyKind.error:
      return `-${latin1(bytes, start, end)}`;
    case ReplyKind.status:
      return `=${latin1(bytes, start, end)}`;
    case ReplyKind.pairs:
      return `%${latin1(bytes, start + 4, end)}`;
    default: {
      const replies: Reply[] = [];
      for (let next = start + 4; next < end; next += replyValueLength(view, next)) {
        replies.push(replyAt(bytes, view, next));
      }
      return replies;
    }
  }
}

export function sameReply(a: Reply, b: Reply): boolean {
  if (typeof a === "string" || typeof b === "string") return a === b;
  return a.length === b.length && a.every((reply, index) => sameReply(reply, b[index] as Reply));
}

/** For reports: short, and printable whatever the bytes are. */
export function describeReply(reply: Reply): string {
  const text = JSON.stringify(reply);
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

export const isError = (reply: Reply): boolean => typeof reply === "string" && reply.startsWith("-");

/** For what is wrong with a command in itself: any error will do, and nothing changes. */
export const refusal = (observed: Reply): Reply => (isError(observed) ? observed : "-an error");

/** Refused for lack of room or of time: limits of one execution, at which nothing changes. */
export function lacksRoom(reply: Reply): boolean {
  return typeof reply === "string" && limits.test(reply);
}

const limits =
  /^-(?:OOM |ERR (?:the replies of one block exceed|the command would have to look at|too many commands at once) )/;

/** Elements in ascending order, found by bisection and moved by insertion. */
export class SortedList<T> {
  readonly #items: T[] = [];
  readonly #compare: (a: T, b: T) => number;

  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare;
  }

  get items(): readonly T[] {
    return this.#items;
  }

  /** Index of the first element that is not below `item`. */
  indexOf(item: T): number {
    let low = 0;
    let high = this.#items.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#compare(this.#items[middle] as T, item) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Nothing changes if an equal element is there. */
  add(item: T): void {
    const at = this.indexOf(item);
    if (at < this.#items.length && this.#compare(this.#items[at] as T, item) === 0) return;
    this.#items.splice(at, 0, item);
  }

  /** Nothing changes if it is not there. */
  remove(item: T): void {
    const at = this.indexOf(item);
    if (at < this.#items.length && this.#compare(this.#items[at] as T, item) === 0) this.#items.splice(at, 1);
  }

  clear(): void {
    this.#items.length = 0;
  }
}

export const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
