/** The rules of failed commands, one by one (PROTOCOLS sections 0.1 and 4.5, DESIGN safety rule 5). */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ByteWriter } from "#src/base/index.js";
import { createPipelined, type PsmrThread } from "#src/execution/index.js";
import { BlockKind } from "#src/model/index.js";
import { kv, KvOperation } from "#src/service/index.js";
import { insert, read, Script, update } from "./opt-psmr-script.js";
import { PsmrReplica } from "./psmr-replica.js";
import { Replica } from "./replica.js";

const failed = (sequence: number, ...replies: readonly unknown[]): object => ({
  status: "failed",
  sequence,
  late: false,
  replies,
});
const ok = (sequence: number, ...replies: readonly unknown[]): object => ({
  status: "ok",
  sequence,
  late: false,
  replies,
});
const late = (sequence: number, ...replies: readonly unknown[]): object => ({
  status: "ok",
  sequence,
  late: true,
  replies,
});
const refused = (status: string, sequence: number): object => ({ status, sequence, late: true, replies: [] });

describe("E5 (Algorithm 1, lines 10 to 15): a failed command", () => {
  test("does not execute where it failed, but at the barrier, once", () => {
    const script = new Script(2);
    assert.deepEqual(
      script.one(1, script.block(1, 1, [update(3, 1), insert(5, 50), read(7)])),
      failed(1, null, "failed", null),
    );
    assert.deepEqual(script.one(1, script.block(1, 1, [read(5)], { session: 1 })), ok(1, null), "nobody sees it");
    const copies = script.copies();
    assert.deepEqual(copies, [script.copy(1, 2, [insert(5, 50)])]);
    assert.deepEqual(script.order(0, ...copies), [[late(2, "ok")]]);
    assert.deepEqual(script.one(1, script.block(1, 2, [read(5)], { session: 1 })), ok(2, 50n));
    assert.deepEqual(script.copies(), []);
  });

  test("is counted, and does not count as executed before it is", () => {
    const script = new Script(2);
    const [thread] = script.replica.threads;
    script.order(1, script.block(1, 1, [read(3), insert(5, 50)]));
    const before = thread?.inspect();
    assert.deepEqual([before?.passed, before?.failed, before?.conservative, before?.ordered], [1, 1, 0, 1]);
    script.order(0, ...script.copies());
    const after = thread?.inspect();
    assert.deepEqual([after?.passed, after?.failed, after?.conservative, after?.ordered], [1, 1, 1, 2]);
  });
});

describe("E6 (line 8, first time): a command executes once, whichever of its copies come", () => {
  test("a second conservative copy gets the same reply", () => {
    const script = new Script(2);
    const block = script.block(2, 1, [insert(150, 1)]);
    assert.deepEqual(script.one(2, block), failed(1, "failed"));
    const copy = script.copy(2, 1, [insert(150, 1)]);
    assert.deepEqual(
      script.order(0, copy, copy),
      [[late(1, "ok")], [late(1, "ok")]],
      "an insert of a key that is there is nil",
    );
    assert.deepEqual(
      script.one(0, script.block(0, 1, [{ operation: "delete", key: 150n }], { session: 1 })),
      ok(1, "ok"),
    );
    assert.deepEqual(script.one(0, copy), late(1, "ok"));
    assert.deepEqual(script.one(0, script.block(0, 2, [read(150)], { session: 1 })), ok(2, null));
  });

  test("a copy of the optimistic block brings its reply, those that came later, and what is pending once more", () => {
    const script = new Script(2);
    const commands = [insert(5, 1), read(7), insert(6, 2), insert(9, 3)];
    const block = script.block(1, 1, commands);
    const first = failed(1, "failed", null, "failed", "failed");
    assert.deepEqual(script.one(1, block), first);
    assert.deepEqual(script.copies(), [
      script.copy(1, 1, [insert(5, 1)]),
      script.copy(1, 3, [insert(6, 2), insert(9, 3)]),
    ]);
    assert.deepEqual(script.order(1, block), [[first]]);
    const copies = script.copies();
    assert.equal(copies.length, 2, "as often as it is asked for");
    assert.deepEqual(script.order(0, copies[1] as Uint8Array), [[late(3, "ok", "ok")]]);
    assert.deepEqual(script.order(1, block), [[first, late(3, "ok", "ok")]]);
    assert.deepEqual(script.copies(), [copies[0]]);
    assert.deepEqual(script.order(0, copies[0] as Uint8Array), [[late(1, "ok")]]);
    assert.deepEqual(script.order(1, block), [[first, late(1, "ok"), late(3, "ok", "ok")]]);
    assert.deepEqual(script.copies(), []);
  });

  test("where clients multicast again, replicas do not", () => {
    const script = new Script(2, { optimistic: "client" });
    assert.deepEqual(script.one(1, script.block(1, 1, [insert(5, 1)])), failed(1, "failed"));
    assert.deepEqual(script.copies(), []);
    assert.deepEqual(script.one(0, script.copy(1, 1, [insert(5, 1)])), late(1, "ok"));
  });
});

