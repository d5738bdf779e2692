import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { CheckpointDamagedError, UndoLog } from "#src/model/index.js";
import { counter, COUNTER_MAX, CounterOperation } from "#src/service/index.js";
import {
  type Command,
  digestOf,
  error,
  execute,
  executeRun,
  integer,
  restoreInto,
  runOf,
  snapshotOf,
} from "./kv-command.js";

const get: Command = { operation: CounterOperation.get, args: [] };
const add = (delta: string): Command => ({ operation: CounterOperation.add, args: [delta] });

describe("the counter", () => {
  test("adds up, and rolls back", () => {
    fc.assert(
      fc.property(fc.array(fc.integer()), fc.array(fc.integer()), (kept, undone) => {
        const service = counter.create();
        const undo = new UndoLog();
        let sum = 0;
        const replies = execute(
          service,
          kept.map((delta) => add(String(delta))),
          undo,
        );
        assert.deepEqual(
          replies,
          kept.map((delta) => integer((sum += delta))),
        );
        const mark = undo.mark();
        const digest = digestOf(service);
        execute(
          service,
          undone.map((delta) => add(String(delta))),
          undo,
        );
        service.rollback(undo, mark);
        assert.equal(digestOf(service), digest);
        assert.deepEqual(execute(service, [get]), [integer(sum)]);
      }),
    );
  });

  test("refuses what is malformed or would not be exact, and stays as it was", () => {
    const service = counter.create();
    execute(service, [add(String(COUNTER_MAX))]);
    const digest = digestOf(service);
    const notAnInteger = error("ERR value is not an integer or out of range");
    assert.deepEqual(
      execute(service, [
        add("1"),
        add("9007199254740993"),
        add("-0"),
        add("01"),
        add(""),
        add("1".repeat(40)),
        { operation: CounterOperation.add, args: [] },
        { operation: CounterOperation.get, args: ["1"] },
        { operation: CounterOperation.add, args: ["1", "1"] },
        { operation: 9, args: [] },
        { ...add("1"), flags: 1 },
      ]),
      [
        error("ERR increment or decrement would overflow"),
        ...[1, 2, 3, 4, 5].map(() => notAnInteger),
        error("ERR wrong number of arguments"),
        error("ERR wrong number of arguments"),
        error("ERR malformed command"),
        error("ERR unknown operation"),
        error("ERR syntax error"),
      ],
    );
    assert.deepEqual(executeRun(service, runOf([add("-1"), get], true)), [
      error("ERR a command that writes was sent as an unordered read"),
      integer(COUNTER_MAX),
    ]);
    assert.equal(digestOf(service), digest);
  });

  test("restores from a snapshot taken before later commands, and refuses a damaged one", () => {
    const service = counter.create();
    execute(service, [add("-42")]);
    const digest = digestOf(service);
    const source = service.snapshot();
    execute(service, [add("1")]);
    const snapshot = snapshotOf(source);
    const restored = counter.create();
    restoreInto(restored.restore(), snapshot, [1, 3]);
    assert.equal(digestOf(restored), digest);
    assert.throws(() => restoreInto(restored.restore(), snapshot.slice(0, 15)), CheckpointDamagedError);
    assert.throws(() => restoreInto(restored.restore(), new Uint8Array([...snapshot, 0])), CheckpointDamagedError);
    const bad = snapshot.slice();
    new DataView(bad.buffer).setFloat64(8, 0.5, true);
    assert.throws(() => restoreInto(restored.restore(), bad), CheckpointDamagedError);
    assert.equal(digestOf(restored), digest);
  });
});
