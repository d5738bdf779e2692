/** The checker of merged orders: what threads did is one sequential execution, and failed commands keep their place. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { ByteWriter } from "#src/base/index.js";
import {
  BATCH_HEADER_BYTES,
  beginBlock,
  beginReply,
  BlockKind,
  endBlock,
  endReply,
  FAILED_REPLY_BYTES,
  markStrict,
  ReplyStatus,
  type Span,
  TraceCode,
  writeBatchHeader,
} from "#src/model/index.js";
import { BTREE_COMMAND_BYTES, BtreeOperation, ReplyKind } from "#src/service/index.js";
import { createKeyedReference, MergedChecker, type ThreadExecution } from "#src/sim/check/index.js";

const [INSERT, DELETE, READ] = [BtreeOperation.insert, BtreeOperation.delete, BtreeOperation.read];
const { ok: OK, nil: NIL } = ReplyKind;
const SESSION = 4096;

/** A command: what it does, to which key, and the kind of its reply; "failed" if its check does not let it pass. */
type Command = readonly [operation: BtreeOperation, key: number, reply: ReplyKind | "failed"];
interface Block {
  readonly kind?: "conservative";
  readonly first: number;
  readonly acknowledged?: number;
  readonly strict?: boolean;
  /** A copy that is not executed, since it is not its turn. */
  readonly refused?: boolean;
  readonly commands: readonly Command[];
}

/** A checker for two threads, and the instances of all streams as the plan has them. */
class Cluster {
  readonly checker: MergedChecker;
  readonly #places = [
    { own: 0, all: 0 },
    { own: 0, all: 0 },
  ];

  constructor() {
    const reference = createKeyedReference("btree");
    assert.ok(reference !== null);
    this.checker = new MergedChecker(reference, 2);
  }

  /** A thread executes the next instance of its own stream. */
  own(thread: number, ...blocks: readonly Block[]): this {
    const { batch, execution } = instanceOf(thread + 1, blocks);
    this.#give(thread, thread + 1, batch);
    this.checker.onExecuted(thread, thread + 1, this.#place(thread).own, execution);
    return this;
  }

  /** A thread executes the next instance of g_all; the other one follows. */
  all(executor: number, stream: number, ...blocks: readonly Block[]): this {
    const { batch, execution } = instanceOf(stream, blocks);
    for (const thread of [0, 1]) {
      this.#give(thread, 0, batch);
      this.checker.onExecuted(thread, 0, this.#place(thread).all, thread === executor ? execution : null);
    }
    return this;
  }

  get verdict(): string | undefined {
    this.checker.finish();
    return this.checker.violations()[0]?.invariant;
  }

  #give(thread: number, stream: number, batch: Span): void {
    const place = this.#place(thread);
    const instance = (stream === 0 ? place.all : place.own) + 1;
    this.checker.onDelivered(thread, stream, instance, place.own, place.all, batch);
    if (stream === 0) place.all = instance;
    else place.own = instance;
  }

  #place(thread: number): { own: number; all: number } {
    return this.#places[thread] as { own: number; all: number };
  }
}

function instanceOf(stream: number, blocks: readonly Block[]): { batch: Span; execution: ThreadExecution } {
  const writer = new ByteWriter();
  const effects: ThreadExecution["effects"][number][] = [];
  const replies: Uint8Array[] = [];
  writer.skip(BATCH_HEADER_BYTES);
  let count = 0;
  for (const { kind, first, acknowledged = 0, strict = false, refused = false, commands } of blocks) {
    const blockKind = kind === undefined ? BlockKind.commands : BlockKind.conservative;
    const at = beginBlock(writer, blockKind, SESSION, first, acknowledged, stream);
    const reply = new ByteWriter();
    const replyAt = beginReply(reply, SESSION, first, ReplyStatus.ok, blockKind);
    for (const [operation, key, outcome] of commands) {
      const bytes = BTREE_COMMAND_BYTES[operation] as number;
      for (const word of [bytes, operation, key, 0, key, 0].slice(0, bytes / 4)) writer.u32(word);
      reply.u32(outcome === "failed" ? FAILED_REPLY_BYTES : 8);
      if (outcome !== "failed") reply.u32(outcome);
    }
    endBlock(writer, at, commands.length);
    count += commands.length;
    if (strict) markStrict(writer.view, at);
    if (refused) continue;
    endReply(reply, replyAt, commands.length);
    replies.push(reply.toBytes());
    const code = kind === undefined ? TraceCode.commandsExecuted : TraceCode.conservativeExecuted;
    effects.push({ code, a: SESSION, b: first, c: commands.length });
  }
  writeBatchHeader(writer.view, 0, writer.length, blocks.length, count, 0);
  return {
    batch: { bytes: writer.bytes, view: writer.view, start: 0, end: writer.length },
    execution: { effects, replies },
  };
}