describe("the order of a session (safety rule 5)", () => {
  test("later commands fail along with a pending one that they conflict with, without a check, and no others", () => {
    const script = new Script(2);
    const commands = [insert(5, 50), update(5, 51), read(6), read(5)];
    assert.deepEqual(script.one(1, script.block(1, 1, commands)), failed(1, "failed", "failed", null, "failed"));
    const next = [
      { operation: "range", key: 6n, last: 99n, pairs: 9 },
      { operation: "range", key: 1n, last: 99n, pairs: 9 },
    ] as const;
    assert.deepEqual(script.one(1, script.block(1, 5, next)), failed(5, [], "failed"));
    assert.deepEqual(
      script.one(1, script.block(1, 1, [update(5, 9)], { session: 1 })),
      ok(1, null),
      "sessions have no order",
    );
    assert.deepEqual(
      script.order(
        0,
        script.copy(1, 1, commands.slice(0, 2)),
        script.copy(1, 4, [read(5)]),
        script.copy(1, 6, [next[1]]),
      ),
      [[late(1, "ok", "ok")], [late(4, 51n)], [late(6, [[5n, 51n]])]],
    );
    assert.deepEqual(script.one(1, script.block(1, 7, [update(5, 52)])), ok(7, "ok"));
  });

  test("a copy whose sibling is pending waits for it, and other commands' copies do not", () => {
    const script = new Script(2);
    script.order(1, script.block(1, 1, [insert(5, 50), insert(8, 80), update(5, 51)]));
    assert.deepEqual(script.one(0, script.copy(1, 3, [update(5, 51)])), refused("retry", 1));
    assert.deepEqual(
      script.one(0, script.copy(1, 2, [insert(8, 80), update(5, 51)])),
      late(2, "ok"),
      "as far as it goes",
    );
    assert.deepEqual(script.order(0, script.copy(1, 1, [insert(5, 50)]), script.copy(1, 3, [update(5, 51)])), [
      [late(1, "ok")],
      [late(3, "ok")],
    ]);
  });

  test("a strict block waits for whatever is pending", () => {
    const script = new Script(2);
    const strict = { strict: true };
    assert.deepEqual(
      script.one(1, script.block(1, 1, [read(3), insert(5, 50), read(7)], strict)),
      failed(1, null, "failed", "failed"),
    );
    assert.deepEqual(script.one(1, script.block(1, 4, [read(8)])), ok(4, null), "one that is not strict does not");
    assert.deepEqual(script.one(1, script.block(1, 5, [read(8)], strict)), failed(5, "failed"));
    assert.deepEqual(script.one(0, script.copy(1, 5, [read(8)])), refused("retry", 2));
    assert.deepEqual(script.one(0, script.copy(1, 2, [insert(5, 50), read(7)])), late(2, "ok", null));
    assert.deepEqual(script.one(0, script.copy(1, 5, [read(8)])), late(5, null));
    assert.deepEqual(script.one(1, script.block(1, 6, [read(8)], strict)), ok(6, null));
  });

  test("behind very many pending commands everything fails, and copies wait for the first", () => {
    const script = new Script(2);
    const many = (first: number) => Array.from({ length: 1024 }, (_, i) => insert((first + i) % 90, 1));
    for (let i = 0; i < 8; i++) script.order(1, script.block(1, 1 + 1024 * i, many(1024 * i)));
    assert.deepEqual(script.one(1, script.block(1, 8193, [read(95)])), ok(8193, null));
    assert.deepEqual(
      script.one(1, script.block(1, 8194, [insert(1, 1), read(95), insert(96, 1)])),
      failed(8194, "failed", "failed", "failed"),
    );
    assert.deepEqual(script.one(0, script.copy(1, 8195, [read(95)])), refused("retry", 1));
    for (const copy of script.copies()) script.order(0, copy);
    assert.deepEqual(script.one(1, script.block(1, 8197, [read(95), read(96)])), ok(8197, null, 1n));
  });

  test("behind very many pending ranges everything fails", () => {
    const script = new Script(2);
    const range = (key: number) => ({ operation: "range", key: BigInt(key), last: BigInt(key + 2), pairs: 3 }) as const;
    script.order(1, script.block(1, 1, [insert(5, 1), ...Array.from({ length: 64 }, () => range(4))]));
    assert.deepEqual(script.one(1, script.block(1, 66, [range(50), range(4)])), failed(66, [], "failed"));
    assert.deepEqual(script.one(1, script.block(1, 68, [range(50)])), failed(68, "failed"));
    for (const copy of script.copies()) script.order(0, copy);
    assert.deepEqual(script.one(1, script.block(1, 69, [range(50), read(5)])), ok(69, [], 1n));
  });
});

