// Hot file: every batch of g_all leaves here for the threads, and every reply to one comes back. Nothing per command.
import { assert, Ring } from "../../base/index.js";
import type {
  Batch,
  Digest,
  ExecutionEvent,
  ExecutionModel,
  ExecutionSink,
  ExecutionView,
  Instance,
  QueueVisitor,
  SnapshotSink,
  SnapshotSource,
} from "../../model/index.js";
import { MemberMessage } from "./member-message.js";
import { CONSERVATIVE_BLOCKS_MAX, type ConservativeBlocks } from "../replica/conservative-blocks.js";
import type { Bells, MemberParts } from "./api.js";
import { Board } from "./board.js";
import { MessageReceiver, MessageSender } from "./message-ring.js";

/** Decided batches that have not been sent to all threads; each is in the log's memory, which is full long before. */
const PENDING_MAX = 1_048_576;

interface Thread {
  readonly decisions: MessageSender;
  readonly answers: MessageReceiver;
  /** The next instance to be sent to it. */
  next: Instance;
}

/**
 * What member 0 has in place of an execution model: it hands the decided batches of g_all to the threads, which execute them,
 * and takes their replies, and what they want ordered. It has executed what all threads have.
 */
export class AllExecution implements ExecutionModel {
  readonly #board: Board;
  readonly #bells: Bells;
  readonly #conservative: ConservativeBlocks | null;
  readonly #threads: readonly Thread[];
  /** Decided batches from `#first` on that some thread has not been sent. */
  readonly #pending = new Ring<Batch>(PENDING_MAX);
  #first: Instance = 1;
  readonly #digest: Digest = new Uint32Array(4);
  readonly #view = {
    executed: 0,
    queuedBatches: 0,
    queuedBytes: 0,
    queuedReads: 0,
    commands: 0,
    ordered: 0,
    windowMax: Infinity,
    time: 0,
    due: Infinity,
    sessions: 0,
  };

  /** `conservative` are the blocks of commands that failed, null where none does. */
  constructor(parts: MemberParts, bells: Bells, conservative: ConservativeBlocks | null) {
    this.#board = new Board(parts.board);
    this.#bells = bells;
    this.#conservative = conservative;
    this.#threads = parts.decisions.map((memory, i) => ({
      decisions: new MessageSender(memory),
      answers: new MessageReceiver(parts.answers[i] as SharedArrayBuffer),
      next: 1,
    }));
  }

  /** Goes on behind a cut, before anything is decided. */
  begin(through: Instance): void {
    this.#first = through + 1;
    for (const thread of this.#threads) thread.next = through + 1;
    this.#view.executed = through;
    this.#board.set("allDecided", through);
  }

  step(event: ExecutionEvent, out: ExecutionSink): void {
    if (event.kind === "decided") this.#decide(event.instance, event.batch, out);
    else if (event.kind === "work") this.#work(out);
    else assert(event.kind !== "read", "members take ordered commands only");
  }

  inspect(): ExecutionView {
    this.#view.queuedBatches = this.#pending.size;
    return this.#view;
  }

  queues(visit: QueueVisitor): void {
    visit("batches of g_all to hand out", this.#pending.size, PENDING_MAX);
    visit("conservative blocks on their way", this.#conservative?.size ?? 0, CONSERVATIVE_BLOCKS_MAX);
  }

  digest(): void {
    assert(false, "member 0 has no state");
  }

  snapshot(): SnapshotSource {
    assert(false, "member 0 has no state");
  }

  restore(): SnapshotSink {
    assert(false, "member 0 has no state");
  }

  #decide(instance: Instance, batch: Batch, out: ExecutionSink): void {
    assert(instance === this.#first + this.#pending.size, `g_all decided ${instance} out of order`);
    this.#pending.push(batch);
    this.#conservative?.decide(instance, batch);
    out.wantWork();
  }

  #work(out: ExecutionSink): void {
    this.#handOut();
    const board = this.#board;
    let executed = Infinity;
    for (const [i, thread] of this.#threads.entries()) {
      const roomMade = thread.answers.receive((kind, number, bytes, view, start, end) => {
        if (kind === MemberMessage.reply) {
          const writer = out.replies();
          writer.copy(bytes, start + 8, end);
          out.replied(view.getFloat64(start, true), number, 0);
        } else if (kind === MemberMessage.digest) {
          for (let lane = 0; lane < 4; lane++) this.#digest[lane] = view.getUint32(start + 16 + 4 * lane, true);
          const places: Instance[] = [];
          for (let at = start + 32; at < end; at += 8) places.push(view.getFloat64(at, true));
          out.digestTaken(view.getFloat64(start, true), view.getFloat64(start + 8, true), number, this.#digest, places);
        } else if (kind === MemberMessage.again) {
          if (this.#conservative?.isDecided(view, start, number) === false) out.again?.(bytes, view, start, end);
        } else assert(false, `a thread sent a message of kind ${kind}`);
        return true;
      });
      if (roomMade) this.#bells.ring(i + 1);
      executed = Math.min(executed, board.of(i + 1, "executedAll"));
    }
    if (executed > this.#view.executed) {
      this.#view.executed = executed;
      this.#conservative?.pass(executed);
      out.executed(0, executed);
    }
  }

  /**
   * Sends each thread what it has room for, and tells all how far g_all is decided: after that, since they may name it. Whoever was
   * sent anything is rung for, though it be a piece of what all know to be decided.
   */
  #handOut(): void {
    const pending = this.#pending;
    const decided = this.#first + pending.size - 1;
    const news = this.#board.get("allDecided") !== decided;
    let sentToAll = decided;
    let ringFor = 0;
    for (const [i, thread] of this.#threads.entries()) {
      if (news || thread.next <= decided) ringFor |= 1 << i;
      while (thread.next <= decided) {
        const batch = pending.at(thread.next - this.#first) as Batch;
        if (!thread.decisions.offer(MemberMessage.decision, thread.next, batch.bytes, batch.start, batch.end)) break;
        thread.next++;
      }
      sentToAll = Math.min(sentToAll, thread.next - 1);
    }
    while (this.#first <= sentToAll) {
      pending.shift();
      this.#first++;
    }
    if (news) this.#board.set("allDecided", decided);
    for (let i = 0; i < this.#threads.length; i++) if ((ringFor & (1 << i)) !== 0) this.#bells.ring(i + 1);
  }
}
