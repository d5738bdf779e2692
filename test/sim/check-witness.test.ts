/** The witness along the decided order: what it accepts, and one case for each thing that it must refuse. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ByteWriter } from "#src/base/index.js";
import {
  BATCH_HEADER_BYTES,
  beginBlock,
  beginReply,
  BlockKind,
  endBlock,
  endReply,
  ReplyStatus,
  type Run,
  type Span,
  type UndoLog,
  writeBatchHeader,
} from "#src/model/index.js";
import {
  beginArray,
  beginCommand,
  CounterOperation,
  endArray,
  endCommand,
  KvOperation,
  replyBulkLatin1,
  replyNil,
  replyNumber,
  replyOk,
  SetFlag,
  writeArgumentLatin1,
} from "#src/service/index.js";
import { createReference, type Departure, WitnessChecker, type WitnessOptions } from "#src/sim/check/index.js";
import { PassingService, runLong } from "#src/sim/index.js";

type Write = (writer: ByteWriter) => void;

const command =
  (operation: number, args: readonly string[], flags = 0): Write =>
  (writer) => {
    const at = beginCommand(writer, operation, flags, args.length);
    for (const argument of args) writeArgumentLatin1(writer, argument);
    endCommand(writer, at);
  };
const add = (delta: number): Write => command(CounterOperation.add, [String(delta)]);
const read: Write = command(CounterOperation.get, []);
const number =
  (value: number): Write =>
  (writer) =>
    replyNumber(writer, value);

function spanOf(writer: ByteWriter): Span {
  const bytes = writer.toBytes();
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), start: 0, end: bytes.length };
}

function replyBlock(session: number, first: number, kind: BlockKind, replies: readonly Write[]): Span {
  const writer = new ByteWriter(256);
  const at = beginReply(writer, session, first, ReplyStatus.ok, kind);
  for (const reply of replies) reply(writer);
  endReply(writer, at, replies.length);
  return spanOf(writer);
}

/** One session's commands, an instance a block, and the reads of one replica. */
class Log {
  readonly witness: WitnessChecker;
  readonly session = 4096;
  #instance = 0;
  #first = 1;
  #tickets = 0;
  timeMs = 1000;

  constructor(service: string, options: WitnessOptions = {}) {
    this.witness = new WitnessChecker(createReference(service), options);
  }

  get instance(): number {
    return this.#instance;
  }

