import { assert, ByteWriter, CapacityError, KiB, MiB } from "../../base/index.js";
import {
  BLOCK_BYTES_MAX,
  BLOCK_HEADER_BYTES,
  ClosedError,
  type ClientFailure,
  COMMAND_BYTES_MAX,
  CommandError,
  IndeterminateError,
  MisroutedError,
  REPLY_HEADER_BYTES,
  replyCount,
  ReplyStatus,
  replyStatus,
  SessionExpiredError,
  type Span,
  type SynodError,
  TryAgainError,
} from "../../model/index.js";
import type { Scheduler, Timer, Turn } from "../../platform/index.js";
import type { BlockClient, BlockClientHandlers } from "./block-client.js";
import type { Calls, DecodeReply } from "./calls.js";

export interface PromiseClientInit {
  readonly scheduler: Scheduler;
  /** A call is answered or fails within this time. 5000 ms. */
  readonly deadlineMs?: number;
  /** Calls that wait to be sent, at most; a further one fails with `TryAgainError`. 65536. */
  readonly callsMax?: number;
  /** Bytes of commands that wait to be sent, at most; a further one fails with `TryAgainError`. 32 MiB. */
  readonly bytesMax?: number;
  /** Whether the cluster takes unordered reads; otherwise all calls are ordered. True. */
  readonly reads?: boolean;
}

/** A call's two ends; `decode` is applied to its reply. */
interface Call {
  readonly decode: DecodeReply<unknown>;
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** Calls that leave as one block. */
interface Draft {
  readonly writer: ByteWriter;
  readonly calls: Call[];
  write: boolean;
  readonly deadline: number;
  /** Further calls join until then, so that no call loses more than an eighth of its time to an older one. */
  readonly joinableUntil: number;
}

/** Past this many bytes a draft takes no further command: the longest one would not fit. */
const DRAFT_BYTES_MAX = BLOCK_BYTES_MAX - BLOCK_HEADER_BYTES - COMMAND_BYTES_MAX;
/** Replies of one block come in one frame, so blocks of many small reads of large values are avoided. */
const DRAFT_CALLS_MAX = 4096;
const DRAFTS_KEPT_MAX = 4;

/**
 * Calls with promises over a `BlockClient`: all calls of one event-loop turn leave as one block.
 *
 * Calls take effect in the order made. What was called while ordered commands of this client are unanswered is ordered
 * behind them, reads included; reads made while nothing is outstanding go as unordered reads, and whatever is called after
 * them waits for their answers, since unordered reads have no place among other blocks.
 */
export class PromiseClient implements Calls {
  /** Give these to the block client, then the block client to `attach`. */
  readonly handlers: BlockClientHandlers;
  readonly #scheduler: Scheduler;
  readonly #deadlineMs: number;
  readonly #callsMax: number;
  readonly #bytesMax: number;
  readonly #reads: boolean;
  readonly #turn: Turn;
  readonly #timer: Timer;
  #client: BlockClient | null = null;
  #closing: Promise<void> | null = null;

  /** Not submitted yet, oldest first. */
  readonly #drafts: Draft[] = [];
  #waitingCalls = 0;
  #waitingBytes = 0;
  readonly #submitted = new Map<number, { readonly calls: Call[]; readonly read: boolean }>();
  readonly #writersFree: ByteWriter[] = [];
  #tokenNext = 1;
  #orderedOpen = 0;
  #readsOpen = 0;

  constructor(init: PromiseClientInit) {
    this.#scheduler = init.scheduler;
    this.#deadlineMs = init.deadlineMs ?? 5000;
    this.#callsMax = init.callsMax ?? 65_536;
    this.#bytesMax = init.bytesMax ?? 32 * MiB;
    this.#reads = init.reads ?? true;
    this.#turn = init.scheduler.turn(() => this.#flush());
    this.#timer = init.scheduler.timer(() => this.#expire());
    this.handlers = {
      resolve: (token, replies) => this.#onResolve(token, replies),
      fail: (token, failure) => this.#onFail(token, failure),
      opened: () => this.#turn.request(),
    };
  }