describe("a conservative block", () => {
  test("that is not about what failed executes nothing", () => {
    const script = new Script(2);
    script.order(1, script.block(1, 1, [insert(5, 50), read(7)]));
    assert.deepEqual(script.one(0, script.copy(1, 1, [insert(5, 50)], 7)), refused("sessionExpired", 1));
    assert.deepEqual(script.one(0, script.copy(1, 2, [read(7), read(8)])), refused("retry", 3));
    assert.deepEqual(script.one(0, script.copy(1, 2, [read(7)])), refused("stale", 2), "it passed");
    assert.deepEqual(script.one(0, script.copy(1, 1, [insert(5, 51)])), refused("misrouted", 1), "other bytes");
    assert.deepEqual(script.one(0, script.copy(2, 1, [insert(5, 50)])), refused("retry", 1), "another stream");
    assert.deepEqual(script.order(0, script.copy(3, 1, [insert(5, 50)])), [[]], "no such stream");
    assert.equal(script.one(1, script.copy(1, 1, [insert(5, 50)])).status, "misrouted", "not through g_all");
    assert.deepEqual(script.one(0, script.copy(1, 1, [insert(5, 50)])), late(1, "ok"));
  });

  test("is stale once its client has acknowledged it, and behind the end of its session expired", () => {
    const script = new Script(2);
    script.order(1, script.block(1, 1, [insert(5, 50)]));
    const copy = script.copy(1, 1, [insert(5, 50)]);
    assert.deepEqual(script.one(0, copy), late(1, "ok"));
    script.order(1, script.block(1, 2, [insert(6, 60)], { acknowledged: 1 }));
    assert.deepEqual(script.one(0, copy), refused("stale", 1));
    assert.deepEqual(
      script.one(0, script.copy(1, 1, [insert(5, 50), insert(6, 60)])),
      late(2, "ok"),
      "the rest of it is not",
    );
    script.order(1, script.block(1, 3, [insert(7, 70)]));
    script.order(0, script.control(BlockKind.closeSession, script.sessions[0] as number));
    assert.deepEqual(script.one(0, script.copy(1, 3, [insert(7, 70)])), refused("sessionExpired", 3));
    for (const model of script.replica.threads) {
      model.queues((queue, value) => assert.ok(value === 0 || !queue.includes("failed"), `${queue}: ${value}`));
    }
  });

  test("of several threads in one instance executes in each, with what else there is behind", () => {
    for (const barrier of ["run", "command"] as const) {
      const script = new Script(3, { optimistic: "replicas", barrier });
      for (let stream = 1; stream <= 3; stream++)
        script.order(stream, script.block(stream, 1, [insert(100 * stream - 50, stream)]));
      const [first, second, third] = script.copies() as [Uint8Array, Uint8Array, Uint8Array];
      const range = { operation: "range", key: 0n, last: 300n, pairs: 9 } as const;
      const digests = script.replica.digests.size;
      const answers = script.order(
        0,
        first,
        script.block(0, 1, [range]),
        third,
        script.control(BlockKind.digest, 0),
        second,
      );
      assert.deepEqual(
        answers[1],
        [
          ok(1, [
            [50n, 1n],
            [150n, 2n],
            [250n, 3n],
          ]),
        ],
        "what failed goes first",
      );
      assert.deepEqual([answers[0], answers[4], answers[2]], [[late(1, "ok")], [late(1, "ok")], [late(1, "ok")]]);
      assert.equal(script.replica.digests.size, digests + 1);
      const witness = script.replica.witness.filter(({ stream }) => stream === 0);
      assert.equal(witness.length, 2, "one run");
    }
  });

  test("is misrouted where nothing can fail, and nobody's among the threads of P-SMR", () => {
    const replica = new Replica(createPipelined(kv.create()));
    const session = replica.open(1);
    replica.run(2, [
      {
        kind: BlockKind.conservative,
        session,
        sequence: 1,
        stream: 1,
        commands: [{ operation: KvOperation.get, args: ["a"] }],
      },
    ]);
    assert.equal(replica.answers.at(-1)?.answer.status, "misrouted");
    const script = new Script(2, {});
    assert.deepEqual(script.order(0, script.copy(1, 1, [read(1)]), script.block(0, 1, [read(1)])), [[], [ok(1, null)]]);
    assert.deepEqual(script.order(0, script.copy(1, 1, [read(1)])), [[]]);
    assert.equal(script.one(1, script.copy(1, 1, [read(1)])).status, "misrouted");
  });
});

