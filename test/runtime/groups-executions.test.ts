/** The executions of a replica's members, with threads that do what they are told: what they say to each other, and to whom. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ByteWriter, MiB } from "#src/base/index.js";
import { type PsmrSink, type PsmrView, type ThreadModel, Waiting } from "#src/execution/index.js";
import {
  type Batch,
  BatchArena,
  beginBlock,
  beginReply,
  BlockKind,
  blockSequence,
  endBlock,
  endReply,
  type ExecutionEvent,
  type ExecutionSink,
  replyKind,
  replySequence,
  ReplyStatus,
  replyStatus,
  type SnapshotSink,
} from "#src/model/index.js";
import { type Merge, singlePacing } from "#src/multicast/index.js";
import { AllExecution } from "#src/runtime/groups/all-execution.js";
import { Board } from "#src/runtime/groups/board.js";
import { MessageReceiver } from "#src/runtime/groups/message-ring.js";
import { createMemberParts } from "#src/runtime/groups/parts.js";
import { ThreadExecution } from "#src/runtime/groups/thread-execution.js";
import { ConservativeBlocks } from "#src/runtime/replica/conservative-blocks.js";

const SESSION = 77;
const arena = new BatchArena();

/** A block of kind `conservative` of g_1. */
function blockOf(sequence: number): ByteWriter {
  const writer = new ByteWriter(64);
  const at = beginBlock(writer, BlockKind.conservative, SESSION, sequence, 0, 1);
  writer.u32(4);
  endBlock(writer, at, 1);
  return writer;
}

function batchOf(...sequences: number[]): Batch {
  const writer = new ByteWriter(64);
  for (const sequence of sequences) {
    const block = blockOf(sequence);
    writer.copy(block.bytes, 0, block.length);
  }
  return arena.build(writer.bytes, 0, writer.length, sequences.length, sequences.length, 0);
}

/** What a thread does with an instance: replies of some kinds with a sequence number, and blocks that are to come again. */
type Deed =
  | { readonly reply: BlockKind; readonly sequence: number; readonly status?: ReplyStatus; readonly bytes?: number }
  | { readonly again: number };

/** A thread that does with each instance what is laid down for it. */
class ToldThread implements ThreadModel {
  readonly thread = 0;
  readonly full = false;
  readonly deeds = new Map<string, readonly Deed[]>();
  readonly #queue: { readonly stream: number; readonly instance: number }[] = [];
  readonly #view = { executed: 0, executedAll: 0, waiting: Waiting.no, commands: 0, ordered: 0 };

  step(event: ExecutionEvent, out: PsmrSink): void {
    if (event.kind === "decided") this.#queue.push(event);
    if (event.kind !== "work") return;
    for (const { stream, instance } of this.#queue.splice(0)) {
      // As an executor of a run, which waits for arrivals until it has executed.
      (this.#view as { waiting: Waiting }).waiting = stream === 0 && instance % 2 === 0 ? Waiting.arrivals : Waiting.no;
      for (const deed of this.deeds.get(`${stream}/${instance}`) ?? []) this.#do(deed, out);
      (this.#view as { waiting: Waiting }).waiting = Waiting.no;
      if (stream === 0) this.#view.executedAll = instance;
      else this.#view.executed = instance;
      out.executed(stream, instance);
    }
  }

  inspect(): PsmrView {
    return this.#view as unknown as PsmrView;
  }

  waitsAt(): boolean {
    return false;
  }

  queues(): void {}

  requestCut(): void {}

  restore(): SnapshotSink {
    return assert.fail("there is no checkpoint");
  }

  #do(deed: Deed, out: PsmrSink): void {
    if ("again" in deed) {
      const block = blockOf(deed.again);
      out.again?.(block.bytes, block.view, 0, block.length);
      return;
    }
    const writer = out.replies();
    const at = beginReply(writer, SESSION, deed.sequence, deed.status ?? ReplyStatus.ok, deed.reply);
    writer.skip(deed.bytes ?? 0);
    endReply(writer, at, 0);
    out.replied(SESSION, deed.sequence, at);
  }
}

/** Delivers what there is of the own stream before what there is of g_all. */
function ownFirst(): Merge {
  const queues: readonly [number, number, Batch][][] = [[], []];
  return {
    offer: (...offered) => (queues[offered[0]]?.push(offered) ?? 0) > 0,
    deliver: (out) => {
      const next = queues[1]?.shift() ?? queues[0]?.shift();
      if (next !== undefined) out.delivered(...next);
      return next === undefined ? 0 : 1;
    },
    waitsFor: -1,
    delivered: () => 0,
    expected: () => 1,
    save: () => undefined,
    restore: () => -1,
    queues: () => undefined,
  };
}

/** What leaves a member: replies by kind and sequence, and blocks that are to be ordered. */
class Outside implements ExecutionSink {
  readonly said: string[] = [];
  /** Those whose clients are to ask again. */
  readonly retried: number[] = [];
  readonly #writer = new ByteWriter(64);

