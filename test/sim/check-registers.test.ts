/** Stale reads and the order of a connection, as verdicts of their own; first of all the two histories of the paper. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { checkHistory, checkRegisters, HistoryBuilder, type Operation } from "#src/sim/check/index.js";
import { linearizableHistory, mutated } from "./check-oracle.js";

type Call = [process: string, from: number, to: number | null, op: string, args: unknown[], result?: unknown];

function history(...calls: Call[]): readonly Operation[] {
  const builder = new HistoryBuilder();
  for (const [process, from, to, op, args, result] of calls) {
    builder.add({ process, type: "invoke", op, args, tNs: from });
    if (to !== null) builder.add({ process, type: "ok", result, tNs: to });
  }
  return builder.operations;
}

const kinds = (operations: readonly Operation[]): string[] => checkRegisters(operations).faults.map(({ kind }) => kind);

describe("High-performance state-machine replication (DSN 2011), figure 1", () => {
  // C2 updates x from v1 to v2; C1 reads v1.
  const before: Call = ["C2", 0, 1, "set", ["x", "v1"], "OK"];

  test("top: the read begins when the update is over, so this is sequentially consistent but not linearizable", () => {
    const top = history(before, ["C2", 2, 4, "set", ["x", "v2"], "OK"], ["C1", 5, 7, "get", ["x"], "v1"]);
    assert.equal(checkHistory(top).verdict, "violation");
    // No client can tell by what it saw itself: only the clocks do.
    assert.deepEqual(kinds(top), ["stale-read"]);
  });

  test("bottom: the read and the update overlap, so this is linearizable", () => {
    const bottom = history(before, ["C2", 2, 6, "set", ["x", "v2"], "OK"], ["C1", 4, 7, "get", ["x"], "v1"]);
    assert.equal(checkHistory(bottom).verdict, "linearizable");
    assert.deepEqual(kinds(bottom), []);
  });
});

describe("faults with a short explanation", () => {
  test("a stale read says by what it was overtaken, and when", () => {
    const stale = history(
      ["a", 1, 2, "set", ["k", "1"], "OK"],
      ["a", 3, 4, "set", ["k", "2"], "OK"],
      ["c", 3.5, 20, "set", ["k", "3"], "OK"],
      ["b", 14, 15, "get", ["k"], "1"],
    );
    const [fault] = checkRegisters(stale).faults;
    assert.equal(fault?.kind, "stale-read");
    assert.equal(fault.message, 'process "b": get found "1" in "k", which "2" had replaced 10 ns before it began');
    assert.deepEqual(
      fault.operations.map(({ op, args }) => [op, args]),
      [
        ["set", ["k", "1"]],
        ["set", ["k", "2"]],
        ["get", ["k"]],
      ],
    );
  });

  test("so does a read of nothing where something had been written, and an update of an old value", () => {
    const calls: Call[] = [["a", 1, 2, "set", ["k", "1"], "OK"]];
    assert.deepEqual(kinds(history(...calls, ["b", 3, 4, "get", ["k"], null])), ["stale-read"]);
    assert.deepEqual(kinds(history(...calls, ["b", 3, 4, "getset", ["k", "2"], null])), ["stale-read"]);
    assert.deepEqual(kinds(history(...calls, ["b", 3, 4, "mget", ["k", "other"], [null, null]])), ["stale-read"]);
  });

  test("a value that nobody wrote, or not yet", () => {
    assert.deepEqual(kinds(history(["b", 3, 4, "get", ["k"], "1"])), ["early-read"]);
    assert.deepEqual(kinds(history(["b", 3, 4, "get", ["k"], "1"], ["a", 5, 6, "set", ["k", "1"], "OK"])), [
      "early-read",
    ]);
  });

  test("a process that finds an older value than before: no clock is needed to see it", () => {
    const writes: Call[] = [
      ["a", 1, 2, "set", ["k", "1"], "OK"],
      ["a", 3, 100, "set", ["k", "2"], "OK"],
    ];
    const back = history(...writes, ["b", 10, 11, "get", ["k"], "2"], ["b", 12, 13, "get", ["k"], "1"]);
    assert.deepEqual(kinds(back), ["connection-order"]);
    assert.equal(checkHistory(back).verdict, "violation");
    // Two processes may see the same while the write is under way, as far as this check goes; the search knows better.
    const two = history(...writes, ["b", 10, 11, "get", ["k"], "2"], ["c", 12, 13, "get", ["k"], "1"]);
    assert.deepEqual(kinds(two), []);
    assert.equal(checkHistory(two).verdict, "violation");
  });

  test("a process that does not find what it has written itself", () => {
    const lost = history(["a", 1, 50, "set", ["k", "1"], "OK"], ["a", 50, 60, "get", ["k"], null]);
    assert.ok(kinds(lost).includes("connection-order"));
  });
});

describe("what is not said", () => {
  test("keys whose values were written twice or depend on what was there are not judged, and counted", () => {
    const twice = history(
      ["a", 1, 2, "set", ["k", "1"], "OK"],
      ["a", 3, 4, "set", ["k", "2"], "OK"],
      ["a", 5, 6, "set", ["k", "1"], "OK"],
      ["b", 7, 8, "get", ["k"], "2"],
      ["b", 9, 10, "get", ["other"], null],
    );
    const { faults, judged, unjudged } = checkRegisters(twice);
    assert.deepEqual([faults.length, judged, unjudged], [0, 1, 1]);
    const blind = history(["a", 1, 2, "flushall", [], "OK"], ["b", 7, 8, "get", ["k"], null]);
    assert.equal(checkRegisters(blind).judged, 0);
  });

  test("linearizable histories have no faults, and what the search accepts has none either", () => {
    const shape = {
      processes: 4,
      operations: 30,
      keys: 2,
      values: 1000,
      names: ["get", "set", "getset", "mget"],
      infoChance: 0.1,
      timeMax: 6,
    };
    let found = 0;
    fc.assert(
      fc.property(fc.nat(), fc.nat(), (seed, change) => {
        const right = linearizableHistory(seed, shape);
        assert.deepEqual(kinds(right), [], `seed ${seed}`);
        const wrong = mutated(right, change);
        const faults = kinds(wrong);
        if (faults.length === 0) return;
        found++;
        assert.equal(checkHistory(wrong).verdict, "violation", `seed ${seed}, ${faults.join()}`);
      }),
      { numRuns: 300 },
    );
    assert.ok(found > 20, `${found} of 300 changed histories had a fault`);
  });
});
