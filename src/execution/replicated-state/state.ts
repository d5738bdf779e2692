// Hot file: every ordered block and every read block executes here. One reused run; nothing is allocated per command, and
// nothing throws for what a client sent. Watched by bench/execution.mjs.
import { assert, type ByteWriter, mix32 } from "../../base/index.js";
import {
  type Batch,
  BATCH_HEADER_BYTES,
  batchTime,
  beginReply,
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
  type Digest,
  emptyRun,
  endReply,
  type ExecutionSink,
  type Instance,
  type Position,
  positionOf,
  type QueueVisitor,
  REPLY_BYTES_MAX,
  ReplyStatus,
  type Run,
  type Service,
  type SnapshotSink,
  type SnapshotSource,
  type Span,
  TraceCode,
  stampReplyStatus,
} from "../../model/index.js";
import type { ReplicatedStateOptions } from "./config.js";
import type { Session } from "./session.js";
import { SessionTable } from "./session-table.js";
import { StateSink, StateSource } from "./snapshot.js";

/** 2 KiB of reply take about as long to copy and send as a short command takes to execute. */
const COST_REPLY_SHIFT = 11;
/** Idle sessions removed per batch at most, so that many of them falling due together stop nothing. */
const EXPIRED_PER_BATCH_MAX = 256;
const NONCE_BYTES = 16;

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
 * | of an unknown or expired session, or of a stream other than 0 | none | `sessionExpired` |
 *
 * A block that begins at or below `last` and ends above it is `stale` as well: blocks are retransmitted byte-identical, so
 * no correct client sends one, and executing its tail would be a guess. Every block of a known session counts as activity
 * and frees the replies it acknowledges.
 */
export class ReplicatedState {
  readonly #options: ReplicatedStateOptions;
  readonly #service: Service;
  readonly #run: Run = emptyRun();
  readonly #digest: Digest = new Uint32Array(4);
  #table: SessionTable;
  #time = 0;
  /** Ordered commands executed in the life of the cluster, as far as snapshots tell. */
  #ordered = 0;
  /** Commands executed by this object, reads included. */
  commands = 0;
  /** What they cost, roughly in time: a command counts 1, and so do each 2 KiB of reply; some cost more by their own account. */
  cost = 0;

  constructor(service: Service, options: ReplicatedStateOptions) {
    this.#options = options;
    this.#service = service;
    this.#table = new SessionTable(options);
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
  }

  /** Executes a decided batch; returns how many commands it executed. Every block of a client is answered exactly once. */
  apply(instance: Instance, batch: Batch, out: ExecutionSink): number {
    const { view } = batch;
    const before = this.commands;
    const time = batchTime(view, batch.start);
    if (time > this.#time) this.#time = time;
    this.#expire(out);
    this.#service.advance(this.#time, null);
    let at = batch.start + BATCH_HEADER_BYTES;
    for (let i = 0; i < batch.blocks; i++) {
      this.#block(batch.bytes, view, at, positionOf(instance, i), out);
      at += blockLength(view, at);
    }
    assert(at === batch.end, "a batch has other blocks than its header says");
    const executed = this.commands - before;
    this.#ordered += executed;
    out.trace(TraceCode.executed, instance, executed, 0);
    return executed;
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
    const answered = this.#execute(block.bytes, view, start, count, mix32(this.#ordered), true, writer);
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

  snapshot(): SnapshotSource {
    return new StateSource(this.#time, this.#ordered, this.#table, this.#service);
  }

  /** `installed` is called when the state has been replaced. */
  restore(installed: () => void): SnapshotSink {
    return new StateSink(this.#options, this.#service, ({ time, commands, table }) => {
      this.#time = time;
      this.#ordered = commands;
      this.#table = table;
      installed();
    });
  }

  #block(bytes: Uint8Array, view: DataView, at: number, position: Position, out: ExecutionSink): void {
    switch (blockKind(view, at)) {
      case BlockKind.commands:
        return this.#commands(bytes, view, at, position, out);
      case BlockKind.openSession:
        return this.#openSession(bytes, view, at, position, out);
      case BlockKind.closeSession:
        return this.#closeSession(view, at, position, out);
      case BlockKind.mergePoint:
      case BlockKind.skip:
        // Marks of a coordinator for the merge; nobody waits for an answer.
        return;
      default:
        assert(blockKind(view, at) === BlockKind.digest, "a block of a kind that is never ordered was ordered");
        this.digest(this.#digest);
        out.digestTaken(blockNonceHigh(view, at), blockNonceLow(view, at), position, this.#digest);
        return this.#answer(view, at, position, ReplyStatus.ok, blockSequence(view, at), out);
    }
  }

  #commands(bytes: Uint8Array, view: DataView, at: number, position: Position, out: ExecutionSink): void {
    const first = blockSequence(view, at);
    const session = blockStream(view, at) === 0 ? this.#table.find(blockSession(view, at)) : undefined;
    if (session === undefined) {
      out.trace(TraceCode.commandsSkipped, blockSession(view, at), first, 0);
      return this.#answer(view, at, position, ReplyStatus.sessionExpired, first, out);
    }
    if (first === session.last + 1) return this.#executeBlock(bytes, view, at, session, position, out);
    this.#skip(view, at, session, position, out);
  }

  #executeBlock(
    bytes: Uint8Array,
    view: DataView,
    at: number,
    session: Session,
    position: Position,
    out: ExecutionSink,
  ): void {
    const first = session.last + 1;
    const count = blockCommands(view, at);
    const writer = out.replies();
    const reply = beginReply(writer, session.id, first, ReplyStatus.ok, BlockKind.commands);
    this.#execute(bytes, view, at, count, seedOf(position), false, writer);
    endReply(writer, reply, count);
    const own = this.#table.advance(session, first + count - 1, blockAcknowledged(view, at), this.#time, position);
    this.#table.remember(own, first, count, position, writer.bytes, reply, writer.length);
    out.trace(TraceCode.commandsExecuted, own.id, first, count);
    out.replied(own.id, position, reply);
  }

  /** Answers a block that is not the next of its session. */
  #skip(view: DataView, at: number, session: Session, position: Position, out: ExecutionSink): void {
    const first = blockSequence(view, at);
    const count = blockCommands(view, at);
    const { last } = session;
    out.trace(TraceCode.commandsSkipped, session.id, first, last + 1);
    // A retransmission may be acknowledged in the very block: its own reply is looked up before replies are freed.
    const remembered = first + count - 1 <= last ? session.replyTo(first, count) : null;
    this.#table.advance(session, last, blockAcknowledged(view, at), this.#time, position);
    if (remembered !== null) {
      const writer = out.replies();
      const reply = writer.length;
      writer.copy(remembered.bytes, 0, remembered.bytes.length);
      return out.replied(session.id, position, reply);
    }
    if (first > last) this.#answer(view, at, position, ReplyStatus.retry, last + 1, out);
    else this.#answer(view, at, position, ReplyStatus.stale, first, out);
  }

