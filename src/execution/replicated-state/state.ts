// Hot file: every ordered block and every read block executes here. One reused run; nothing is allocated per command, and
// nothing throws for what a client sent. Watched by bench/execution.mjs.
import { assert, ByteWriter, mix32 } from "../../base/index.js";
import {
  type Batch,
  BATCH_HEADER_BYTES,
  batchTime,
  beginReply,
  BLOCK_COMMANDS_MAX,
  BLOCK_HEADER_BYTES,
  blockAcknowledged,
  blockCommands,
  BlockKind,
  blockKind,
  blockLength,
  blockNonceHigh,
  blockNonceLow,
  blockSequence,
  blockSession,
  blockStream,
  blockStrict,
  type Digest,
  emptyRun,
  endReply,
  type ExecutionSink,
  FAILED_REPLY_BYTES,
  type Instance,
  type Position,
  positionOf,
  type QueueVisitor,
  REPLY_BYTES_MAX,
  REPLY_HEADER_BYTES,
  ReplyStatus,
  replyStatus,
  type Run,
  type Service,
  type SnapshotSink,
  type SnapshotSource,
  type Span,
  TraceCode,
  stampReplyStatus,
} from "../../model/index.js";
import { Attempts, hashCommand, type Optimistic } from "./attempts.js";
import type { ReplicatedStateOptions } from "./config.js";
import { firstFrom, type LateReply, type PendingCommand } from "./failed.js";
import type { RememberedReply, Session } from "./session.js";
import { SessionTable } from "./session-table.js";
import { StateSink, StateSource } from "./snapshot.js";

/** 2 KiB of reply take about as long to copy and send as a short command takes to execute. */
const COST_REPLY_SHIFT = 11;
/** Idle sessions removed per batch at most, so that many of them falling due together stop nothing. */
const EXPIRED_PER_BATCH_MAX = 256;
const NONCE_BYTES = 16;
/** A block of failed commands whose replies are longer is answered so far; its other commands come again. */
const CONSERVATIVE_BYTES_TARGET = 1024 * 1024;
const EMPTY = new Uint8Array(0);

/**
 * How a state takes the blocks of a batch. In the execution models with several threads, each keeps the sessions of a stream
 * that all of them see, but one executes.
 */
export const Role = {
  /** Nobody else executes meanwhile. */
  alone: 0,
  /** Others execute other commands meanwhile. */
  among: 1,
  /** Another thread executes the blocks and answers them, except that who remembers a reply repeats it. */
  follow: 2,
} as const;
export type Role = (typeof Role)[keyof typeof Role];

/** What a state answers for. The default is the one stream of a group that is alone. */
export interface StreamRules {
  /** The stream whose blocks of commands it executes, by the number in their headers. */
  readonly stream: number;
  /** Whether sessions are opened and closed, and digests taken, through this stream. */
  readonly control: boolean;
  /** Whether a block of these commands may execute in this stream; null if any may. */
  readonly admits: ((run: Run) => boolean) | null;
  /** Takes the digest that an ordered command asks for; null for that of this state alone. */
  readonly digest: ((into: Digest) => void) | null;
  /** Whether blocks of kind `conservative` pass by here without effect, because states of other streams execute them. */
  readonly passesConservative: boolean;
  /** What commands of this stream have to pass a safety check of, if any. */
  readonly optimistic: Optimistic | null;
}

const WHOLE: StreamRules = {
  stream: 0,
  control: true,
  admits: null,
  digest: null,
  passesConservative: false,
  optimistic: null,
};

/**
 * The replicated state: agreed time, session table and service. It changes only by whole decided batches, in log order.
 *
 * What a block of commands does (DESIGN safety rule 5), with `last` the session's last executed sequence number:
 *
 * | block | effect | answer |
 * |---|---|---|
 * | first = last + 1 | executes | `ok` and the replies, which are remembered |
 * | first > last + 1 | none | `retry` with last + 1 |
 * | wholly at or below last, remembered under the same first number and count | none | the remembered reply block |
 * | any other at or below last | none | `stale` |
 * | of an unknown or expired session, or of a stream other than this one | none | `sessionExpired` |
 * | not admitted to this stream | none | `misrouted` |
 *
 * A block that begins at or below `last` and ends above it is `stale` as well: blocks are retransmitted byte-identical, so
 * no correct client sends one, and executing its tail would be a guess. Every block of a known session counts as activity
 * and frees the replies it acknowledges.
 *
 * With a safety check (opt-PSMR) a block may be answered `failed`: its commands are done with but those with an empty reply,
 * which are pending until `executeConservative` finds their copies. Then a duplicate of it is also answered by the replies to
 * those that have been executed since (`stale` where that is gone), and those that have not are multicast again. If its own reply
 * is gone it is `stale` only when none of them is pending.
 */
