/**
 * Every operation of kv: the store of production and the plain one give the same replies at any agreed times; what is rolled
 * back leaves no trace; snapshots carry watches and expiries; expiry, watches and transactions by example.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { CheckpointDamagedError, type Service, UndoLog } from "#src/model/index.js";
import { kv, SetFlag, KvOperation as O } from "#src/service/index.js";
import {
  type Command,
  digestOf,
  error,
  executeRun,
  integer,
  OK,
  type Reply,
  restoreInto,
  runOf,
  snapshotOf,
} from "./kv-command.js";
import { START, command, set, get, setMs, watch, unwatch, transaction, at, any as anyCommand } from "./kv-random.js";
import { plainKv } from "./plain-kv.js";

/** Batches: how much later than the one before, and its commands. */
const batches = fc.array(fc.tuple(fc.integer({ min: 0, max: 12 }), fc.array(anyCommand, { maxLength: 8 })), {
  maxLength: 25,
});
type Batches = readonly (readonly [number, readonly Command[]])[];

function play(service: Service, list: Batches, undo: UndoLog | null = null, from = START): Reply[][] {
  let time = from;
  return list.map(([later, commands]) => {
    time += later;
    return at(service, time, commands, undo);
  });
}

/** Keys of a scan come in an order of each store's own. */
function unordered(commands: readonly Command[], replies: readonly Reply[]): Reply[] {
  return replies.map((reply, i) => {
    const list = commands[i]?.operation === O.scan && Array.isArray(reply) ? reply[1] : null;
    return Array.isArray(list)
      ? ["0", list.map(String).sort()]
      : commands[i]?.operation === O.transaction
        ? null
        : reply;
  });
}

describe("every operation", () => {
  test("has the same replies from the store and from the plain one", () => {
    fc.assert(
      fc.property(batches, (list) => {
        const [service, plain] = [kv.create(), plainKv.create()];
        const [own, wanted] = [play(service, list), play(plain, list)];
        list.forEach(([, commands], i) => {
          assert.deepEqual(unordered(commands, own[i] ?? []), unordered(commands, wanted[i] ?? []));
        });
        assert.deepEqual(service.size(), plain.size());
        assert.equal(service.due(), plain.due());
      }),
      { numRuns: 200 },
    );
  });

  test("leaves no trace when it is rolled back", () => {
    fc.assert(
      fc.property(batches, batches, batches, (before, kept, undone) => {
        const service = kv.create();
        play(service, before);
        const undo = new UndoLog();
        play(service, kept, undo, START + 300);
        const mark = undo.mark();
        const state = (): unknown => [
          digestOf(service),
          service.size(),
          service.due(),
          snapshotOf(service.snapshot(), 1e6),
        ];
        const middle = state();
        play(service, undone, undo, START + 600);
        service.rollback(undo, mark);
        assert.deepEqual(state(), middle);
        service.rollback(undo, 0);
        const anew = kv.create();
        play(anew, before);
        assert.equal(digestOf(service), digestOf(anew));
      }),
      { numRuns: 120 },
    );
  });

  test("goes on behind a snapshot as if nothing had been", () => {
    fc.assert(
      fc.property(batches, batches, (before, after) => {
        const service = kv.create();
        play(service, before);
        const restored = kv.create();
        restoreInto(restored.restore(), snapshotOf(service.snapshot()), [7, 100]);
        assert.equal(digestOf(restored), digestOf(service));
        assert.deepEqual(play(restored, after, null, START + 400), play(service, after, null, START + 400));
        assert.equal(digestOf(restored), digestOf(service));
      }),
      { numRuns: 120 },
    );
  });
});

describe("expiry", () => {
  test("hides a key from its time on, and advance removes it", () => {
    const service = kv.create();
    at(service, START, [setMs("a", "1", 10), set("b", "2")]);
    assert.equal(service.due(), START + 10);
    const read = (time: number): Reply[] => {
      const run = runOf([get("a"), command(O.exists, ["a", "b"]), command(O.keys, ["*"])], true);
      run.time = time;
      return executeRun(service, run);
    };
    assert.deepEqual(read(START + 9), ["1", integer(2), ["a", "b"]]);
    // Nothing has advanced: the key is there and nobody sees it.
    assert.deepEqual(read(START + 10), [null, integer(1), ["b"]]);
    assert.equal(service.size().entries, 2);
    service.advance(START + 10, null);
    assert.equal(service.size().entries, 1);
    assert.equal(service.due(), Infinity);
  });

  test("of many keys at once is worked off in pieces, with the rest due at once", () => {
    const service = kv.create();
    for (let i = 0; i < 1000; i++) at(service, START, [setMs(`key:${i}`, "v", 10)]);
    const left: number[] = [];
    for (let i = 0; i < 5; i++) {
      service.advance(START + 10, null);
      left.push(service.size().entries);
    }
    assert.deepEqual(left, [744, 488, 232, 0, 0]);
  });

  test("of a key that is written before it was removed belongs to the new value", () => {
    const service = kv.create();
    at(service, START, [setMs("a", "7", 10), setMs("b", "7", 10), setMs("c", "7", 10)]);
    const run = runOf([
      command(O.increment, ["a", "1"]),
      command(O.append, ["b", "x"]),
      command(O.set, ["c", "new"], SetFlag.keepExpiry),
      command(O.timeToLive, ["a"]),
      command(O.timeToLive, ["b"]),
      command(O.timeToLive, ["c"]),
    ]);
    run.time = START + 10;
    assert.deepEqual(executeRun(service, run), [integer(1), integer(1), OK, integer(-1), integer(-1), integer(-1)]);
  });
});