  #openSession(bytes: Uint8Array, view: DataView, at: number, position: Position, out: ExecutionSink): void {
    const { idlest } = this.#table;
    if (this.#table.full && idlest !== null) this.#remove(idlest, out);
    this.#table.open(position, this.#time);
    out.trace(TraceCode.sessionOpened, position, 0, 0);
    const writer = out.replies();
    const reply = beginReply(writer, position, blockSequence(view, at), ReplyStatus.ok, BlockKind.openSession);
    writer.copy(bytes, at + BLOCK_HEADER_BYTES, at + BLOCK_HEADER_BYTES + NONCE_BYTES);
    endReply(writer, reply, 0);
    out.replied(position, position, reply);
  }

  #closeSession(view: DataView, at: number, position: Position, out: ExecutionSink): void {
    const session = this.#table.find(blockSession(view, at));
    if (session !== undefined) this.#table.remove(session);
    const status = session === undefined ? ReplyStatus.sessionExpired : ReplyStatus.ok;
    this.#answer(view, at, position, status, blockSequence(view, at), out);
  }

  /** Answers a block by a reply block without replies. */
  #answer(
    view: DataView,
    at: number,
    position: Position,
    status: ReplyStatus,
    sequence: number,
    out: ExecutionSink,
  ): void {
    const session = blockSession(view, at);
    const writer = out.replies();
    const reply = beginReply(writer, session, sequence, status, blockKind(view, at) as BlockKind);
    endReply(writer, reply, 0);
    out.replied(session, position, reply);
  }

  /** Runs the commands of the block at `at`, verifies that there is one reply each, and returns how many were answered. */
  #execute(
    bytes: Uint8Array,
    view: DataView,
    at: number,
    count: number,
    seed: number,
    readOnly: boolean,
    writer: ByteWriter,
  ): number {
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
    run.time = this.#time;
    run.seed = seed;
    run.readOnly = readOnly;
    run.answered = count;
    run.work = 0;
    const before = writer.length;
    let reply = before;
    this.#service.execute(run, writer, null);
    const { answered } = run;
    assert(answered === count || (readOnly && answered >= 1 && answered < count), "a service left commands unanswered");
    let replies = 0;
    for (; reply + 4 <= writer.length && replies < answered; replies++) reply += writer.view.getUint32(reply, true);
    assert(replies === answered && reply === writer.length, "a service wrote other than one reply to each command");
    this.commands += answered;
    this.cost += answered + run.work + ((writer.length - before) >>> COST_REPLY_SHIFT);
    return answered;
  }

  #expire(out: ExecutionSink): void {
    const due = this.#time - this.#options.sessionIdleMs;
    for (let i = 0; i < EXPIRED_PER_BATCH_MAX; i++) {
      const { idlest } = this.#table;
      if (idlest === null || idlest.activeAt >= due) return;
      this.#remove(idlest, out);
    }
  }

  #remove(session: Session, out: ExecutionSink): void {
    this.#table.remove(session);
    out.trace(TraceCode.sessionExpired, session.id, 0, 0);
  }
}

/** Randomness that all replicas agree on: a function of the log position. */
function seedOf(position: Position): number {
  return mix32((position >>> 0) ^ mix32(Math.floor(position / 4294967296)));
}