export class ReplicatedState {
  readonly #options: ReplicatedStateOptions;
  readonly #service: Service;
  readonly #rules: StreamRules;
  readonly #run: Run = emptyRun();
  readonly #digest: Digest = new Uint32Array(4);
  #table: SessionTable;
  #time = 0;
  /** What `time` is at least for commands, see `observe`. */
  #clock = 0;
  /** Ordered commands executed in the life of the cluster, as far as snapshots tell. */
  #ordered = 0;
  /** The batch that has begun, its next block, and how blocks are taken. */
  #batch: Batch | null = null;
  #instance = 0;
  #block = 0;
  #at = 0;
  #role: Role = Role.alone;
  #before = 0;
  /** A block that executes one command at a time: commands left, where the next one is, and the replies so far. */
  #left = 0;
  #offset = 0;
  #session: Session | null = null;
  #partial: ByteWriter | null = null;
  readonly #attempts: Attempts | null;
  /** Commands executed by this object, reads included. */
  commands = 0;
  /** Commands that failed their safety check, that passed it, and failed ones that were executed since. */
  failed = 0;
  passed = 0;
  conservative = 0;
  /** What they cost, roughly in time: a command counts 1, and so do each 2 KiB of reply; some cost more by their own account. */
  cost = 0;

  constructor(service: Service, options: ReplicatedStateOptions, rules: StreamRules = WHOLE) {
    this.#options = options;
    this.#service = service;
    this.#rules = rules;
    this.#table = new SessionTable(options);
    const { optimistic } = rules;
    this.#attempts = optimistic?.service.attempt === undefined ? null : new Attempts(optimistic);
  }

  /** Agreed time in ms since the epoch. */
  get time(): number {
    return this.#time;
  }

  /** Agreed time from which the service wants a batch, with or without commands. */
  get due(): number {
    return this.#service.due();
  }

  /** Ordered commands executed in the life of the cluster. */
  get ordered(): number {
    return this.#ordered;
  }

  get sessions(): number {
    return this.#table.size;
  }