  executed(): void {}

  replies(): ByteWriter {
    this.#writer.clear();
    return this.#writer;
  }

  replied(session: number, _position: number, at: number): void {
    assert.equal(session, SESSION);
    const { view } = this.#writer;
    const kind = replyKind(view, at) === BlockKind.conservative ? "conservative" : "commands";
    this.said.push(`${kind} ${replySequence(view, at)}`);
    if (replyStatus(view, at) === ReplyStatus.retry) this.retried.push(replySequence(view, at));
  }

  readDone(): void {
    assert.fail("nobody read");
  }

  again(_bytes: Uint8Array, view: DataView, start: number): void {
    this.said.push(`again ${blockSequence(view, start)}`);
  }

  wantWork(): void {}

  digestTaken(): void {}

  trace(): void {}
}

/** Members 0 and 1 of a replica with two groups, whose second thread executes whatever it is told at once. */
class Pair {
  readonly thread = new ToldThread();
  readonly all = new Outside();
  readonly own = new Outside();
  readonly #parts = createMemberParts(2, 65_536);
  readonly #board = new Board(this.#parts.board);
  readonly #bells = { ring: () => undefined, onRing: () => undefined };
  readonly #all: AllExecution;
  readonly #own: ThreadExecution;
  #instances = 0;
  #ownInstances = 0;

  constructor(resubmits: boolean) {
    const conservative = new ConservativeBlocks((stream) => this.#board.of(stream, "executedAll"));
    this.#all = new AllExecution(this.#parts, this.#bells, conservative);
    this.#own = new ThreadExecution({
      parts: this.#parts,
      bells: this.#bells,
      psmr: this.thread,
      merge: ownFirst(),
      ownPlace: singlePacing,
      allPlace: singlePacing,
      onCut: () => undefined,
      onPassed: () => undefined,
      entries: null,
      resubmits,
    });
    this.#own.begin();
  }

  decideAll(batch = batchOf(), ...deeds: Deed[]): void {
    const instance = ++this.#instances;
    this.thread.deeds.set(`0/${instance}`, deeds);
    this.#all.step({ kind: "decided", stream: 0, instance, batch }, this.all);
    this.#all.step({ kind: "work", budget: 1000 }, this.all);
  }

  decideOwn(...deeds: Deed[]): void {
    const instance = ++this.#ownInstances;
    this.thread.deeds.set(`1/${instance}`, deeds);
    this.#own.step({ kind: "decided", stream: 1, instance, batch: batchOf() }, this.own);
  }

  /** The thread executes what there is, and so has the other one; member 0 hears of it. */
  work(): void {
    this.#own.step({ kind: "work", budget: 1000 }, this.own);
    this.#board.setOf(2, "executedAll", this.#board.of(1, "executedAll"));
    this.hear();
  }

  hear(): void {
    this.#all.step({ kind: "work", budget: 1000 }, this.all);
  }
}