  attach(client: BlockClient): void {
    assert(this.#client === null, "a promise client has one block client");
    this.#client = client;
    this.#turn.request();
  }

  call(command: Uint8Array, read = false): Promise<Uint8Array> {
    return this.submit(read, (writer) => writer.copy(command, 0, command.length), copyReply);
  }

  submit<T>(read: boolean, write: (writer: ByteWriter) => void, decode: DecodeReply<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const error = this.#enter(read, write, { decode, resolve: resolve as (value: unknown) => void, reject });
      if (error !== null) reject(error);
    });
  }

  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#timer.clear();
      for (const draft of this.#drafts.splice(0)) rejectAll(draft.calls, errorOf("closed"));
      if (this.#client === null) resolve();
      else this.#client.close(resolve);
    });
    return this.#closing;
  }

  #enter(read: boolean, write: (writer: ByteWriter) => void, call: Call): Error | null {
    if (this.#closing !== null) return new ClosedError();
    if (this.#waitingCalls >= this.#callsMax || this.#waitingBytes >= this.#bytesMax) {
      return new TryAgainError(
        `the client holds ${this.#waitingCalls} calls of ${this.#waitingBytes} bytes to send, its maxima are ` +
          `${this.#callsMax} and ${this.#bytesMax}; the command was not applied`,
      );
    }
    const draft = this.#draft();
    const { writer } = draft;
    const at = writer.length;
    try {
      write(writer);
    } catch (error) {
      writer.length = at;
      if (error instanceof CapacityError)
        return new CommandError(`ERR a command has at most ${COMMAND_BYTES_MAX} bytes`);
      return error instanceof Error ? error : new Error(String(error));
    }
    const length = writer.length - at;
    if (length < 4 || length > COMMAND_BYTES_MAX || writer.view.getUint32(at, true) !== length) {
      writer.length = at;
      return new CommandError(
        `ERR a command has 4 to ${COMMAND_BYTES_MAX} bytes and begins with their number, got ${length}`,
      );
    }
    draft.calls.push(call);
    if (!read) draft.write = true;
    this.#waitingCalls++;
    this.#waitingBytes += length;
    this.#turn.request();
    return null;
  }

  /** The draft that takes the next call. */
  #draft(): Draft {
    const now = this.#scheduler.clock.monotonicMs();
    const last = this.#drafts.at(-1);
    if (
      last !== undefined &&
      last.writer.length <= DRAFT_BYTES_MAX &&
      last.calls.length < DRAFT_CALLS_MAX &&
      now <= last.joinableUntil
    ) {
      return last;
    }
    const draft: Draft = {
      writer: this.#writersFree.pop() ?? new ByteWriter(4 * KiB, BLOCK_BYTES_MAX),
      calls: [],
      write: false,
      deadline: now + this.#deadlineMs,
      joinableUntil: now + this.#deadlineMs / 8,
    };
    this.#drafts.push(draft);
    if (this.#drafts.length === 1) this.#timer.set(draft.deadline);
    return draft;
  }

  #flush(): void {
    const client = this.#client;
    if (client === null || this.#closing !== null) return;
    while (client.open && this.#readsOpen === 0) {
      const draft = this.#shift();
      if (draft === undefined) break;
      const { writer, calls, deadline } = draft;
      // A draft whose only command was refused has nothing to send.
      if (calls.length > 0) {
        const read = this.#reads && !draft.write && this.#orderedOpen === 0;
        const token = this.#tokenNext++;
        this.#submitted.set(token, { calls, read });
        if (read) this.#readsOpen++;
        else this.#orderedOpen++;
        client.submit(token, read, calls.length, writer.bytes, writer.view, 0, writer.length, deadline);
      }
      this.#recycle(writer);
    }
    const oldest = this.#drafts[0];
    if (oldest === undefined) this.#timer.clear();
    else this.#timer.set(oldest.deadline);
  }

  #shift(): Draft | undefined {
    const draft = this.#drafts.shift();
    if (draft === undefined) return undefined;
    this.#waitingCalls -= draft.calls.length;
    this.#waitingBytes -= draft.writer.length;
    return draft;
  }

  #expire(): void {
    const now = this.#scheduler.clock.monotonicMs();
    for (let head = this.#drafts[0]; head !== undefined; head = this.#drafts[0]) {
      if (head.deadline > now) {
        this.#timer.set(head.deadline);
        return;
      }
      this.#shift();
      this.#recycle(head.writer);
      rejectAll(head.calls, errorOf("try-again"));
    }
  }

  #recycle(writer: ByteWriter): void {
    if (this.#writersFree.length >= DRAFTS_KEPT_MAX || writer.bytes.length > 256 * KiB) return;
    writer.clear();
    this.#writersFree.push(writer);
  }

  #onResolve(token: number, replies: Span): void {
    const { bytes, view, end } = replies;
    let at = replies.start + REPLY_HEADER_BYTES;
    const part = replyStatus(view, replies.start) === ReplyStatus.split;
    const calls = part ? this.#takePart(token, replyCount(view, replies.start)) : this.#settle(token);
    for (const call of calls) {
      const next = at + view.getUint32(at, true);
      assert(next <= end, "a checked reply block has one reply per command");
      try {
        call.resolve(call.decode(bytes, view, at, next));
      } catch (error) {
        call.reject(error instanceof Error ? error : new Error(String(error)));
      }
      at = next;
    }
    if (part && this.#closing === null) this.#client?.more(token);
  }

  /** The calls that the next part of a long answer is for; the others stay open. */
  #takePart(token: number, count: number): readonly Call[] {
    const block = this.#submitted.get(token);
    assert(block !== undefined && count < block.calls.length, `a part of block ${token} is longer than what is open`);
    return block.calls.splice(0, count);
  }

  #onFail(token: number, failure: ClientFailure): void {
    rejectAll(this.#settle(token), errorOf(failure));
  }

  #settle(token: number): readonly Call[] {
    const block = this.#submitted.get(token);
    assert(block !== undefined, `the client answered block ${token}, which is not open`);
    this.#submitted.delete(token);
    if (block.read) this.#readsOpen--;
    else this.#orderedOpen--;
    // What the callers do next joins what waits already.
    if (this.#drafts.length > 0) this.#turn.request();
    return block.calls;
  }
}

function rejectAll(calls: readonly Call[], error: SynodError): void {
  for (const call of calls) call.reject(error);
}

/** The error that tells a caller what became of its command. */
export function errorOf(failure: ClientFailure): SynodError {
  switch (failure) {
    case "try-again":
      return new TryAgainError();
    case "indeterminate":
      return new IndeterminateError();
    case "session-expired":
      return new SessionExpiredError();
    case "misrouted":
      return new MisroutedError();
    case "closed":
      return new ClosedError("the client was closed before the reply; a command that was sent may have been applied");
  }
}

export function copyReply(bytes: Uint8Array, _view: DataView, at: number, end: number): Uint8Array {
  return bytes.slice(at, end);
}
