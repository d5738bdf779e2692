// Hot file: every batch that a thread executes passes here. Nothing per command.
import { assert, ByteWriter, MiB, Ring } from "../../base/index.js";
import type { Cut, PsmrSink, ThreadModel } from "../../execution/index.js";
import {
  type Batch,
  BatchArena,
  beginReply,
  BlockKind,
  type Digest,
  endReply,
  type ExecutionEvent,
  type ExecutionModel,
  type ExecutionSink,
  type ExecutionView,
  type Instance,
  type Position,
  type QueueVisitor,
  REPLY_BYTES_MAX,
  replyKind,
  replySequence,
  ReplyStatus,
  type SessionId,
  type SnapshotSink,
  type SnapshotSource,
  type TraceCode,
} from "../../model/index.js";
import { ALL, type DeliverySink, type Merge, type Pacing, type StreamId } from "../../multicast/index.js";
import { MemberMessage } from "./member-message.js";
import type { Bells, MemberParts } from "./api.js";
import { Board } from "./board.js";
import { MessageReceiver, MessageSender } from "./message-ring.js";

/** Decided batches that the merge has not taken; each is in the log's memory, which is full long before. */
const DECIDED_MAX = 1_048_576;
/** Answers that wait for member 0; of a reply that comes beyond it nothing is sent but that its client has to ask again. */
const ANSWERS_BYTES_MAX = 64 * MiB;
/** Longest of them: the header, the session, and a reply block. */
const ANSWER_BYTES_MAX = 24 + REPLY_BYTES_MAX;
const ARENA_SPARE_CHUNKS = 8;
const CHUNK_BYTES = MiB;

export interface ThreadExecutionInit {
  readonly parts: MemberParts;
  readonly bells: Bells;
  readonly psmr: ThreadModel;
  readonly merge: Merge;
  /** Two pacings that are told what is delivered rather than what is decided, so that a cut says what they know there. */
  readonly ownPlace: Pacing;
  readonly allPlace: Pacing;
  /** A cut begins at this thread's present position. */
  onCut(cut: Cut): void;
  /**
   * The thread is behind an instance of g_all, and its part of the state is its own. By the end of its turn it may stand at the next
   * barrier already: a cut that is being written takes what it can get here.
   */
  onPassed(): void;
  /** How many entries the service has, of the first thread; null of others. */
  readonly entries: (() => number) | null;
  /** Whether commands that failed their safety check are multicast again by the replicas rather than by their clients. */
  readonly resubmits: boolean;
}

/**
 * The execution of member i: it merges the decided batches of its own stream with those of g_all, and executes them as a thread of
 * P-SMR or opt-PSMR. Replies to g_all go to member 0, whose clients they are for; but those to conservative blocks, which concern
 * sessions of the thread's own group, leave by its own member.
 *
 * Invariant: behind an instance of g_all the merge rests until it has been executed. So when a cut is taken, which is always
 * right behind one, the merge is where execution is, and its place can be saved.
 */