describe("limits of what failed", () => {
  test("a block that could exceed them is put off until there is room, and leaves its number free", () => {
    const script = new Script(2, { optimistic: "replicas", sessionFailedMax: 3, failedMax: 4 });
    assert.deepEqual(script.one(1, script.block(1, 1, [insert(5, 1), insert(6, 1)])), failed(1, "failed", "failed"));
    const next = script.block(1, 3, [read(7), read(8)]);
    const putOff = { status: "retry", sequence: 3, late: false, replies: [] };
    assert.deepEqual(script.one(1, next), putOff, "although nothing would fail");
    const other = script.block(1, 1, [insert(9, 1), insert(10, 1)], { session: 1 });
    assert.deepEqual(script.one(1, other), failed(1, "failed", "failed"), "the thread has room for two more");
    assert.equal(script.one(1, script.block(1, 3, [read(7)], { session: 1 })).status, "retry");
    for (const copy of script.copies()) script.order(0, copy);
    assert.deepEqual(script.one(1, next), ok(3, null, null), "the block need not acknowledge anything for that");
  });

  test("of late replies beyond their bytes the oldest are forgotten", () => {
    const script = new Script(2, { optimistic: "replicas", sessionReplyBytesMax: 16 });
    const commands = [insert(5, 1), insert(6, 1), insert(7, 1)];
    const block = script.block(1, 1, commands);
    script.order(1, block);
    assert.deepEqual(script.one(0, script.copy(1, 1, commands)), late(1, "ok", "ok", "ok"));
    assert.deepEqual(script.one(0, script.copy(1, 1, commands)), late(2, "ok", "ok"));
    assert.deepEqual(script.one(0, script.copy(1, 1, commands.slice(0, 1))), refused("stale", 1));
    assert.deepEqual(
      script.order(1, block)[0]?.slice(1),
      [late(2, "ok", "ok"), refused("stale", 1)],
      "or it would wait",
    );
    script.replica.threads[0]?.queues((queue, value, maximum) => assert.ok(value <= maximum, queue));
  });

  test("a block whose own reply is forgotten is not stale while something of it is pending", () => {
    const script = new Script(2, { optimistic: "replicas", sessionRepliesMax: 1 });
    const block = script.block(1, 1, [read(4), insert(5, 1), insert(6, 1)]);
    script.order(1, block);
    script.order(1, script.block(1, 4, [read(7)]));
    script.order(0, script.copy(1, 2, [insert(5, 1)]));
    script.copies();
    assert.deepEqual(script.order(1, block), [[refused("retry", 3), late(2, "ok")]]);
    const copies = script.copies();
    assert.deepEqual(copies, [script.copy(1, 3, [insert(6, 1)])]);
    script.order(0, ...copies);
    assert.deepEqual(script.one(1, block), { status: "stale", sequence: 1, late: false, replies: [] });
  });
});