  /** Commands are decided and executed with these replies; returns the reply block. */
  execute(...pairs: readonly [Write, Write][]): Span {
    const writer = new ByteWriter(256);
    writer.skip(BATCH_HEADER_BYTES);
    const at = beginBlock(writer, BlockKind.commands, this.session, this.#first, 0);
    for (const [one] of pairs) one(writer);
    endBlock(writer, at, pairs.length);
    writeBatchHeader(writer.view, 0, writer.length, 1, pairs.length, this.timeMs);
    const replies = pairs.map(([, reply]) => reply);
    const reply = replyBlock(this.session, this.#first, BlockKind.commands, replies);
    this.#first += pairs.length;
    this.witness.onInstance(++this.#instance, spanOf(writer), [{ index: 0, reply: reply.bytes }]);
    return reply;
  }

  /** A replica executes a read behind an instance; returns what `onAnswered` wants. */
  read(one: Write, reply: Write, through = this.#instance): { reply: Span; readCommands: Span } {
    const commands = new ByteWriter(64);
    one(commands);
    const block = new ByteWriter(64);
    const at = beginBlock(block, BlockKind.read, 0, ++this.#tickets, 0);
    one(block);
    endBlock(block, at, 1);
    const answer = replyBlock(0, this.#tickets, BlockKind.read, [reply]);
    this.witness.onRead(1, through, block.toBytes(), answer.bytes);
    return { reply: answer, readCommands: spanOf(commands) };
  }

  answered(connection: string, departure: Departure, reply: Span): void {
    this.witness.onAnswered({ connection, departure, reply, readCommands: null });
  }

  /** The invariants that do not hold. */
  finish(): string[] {
    return this.witness.finish().map(({ invariant }) => invariant);
  }
}

describe("the witness accepts", () => {
  test("what a counter does, reads from slower replicas included", () => {
    const log = new Log("counter");
    const first = log.witness.onSent();
    const slow = log.witness.onSent();
    log.answered("a", first, log.execute([add(2), number(2)], [add(3), number(5)]));
    log.execute([add(10), number(15)]);
    // Executed behind instance 1 although another replica is ahead: nobody has been told of instance 2.
    const departure = log.witness.onSent();
    log.witness.onAnswered({ connection: "b", departure, ...log.read(read, number(5), 1) });
    // Sent before anything was answered, and answered late from an old state.
    log.witness.onAnswered({ connection: "c", departure: slow, ...log.read(read, number(0), 0) });
    assert.deepEqual(log.finish(), []);
    assert.deepEqual(log.witness.counts(), { commands: 3, reads: 2, answered: 4, unjudged: 0, reasons: [] });
  });

  test("expiry by agreed time, transactions and ranges of the store", () => {
    const log = new Log("kv");
    const { set, get, range, transaction } = KvOperation;
    const bulk =
      (text: string): Write =>
      (writer) =>
        replyBulkLatin1(writer, text);
    const array =
      (...elements: Write[]): Write =>
      (writer) => {
        const at = beginArray(writer, elements.length);
        for (const element of elements) element(writer);
        endArray(writer, at);
      };
    const text = (one: Write): string => {
      const writer = new ByteWriter(64);
      one(writer);
      return String.fromCharCode(...writer.toBytes());
    };
    log.execute([command(set, ["a", "1", "500"], SetFlag.expires), replyOk], [command(set, ["b", "2"]), replyOk]);
    log.execute([command(range, ["a", "z"]), array(bulk("a"), bulk("1"), bulk("b"), bulk("2"))]);
    log.timeMs = 1500;
    log.execute([command(get, ["a"]), replyNil], [command(range, ["", ""]), array(bulk("b"), bulk("2"))]);
    const both = command(transaction, ["", text(command(set, ["a", "3"])), text(command(get, ["a"]))]);
    log.execute([both, array(replyOk, bulk("3"))]);
    assert.deepEqual(log.finish(), []);
    // The same answer once the time has come is wrong.
    const late = new Log("kv");
    late.execute([command(set, ["a", "1", "500"], SetFlag.expires), replyOk]);
    late.timeMs = 1500;
    late.execute([command(get, ["a"]), bulk("1")]);
    assert.deepEqual(late.finish(), ["witness"]);
  });
});

describe("the witness refuses", () => {
  test("a reply that the decided order does not give", () => {
    const log = new Log("counter");
    log.execute([add(2), number(2)], [add(3), number(6)]);
    const [violation] = log.witness.finish();
    assert.equal(violation?.invariant, "witness");
    assert.match(violation.message, /instance 1, session 4096 from 1: command 2 of 2, .* ":6", .* ":5"/);
  });

  test("a read that is wrong for the state it was answered from", () => {
    const log = new Log("counter");
    log.execute([add(2), number(2)]);
    log.read(read, number(3));
    assert.deepEqual(log.finish(), ["witness"]);
  });

  test("an answer other than what was executed, or of what nobody executed", () => {
    const log = new Log("counter");
    const departure = log.witness.onSent();
    log.execute([add(2), number(2)]);
    log.answered("a", departure, replyBlock(log.session, 1, BlockKind.commands, [number(4)]));
    log.answered("a", departure, replyBlock(log.session, 2, BlockKind.commands, [number(4)]));
    const commands = new ByteWriter(16);
    read(commands);
    const reply = replyBlock(0, 9, BlockKind.read, [number(2)]);
    log.witness.onAnswered({ connection: "b", departure, reply, readCommands: spanOf(commands) });
    assert.deepEqual(log.finish(), ["witness", "durability", "durability"]);
  });

  test("a stale read", () => {
    const log = new Log("counter");
    log.answered("a", log.witness.onSent(), log.execute([add(2), number(2)]));
    const departure = log.witness.onSent();
    log.witness.onAnswered({ connection: "b", departure, ...log.read(read, number(0), 0) });
    const [violation] = log.witness.finish();
    assert.equal(violation?.invariant, "stale-read");
    assert.match(violation.message, /connection b: a read was answered ":0" from the state behind instance 0/);
  });

  test("an operation that stands before one that had been answered when it was sent", () => {
    const log = new Log("counter");
    const early = log.execute([add(1), number(1)]);
    const departure = log.witness.onSent();
    log.answered("a", departure, log.execute([add(1), number(2)]));
    log.answered("b", log.witness.onSent(), early);
    assert.deepEqual(log.finish(), ["real-time"]);
  });

  test("operations of one connection in another order than they were sent in", () => {
    const log = new Log("counter");
    const sent = [log.witness.onSent(), log.witness.onSent()] as const;
    const early = log.execute([add(1), number(1)]);
    const late = log.execute([add(1), number(2)]);
    log.answered("a", sent[0], late);
    log.answered("a", sent[1], early);
    assert.deepEqual(log.finish(), ["connection-order"]);
    // Two connections may overtake each other.
    const other = new Log("counter");
    const both = [other.witness.onSent(), other.witness.onSent()] as const;
    const [first, second] = [other.execute([add(1), number(1)]), other.execute([add(1), number(2)])];
    other.answered("a", both[0], second);
    other.answered("b", both[1], first);
    assert.deepEqual(other.finish(), []);
  });
});

describe("the witness says what it could not judge", () => {
  test("a read from a state that the model has left behind; its place is judged all the same", () => {
    const log = new Log("counter", { lagInstancesMax: 1 });
    for (let value = 1; value <= 4; value++) log.execute([add(1), number(value)]);
    const departure = log.witness.onSent();
    // Nobody hears of the first one, so it is nobody's concern.
    log.read(read, number(78), 1);
    log.witness.onAnswered({ connection: "b", departure, ...log.read(read, number(77), 1) });
    assert.deepEqual(log.finish(), []);
    const { unjudged, reasons } = log.witness.counts();
    assert.equal(unjudged, 1);
    assert.match(reasons.join(), /the model had left behind/);
  });

  test("what follows an instance that no replica executed", () => {
    const log = new Log("counter");
    const writer = new ByteWriter(64);
    writer.skip(BATCH_HEADER_BYTES);
    writeBatchHeader(writer.view, 0, writer.length, 0, 0, 0);
    log.witness.onInstance(2, spanOf(writer), []);
    log.read(read, number(77), 2);
    assert.deepEqual(log.finish(), []);
    assert.equal(log.witness.counts().unjudged, 1);
  });

  test("answers that come after their execution had to be forgotten", () => {
    const log = new Log("counter", { unansweredMax: 1 });
    const departure = log.witness.onSent();
    const forgotten = log.execute([add(1), number(1)]);
    log.execute([add(1), number(2)]);
    log.answered("a", departure, forgotten);
    assert.deepEqual(log.finish(), []);
    assert.equal(log.witness.counts().unjudged, 1);
  });
});

describe("a run too long for a search", () => {
  test("every operation of the store and of the tree, under faults, is judged and right", () => {
    for (const service of ["kv", "btree", "counter"]) {
      const { verdict, invariant, message, counts, operations } = runLong({ seed: 5, service, operations: 4000 });
      assert.equal(verdict, "right", `${service}: ${invariant}: ${message}`);
      assert.ok(operations >= 4000 && counts.answered >= operations && counts.unjudged === 0, service);
    }
  });

  test("replicas that agree on something wrong are found by it alone", () => {
    class Late extends PassingService {
      /** Keys live 30 ms too long, on all replicas alike. */
      override execute(run: Run, replies: ByteWriter, undo: UndoLog | null): void {
        run.time -= 30;
        super.execute(run, replies, undo);
        run.time += 30;
      }
    }
    const { verdict, invariant, message } = runLong(
      { seed: 5, service: "kv", operations: 4000 },
      { siblings: (real) => ({ ...real, createService: () => new Late(real.createService()) }) },
    );
    assert.equal(verdict, "violation");
    assert.equal(invariant, "linearizability");
    assert.match(message ?? "", /^witness: .* is answered .*, the reference model says /);
  });
});