describe("a watch", () => {
  const breaks: [string, readonly Command[], boolean][] = [
    ["a write of another key", [set("b", "1")], true],
    ["a read", [get("a"), command(O.exists, ["a"]), command(O.timeToLive, ["a"])], true],
    ["a write of the same value", [set("a", "1")], false],
    ["a deletion", [command(O.delete, ["b", "a"])], false],
    ["a write that its condition prevents", [command(O.set, ["a", "2"], SetFlag.onlyNew)], true],
    ["an expiry", [command(O.expire, ["a", "100"])], false],
    ["a renaming to it", [set("x", "1"), command(O.rename, ["x", "a"])], false],
    ["a renaming of another key to another", [set("x", "1"), command(O.rename, ["x", "y"])], true],
    ["an increment that fails", [command(O.increment, ["a", "x"])], true],
    ["emptying the store", [command(O.clear, [])], false],
    ["deleting its range", [command(O.rangeDelete, ["a", "a"])], false],
    ["deleting a range beside it", [command(O.rangeDelete, ["b", ""])], true],
    ["a transaction that writes it", [transaction(0, set("a", "5"))], false],
    ["a value that is read and deleted", [command(O.getDelete, ["a"])], false],
    ["a value that is read and persists anyway", [command(O.getExpire, ["a"], SetFlag.persist)], true],
    ["an empty SETRANGE", [command(O.setRange, ["a", "0", ""])], true],
  ];
  for (const [what, commands, holds] of breaks) {
    test(`${holds ? "holds" : "breaks"}: ${what}`, () => {
      const service = kv.create();
      assert.deepEqual(at(service, START, [set("a", "1"), watch(0, "a", "a", "none")])[1], integer(1));
      at(service, START, commands);
      assert.deepEqual(at(service, START, [transaction(1, get("none"))]), [holds ? [null] : null]);
      // It has ended either way.
      assert.deepEqual(at(service, START, [transaction(1, get("none"))]), [null]);
    });
  }

  test("breaks when its key expires, whether or not it has been removed", () => {
    for (const advance of [true, false]) {
      const service = kv.create();
      at(service, START, [setMs("a", "1", 10), watch(0, "a")]);
      if (advance) service.advance(START + 10, null);
      const run = runOf([transaction(1)]);
      run.time = START + 10;
      assert.deepEqual(executeRun(service, run), [null]);
    }
  });

  test("of a key that has expired already is of one that does not exist", () => {
    const service = kv.create();
    at(service, START, [setMs("a", "1", 10)]);
    const run = runOf([watch(0, "a"), transaction(1, get("a"))]);
    run.time = START + 10;
    assert.deepEqual(executeRun(service, run), [integer(1), [null]]);
  });

  test("is given up, and is extended", () => {
    const service = kv.create();
    assert.deepEqual(at(service, START, [watch(0, "a"), watch(1, "b"), watch(0, "c")]), [1, 1, 2].map(integer));
    assert.deepEqual(at(service, START, [unwatch(2), set("b", "1"), transaction(1)]), [OK, OK, null]);
    // A broken one stays broken, whatever is added.
    assert.deepEqual(at(service, START, [watch(1, "d"), transaction(1)]), [integer(1), null]);
  });

  test("is the oldest that breaks when there are too many keys", () => {
    const service = kv.create();
    const many = (prefix: string): string[] => Array.from({ length: 16_000 }, (_, i) => `${prefix}${i}`);
    at(
      service,
      START,
      ["a", "b", "c", "d"].map((prefix) => watch(0, ...many(prefix))),
    );
    assert.deepEqual(at(service, START, [watch(0, ...many("e"))]), [integer(5)]);
    const replies = at(
      service,
      START,
      [1, 2, 3, 4, 5].map((one) => transaction(one)),
    );
    assert.deepEqual(replies, [null, [], [], [], []]);
  });

  test("that was damaged in a snapshot is noticed", () => {
    const service = kv.create();
    at(service, START, [set("a", "1"), watch(0, "a", "b"), watch(0, "ccc")]);
    const good = snapshotOf(service.snapshot(), 1e6);
    for (let place = 0; place < good.length; place++) {
      const bad = good.slice();
      bad[place] = (bad[place] as number) ^ 0x41;
      assert.throws(() => restoreInto(kv.create().restore(), bad, [5]), CheckpointDamagedError, `byte ${place}`);
    }
  });
});

describe("a transaction", () => {
  test("executes all its commands, also behind one that fails", () => {
    const service = kv.create();
    const replies = at(service, START, [
      transaction(0, set("a", "x"), command(O.increment, ["a", "1"]), command(O.fail, ["ERR wrong"]), get("a")),
    ]);
    assert.deepEqual(replies, [[OK, error("ERR value is not an integer or out of range"), error("ERR wrong"), "x"]]);
  });

  test("holds no transaction, no watch, and nothing that is no command", () => {
    const service = kv.create();
    const malformed = error("ERR malformed transaction");
    for (const inner of [transaction(0), watch(0, "a"), unwatch(1), command(250, [])]) {
      assert.deepEqual(at(service, START, [transaction(0, set("a", "1"), inner)]), [malformed]);
    }
    for (const bytes of ["", "1234567", "\u0009\u0000\u0000\u0000\u0001\u0000\u0000\u0000"]) {
      assert.deepEqual(at(service, START, [command(O.transaction, ["", bytes])]), [malformed]);
    }
    assert.deepEqual(at(service, START, [command(O.transaction, ["12"])]), [error("ERR malformed id of a watch")]);
    assert.equal(service.size().entries, 0);
  });
});
