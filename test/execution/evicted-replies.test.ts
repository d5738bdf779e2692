/** Replies of g_all that were evicted at the thread that has executed them, while all others remember that there was one. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ByteWriter } from "#src/base/index.js";
import { replicatedStateDefaults, ReplicatedState, Role } from "#src/execution/index.js";
import {
  BatchArena,
  beginBlock,
  BlockKind,
  endBlock,
  type ExecutionSink,
  type Instance,
  positionOf,
  replyStatus,
  ReplyStatus,
  type Run,
  type Service,
} from "#src/model/index.js";

const REPLY_BYTES = 3000;
const rules = {
  stream: 0,
  control: true,
  admits: null,
  digest: null,
  passesConservative: true,
  optimistic: null,
};

/** Answers every command with so many bytes that the second reply evicts the first. */
const service = {
  name: "long replies",
  advance: () => undefined,
  due: () => Infinity,
  execute: (run: Run, replies: ByteWriter) => {
    for (let i = 0; i < run.count; i++) {
      replies.u32(REPLY_BYTES);
      replies.skip(REPLY_BYTES - 4);
    }
  },
} as unknown as Service;

/** Two threads of g_all; what each of them says goes to one list. */
class Threads {
  readonly #arena = new BatchArena();
  readonly #states = [0, 1].map(
    () => new ReplicatedState(service, { ...replicatedStateDefaults, sessionReplyBytesMax: 2 * REPLY_BYTES }, rules),
  );
  #instance: Instance = 0;

  /** Both apply a batch of one block, which one of them executes; returns what is answered, by thread. */
  apply(executor: number, write: (writer: ByteWriter) => number): string[] {
    const writer = new ByteWriter();
    const commands = write(writer);
    const batch = this.#arena.build(writer.bytes, 0, writer.length, 1, commands, 0);
    this.#instance++;
    const said: string[] = [];
    for (const [thread, state] of this.#states.entries()) {
      const replies = new ByteWriter();
      const out: Partial<ExecutionSink> = {
        replies: () => {
          replies.clear();
          return replies;
        },
        replied: (_session, _position, at) => {
          const status = replyStatus(replies.view, at);
          said.push(
            `t${thread + 1} ${status === ReplyStatus.ok ? "ok" : status === ReplyStatus.stale ? "stale" : status}`,
          );
        },
        trace: () => undefined,
      };
      state.apply(this.#instance, batch, out as ExecutionSink, thread === executor ? Role.among : Role.follow);
    }
    return said;
  }
}

test("a copy of a block whose reply is gone is answered, whichever thread executes its batch", () => {
  const threads = new Threads();
  threads.apply(0, (writer) => {
    const at = beginBlock(writer, BlockKind.openSession, 0, 0, 0);
    writer.skip(16);
    endBlock(writer, at, 0);
    return 0;
  });
  const block = (sequence: number) => (writer: ByteWriter) => {
    const at = beginBlock(writer, BlockKind.commands, positionOf(1, 0), sequence, 0);
    writer.u32(8);
    writer.u32(0);
    endBlock(writer, at, 1);
    return 1;
  };
  for (const sequence of [1, 2, 3, 4]) assert.deepEqual(threads.apply(1, block(sequence)), ["t2 ok"]);
  assert.deepEqual(threads.apply(0, block(4)), ["t2 ok"], "it is repeated by the thread that remembers it");
  assert.deepEqual(threads.apply(0, block(1)), ["t2 stale"]);
  assert.deepEqual(threads.apply(1, block(1)), ["t2 stale"]);
});