const failed = { first: 1, commands: [[INSERT, 5, "failed"]] } as const satisfies Block;
const copy = { kind: "conservative", first: 1, commands: [[INSERT, 5, OK]] } as const satisfies Block;

describe("the checker of merged orders", () => {
  test("threads in parallel, a failed command and its copy are one sequential execution", () => {
    const cluster = new Cluster()
      .own(0, {
        first: 1,
        commands: [
          [INSERT, 5, "failed"],
          [INSERT, 6, OK],
        ],
      })
      .own(1, { first: 100, commands: [[INSERT, 500, OK]] })
      .all(0, 1, copy)
      .own(0, { first: 3, commands: [[DELETE, 5, OK]] });
    assert.equal(cluster.verdict, undefined);
    assert.deepEqual(cluster.checker.counts(), { commands: 4, waiting: 0, unjudged: 0 });
  });

  test("a reply that no sequential execution gives is found, in whichever thread", () => {
    assert.equal(new Cluster().own(1, { first: 1, commands: [[DELETE, 5, OK]] }).verdict, "sequential");
    assert.equal(new Cluster().all(0, 0, { first: 1, commands: [[INSERT, 5, NIL]] }).verdict, "sequential");
  });

  test("a failed command that was executed all the same is found by the reply to its copy", () => {
    const twice = { ...copy, commands: [[INSERT, 5, NIL]] } as const;
    assert.equal(new Cluster().own(0, failed).all(0, 1, twice).verdict, "sequential");
  });

  test("what overtakes a failed command that it conflicts with is found; strict blocks overtake nothing", () => {
    const other = (key: number): Block => ({ first: 2, commands: [[READ, key, NIL]] });
    assert.equal(new Cluster().own(0, failed).own(0, other(5)).verdict, "session-order");
    assert.equal(new Cluster().own(0, failed).own(0, other(6)).verdict, undefined);
    assert.equal(new Cluster().own(0, failed).own(0, { ...other(6), strict: true }).verdict, "session-order");
  });

  test("a copy that overtakes that of an earlier one is found", () => {
    const both = {
      first: 1,
      commands: [
        [INSERT, 5, "failed"],
        [DELETE, 5, "failed"],
      ],
    } as const;
    const second = { kind: "conservative", first: 2, commands: [[DELETE, 5, NIL]] } as const;
    assert.equal(new Cluster().own(0, both).all(0, 1, second).verdict, "session-order");
    const inOrder = { kind: "conservative", first: 2, commands: [[DELETE, 5, OK]] } as const;
    assert.equal(new Cluster().own(0, both).all(0, 1, copy, inOrder).verdict, undefined);
  });

  test("of several copies in one instance that one counts whose turn it was", () => {
    const second = { first: 2, commands: [[DELETE, 5, "failed"]] } as const satisfies Block;
    const early = {
      kind: "conservative",
      first: 2,
      refused: true,
      commands: [[DELETE, 5, OK]],
    } as const satisfies Block;
    const inTime = { ...early, refused: false };
    const cluster = new Cluster().own(0, failed, second).all(0, 1, early, copy, inTime);
    assert.equal(cluster.verdict, undefined);
    assert.deepEqual(cluster.checker.counts(), { commands: 2, waiting: 0, unjudged: 0 });
    assert.equal(new Cluster().own(0, failed, second).all(0, 1, inTime, copy).verdict, "session-order");
    assert.equal(new Cluster().own(0, failed, second).all(0, 1, copy, inTime, inTime).verdict, "exactly-once");
  });

  test("copies that execute twice, of what has not failed, or other bytes are found", () => {
    assert.equal(new Cluster().own(0, failed).all(0, 1, copy).all(0, 1, copy).verdict, "exactly-once");
    assert.equal(new Cluster().all(0, 1, copy).verdict, "exactly-once");
    const bytes = { ...copy, commands: [[INSERT, 7, OK]] } as const;
    assert.equal(new Cluster().own(0, failed).all(0, 1, bytes).verdict, "exactly-once");
  });

  test("a command that was answered has been executed; one that its client gave up need not be", () => {
    const cluster = new Cluster().own(0, failed);
    assert.equal(cluster.verdict, undefined);
    assert.equal(cluster.checker.counts().waiting, 1);
    cluster.checker.onAcknowledged(SESSION, 1, 1);
    assert.equal(cluster.verdict, "durability");
    const givenUp: Block = { first: 2, acknowledged: 1, commands: [[READ, 5, NIL]] };
    assert.equal(new Cluster().own(0, failed).own(0, givenUp).verdict, undefined);
    assert.equal(new Cluster().own(0, failed).own(0, givenUp).all(0, 1, copy).verdict, "exactly-once");
  });
});
