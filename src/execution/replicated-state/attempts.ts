// Hot file: each block of commands of opt-PSMR passes here. As long as nothing fails, nothing is allocated or asked for beyond
// the attempt itself.
import { assert, ByteWriter, hashLong } from "../../base/index.js";
import {
  beginBlock,
  BLOCK_BYTES_MAX,
  BlockKind,
  endBlock,
  type ExecutionSink,
  FAILED_REPLY_BYTES,
  type Run,
  type SharedService,
} from "../../model/index.js";
import { ConflictIndex } from "./conflict-index.js";
import { PendingCommand } from "./failed.js";
import type { Session } from "./session.js";

/**
 * With more pending commands of a session than that, every later one counts as in conflict with one: to fail is always safe, and how
 * long a block takes is bounded.
 */
const INDEXED_MAX = 8192;
/** And the copy of one with more pending ones before it waits for the first. Copies seldom come out of order. */
const COMPARED_MAX = 512;
/** Commands that are looked up before they are attempted, so that those of a block are not looked up again with each failure. */
const TOGETHER = 64;

/** A service whose commands may fail their safety check in the thread of this number. */
export interface Optimistic {
  readonly service: SharedService;
  readonly thread: number;
}

/**
 * Attempts to execute the blocks of a thread in parallel mode (opt-PSMR, PROTOCOLS section 4.5): which of their commands fail.
 *
 * A command fails if its check says so, or along with an earlier pending one of its session: with one that it conflicts with,
 * or with any if its block is strict, because its copy would be overtaken otherwise (DESIGN safety rule 5). What fails follows
 * from the session and the service's state alone, so that all replicas find the same. A command that fails is not executed here
 * (E5).
 */
export class Attempts {
  readonly #service: SharedService;
  readonly #thread: number;
  #low = new Float64Array(64);
  #high = new Float64Array(64);
  #writes = new Uint8Array(64);
  /** Of the commands looked up together: whether they fail along with an earlier one. */
  readonly #along = new Uint8Array(TOGETHER);
  /** What is in conflict with those that failed in this block. */
  readonly #fresh = new ConflictIndex();
  /** The commands of the latest block that failed, or others of a block that are to be multicast again; ascending. */
  readonly failed: number[] = [];
  readonly #block = new ByteWriter(256, BLOCK_BYTES_MAX);

  constructor({ service, thread }: Optimistic) {
    this.#service = service;
    this.#thread = thread;
  }

  /**
   * Executes the commands of a run in order, but those that fail, in whose place there is an empty reply; `failed` has their
   * places in the run.
   */
  execute(run: Run, session: Session, strict: boolean, replies: ByteWriter): void {
    this.failed.length = 0;
    let stopped = 0;
    if (session.pending.length === 0) {
      stopped = this.#attempt(run, 0, replies);
      if (stopped === run.count) return;
    }
    this.#executeBehind(run, session, strict, stopped, replies);
  }