describe("executions of members", () => {
  test("replies to g_all leave by its member, whoever gives them; those to conservative blocks by the thread's own", () => {
    const pair = new Pair(true);
    pair.decideOwn({ reply: BlockKind.commands, sequence: 1, status: ReplyStatus.failed });
    pair.work();
    assert.deepEqual(pair.own.said, ["commands 1"]);
    // Instances with an even number are executed by this thread; of the others it repeats what it remembers.
    for (const sequence of [11, 12]) {
      pair.decideAll(batchOf(), { reply: BlockKind.commands, sequence });
      pair.work();
    }
    pair.decideAll(batchOf(1), { reply: BlockKind.conservative, sequence: 1 });
    pair.decideAll(batchOf(2), { reply: BlockKind.conservative, sequence: 2, status: ReplyStatus.retry });
    pair.work();
    assert.deepEqual(pair.all.said, ["commands 11", "commands 12"]);
    assert.deepEqual(pair.own.said, ["commands 1", "conservative 1", "conservative 2"]);
  });

  test("what is of the own stream in front of an instance of g_all is answered by the own member", () => {
    const pair = new Pair(true);
    pair.decideOwn({ reply: BlockKind.commands, sequence: 1 });
    pair.decideOwn({ reply: BlockKind.commands, sequence: 2 });
    pair.decideAll(batchOf(), { reply: BlockKind.commands, sequence: 11 });
    pair.work();
    assert.deepEqual(pair.own.said, ["commands 1", "commands 2"]);
    assert.deepEqual(pair.all.said, ["commands 11"]);
  });

  test("a failed command is multicast again, unless it is on its way behind the place where it failed", () => {
    const pair = new Pair(true);
    pair.decideOwn({ again: 1 });
    pair.work();
    assert.deepEqual(pair.all.said, ["again 1"]);
    pair.decideAll(batchOf(2));
    pair.work();
    pair.decideOwn({ again: 2 });
    pair.work();
    assert.deepEqual(pair.all.said, ["again 1", "again 2"], "it came behind the conservative block");
  });

  test("a thread that is behind brings no copies of what is ordered, and a conservative block that was refused comes again", () => {
    const pair = new Pair(true);
    pair.decideOwn({ again: 4 }, { again: 5 });
    pair.decideAll(batchOf(4), { again: 4 });
    pair.work();
    assert.deepEqual(pair.all.said, ["again 5", "again 4"]);
  });

  test("more than the ring takes goes on for as long as either side makes room", () => {
    const parts = createMemberParts(2, 65_536);
    const rung = new Set<number>();
    const all = new AllExecution(parts, { ring: (member) => rung.add(member), onRing: () => undefined }, null);
    const out = new Outside();
    const writer = new ByteWriter();
    endBlock(writer, beginBlock(writer, BlockKind.commands, SESSION, 1, 0), 0);
    writer.skip(20_000);
    const wanted = Array.from({ length: 8 }, (_, i) => i + 1);
    for (const instance of wanted) {
      const batch = arena.build(writer.bytes, 0, writer.length, 1, 0, 0);
      all.step({ kind: "decided", stream: 0, instance, batch }, out);
    }
    all.step({ kind: "work", budget: 1000 }, out);
    const got: number[][] = [[], []];
    const rings = parts.decisions.map((memory) => new MessageReceiver(memory));
    // Nobody wakes but those who are rung for.
    while (rung.size > 0) {
      const woken = [...rung];
      rung.clear();
      for (const member of woken) {
        if (member === 0) all.step({ kind: "work", budget: 1000 }, out);
        const ring = rings[member - 1];
        const roomMade = ring?.receive((_kind, instance) => (got[member - 1]?.push(instance) ?? 0) > 0);
        if (roomMade === true) rung.add(0);
      }
    }
    assert.deepEqual(got, [wanted, wanted]);
  });

  test("replies beyond what may wait for member 0 are asked for again, and none is forgotten", () => {
    const pair = new Pair(true);
    const bytes = 15 * MiB;
    const replies = (first: number, count: number): Deed[] =>
      Array.from({ length: count }, (_, i) => ({ reply: BlockKind.commands, sequence: first + i, bytes }));
    pair.decideAll(batchOf(), ...replies(1, 7));
    pair.work();
    // The first are gone, and the room in front of what waits is used again.
    while (pair.all.said.length < 3) pair.work();
    pair.decideAll(batchOf(), ...replies(8, 4));
    while (pair.all.said.length < 11) pair.work();
    assert.deepEqual(
      pair.all.said,
      Array.from({ length: 11 }, (_, i) => `commands ${i + 1}`),
    );
    const { retried } = pair.all;
    assert.ok(retried.length > 0 && retried.length < 8, `asked for again: ${retried.join(" ")}`);
  });

  test("where clients send them, threads do not", () => {
    const pair = new Pair(false);
    pair.decideOwn({ again: 1 });
    pair.work();
    assert.deepEqual(pair.all.said, []);
  });
});