  /** What grows with sessions; a reply that alone is larger than its bound is kept, since it is the newest. */
  queues(visit: QueueVisitor): void {
    const { sessionsMax, sessionRepliesMax, sessionReplyBytesMax, replyBytesMax } = this.#options;
    const fullest = this.#table.fullest();
    visit("sessions", this.#table.size, sessionsMax);
    visit("session replies", fullest.replies, sessionRepliesMax);
    visit("session reply bytes", fullest.bytes, Math.max(sessionReplyBytesMax, REPLY_BYTES_MAX));
    visit("reply bytes", this.#table.replyBytes, Math.max(replyBytesMax, REPLY_BYTES_MAX));
    if (this.#attempts === null) return;
    const { sessionFailedMax, failedMax } = this.#options;
    visit("session failed commands", fullest.pending, Math.max(sessionFailedMax, BLOCK_COMMANDS_MAX));
    visit("failed commands", this.#table.pending, Math.max(failedMax, BLOCK_COMMANDS_MAX));
    visit("session late replies", fullest.late, sessionFailedMax);
    visit("late replies", this.#table.late, failedMax);
    visit("session late reply bytes", fullest.lateBytes, sessionReplyBytesMax);
    visit("late reply bytes", this.#table.lateBytes, replyBytesMax);
  }

  /** Four signed lanes of digest over sessions and what is remembered for them. */
  get lanes(): Int32Array {
    return this.#table.lanes;
  }

  /** Executes a decided batch; returns how many commands it executed. Every block of a client is answered exactly once. */
  apply(instance: Instance, batch: Batch, out: ExecutionSink, role: Role = Role.alone): number {
    this.begin(instance, batch, out, role);
    while (this.#block < batch.blocks) this.#next(out);
    return this.end(out);
  }

  /** Begins a decided batch that executes in units; as many `unit`s as `unitsOf` says follow, then `end`. */
  begin(instance: Instance, batch: Batch, out: ExecutionSink, role: Role): void {
    const { view } = batch;
    this.#before = this.commands;
    const time = batchTime(view, batch.start);
    if (time > this.#time) this.#time = time;
    if (this.#time > this.#clock) this.#clock = this.#time;
    this.#role = role;
    this.#expire(out);
    if (role !== Role.follow) this.#service.advance(this.#clock, null);
    this.#batch = batch;
    this.#instance = instance;
    this.#block = 0;
    this.#at = batch.start + BATCH_HEADER_BYTES;
  }

  end(out: ExecutionSink): number {
    const batch = this.#batch as Batch;
    assert(this.#at === batch.end, "a batch has other blocks than its header says");
    this.#batch = null;
    const executed = this.commands - this.#before;
    this.#ordered += executed;
    if (this.#role !== Role.follow) out.trace(TraceCode.executed, this.#instance, executed, 0);
    return executed;
  }

  /**
   * The units of a batch: its commands, executed or not, and its other blocks, but not the marks of coordinators and what passes
   * by. A unit is what a barrier per command has between two barriers.
   */
  static unitsOf(batch: Batch): number {
    const { view } = batch;
    let units = 0;
    let at = batch.start + BATCH_HEADER_BYTES;
    for (let i = 0; i < batch.blocks; i++) {
      units += unitsAt(view, at);
      at += blockLength(view, at);
    }
    return units;
  }

  /** Takes the next unit. Who executes a block answers it with its last unit. */
  unit(out: ExecutionSink): void {
    const { bytes, view, blocks } = this.#batch as Batch;
    if (this.#left === 0) {
      this.#skipMarks(out);
      assert(this.#block < blocks, "a batch has no more units");
      this.#left = unitsAt(view, this.#at);
      if (!this.#beginBlock(bytes, view, this.#at)) {
        // Not executed: all its units but the first are empty.
        this.#take(bytes, view, this.#at, positionOf(this.#instance, this.#block), this.#role, out);
      }
    }
    if (this.#session !== null) this.#executeUnit(bytes, view);
    this.#left--;
    if (this.#left > 0) return;
    if (this.#session !== null) this.#finishBlock(view, out);
    this.#at += blockLength(view, this.#at);
    this.#block++;
    this.#skipMarks(out);
  }

  /** The commands to come have at least this agreed time, which another stream has told. */
  observe(time: number): void {
    if (time > this.#clock) this.#clock = time;
  }

  /** The same, and it counts for the idle time of sessions. */
  advanceTo(time: number): void {
    if (time > this.#time) this.#time = time;
    this.observe(time);
  }

  /**
   * Takes from a batch of another stream what concerns the sessions of this one: that one is opened or closed, and which have
   * been active. `instance` is the batch's, `order` its place in the order by which this state counts activity.
   */
  mirror(instance: Instance, order: Instance, batch: Batch): void {
    const { view } = batch;
    let at = batch.start + BATCH_HEADER_BYTES;
    for (let i = 0; i < batch.blocks; i++) {
      const kind = blockKind(view, at);
      const session = this.#table.find(blockSession(view, at));
      if (kind === BlockKind.openSession) this.#admit(positionOf(instance, i), positionOf(order, i), null);
      else if (session !== undefined && kind === BlockKind.closeSession) this.#table.remove(session);
      else if (session !== undefined) this.#table.advance(session, session.last, 0, this.#time, positionOf(order, i));
      at += blockLength(view, at);
    }
  }

  /**
   * Executes the blocks of kind `conservative` of this stream in a batch of g_all, from block `from` on and `most` of them, alone
   * among the threads that could touch what they touch; returns the number of the block behind. `order` is the batch's place in
   * the order by which this state counts activity, in which `mirror` counts that of their sessions.
   *
   * | command of such a block | effect | answer |
   * |---|---|---|
   * | of an unknown or expired session | none | `sessionExpired` |
   * | above `last` | none | `retry` with last + 1 |
   * | pending, and one before it is that it conflicts with (any, if it was strict) | none | `retry` with that one's number |
   * | pending, with other bytes | none | `misrouted` |
   * | pending | executes | its reply |
   * | executed since it failed | none | its remembered reply |
   * | any other | none | `stale` |
   *
   * The replies to commands that follow each other are one reply block, which ends before the first that has none; if it is
   * empty, that command's answer is the block's. Commands that there is no reply to any more are passed over at the beginning.
   */
  executeConservative(order: Instance, batch: Batch, from: number, most: number, out: ExecutionSink): number {
    const { bytes, view } = batch;
    const before = this.commands;
    this.#service.advance(this.#clock, null);
    let at = batch.start + BATCH_HEADER_BYTES;
    let block = 0;
    for (let left = most; left > 0 && block < batch.blocks; block++) {
      if (block >= from && isConservative(view, at, this.#rules.stream)) {
        this.#conservativeBlock(bytes, view, at, positionOf(order, block), out);
        left--;
      }
      at += blockLength(view, at);
    }
    this.#ordered += this.commands - before;
    return block;
  }

  /** Executes a block of unordered reads on the present state, if its reply is wanted; returns how many commands it answered. */
  read(block: Span, route: number, out: ExecutionSink): number {
    if (out.readWanted?.(route) === false) return 0;
    const { view, start } = block;
    const count = blockCommands(view, start);
    const writer = out.replies();
    const at = beginReply(
      writer,
      blockSession(view, start),
      blockSequence(view, start),
      ReplyStatus.ok,
      BlockKind.read,
    );
    this.#load(block.bytes, view, start, count);
    const answered = this.#execute(mix32(this.#ordered), true, writer);
    if (answered < count) stampReplyStatus(writer.view, at, ReplyStatus.split);
    endReply(writer, at, answered);
    out.readDone(route, at);
    return answered;
  }

  /** Answers a block of unordered reads that could not wait: nothing was read, and the client may send it again. */
  refuseRead(block: Span, route: number, out: ExecutionSink): void {
    const { view, start } = block;
    const writer = out.replies();
    const sequence = blockSequence(view, start);
    const at = beginReply(writer, blockSession(view, start), sequence, ReplyStatus.retry, BlockKind.read);
    endReply(writer, at, 0);
    out.readDone(route, at);
  }

  /** Answers a copy of a block of commands that was executed, if its replies are remembered. */
  answerAgain(view: DataView, at: number, out: ExecutionSink): boolean {
    const session = blockStream(view, at) === 0 ? this.#table.find(blockSession(view, at)) : undefined;
    if (session === undefined) return false;
    const first = blockSequence(view, at);
    const count = blockCommands(view, at);
    const remembered = first + count - 1 <= session.last ? session.replyTo(first, count) : null;
    if (remembered === null) return false;
    const writer = out.replies();
    const reply = writer.length;
    writer.copy(remembered.bytes, 0, remembered.bytes.length);
    out.replied(session.id, remembered.position, reply);
    return true;
  }

  /** Digest over service, sessions with their remembered replies, and agreed time. */
  digest(into: Digest): void {
    this.#service.digest(into);
    const { lanes } = this.#table;
    const low = this.#time >>> 0;
    const high = Math.floor(this.#time / 4294967296) >>> 0;
    const fraction = Math.floor((this.#time - Math.floor(this.#time)) * 4294967296) >>> 0;
    const time = mix32(low ^ mix32(high ^ mix32(fraction)));
    for (let i = 0; i < 4; i++) {
      // Mixed rather than added up: equal and opposite differences in two parts must not cancel.
      into[i] = mix32(((into[i] as number) ^ mix32((lanes[i] as number) + 1)) + mix32(time ^ i));
    }
  }

  /** A snapshot, with that of the service or whatever else behind it. */
  snapshot(rest: SnapshotSource = this.#service.snapshot()): SnapshotSource {
    return new StateSource(this.#time, this.#ordered, this.#table, rest);
  }

  /** `installed` is called when the state has been replaced. */
  restore(installed: () => void, rest: SnapshotSink = this.#service.restore()): SnapshotSink {
    return new StateSink(this.#options, rest, ({ time, commands, table }) => {
      this.#time = time;
      this.#clock = time;
      this.#ordered = commands;
      this.#table = table;
      installed();
    });
  }

  #next(out: ExecutionSink): void {
    const { bytes, view } = this.#batch as Batch;
    const at = this.#at;
    this.#take(bytes, view, at, positionOf(this.#instance, this.#block), this.#role, out);
    this.#at = at + blockLength(view, at);
    this.#block++;
  }

  #skipMarks(out: ExecutionSink): void {
    const { view, blocks } = this.#batch as Batch;
    while (this.#block < blocks && unitsAt(view, this.#at) === 0) this.#next(out);
  }

  #take(bytes: Uint8Array, view: DataView, at: number, position: Position, role: Role, out: ExecutionSink): void {
    switch (blockKind(view, at)) {
      case BlockKind.commands:
        return this.#commands(bytes, view, at, position, role, out);
      case BlockKind.mergePoint:
      case BlockKind.skip:
        // Marks of a coordinator for the merge; nobody waits for an answer.
        return;
      case BlockKind.openSession:
        if (!this.#rules.control) break;
        return this.#openSession(bytes, view, at, position, role, out);
      case BlockKind.closeSession:
        if (!this.#rules.control) break;
        return this.#closeSession(view, at, position, role, out);
      case BlockKind.conservative:
        if (!this.#rules.passesConservative) break;
        return;
      default:
        assert(blockKind(view, at) === BlockKind.digest, "a block of a kind that is never ordered was ordered");
        if (!this.#rules.control) break;
        if (role === Role.follow) return;
        if (this.#rules.digest === null) this.digest(this.#digest);
        else this.#rules.digest(this.#digest);
        out.digestTaken(blockNonceHigh(view, at), blockNonceLow(view, at), position, this.#digest);
        return this.#answer(view, at, position, ReplyStatus.ok, blockSequence(view, at), out);
    }
    this.#answer(view, at, position, ReplyStatus.misrouted, blockSequence(view, at), out);
  }

  #commands(bytes: Uint8Array, view: DataView, at: number, position: Position, role: Role, out: ExecutionSink): void {
    const first = blockSequence(view, at);
    const session = blockStream(view, at) === this.#rules.stream ? this.#table.find(blockSession(view, at)) : undefined;
    if (session === undefined) {
      if (role === Role.follow) return;
      out.trace(TraceCode.commandsSkipped, blockSession(view, at), first, 0);
      return this.#answer(view, at, position, ReplyStatus.sessionExpired, first, out);
    }
    if (first !== session.last + 1) return this.#skip(bytes, view, at, session, position, role, out);
    if (role === Role.follow) {
      this.#record(view, at, session, position, EMPTY, 0, 0);
      return;
    }
    this.#load(bytes, view, at, blockCommands(view, at));
    if (this.#rules.admits !== null && !this.#rules.admits(this.#run)) {
      out.trace(TraceCode.commandsSkipped, session.id, first, first);
      return this.#answer(view, at, position, ReplyStatus.misrouted, first, out);
    }
    if (this.#attempts === null) this.#executeBlock(view, at, session, position, out);
    else this.#attemptBlock(this.#attempts, view, at, session, position, out);
  }

  #executeBlock(view: DataView, at: number, session: Session, position: Position, out: ExecutionSink): void {
    const first = session.last + 1;
    const count = blockCommands(view, at);
    const writer = out.replies();
    const reply = beginReply(writer, session.id, first, ReplyStatus.ok, BlockKind.commands);
    this.#execute(seedOf(position), false, writer);
    endReply(writer, reply, count);
    this.#record(view, at, session, position, writer.bytes, reply, writer.length);
    out.trace(TraceCode.commandsExecuted, session.id, first, count);
    out.replied(session.id, position, reply);
  }

  /** The same with a safety check. */
  #attemptBlock(
    attempts: Attempts,
    view: DataView,
    at: number,
    before: Session,
    position: Position,
    out: ExecutionSink,
  ): void {
    const first = before.last + 1;
    const count = blockCommands(view, at);
    let session = before;
    if (!this.#table.hasRoomForFailed(session, count)) {
      session = this.#table.advance(session, session.last, blockAcknowledged(view, at), this.#time, position);
      if (!this.#table.hasRoomForFailed(session, count)) {
        out.trace(TraceCode.commandsSkipped, session.id, first, first);
        return this.#answer(view, at, position, ReplyStatus.retry, first, out);
      }
    }
    const strict = blockStrict(view, at);
    const writer = out.replies();
    const reply = beginReply(writer, session.id, first, ReplyStatus.ok, BlockKind.commands);
    const replies = this.#prepare(seedOf(position), false, writer);
    attempts.execute(this.#run, session, strict, writer);
    this.#settle(replies, writer);
    endReply(writer, reply, count);
    const { failed } = attempts;
    this.commands -= failed.length;
    this.failed += failed.length;
    this.passed += count - failed.length;
    if (failed.length > 0) stampReplyStatus(writer.view, reply, ReplyStatus.failed);
    session = this.#record(view, at, session, position, writer.bytes, reply, writer.length);
    for (const i of failed) {
      this.#table.addPending(session, attempts.pendingFor(this.#run, i, session, first, strict));
      out.trace(TraceCode.commandFailed, session.id, first + i, this.#rules.stream - 1);
    }
    out.trace(TraceCode.commandsExecuted, session.id, first, count);
    out.replied(session.id, position, reply);
    if (failed.length > 0) attempts.multicastAgain(this.#run, session, first, out);
  }

  /** Notes that the next block of a session was executed, with its reply block, which is empty if another thread has it. */
  #record(
    view: DataView,
    at: number,
    session: Session,
    position: Position,
    bytes: Uint8Array,
    reply: number,
    end: number,
  ): Session {
    const first = session.last + 1;
    const count = blockCommands(view, at);
    const own = this.#table.advance(session, first + count - 1, blockAcknowledged(view, at), this.#time, position);
    this.#table.remember(own, first, count, position, bytes, reply, end);
    return own;
  }

  /** Answers a block that is not the next of its session. */
  #skip(
    bytes: Uint8Array,
    view: DataView,
    at: number,
    session: Session,
    position: Position,
    role: Role,
    out: ExecutionSink,
  ): void {
    const first = blockSequence(view, at);
    const count = blockCommands(view, at);
    const { last } = session;
    if (role !== Role.follow) out.trace(TraceCode.commandsSkipped, session.id, first, last + 1);
    // A retransmission may be acknowledged in the very block: its own reply is looked up before replies are freed.
    const remembered = first + count - 1 <= last ? session.replyTo(first, count) : null;
    const own = this.#table.advance(session, last, blockAcknowledged(view, at), this.#time, position);
    if (remembered !== null) {
      // An empty one is a reply that another thread remembers, and repeats.
      if (remembered.bytes.length === 0) return;
      const writer = out.replies();
      const reply = writer.length;
      writer.copy(remembered.bytes, 0, remembered.bytes.length);
      out.replied(session.id, position, reply);
    } else if (role === Role.follow) {
      // The bytes are remembered where it was executed alone, and that may have been here: who executes is the batch's affair.
      if (first + count - 1 <= last) this.#answer(view, at, position, ReplyStatus.stale, first, out);
      return;
    } else if (first > last) return this.#answer(view, at, position, ReplyStatus.retry, last + 1, out);
    const stands = this.#attempts !== null && first + count - 1 <= last;
    const pending = stands ? firstFrom(own.pending, first) : own.pending.length;
    const waits = pending < own.pending.length && (own.pending[pending] as PendingCommand).sequence < first + count;
    // Of one whose reply is gone a client would not send further copies if it heard so while they are needed.
    if (remembered === null && waits) {
      const { sequence } = own.pending[pending] as PendingCommand;
      this.#answer(view, at, position, ReplyStatus.retry, sequence, out, BlockKind.conservative);
    } else if (remembered === null) this.#answer(view, at, position, ReplyStatus.stale, first, out);
    if (!stands) return;
    if (own.late.length > 0) this.#answerLate(own, first, first + count, position, out);
    if (remembered !== null) this.#answerForgotten(own, remembered, view, at, position, out);
    if (waits) this.#multicastAgain(own, pending, bytes, view, at, out);
  }

  /** Answers `stale` for each command of a block that failed, was executed, and whose late reply is gone. */
  #answerForgotten(
    session: Session,
    { bytes, first, count }: RememberedReply,
    view: DataView,
    at: number,
    position: Position,
    out: ExecutionSink,
  ): void {
    const replies = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    if (replyStatus(replies, 0) !== ReplyStatus.failed) return;
    let reply = REPLY_HEADER_BYTES;
    for (let sequence = first; sequence < first + count; sequence++) {
      const length = replies.getUint32(reply, true);
      reply += length;
      if (length !== FAILED_REPLY_BYTES) continue;
      if (session.pendingAt(sequence) >= 0 || session.lateReply(sequence) !== null) continue;
      this.#answer(view, at, position, ReplyStatus.stale, sequence, out, BlockKind.conservative);
    }
  }

  /** Asks for what is pending of a block, from the command at `from` of those that its session has pending, to be multicast again. */
  #multicastAgain(
    session: Session,
    from: number,
    bytes: Uint8Array,
    view: DataView,
    at: number,
    out: ExecutionSink,
  ): void {
    const first = blockSequence(view, at);
    const count = blockCommands(view, at);
    const attempts = this.#attempts as Attempts;
    const { failed } = attempts;
    failed.length = 0;
    for (let i = from; i < session.pending.length; i++) {
      const { sequence } = session.pending[i] as PendingCommand;
      if (sequence >= first + count) break;
      failed.push(sequence - first);
    }
    this.#load(bytes, view, at, count);
    attempts.multicastAgain(this.#run, session, first, out);
  }

  /** Repeats the remembered replies to failed commands that have been executed, from number `first` to before `end`. */
  #answerLate(session: Session, first: number, end: number, position: Position, out: ExecutionSink): void {
    const { late } = session;
    let i = firstFrom(late, first);
    while (i < late.length && (late[i] as LateReply).sequence < end) {
      const from = (late[i] as LateReply).sequence;
      const writer = out.replies();
      const reply = beginReply(writer, session.id, from, ReplyStatus.ok, BlockKind.conservative);
      let sequence = from;
      for (; sequence < end && late[i]?.sequence === sequence; i++, sequence++) {
        const { bytes } = late[i] as LateReply;
        writer.copy(bytes, 0, bytes.length);
      }
      endReply(writer, reply, sequence - from);
      out.replied(session.id, position, reply);
    }
  }

  #conservativeBlock(bytes: Uint8Array, view: DataView, at: number, position: Position, out: ExecutionSink): void {
    const found = this.#table.find(blockSession(view, at));
    const first = blockSequence(view, at);
    const end = first + blockCommands(view, at);
    if (found === undefined) return this.#answer(view, at, position, ReplyStatus.sessionExpired, first, out);
    if (end - 1 > found.last) return this.#answer(view, at, position, ReplyStatus.retry, found.last + 1, out);
    let session = found;
    let writer: ByteWriter | null = null;
    let reply = 0;
    let replies = 0;
    let offset = at + BLOCK_HEADER_BYTES;
    for (let sequence = first; sequence < end; offset += view.getUint32(offset, true), sequence++) {
      const pendingAt = session.pendingAt(sequence);
      const late = pendingAt < 0 ? session.lateReply(sequence) : null;
      if (pendingAt < 0 && late === null) {
        if (replies === 0) continue;
        break;
      }
      if (pendingAt >= 0 && !this.#isNext(session.pending, pendingAt, bytes, view, offset)) {
        if (replies > 0) break;
        const earlier = Attempts.before(session.pending, pendingAt);
        const status = earlier === null ? ReplyStatus.misrouted : ReplyStatus.retry;
        return this.#answer(view, at, position, status, earlier?.sequence ?? first, out);
      }
      if (writer === null) {
        writer = out.replies();
        reply = beginReply(writer, session.id, sequence, ReplyStatus.ok, BlockKind.conservative);
      } else if (writer.length - reply > CONSERVATIVE_BYTES_TARGET) break;
      replies++;
      if (late !== null) {
        writer.copy(late.bytes, 0, late.bytes.length);
        continue;
      }
      const start = writer.length;
      this.#execute(mix32(seedOf(position) + sequence - first), false, writer);
      this.conservative++;
      session = this.#table.execute(session, pendingAt, writer.bytes, start, writer.length);
      out.trace(TraceCode.conservativeExecuted, session.id, sequence, 1);
    }
    if (writer === null) return this.#answer(view, at, position, ReplyStatus.stale, first, out);
    endReply(writer, reply, replies);
    out.replied(session.id, position, reply);
  }

  /** Makes a run of the command at `offset`; whether it is the pending one, and none goes before that. */
  #isNext(pending: readonly PendingCommand[], at: number, bytes: Uint8Array, view: DataView, offset: number): boolean {
    const run = this.#run;
    run.bytes = bytes;
    run.view = view;
    run.count = 1;
    run.offsets[0] = offset;
    return (pending[at] as PendingCommand).hash === hashCommand(run, 0) && Attempts.before(pending, at) === null;
  }

  #openSession(
    bytes: Uint8Array,
    view: DataView,
    at: number,
    position: Position,
    role: Role,
    out: ExecutionSink,
  ): void {
    this.#admit(position, position, role === Role.follow ? null : out);
    if (role === Role.follow) return;
    out.trace(TraceCode.sessionOpened, position, 0, 0);
    const writer = out.replies();
    const reply = beginReply(writer, position, blockSequence(view, at), ReplyStatus.ok, BlockKind.openSession);
    writer.copy(bytes, at + BLOCK_HEADER_BYTES, at + BLOCK_HEADER_BYTES + NONCE_BYTES);
    endReply(writer, reply, 0);
    out.replied(position, position, reply);
  }

  #closeSession(view: DataView, at: number, position: Position, role: Role, out: ExecutionSink): void {
    const session = this.#table.find(blockSession(view, at));
    if (session !== undefined) this.#table.remove(session);
    if (role === Role.follow) return;
    const status = session === undefined ? ReplyStatus.sessionExpired : ReplyStatus.ok;
    this.#answer(view, at, position, status, blockSequence(view, at), out);
  }

  /** Opens a session, in place of the one that has been idle for longest if there is no room. */
  #admit(id: Position, position: Position, out: ExecutionSink | null): void {
    const { idlest } = this.#table;
    if (this.#table.full && idlest !== null) this.#remove(idlest, out);
    this.#table.open(id, this.#time, position);
  }

  /** Begins to execute the block at `at` one command at a time; false if it is not one to be executed. */
  #beginBlock(bytes: Uint8Array, view: DataView, at: number): boolean {
    if (blockKind(view, at) !== BlockKind.commands || blockStream(view, at) !== this.#rules.stream) return false;
    const session = this.#table.find(blockSession(view, at));
    if (session === undefined || blockSequence(view, at) !== session.last + 1) return false;
    this.#load(bytes, view, at, blockCommands(view, at));
    if (this.#rules.admits !== null && !this.#rules.admits(this.#run)) return false;
    this.#session = session;
    this.#offset = at + BLOCK_HEADER_BYTES;
    const writer = (this.#partial ??= new ByteWriter(4096, REPLY_BYTES_MAX));
    writer.clear();
    beginReply(writer, session.id, session.last + 1, ReplyStatus.ok, BlockKind.commands);
    return true;
  }

  #executeUnit(bytes: Uint8Array, view: DataView): void {
    const run = this.#run;
    run.bytes = bytes;
    run.view = view;
    run.count = 1;
    run.offsets[0] = this.#offset;
    this.#offset += view.getUint32(this.#offset, true);
    const seed = mix32(seedOf(positionOf(this.#instance, this.#block)) + this.#left);
    this.#execute(seed, false, this.#partial as ByteWriter);
  }

  #finishBlock(view: DataView, out: ExecutionSink): void {
    const session = this.#session as Session;
    const partial = this.#partial as ByteWriter;
    const position = positionOf(this.#instance, this.#block);
    const first = session.last + 1;
    const count = blockCommands(view, this.#at);
    this.#session = null;
    endReply(partial, 0, count);
    this.#record(view, this.#at, session, position, partial.bytes, 0, partial.length);
    const writer = out.replies();
    const reply = writer.length;
    writer.copy(partial.bytes, 0, partial.length);
    out.trace(TraceCode.commandsExecuted, session.id, first, count);
    out.replied(session.id, position, reply);
  }

  /** Answers a block by a reply block without replies. */
  #answer(
    view: DataView,
    at: number,
    position: Position,
    status: ReplyStatus,
    sequence: number,
    out: ExecutionSink,
    kind = blockKind(view, at) as BlockKind,
  ): void {
    const session = blockSession(view, at);
    const writer = out.replies();
    const reply = beginReply(writer, session, sequence, status, kind);
    endReply(writer, reply, 0);
    out.replied(session, position, reply);
  }

  /** Makes a run of the commands of the block at `at`. */
  #load(bytes: Uint8Array, view: DataView, at: number, count: number): void {
    const run = this.#run;
    if (run.offsets.length < count) run.offsets = new Uint32Array(Math.max(count, 2 * run.offsets.length));
    const { offsets } = run;
    let offset = at + BLOCK_HEADER_BYTES;
    for (let i = 0; i < count; i++) {
      offsets[i] = offset;
      offset += view.getUint32(offset, true);
    }
    run.bytes = bytes;
    run.view = view;
    run.count = count;
  }

  /** Executes the run that is loaded, verifies that there is one reply each, and returns how many commands were answered. */
  #execute(seed: number, readOnly: boolean, writer: ByteWriter): number {
    const before = this.#prepare(seed, readOnly, writer);
    this.#service.execute(this.#run, writer, null);
    return this.#settle(before, writer);
  }

  #prepare(seed: number, readOnly: boolean, writer: ByteWriter): number {
    const run = this.#run;
    run.time = this.#clock;
    run.seed = seed;
    run.readOnly = readOnly;
    run.answered = run.count;
    run.work = 0;
    run.repliesAt = writer.length;
    return writer.length;
  }

  #settle(before: number, writer: ByteWriter): number {
    const { answered, count, readOnly, work } = this.#run;
    assert(answered === count || (readOnly && answered >= 1 && answered < count), "a service left commands unanswered");
    let reply = before;
    let replies = 0;
    for (; reply + 4 <= writer.length && replies < answered; replies++) reply += writer.view.getUint32(reply, true);
    assert(replies === answered && reply === writer.length, "a service wrote other than one reply to each command");
    this.commands += answered;
    this.cost += answered + work + ((writer.length - before) >>> COST_REPLY_SHIFT);
    return answered;
  }

  #expire(out: ExecutionSink): void {
    const due = this.#time - this.#options.sessionIdleMs;
    for (let i = 0; i < EXPIRED_PER_BATCH_MAX; i++) {
      const { idlest } = this.#table;
      if (idlest === null || idlest.activeAt >= due) return;
      this.#remove(idlest, this.#role === Role.follow ? null : out);
    }
  }

  #remove(session: Session, out: ExecutionSink | null): void {
    this.#table.remove(session);
    if (out !== null) out.trace(TraceCode.sessionExpired, session.id, 0, 0);
  }
}

/** Whether a block brings commands of stream `stream` that failed, again. */
function isConservative(view: DataView, at: number, stream: number): boolean {
  return blockKind(view, at) === BlockKind.conservative && blockStream(view, at) === stream;
}

/** The units of the block at `at`, see `unitsOf`. */
function unitsAt(view: DataView, at: number): number {
  const kind = blockKind(view, at);
  if (kind === BlockKind.commands) return blockCommands(view, at);
  return kind === BlockKind.openSession || kind === BlockKind.closeSession || kind === BlockKind.digest ? 1 : 0;
}

/** Randomness that all replicas agree on: a function of the log position. */
function seedOf(position: Position): number {
  return mix32((position >>> 0) ^ mix32(Math.floor(position / 4294967296)));
}