  /** The pending command for place `i` of the run that was executed latest, whose first command has the number `first`. */
  pendingFor(run: Run, i: number, session: Session, first: number, strict: boolean): PendingCommand {
    const [low, high, writes] = [this.#low[i] as number, this.#high[i] as number, this.#writes[i] !== 0];
    return new PendingCommand(session.id, first + i, hashCommand(run, i), low, high, writes, strict);
  }

  /** The first pending command of a session that has to be executed before the one at `at` in `pending`; null if that is next. */
  static before(pending: readonly PendingCommand[], at: number): PendingCommand | null {
    const command = pending[at] as PendingCommand;
    if (command.strict || at > COMPARED_MAX) return at === 0 ? null : (pending[0] as PendingCommand);
    for (let i = 0; i < at; i++) {
      const other = pending[i] as PendingCommand;
      if ((command.writes || other.writes) && command.low <= other.high && other.low <= command.high) return other;
    }
    return null;
  }

  /**
   * Asks for the commands of a run whose places are in `failed` to be multicast again: those that follow each other in one
   * block. `first` is the number of the first command of the run.
   */
  multicastAgain(run: Run, session: Session, first: number, out: ExecutionSink): void {
    if (out.again === undefined) return;
    const { failed } = this;
    const writer = this.#block;
    for (let i = 0; i < failed.length;) {
      writer.clear();
      const from = failed[i] as number;
      const at = beginBlock(writer, BlockKind.conservative, session.id, first + from, 0, this.#thread + 1);
      let count = 0;
      for (; failed[i] === from + count; i++, count++) {
        const offset = run.offsets[from + count] as number;
        writer.copy(run.bytes, offset, offset + run.view.getUint32(offset, true));
      }
      endBlock(writer, at, count);
      out.again(writer.bytes, writer.view, at, writer.length);
    }
  }

  #attempt(run: Run, first: number, replies: ByteWriter): number {
    const stopped = (this.#service as Required<SharedService>).attempt(run, first, this.#thread, replies);
    assert(stopped >= first && stopped <= run.count, "a service attempted other commands than it was given");
    return stopped;
  }

  /** The rest of a block from `stopped` on, where a command has failed, unless there are pending ones already. */
  #executeBehind(run: Run, session: Session, strict: boolean, stopped: number, replies: ByteWriter): void {
    const { count } = run;
    this.#findColumns(run);
    this.#fresh.clear();
    let next = stopped;
    if (session.pending.length === 0) this.#fail(next++, replies);
    while (next < count) {
      if (this.#allFail(session, strict)) this.#fail(next++, replies);
      else next = this.#executeTogether(run, session, strict, next, Math.min(count, next + TOGETHER), replies);
    }
  }

  /** The commands from `from` to before `to`, or fewer; returns where it has stopped. */
  #executeTogether(run: Run, session: Session, strict: boolean, from: number, to: number, replies: ByteWriter): number {
    const { count } = run;
    const along = this.#along;
    for (let i = from; i < to; i++) along[i - from] = this.#failsAlong(session, i) ? 1 : 0;
    let i = from;
    while (i < to) {
      if (along[i - from] === 0) {
        let end = i + 1;
        while (end < to && along[end - from] === 0) end++;
        run.count = end;
        i = this.#attempt(run, i, replies);
        run.count = count;
        if (i === end) continue;
      }
      this.#fail(i, replies);
      if (this.#allFail(session, strict)) return i + 1;
      for (let later = i + 1; later < to; later++) if (this.#conflict(i, later)) along[later - from] = 1;
      i++;
    }
    return to;
  }

  #fail(i: number, replies: ByteWriter): void {
    replies.u32(FAILED_REPLY_BYTES);
    this.failed.push(i);
    this.#fresh.add({ low: this.#low[i] as number, high: this.#high[i] as number, writes: this.#writes[i] !== 0 });
  }

  /** Whether whatever follows in the block fails, since something is pending. */
  #allFail(session: Session, strict: boolean): boolean {
    const pending = session.pending.length + this.failed.length;
    return pending > INDEXED_MAX || (strict && pending > 0);
  }

  #failsAlong(session: Session, i: number): boolean {
    const low = this.#low[i] as number;
    const high = this.#high[i] as number;
    const writes = this.#writes[i] !== 0;
    return session.conflicts?.conflicts(low, high, writes) === true || this.#fresh.conflicts(low, high, writes);
  }

  #conflict(i: number, j: number): boolean {
    if (this.#writes[i] === 0 && this.#writes[j] === 0) return false;
    return (
      (this.#low[i] as number) <= (this.#high[j] as number) && (this.#low[j] as number) <= (this.#high[i] as number)
    );
  }

  #findColumns(run: Run): void {
    if (this.#low.length < run.count) {
      const length = Math.max(run.count, 2 * this.#low.length);
      this.#low = new Float64Array(length);
      this.#high = new Float64Array(length);
      this.#writes = new Uint8Array(length);
    }
    this.#service.conflicts(run, this.#low, this.#high, this.#writes);
  }
}

/** Hash of command `i` of a run, by which its conservative copy is known. */
export function hashCommand(run: Run, i: number): number {
  const offset = run.offsets[i] as number;
  return hashLong(run.bytes, offset, offset + run.view.getUint32(offset, true), 11) >>> 0;
}