describe("the part of a thread in a checkpoint", () => {
  test("with failed commands is read in pieces of any size, and refused if it is cut or anything in it is damaged", () => {
    const script = new Script(2, { optimistic: "replicas" }, 1);
    script.order(1, script.block(1, 1, [insert(5, 1), read(5), insert(6, 2), insert(7, 3)]));
    script.order(0, script.copy(1, 1, [insert(5, 1), read(5)]));
    script.replica.threads[0]?.requestCut();
    script.order(0, script.control(BlockKind.digest, 0));
    const source = script.replica.cuts[0]?.[0]?.part;
    const writer = new ByteWriter();
    while (source?.next(writer, 10) === true);
    const part = writer.toBytes();
    /** How many of its commands are pending, and how many late replies there are. */
    const restore = (bytes: Uint8Array, piece: number): number[] => {
      const model = new PsmrReplica(script.replica.plan, { optimistic: "replicas" }).threads[0] as PsmrThread;
      const sink = model.restore();
      for (let at = 0; at < bytes.length; at += piece) sink.write(bytes, at, Math.min(bytes.length, at + piece));
      sink.finish();
      const values = new Map<string, number>();
      model.queues((queue, value) => values.set(queue, Math.max(value, values.get(queue) ?? 0)));
      return [values.get("failed commands") ?? 0, values.get("late replies") ?? 0];
    };
    for (const piece of [1, 7, part.length]) assert.deepEqual(restore(part, piece), [2, 2]);
    const refusal = { name: "CheckpointDamagedError" };
    for (let length = 0; length < part.length; length += 5) {
      assert.throws(() => restore(part.subarray(0, length), 64), refusal, `${length} bytes`);
    }
    // Behind the headers of thread, state and session, in which times and positions may be others: a reply block, two pending
    // commands, and two late replies of 8 and 16 bytes.
    const begin = 32 + 48 + 40;
    const end = begin + 24 + new DataView(part.buffer).getUint32(begin + 20, true) + 4 * 40 + 8 + 16;
    for (let at = begin; at < end; at++) {
      const damaged = part.slice();
      damaged[at] = (damaged[at] as number) ^ 0x11;
      assert.throws(() => restore(damaged, 64), refusal, `byte ${at}`);
    }
  });
});
