/** What every execution model of one thread must do, whatever its schedule. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { AssertionError } from "#src/base/index.js";
import {
  BATCH_HEADER_BYTES,
  BlockKind,
  checkBlock,
  CheckpointDamagedError,
  ConfigError,
  type ExecutionModel,
  positionOf,
  REPLY_HEADER_BYTES,
  type Service,
  TraceCode,
} from "#src/model/index.js";
import type { ReplicatedStateOptions } from "#src/execution/index.js";
import { counter, CounterOperation, kv, KvOperation } from "#src/service/index.js";
import { type Command, error, integer, restoreInto, snapshotOf } from "../service/kv-command.js";
import { type Block, readBlock, Replica } from "./replica.js";

export type Create = (service: Service, options?: Partial<ReplicatedStateOptions>) => ExecutionModel;

const add = (delta: number): Command => ({ operation: CounterOperation.add, args: [String(delta)] });
const total: Command = { operation: CounterOperation.get, args: [] };
const set = (key: string, value: string): Command => ({ operation: KvOperation.set, args: [key, value] });
const get = (key: string): Command => ({ operation: KvOperation.get, args: [key] });

export function executionSuite(name: string, create: Create): void {
  const counting = (options?: Partial<ReplicatedStateOptions>): Replica =>
    new Replica(create(counter.create(), options));

  describe(`${name}: exactly once`, () => {
    test("a block executes once; its retransmission gets the very same answer", () => {
      const replica = counting();
      const session = replica.open(1);
      const block: Block = { session, sequence: 1, commands: [add(5), add(7)] };
      const [first] = replica.run(2, [block]);
      assert.deepEqual(first?.replies, [integer(5), integer(12)]);
      const [again, next] = replica.run(3, [block, { session, sequence: 3, commands: [total] }]);
      assert.deepEqual(again, first);
      assert.deepEqual(next?.replies, [integer(12)]);
      assert.deepEqual(
        replica.traces.filter(([code]) => code === TraceCode.commandsExecuted || code === TraceCode.commandsSkipped),
        [
          [TraceCode.commandsExecuted, session, 1, 2],
          [TraceCode.commandsSkipped, session, 1, 3],
          [TraceCode.commandsExecuted, session, 3, 1],
        ],
      );
    });

    test("a copy of an executed block is answered again without being ordered, and nothing changes by it", () => {
      const replica = counting();
      const again = (block: Block): boolean => {
        const { bytes, view, start } = replica.batch(0, [block]);
        assert.equal(checkBlock(view, start + BATCH_HEADER_BYTES, bytes.length) > 0, true);
        return replica.model.answerAgain?.(view, start + BATCH_HEADER_BYTES, replica) ?? false;
      };
      const session = replica.open(1);
      const first: Block = { session, sequence: 1, commands: [add(5), add(7)] };
      assert.equal(again(first), false, "it has not executed");
      replica.run(2, [first]);
      const before = {
        digest: replica.digest,
        commands: replica.model.inspect().commands,
        answered: replica.answers.at(-1),
      };
      assert.equal(again(first), true);
      assert.deepEqual(replica.answers.at(-1), before.answered);
      assert.equal(again({ session, sequence: 1, commands: [add(5)] }), false, "it was cut otherwise");
      assert.equal(again({ session, sequence: 3, commands: [total] }), false, "it is the next");
      assert.equal(again({ ...first, stream: 1 }), false, "there is no such stream");
      assert.equal(again({ ...first, session: session + 1 }), false, "there is no such session");
      assert.equal(replica.digest, before.digest);
      assert.equal(replica.model.inspect().commands, before.commands);
      replica.run(3, [{ session, sequence: 3, acknowledged: 2, commands: [total] }]);
      assert.equal(again(first), false, "its reply was acknowledged");
    });

    test("twice in one batch counts once", () => {
      const replica = counting();
      const session = replica.open(1);
      const block: Block = { session, sequence: 1, commands: [add(1)] };
      const answers = replica.run(2, [block, block]);
      assert.deepEqual(answers[0], answers[1]);
      assert.deepEqual(answers[1]?.replies, [integer(1)]);
    });

    test("a gap is a no-op answered with the number that is expected", () => {
      const replica = counting();
      const session = replica.open(1);
      const [gap, fill] = replica.run(2, [
        { session, sequence: 2, commands: [add(100)] },
        { session, sequence: 1, commands: [add(1)] },
      ]);
      assert.deepEqual([gap?.status, gap?.sequence, gap?.replies], ["retry", 1, []]);
      assert.deepEqual(fill?.replies, [integer(1)]);
    });

    test("replies are freed when they are acknowledged, and a duplicate is then stale", () => {
      const replica = counting();
      const session = replica.open(1);
      replica.run(2, [
        { session, sequence: 1, commands: [add(1), add(1)] },
        { session, sequence: 3, commands: [add(1)] },
        { session, sequence: 4, acknowledged: 2, commands: [add(1)] },
      ]);
      const [freed, held, last] = replica.run(3, [
        { session, sequence: 1, commands: [add(1), add(1)] },
        { session, sequence: 3, commands: [add(1)] },
        { session, sequence: 4, acknowledged: 3, commands: [add(1)] },
      ]);
      assert.deepEqual([freed?.status, freed?.sequence], ["stale", 1]);
      assert.deepEqual([held?.status, held?.replies], ["ok", [integer(3)]]);
      assert.deepEqual([last?.status, last?.replies], ["ok", [integer(4)]]);
    });

    test("a block that acknowledges half of another leaves that one whole", () => {
      const replica = counting();
      const session = replica.open(1);
      const block = { session, sequence: 1, commands: [add(1), add(1)] };
      replica.run(2, [block, { session, sequence: 3, acknowledged: 1, commands: [add(1)] }]);
      assert.equal(replica.run(3, [block])[0]?.status, "ok");
    });

    test("a block cut otherwise than before, or across the last number, is stale and executes nothing", () => {
      const replica = counting();
      const session = replica.open(1);
      replica.run(2, [{ session, sequence: 1, commands: [add(1), add(1), add(1)] }]);
      const answers = replica.run(3, [
        { session, sequence: 1, commands: [add(1)] },
        { session, sequence: 2, commands: [add(1)] },
        { session, sequence: 2, commands: [add(1), add(1), add(1)] },
        { session, sequence: 4, commands: [total] },
      ]);
      assert.deepEqual(
        answers.map(({ status }) => status),
        ["stale", "stale", "stale", "ok"],
      );
      assert.deepEqual(answers[3]?.replies, [integer(3)]);
    });

    test("unknown, closed and expired sessions and other streams are refused", () => {
      const replica = counting({ sessionIdleMs: 1000 });
      const session = replica.open(1);
      const stranger = replica.run(2, [{ session: 12_345, commands: [add(1)] }]);
      assert.deepEqual([stranger[0]?.status, stranger[0]?.session], ["sessionExpired", 12_345]);
      assert.equal(replica.run(2, [{ session, stream: 1, commands: [add(1)] }])[0]?.status, "sessionExpired");
      const [closed, after, twice] = replica.run(3, [
        { kind: BlockKind.closeSession, session },
        { session, commands: [add(1)] },
        { kind: BlockKind.closeSession, session },
      ]);
      assert.deepEqual([closed?.status, after?.status, twice?.status], ["ok", "sessionExpired", "sessionExpired"]);
      assert.equal(replica.model.inspect().sessions, 0);
    });

    test("an open session gets its position as id, and its nonce back", () => {
      const replica = counting();
      const nonce = Uint8Array.from({ length: 16 }, (_, i) => 255 - i);
      const instance = replica.decidedThrough + 1;
      const answers = replica.run(1, [
        { kind: BlockKind.openSession, nonce },
        { kind: BlockKind.openSession, nonce },
      ]);
      assert.deepEqual(
        answers.map(({ session }) => session),
        [positionOf(instance, 0), positionOf(instance, 1)],
      );
      const payload = answers[1]?.raw.slice(2 * REPLY_HEADER_BYTES);
      assert.equal(payload, [...nonce].map((byte) => byte.toString(16).padStart(2, "0")).join(""));
    });
  });

  describe(`${name}: what is remembered is bounded`, () => {
    test("sessions idle for longer than the limit of agreed time expire, active ones do not", () => {
      const replica = counting({ sessionIdleMs: 1000 });
      const idle = replica.open(1);
      const active = replica.open(1);
      replica.run(900, [{ session: active, sequence: 1, commands: [add(1)] }]);
      replica.run(1001, []);
      assert.equal(replica.model.inspect().sessions, 2);
      const [gone, there] = replica.run(1002, [
        { session: idle, sequence: 1, commands: [add(1)] },
        { session: active, sequence: 2, commands: [add(1)] },
      ]);
      assert.deepEqual([gone?.status, there?.status], ["sessionExpired", "ok"]);
      assert.ok(replica.traces.some(([code, id]) => code === TraceCode.sessionExpired && id === idle));
    });

    test("thousands that fall due together go a few per batch", () => {
      const replica = counting({ sessionIdleMs: 1000 });
      const opening = Array.from({ length: 1000 }, () => ({ kind: BlockKind.openSession, nonce: new Uint8Array(16) }));
      replica.run(1, opening);
      const left: number[] = [];
      for (let i = 0; i < 5; i++) {
        replica.run(5000, []);
        left.push(replica.model.inspect().sessions);
      }
      assert.deepEqual(left, [744, 488, 232, 0, 0]);
    });

    test("one session more than the maximum expires the one idle for longest", () => {
      const replica = counting({ sessionsMax: 3 });
      const [a, b, c] = [replica.open(1), replica.open(1), replica.open(1)];
      replica.run(1, [{ session: a, sequence: 1, commands: [add(1)] }]);
      const d = replica.open(1);
      const statuses = replica
        .run(1, [
          { session: a, sequence: 2, commands: [add(1)] },
          { session: b, sequence: 1, commands: [add(1)] },
          { session: c, sequence: 1, commands: [add(1)] },
          { session: d, sequence: 1, commands: [add(1)] },
        ])
        .map(({ status }) => status);
      assert.deepEqual(statuses, ["ok", "sessionExpired", "ok", "ok"]);
    });

    test("the replies of a session, in number", () => {
      const replica = counting({ sessionRepliesMax: 3 });
      const session = replica.open(1);
      const block = (sequence: number): Block => ({ session, sequence, commands: [add(1)] });
      replica.run(2, [1, 2, 3, 4, 5].map(block));
      assert.deepEqual(
        replica.run(3, [1, 2, 3, 4, 5].map(block)).map(({ status }) => status),
        ["stale", "stale", "ok", "ok", "ok"],
      );
    });

    test("the replies of a session, in bytes, of which the newest is always kept", () => {
      const replica = new Replica(create(kv.create(), { sessionReplyBytesMax: 1000 }));
      const session = replica.open(1);
      const block = (sequence: number, key: string): Block => ({ session, sequence, commands: [get(key)] });
      replica.run(2, [
        { session, sequence: 1, commands: [set("small", "s".repeat(300)), set("large", "l".repeat(5000))] },
        block(3, "small"),
        block(4, "small"),
        block(5, "small"),
      ]);
      const statuses = (blocks: Block[]): string[] => replica.run(3, blocks).map(({ status }) => status);
      assert.deepEqual(statuses([block(3, "small"), block(4, "small"), block(5, "small")]), ["stale", "ok", "ok"]);
      const large = replica.run(4, [block(6, "large")])[0];
      assert.deepEqual(statuses([block(5, "small"), block(6, "large")]), ["stale", "ok"]);
      assert.equal(large?.replies[0], "l".repeat(5000));
    });

    test("the replies of all sessions, in bytes: the oldest go first, whosever they are", () => {
      const replica = new Replica(create(kv.create(), { sessionReplyBytesMax: 1000, replyBytesMax: 1000 }));
      const [a, b] = [replica.open(1), replica.open(1)];
      replica.run(2, [{ session: a, sequence: 1, commands: [set("k", "v".repeat(400))] }]);
      const blockA = { session: a, sequence: 2, commands: [get("k")] };
      const blockB = (sequence: number): Block => ({ session: b, sequence, commands: [get("k")] });
      replica.run(3, [blockA, blockB(1)]);
      assert.equal(replica.run(4, [blockA])[0]?.status, "ok");
      replica.run(5, [blockB(2)]);
      assert.deepEqual(
        replica.run(6, [blockA, blockB(1), blockB(2)]).map(({ status }) => status),
        ["stale", "ok", "ok"],
      );
    });

    test("options out of bounds are refused with both numbers", () => {
      assert.throws(() => counting({ sessionsMax: 0 }), ConfigError);
      assert.throws(() => counting({ replyBytesMax: 10, sessionReplyBytesMax: 20 }), /at least .* 20, got 10/);
    });
  });

  describe(`${name}: time, digest and order`, () => {
    test("agreed time is the running maximum of the batches'", () => {
      const replica = counting();
      const times = [5, 3, 0, 9.25, 7].map((time) => {
        replica.run(time, []);
        return replica.model.inspect().time;
      });
      assert.deepEqual(times, [5, 5, 5, 9.25, 9.25]);
    });

    test("replicas with the same log report the same digest, each position one answer", () => {
      const make = (): Replica => {
        const replica = counting();
        const session = replica.open(1);
        const nonce = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
        replica.run(2, [
          { session, sequence: 1, commands: [add(1)] },
          { kind: BlockKind.digest, nonce },
          { session, sequence: 2, commands: [add(1)] },
          { kind: BlockKind.digest, nonce },
        ]);
        return replica;
      };
      const [one, other] = [make(), make()];
      assert.deepEqual(one.digests, other.digests);
      assert.deepEqual(
        one.digests.map(({ nonce, position }) => [nonce, position]),
        [1, 3].map((i) => [
          `${0x0807060504030201n & 0x1fffffffffffffn}/${0x100f0e0d0c0b0a09n & 0x1fffffffffffffn}`,
          positionOf(2, i),
        ]),
      );
      assert.notEqual(one.digests[0]?.hex, one.digests[1]?.hex);
      assert.deepEqual(
        one.answers.map(({ position }) => position),
        [positionOf(1, 0), ...[0, 1, 2, 3].map((i) => positionOf(2, i))],
      );
    });

    test("the digest covers service, time, sessions, their activity and their remembered replies", () => {
      const base = (change: (replica: Replica, session: number) => void): string => {
        const replica = counting();
        const session = replica.open(1);
        replica.run(2, [{ session, sequence: 1, commands: [add(1)] }]);
        change(replica, session);
        return replica.digest;
      };
      const digests = [
        base(() => {}),
        base((replica) => replica.run(3, [])),
        base((replica) => replica.open(2)),
        base((replica, session) => replica.run(2, [{ session, sequence: 3, commands: [add(1)] }])),
        base((replica, session) => replica.run(2, [{ session, sequence: 2, commands: [total] }])),
        base((replica, session) => replica.run(2, [{ session, sequence: 2, acknowledged: 1, commands: [total] }])),
        base((replica, session) => replica.run(2, [{ session, sequence: 2, commands: [add(1)] }])),
        base((replica, session) => replica.run(2, [{ kind: BlockKind.closeSession, session }])),
      ];
      assert.equal(new Set(digests).size, digests.length);
      assert.equal(
        digests[0],
        base((replica) => replica.run(2, [])),
      );
    });

    test("instances are consecutive", () => {
      const replica = counting();
      replica.run(1, []);
      const batch = replica.batch(1, []);
      for (const instance of [1, 3]) {
        assert.throws(
          () => replica.model.step({ kind: "decided", stream: 0, instance, batch }, replica),
          AssertionError,
        );
      }
    });

    test("values that are not decided have no effect", () => {
      const replica = counting();
      const session = replica.open(1);
      const batch = replica.batch(2, [{ session, sequence: 1, commands: [add(1)] }]);
      const digest = replica.digest;
      replica.model.step({ kind: "revealed", stream: 0, instance: 2, batch }, replica);
      replica.model.step({ kind: "revoked", stream: 0, from: 2 }, replica);
      replica.settle();
      assert.equal(replica.digest, digest);
      assert.equal(replica.model.inspect().executed, 1);
    });
  });

  describe(`${name}: unordered reads`, () => {
    test("execute at once on a state that is through, change nothing, and may not write", () => {
      const replica = counting();
      const session = replica.open(1);
      replica.run(2, [{ session, sequence: 1, commands: [add(3)] }]);
      const digest = replica.digest;
      replica.read(2, 17, readBlock([total, add(1), total], 99));
      const refused = error("ERR a command that writes was sent as an unordered read");
      assert.equal(replica.reads.length, 1);
      const { route, answer } = replica.reads[0] as (typeof replica.reads)[0];
      assert.deepEqual([route, answer.status, answer.sequence, answer.kind], [17, "ok", 99, BlockKind.read]);
      assert.deepEqual(answer.replies, [integer(3), refused, integer(3)]);
      assert.equal(replica.digest, digest);
    });

    test("that nobody would hear are not executed", () => {
      const replica = counting();
      const wanted = new Set([2]);
      Object.assign(replica, { readWanted: (route: number) => wanted.has(route) });
      replica.read(1, 1, readBlock([total], 1));
      replica.read(1, 2, readBlock([total], 2));
      replica.open(1);
      replica.read(0, 1, readBlock([total], 3));
      replica.settle();
      assert.deepEqual(
        replica.reads.map(({ route }) => route),
        [2],
      );
      assert.equal(replica.model.inspect().queuedReads, 0);
    });

    test("whose values do not fit in one reply block are answered as far as they fit", () => {
      const replica = new Replica(create(kv.create()));
      const session = replica.open(1);
      const value = "v".repeat(1_000_000);
      for (let i = 1; i <= 4; i++) replica.run(i, [{ session, sequence: i, commands: [set(`k${i}`, value)] }]);
      const keys = Array.from({ length: 40 }, (_, i) => `k${1 + (i % 4)}`);
      replica.read(2, 1, readBlock(keys.map(get), 7));
      const [first] = replica.reads;
      assert.deepEqual([first?.answer.status, first?.answer.sequence, first?.answer.replies.length], ["split", 7, 2]);
      // One command that is too long on its own keeps its error, and does not keep the others from their answers.
      const all: Command = { operation: KvOperation.getMany, args: keys };
      replica.read(2, 2, readBlock([all, get("k1"), get("nothing"), all, get("k2")], 8));
      // After the first, which cost much, a model may put the second off to its next piece of work.
      replica.settle();
      const second = replica.reads[1]?.answer;
      assert.equal(second?.status, "split");
      assert.match(JSON.stringify(second?.replies[0]), /exceed 16777216 bytes/);
      assert.equal(second?.replies.length, 3, "an error, a value, nothing; another long one must wait");
      // In the log they are answered by errors: an ordered block executes whole, on every replica alike.
      const [ordered] = replica.run(5, [{ session, sequence: 5, commands: keys.map(get) }]);
      assert.deepEqual([ordered?.status, ordered?.replies.length], ["ok", 40]);
    });

    test("wait for the state they must see, without holding up those behind them", () => {
      const replica = counting();
      const session = replica.open(1);
      const block = readBlock([total], 1);
      replica.read(3, 3, block);
      replica.read(2, 2, block);
      replica.read(3, 33, block);
      replica.read(1, 1, block);
      // The bytes of a read are valid only during its step.
      block.bytes.fill(0xff);
      replica.settle();
      assert.deepEqual(
        replica.reads.map(({ route }) => route),
        [1],
      );
      assert.equal(replica.model.inspect().queuedReads, 3);
      replica.run(2, [{ session, sequence: 1, commands: [add(1)] }]);
      replica.run(3, [{ session, sequence: 2, commands: [add(1)] }]);
      assert.deepEqual(
        replica.reads.map(({ route, answer, executed }) => [route, answer.replies, executed]),
        [
          [1, [integer(0)], 1],
          [2, [integer(1)], 2],
          [3, [integer(2)], 3],
          [33, [integer(2)], 3],
        ],
      );
      assert.deepEqual([replica.model.inspect().queuedReads, replica.workWanted], [0, 0]);
    });

    test("beyond the bytes that may wait are answered `retry`, and later ones find room again", () => {
      const replica = counting({ waitingReadBytesMax: 64 * 1024 });
      const block = readBlock(
        Array.from({ length: 100 }, () => total),
        5,
      );
      const fit = Math.floor((64 * 1024) / (block.end - block.start));
      for (let i = 0; i < fit + 2; i++) replica.read(1, i, block);
      assert.deepEqual(
        replica.reads.map(({ route, answer }) => [route, answer.status, answer.sequence]),
        [fit, fit + 1].map((route) => [route, "retry", 5]),
      );
      replica.run(1, []);
      assert.equal(replica.reads.length, fit + 2);
      replica.read(2, 1000, block);
      replica.run(2, []);
      assert.equal(replica.reads.at(-1)?.answer.status, "ok");
    });

    test("of all sizes keep their bytes while others come and go", () => {
      const sizes = fc.array(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 0, max: 200_000 })), {
        maxLength: 12,
      });
      fc.assert(
        fc.property(fc.array(sizes, { maxLength: 4 }), (rounds) => {
          const replica = new Replica(create(kv.create()));
          let route = 0;
          for (const round of rounds) {
            for (const [ahead, size] of round) {
              route++;
              const key = String(route).padEnd(Math.min(size, 60_000), "k");
              const fill = Array.from({ length: Math.floor(size / 60_000) }, () => get("f".repeat(60_000)));
              replica.read(replica.decidedThrough + ahead, route, readBlock([get(key), ...fill], route));
            }
            replica.run(1, []);
          }
          for (let i = 0; i < 3; i++) replica.run(1, []);
          assert.deepEqual(
            replica.reads.map((read) => read.route).sort((a, b) => a - b),
            Array.from({ length: route }, (_, i) => i + 1),
          );
          assert.ok(
            replica.reads.every(
              ({ route: number, answer }) => answer.sequence === number && answer.replies[0] === null,
            ),
          );
        }),
        { numRuns: 25 },
      );
    });
  });

  describe(`${name}: snapshots of the replicated state`, () => {
    /** Sessions, sequence numbers and acknowledgements, some of them nonsense. */
    const block: fc.Arbitrary<Block & { readonly who: number }> = fc.record({
      who: fc.nat(4),
      kind: fc.constantFrom(
        BlockKind.commands,
        BlockKind.commands,
        BlockKind.commands,
        BlockKind.commands,
        BlockKind.openSession,
        BlockKind.closeSession,
      ),
      sequence: fc.nat(5),
      acknowledged: fc.nat(6),
      commands: fc.array(
        fc.oneof(
          fc.tuple(fc.nat(20), fc.nat(99)).map(([k, v]) => set(`key:${k}`, String(v))),
          fc.nat(20).map((k) => get(`key:${k}`)),
        ),
        { minLength: 1, maxLength: 3 },
      ),
    });
    const history = fc.array(fc.tuple(fc.nat(300), fc.array(block, { maxLength: 6 })), { maxLength: 25, size: "max" });
    const limits: Partial<ReplicatedStateOptions> = {
      sessionIdleMs: 2000,
      sessionsMax: 4,
      sessionRepliesMax: 3,
      sessionReplyBytesMax: 300,
      replyBytesMax: 700,
    };
    type History = readonly (readonly [elapsed: number, blocks: readonly (Block & { readonly who: number })[]])[];

    /** Turns generated blocks into concrete ones that several replicas can be given. */
    class Script {
      #time = 0;
      readonly #sessions: number[] = [];
      readonly #next = new Map<number, number>();
      #instance: number;

      constructor(instance = 0) {
        this.#instance = instance;
      }

      next([elapsed, blocks]: History[number]): [number, Block[]] {
        this.#time += elapsed;
        this.#instance++;
        const concrete = blocks.map((one, i): Block => {
          if (one.kind === BlockKind.openSession) {
            this.#sessions.push(positionOf(this.#instance, i));
            return { kind: BlockKind.openSession, nonce: new Uint8Array(16).fill(i) };
          }
          const session = this.#sessions.at(-1 - one.who) ?? 4096;
          if (one.kind === BlockKind.closeSession) return { kind: BlockKind.closeSession, session };
          // Mostly the next block, sometimes an earlier one or one too far ahead.
          const due = this.#next.get(session) ?? 1;
          const sequence = Math.max(1, one.sequence === undefined || one.sequence < 3 ? due : due + one.sequence - 4);
          const { commands = [] } = one;
          if (sequence === due) this.#next.set(session, due + commands.length);
          const acknowledged = Math.max(0, sequence - 1 - (one.acknowledged ?? 0));
          return { session, sequence, acknowledged, commands };
        });
        return [this.#time, concrete];
      }
    }

    test("restored in the middle, a replica goes on exactly like one that was there from the start", () => {
      fc.assert(
        fc.property(
          history,
          history,
          fc.integer({ min: 1, max: 300 }),
          fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 5 }),
          (before, after, slice, lengths) => {
            const script = new Script();
            const veteran = new Replica(create(kv.create(), limits));
            for (const entry of before) veteran.run(...script.next(entry));
            const through = veteran.model.inspect().executed;
            const digest = veteran.digest;
            const source = veteran.model.snapshot();
            const batches = after.map((entry) => script.next(entry));
            const mark = veteran.answers.length;
            let done = 0;
            const snapshot = snapshotOf(source, slice, () => {
              const batch = batches[done++];
              if (batch !== undefined) veteran.run(...batch);
            });
            for (; done < batches.length; done++) veteran.run(...(batches[done] as [number, Block[]]));

            const newcomer = new Replica(create(kv.create(), limits));
            newcomer.run(1, [{ kind: BlockKind.openSession, nonce: new Uint8Array(16) }]);
            restoreInto(newcomer.model.restore(through), snapshot, lengths);
            assert.equal(newcomer.digest, digest);
            assert.equal(newcomer.model.inspect().executed, through);
            // As many bytes; the order of the entries depends on what changed while the first was taken.
            assert.equal(snapshotOf(newcomer.model.snapshot()).length, snapshot.length);
            newcomer.decidedThrough = through;
            newcomer.answers.length = 0;
            for (const batch of batches) newcomer.run(...batch);
            assert.deepEqual(newcomer.answers, veteran.answers.slice(mark));
            assert.equal(newcomer.digest, veteran.digest);
          },
        ),
        { numRuns: 120 },
      );
    });

    test("a damaged or cut one is refused and changes nothing", () => {
      const replica = new Replica(create(kv.create()));
      const sessions = [replica.open(1), replica.open(2)];
      for (const session of sessions) {
        replica.run(3, [
          { session, sequence: 1, commands: [set("a", "1"), get("a")] },
          { session, sequence: 3, commands: [get("a")] },
        ]);
      }
      const good = snapshotOf(replica.model.snapshot());
      const target = new Replica(create(kv.create()));
      target.open(9);
      const before = target.digest;
      const refused = (snapshot: Uint8Array, what: string): void => {
        assert.throws(() => restoreInto(target.model.restore(99), snapshot, [7]), CheckpointDamagedError, what);
        assert.deepEqual([target.digest, target.model.inspect().executed], [before, 1], what);
      };
      for (let length = 0; length < good.length; length++) refused(good.slice(0, length), `cut at ${length}`);
      for (let at = 0; at < good.length; at++) {
        // Agreed time (8) and the count of commands (24) are the two fields that no other can confirm; checkpoints carry
        // a digest of their own.
        if ((at >= 8 && at < 16) || (at >= 24 && at < 32)) continue;
        const bad = good.slice();
        bad[at] = (bad[at] as number) ^ 0x41;
        refused(bad, `byte ${at}`);
      }
      restoreInto(target.model.restore(99), good, [7]);
      assert.equal(target.digest, replica.digest);
    });

    test("the age of replies survives a restore although their sessions are in another order", () => {
      const limits = { sessionReplyBytesMax: 1000, replyBytesMax: 1000 };
      const replica = new Replica(create(kv.create(), limits));
      const [a, b, c] = [replica.open(1), replica.open(1), replica.open(1)];
      replica.run(2, [{ session: c, sequence: 1, commands: [set("k", "v".repeat(400))] }]);
      const blockOf = (session: number, sequence: number): Block => ({ session, sequence, commands: [get("k")] });
      // The reply to a is the oldest, and a is active after b.
      replica.run(3, [blockOf(a, 1), blockOf(b, 1), blockOf(a, 7)]);
      const through = replica.model.inspect().executed;
      const restored = new Replica(create(kv.create(), limits));
      restoreInto(restored.model.restore(through), snapshotOf(replica.model.snapshot()));
      restored.decidedThrough = through;
      for (const one of [replica, restored]) {
        one.run(4, [blockOf(c, 2)]);
        const statuses = one.run(5, [blockOf(a, 1), blockOf(b, 1), blockOf(c, 2)]).map(({ status }) => status);
        assert.deepEqual(statuses, ["stale", "ok", "ok"]);
      }
      assert.equal(restored.digest, replica.digest);
    });

    test("restoring drops what was queued and goes on behind the snapshot", () => {
      const replica = counting();
      const session = replica.open(1);
      replica.run(2, [{ session, sequence: 1, commands: [add(5)] }]);
      const snapshot = snapshotOf(replica.model.snapshot());
      const late = counting();
      late.decide(1, [{ kind: BlockKind.openSession, nonce: new Uint8Array(16) }]);
      late.read(2, 1, readBlock([total], 1));
      restoreInto(late.model.restore(2), snapshot);
      const { executed, queuedBatches, queuedBytes } = late.model.inspect();
      assert.deepEqual([executed, queuedBatches, queuedBytes], [2, 0, 0]);
      late.model.step({ kind: "work", budget: 10 }, late);
      assert.deepEqual(late.reads[0]?.answer.replies, [integer(5)]);
      late.decidedThrough = 2;
      assert.deepEqual(late.run(3, [{ session, sequence: 2, commands: [total] }])[0]?.replies, [integer(5)]);
      assert.deepEqual(late.run(4, [{ session, sequence: 1, commands: [add(5)] }])[0]?.replies, [integer(5)]);
    });
  });

  test(`${name}: a service that answers too little stops the replica rather than give replies to other commands`, () => {
    const service = kv.create();
    service.execute = () => {};
    const replica = new Replica(create(service));
    const session = replica.open(1);
    assert.throws(() => replica.run(2, [{ session, sequence: 1, commands: [get("a")] }]), AssertionError);
  });
}