export class ThreadExecution implements ExecutionModel, PsmrSink, DeliverySink {
  readonly thread: number;
  readonly #init: ThreadExecutionInit;
  readonly #board: Board;
  readonly #bells: Bells;
  readonly #psmr: ThreadModel;
  readonly #merge: Merge;
  readonly #decisions: MessageReceiver;
  readonly #answers: MessageSender;
  /** Own batches that are decided and not in the merge, which come from `#firstOwn` on. */
  readonly #own = new Ring<Batch>(DECIDED_MAX);
  #firstOwn: Instance = 1;
  /** Batches of g_all are copied: they belong to member 0, whose log lets go of them by its own. */
  readonly #arena = new BatchArena(CHUNK_BYTES, ARENA_SPARE_CHUNKS);
  /** One that the merge has no room for. */
  #refused: Batch | null = null;
  #refusedInstance: Instance = 0;
  /** The batch of g_all that is in the thread, and how many of its own stream are, all of which execute before it. */
  #resting: Batch | null = null;
  #ownInThread = 0;
  #out: ExecutionSink | null = null;
  #replies: ByteWriter | null = null;
  /** Messages to member 0 that did not fit: `u32 kind`, `u32 length`, `f64 number`, bytes. */
  readonly #backlog = new ByteWriter(4096, ANSWERS_BYTES_MAX + ANSWER_BYTES_MAX);
  #backlogAt = 0;
  readonly #message = new ByteWriter(256, ANSWER_BYTES_MAX);
  #toldAll: Instance = -1;
  #answered = false;
  readonly again?: NonNullable<ExecutionSink["again"]>;
  readonly #takeDecision = (
    _kind: number,
    instance: number,
    bytes: Uint8Array,
    view: DataView,
    start: number,
    end: number,
  ): boolean => {
    const batch = this.#arena.copy(bytes, view, start, end);
    if (this.#merge.offer(ALL, instance, batch)) return true;
    this.#refused = batch;
    this.#refusedInstance = instance;
    return false;
  };

  constructor(init: ThreadExecutionInit) {
    this.#init = init;
    this.#board = new Board(init.parts.board);
    this.#bells = init.bells;
    this.#psmr = init.psmr;
    this.#merge = init.merge;
    this.thread = init.psmr.thread;
    this.#decisions = new MessageReceiver(init.parts.decisions[this.thread] as SharedArrayBuffer);
    this.#answers = new MessageSender(init.parts.answers[this.thread] as SharedArrayBuffer);
    if (init.resubmits) this.again = (bytes, _view, start, end) => this.#multicastAgain(bytes, start, end);
  }

  get stream(): StreamId {
    return this.thread + 1;
  }

  /** Goes on where a cut was restored, before anything is decided. */
  begin(): void {
    this.#firstOwn = this.#merge.expected(this.stream);
    this.#tellExecuted();
  }

  step(event: ExecutionEvent, out: ExecutionSink): void {
    this.#out = out;
    if (event.kind === "decided") {
      assert(
        event.instance === this.#firstOwn + this.#own.size,
        `g_${this.stream} decided ${event.instance} out of order`,
      );
      this.#own.push(event.batch);
      out.wantWork();
    } else if (event.kind === "work") this.#work(event.budget);
    else assert(event.kind !== "read", "members take ordered commands only");
  }

  inspect(): ExecutionView {
    return this.#psmr.inspect();
  }

  queues(visit: QueueVisitor): void {
    visit("decided batches", this.#own.size, DECIDED_MAX);
    visit("bytes of answers for g_all", this.#backlog.length - this.#backlogAt, ANSWERS_BYTES_MAX + ANSWER_BYTES_MAX);
    this.#merge.queues(visit);
    this.#psmr.queues(visit);
  }

  digest(): void {
    assert(false, "the state of threads has a digest at a barrier only");
  }

  snapshot(): SnapshotSource {
    assert(false, "the state of threads is cut at a barrier");
  }

  restore(): SnapshotSink {
    assert(false, "the state of threads is restored from a cut");
  }

  /** Where the merge and the pacings are, for a cut that is taken now. */
  savePlaces(writer: ByteWriter): void {
    this.#merge.save(writer);
    this.#init.ownPlace.save(writer);
    this.#init.allPlace.save(writer);
  }

  // Deliveries of the merge.

  delivered(stream: StreamId, instance: Instance, batch: Batch): void {
    if (stream === ALL) {
      this.#init.allPlace.decided(instance, batch);
      this.#resting = batch;
    } else {
      this.#init.ownPlace.decided(instance, batch);
      this.#ownInThread++;
    }
    this.#psmr.step({ kind: "decided", stream, instance, batch }, this);
  }

  // What the thread does.

  executed(stream: number, through: Instance): void {
    if (stream === ALL) {
      assert(this.#resting !== null, "an instance of g_all was executed that is not there");
      this.#arena.release(this.#resting);
      this.#resting = null;
      this.#init.onPassed();
      return;
    }
    this.#ownInThread--;
    (this.#out as ExecutionSink).executed(stream, through);
  }

  arrived(_barrier: number, executor: number): void {
    this.#bells.ring(executor + 1);
  }

  released(): void {
    const { groups } = this.#init.parts;
    for (let member = 1; member <= groups; member++) if (member !== this.stream) this.#bells.ring(member);
  }

  cutTaken(cut: Cut): void {
    this.#init.onCut(cut);
  }

  replies(): ByteWriter {
    return (this.#replies = (this.#out as ExecutionSink).replies());
  }

  replied(session: SessionId, position: Position, at: number): void {
    const replies = this.#replies as ByteWriter;
    // The instance of g_all comes behind what is of the own stream: nothing of that being left, it is answered, whether this
    // thread executes it or repeats what it remembers.
    if (this.#ownInThread > 0 || replyKind(replies.view, at) === BlockKind.conservative) {
      (this.#out as ExecutionSink).replied(session, position, at);
      return;
    }
    const message = this.#message;
    message.clear();
    message.f64(session);
    const { view } = replies;
    const waiting = this.#backlog.length - this.#backlogAt;
    if (waiting > ANSWERS_BYTES_MAX && replyKind(view, at) === BlockKind.commands) {
      // Member 0 has to hear of it: until then it takes copies of the block for ones that are on their way already.
      const retry = beginReply(message, session, replySequence(view, at), ReplyStatus.retry, BlockKind.commands);
      endReply(message, retry, 0);
    } else message.copy(replies.bytes, at, replies.length);
    this.#answer(MemberMessage.reply, position);
  }

  readDone(): void {
    assert(false, "a thread of a group was asked for an unordered read");
  }

  wantWork(): void {
    (this.#out as ExecutionSink).wantWork();
  }

  digestTaken(nonceHigh: number, nonceLow: number, position: Position, digest: Digest): void {
    const message = this.#message;
    message.clear();
    message.f64(nonceHigh);
    message.f64(nonceLow);
    for (const lane of digest) message.u32(lane);
    for (const place of this.#psmr.inspect().places) message.f64(place);
    this.#answer(MemberMessage.digest, position);
  }

  trace(code: TraceCode, a: number, b: number, c: number): void {
    (this.#out as ExecutionSink).trace(code, a, b, c);
  }

  /** Each delivery may make a piece of work possible, and each piece of work another delivery. */
  #work(budget: number): void {
    this.#sendBacklog();
    let left = budget;
    for (;;) {
      this.#take();
      const delivered = this.#deliver();
      const rested = this.#resting !== null;
      const { commands } = this.#psmr.inspect();
      this.#psmr.step({ kind: "work", budget: left }, this);
      if (delivered === 0 && !(rested && this.#resting === null)) break;
      left -= 1 + this.#psmr.inspect().commands - commands;
      if (left > 0) continue;
      this.wantWork();
      break;
    }
    this.#tellExecuted();
  }

  /** Takes into the merge what has been decided, as far as it has room. */
  #take(): void {
    const merge = this.#merge;
    if (this.#refused !== null && merge.offer(ALL, this.#refusedInstance, this.#refused)) this.#refused = null;
    if (this.#refused === null && this.#decisions.receive(this.#takeDecision)) this.#bells.ring(0);
    for (let batch = this.#own.at(0); batch !== undefined; batch = this.#own.at(0)) {
      if (!merge.offer(this.stream, this.#firstOwn, batch)) break;
      this.#own.shift();
      this.#firstOwn++;
    }
  }

  /** Delivers to the thread what is next, up to an instance of g_all. */
  #deliver(): number {
    let count = 0;
    while (this.#resting === null && !this.#psmr.full && this.#merge.deliver(this, 1) === 1) count++;
    return count;
  }

  #answer(kind: number, number: number): void {
    const { bytes, length } = this.#message;
    const backlog = this.#backlog;
    this.#answered = true;
    if (backlog.length === 0 && this.#answers.offer(kind, number, bytes, 0, length)) return;
    if (backlog.length - this.#backlogAt + 16 + length > ANSWERS_BYTES_MAX + ANSWER_BYTES_MAX) return;
    if (this.#backlogAt > backlog.length / 2 || backlog.length + 16 + length > ANSWERS_BYTES_MAX + ANSWER_BYTES_MAX) {
      backlog.bytes.copyWithin(0, this.#backlogAt, backlog.length);
      backlog.length -= this.#backlogAt;
      this.#backlogAt = 0;
    }
    backlog.u32(kind);
    backlog.u32(length);
    backlog.f64(number);
    backlog.copy(bytes, 0, length);
  }

  #sendBacklog(): void {
    const backlog = this.#backlog;
    while (this.#backlogAt < backlog.length) {
      const { view, bytes } = backlog;
      const at = this.#backlogAt;
      const kind = view.getUint32(at, true);
      const end = at + 16 + view.getUint32(at + 4, true);
      this.#answered = true;
      if (!this.#answers.offer(kind, view.getFloat64(at + 8, true), bytes, at + 16, end)) return;
      this.#backlogAt = end;
    }
    backlog.clear();
    this.#backlogAt = 0;
  }

  /** Whether member 0 coordinates g_all, and has it ordered, is its own affair. */
  #multicastAgain(bytes: Uint8Array, start: number, end: number): void {
    const message = this.#message;
    message.clear();
    message.copy(bytes, start, end);
    const { executedAll } = this.#psmr.inspect();
    this.#answer(MemberMessage.again, this.#ownInThread > 0 ? executedAll : executedAll + 1);
  }

  /** Tells member 0 what it has to know: what is executed of g_all, and that there are answers. */
  #tellExecuted(): void {
    const { executedAll, ordered } = this.#psmr.inspect();
    this.#board.setOf(this.stream, "ordered", ordered);
    if (this.#init.entries !== null) this.#board.set("entries", this.#init.entries());
    if (executedAll === this.#toldAll && !this.#answered) return;
    this.#board.setOf(this.stream, "executedAll", executedAll);
    this.#toldAll = executedAll;
    this.#answered = false;
    this.#bells.ring(0);
  }
}
