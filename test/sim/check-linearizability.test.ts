/** `checkHistory` against histories whose verdict is known, and against the definition tried out by force. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { BEFORE_PROCESS, checkHistory, HistoryBuilder, type Operation, type Verdict } from "#src/sim/check/index.js";
import { contradictionOf } from "#src/sim/check/contradiction.js";
import { groupByKey } from "#src/sim/check/partition.js";
import { programOf, Search } from "#src/sim/check/search.js";
import { bruteForce, bruteForceStates, linearizableHistory, mutated, type Shape } from "./check-oracle.js";

type Call = [process: string, from: number, to: number | null, op: string, args: unknown[], result?: unknown];

/** A history from its operations; `to` null: outcome unknown. */
function history(...calls: Call[]): readonly Operation[] {
  const builder = new HistoryBuilder();
  for (const [process, from, to, op, args, result] of calls) {
    builder.add({ process, type: "invoke", op, args, tNs: from });
    if (to !== null) builder.add({ process, type: "ok", result, tNs: to });
  }
  return builder.operations;
}

const verdictOf = (...calls: Call[]): Verdict => checkHistory(history(...calls));
const accepted = (...calls: Call[]): void => assert.equal(verdictOf(...calls).verdict, "linearizable");

/** Fails unless the history is refused with just these operations as the contradicting part. */
function refused(part: string[], ...calls: Call[]): void {
  const verdict = verdictOf(...calls);
  assert.equal(verdict.verdict, "violation");
  const found = (verdict.violation?.part ?? []).map(({ process, op }) => `${process} ${op}`);
  assert.deepEqual(found, part);
}

describe("histories that no linearizable store has", () => {
  test("a stale read", () => {
    refused(
      ["a set", "a set", "b get"],
      ["c", 1, 2, "set", ["other", "1"], "OK"],
      ["a", 1, 2, "set", ["k", "1"], "OK"],
      ["a", 3, 4, "set", ["k", "2"], "OK"],
      ["c", 4.1, 4.4, "get", ["k"], "2"],
      ["b", 5, 6, "get", ["k"], "1"],
      ["c", 7, 8, "get", ["k"], "2"],
    );
  });
  test("two reads of which the later sees the older value", () => {
    refused(
      ["a set", "b get", "c get"],
      ["a", 1, 10, "set", ["k", "1"], "OK"],
      ["b", 2, 3, "get", ["k"], "1"],
      ["c", 4, 5, "get", ["k"], null],
    );
  });
  test("a lost update", () => {
    refused(
      ["a incr", "a incr", "b incr"],
      ["a", 0, 0.5, "incr", ["k"], 1],
      ["a", 1, 4, "incr", ["k"], 2],
      ["b", 2, 5, "incr", ["k"], 2],
    );
  });
  test("a lost update of two that both found the key absent", () => {
    refused(["a set", "b set"], ["a", 1, 3, "set", ["k", "1", "NX"], "OK"], ["b", 2, 4, "set", ["k", "2", "NX"], "OK"]);
  });
  test("a read of a value that nobody wrote", () => {
    refused(["b get"], ["a", 1, 2, "set", ["k", "1"], "OK"], ["b", 3, 4, "get", ["k"], "7"]);
  });
  test("a read of a value that is written only later", () => {
    refused(["b get"], ["b", 1, 2, "get", ["k"], "1"], ["a", 3, 4, "set", ["k", "1"], "OK"]);
  });
  test("a sequentially consistent one: a process reads what it wrote, others lag", () => {
    // Putting b's read first explains every process's own view, but it was invoked after the write completed.
    refused(["a set", "b get"], ["a", 1, 2, "set", ["k", "1"], "OK"], ["b", 3, 4, "get", ["k"], null]);
  });
  test("a sequentially consistent one: two writes seen in the order opposite to real time", () => {
    refused(
      ["a set", "b set", "c get"],
      ["a", 1, 2, "set", ["k", "1"], "OK"],
      ["b", 3, 4, "set", ["k", "2"], "OK"],
      ["c", 5, 6, "get", ["k"], "1"],
    );
  });
  test("an operation that certainly failed and is seen all the same", () => {
    const builder = new HistoryBuilder();
    builder.add({ process: 1, type: "invoke", op: "set", args: ["k", "1"], tNs: 1 });
    builder.add({ process: 1, type: "fail", tNs: 2 });
    builder.add({ process: 1, type: "invoke", op: "get", args: ["k"], tNs: 3 });
    builder.add({ process: 1, type: "ok", result: "1", tNs: 4 });
    assert.equal(checkHistory(builder.operations).verdict, "violation");
  });
  test("an operation of unknown outcome that takes effect twice", () => {
    refused(
      ["a incr", "b get"],
      ["a", 1, null, "incr", ["k"]],
      ["b", 2, 3, "get", ["k"], null],
      ["b", 4, 5, "get", ["k"], "1"],
      ["b", 6, 7, "get", ["k"], "2"],
    );
  });
  test("a command executed before it was asked for", () => {
    refused(["b get"], ["b", 1, 2, "get", ["k"], "x"], ["a", 3, 4, "append", ["k", "x"], 1]);
  });
  test("a write of several keys seen in part", () => {
    refused(
      ["a mset", "b mget"],
      ["a", 1, 9, "mset", ["x", "1", "y", "1"], "OK"],
      ["b", 2, 3, "mget", ["x", "y"], ["1", null]],
    );
  });
  test("a counter that goes back, and one that forgets", () => {
    refused(["a add", "b get"], ["a", 1, 2, "add", [5], 5], ["b", 3, 4, "get", [], 0]);
    refused(["a add", "a add"], ["a", 1, 2, "add", ["c", 2], 2], ["a", 3, 4, "add", ["c", 2], 2]);
  });
  test("a read by the same process at the very instant its write completed", () => {
    refused(["a set", "a get"], ["a", 1, 5, "set", ["k", "1"], "OK"], ["a", 5, 8, "get", ["k"], null]);
  });
  test("results that no state gives", () => {
    refused(["a exists"], ["a", 1, 2, "exists", ["k"], 2]);
    refused(["a append"], ["a", 1, 2, "append", ["k", "abc"], 2]);
    refused(["a mget"], ["a", 1, 2, "mget", ["k", "k"], ["1", "2"]]);
    refused(["a incr"], ["a", 1, 2, "incr", ["k"], { error: "ERR value is not an integer or out of range" }]);
  });
});

describe("histories that a linearizable store can have", () => {
  test("nothing at all", () => accepted());
  test("concurrent writes, seen in either order", () => {
    accepted(
      ["a", 1, 10, "set", ["k", "1"], "OK"],
      ["b", 2, 9, "set", ["k", "2"], "OK"],
      ["c", 3, 4, "get", ["k"], "2"],
      ["c", 5, 6, "get", ["k"], "1"],
    );
  });
  test("a write of unknown outcome that is seen late, or never", () => {
    accepted(["a", 1, null, "set", ["k", "1"]], ["b", 2, 3, "get", ["k"], null], ["b", 4, 5, "get", ["k"], "1"]);
    accepted(["a", 1, null, "set", ["k", "1"]], ["b", 2, 3, "get", ["k"], null]);
  });
  test("a value that increments of unknown outcome reach before the one write of it does", () => {
    accepted(
      ["a", 1, null, "incr", ["k"]],
      ["b", 2, null, "incr", ["k"]],
      ["c", 3, 6, "incr", ["k"], 3],
      ["d", 5, 5, "set", ["k", "2"], "OK"],
      ["e", 7, 8, "get", ["k"], "2"],
    );
  });
  test("operations that touch at one instant are concurrent", () => {
    accepted(["a", 1, 5, "set", ["k", "1"], "OK"], ["b", 5, 8, "get", ["k"], null]);
  });
  test("numbers as texts, names in capitals, errors", () => {
    accepted(
      ["a", 1, 2, "SET", ["k", 5], "OK"],
      ["a", 3, 4, "INCRBY", ["k", "9223372036854775807"], { error: "ERR increment or decrement would overflow" }],
      ["a", 5, 6, "incr", ["k"], "6"],
      ["a", 7, 8, "append", ["k", "x"], 2],
      ["a", 9, 10, "incr", ["k"], { error: "ERR value is not an integer or out of range" }],
      ["a", 11, 12, "getdel", ["k"], "6x"],
      ["a", 13, 14, "decr", ["k"], -1],
      ["a", 15, 16, "exists", ["k", "k", "l"], 2],
    );
  });
});

describe("what can't be decided is said", () => {
  test("an operation that is not modelled", () => {
    const verdict = verdictOf(["a", 1, 2, "lpush", ["k", "1"], 1]);
    assert.equal(verdict.verdict, "unknown");
    assert.match(verdict.reasons.join(), /"lpush" is not modelled/);
  });
  test("a bound on steps", () => {
    const operations = linearizableHistory(1, { ...wide, operations: 400 });
    assert.equal(checkHistory(operations).verdict, "linearizable");
    const verdict = checkHistory(operations, { stepsMax: 100 });
    assert.equal(verdict.verdict, "unknown");
    assert.match(verdict.reasons.join(), /did not end within/);
  });
  test("a bound on memory", () => {
    const operations = linearizableHistory(1, { ...wide, operations: 400 });
    const verdict = checkHistory(operations, { configurationsMax: 10 });
    assert.equal(verdict.verdict, "unknown");
    assert.match(verdict.reasons.join(), /memory/);
  });
  test("many operations on keys that are touched together, unless one key alone contradicts", () => {
    const calls: Call[] = [
      ["a", 1, 9, "mset", ["x", "1", "y", "1"], "OK"],
      ["b", 2, 3, "mget", ["x", "y"], ["1", null]],
    ];
    assert.equal(checkHistory(history(...calls), { jointOperationsMax: 1 }).verdict, "unknown");
    calls.push(["b", 10, 11, "get", ["x"], null]);
    const verdict = checkHistory(history(...calls), { jointOperationsMax: 1 });
    assert.equal(verdict.verdict, "violation");
    assert.deepEqual(verdict.violation?.keys, ["x"]);
  });
});

const all = [
  "get",
  "get",
  "set",
  "write",
  "setnx",
  "getset",
  "getdel",
  "del",
  "exists",
  "incr",
  "incrby",
  "decrby",
  "append",
  "strlen",
];
const registers = ["get", "get", "write", "write", "getset"];
const several = ["get", "write", "mget", "mget", "mset", "msetnx", "del", "exists"];
const wide: Shape = {
  processes: 16,
  operations: 400,
  keys: 1,
  values: 1000,
  names: registers,
  infoChance: 0.02,
  timeMax: 50,
};

const shapes: Record<string, Shape> = {
  "every operation, few values": {
    processes: 4,
    operations: 200,
    keys: 2,
    values: 3,
    names: all,
    infoChance: 0.02,
    timeMax: 6,
  },
  "every operation, unique values": {
    processes: 6,
    operations: 200,
    keys: 2,
    values: 1000,
    names: all,
    infoChance: 0.02,
    timeMax: 20,
  },
  "a register under many writers": wide,
  "a register with few values": { ...wide, processes: 5, values: 3, timeMax: 9 },
  increments: { ...wide, names: ["incr", "incrby", "get"], infoChance: 0.03 },
  "keys together": { processes: 4, operations: 120, keys: 3, values: 3, names: several, infoChance: 0.02, timeMax: 6 },
};

describe("histories that are right by construction are accepted", () => {
  for (const [name, shape] of Object.entries(shapes)) {
    test(name, () => {
      fc.assert(
        fc.property(fc.integer({ min: 0 }), (seed) => {
          const verdict = checkHistory(linearizableHistory(seed, shape));
          assert.equal(verdict.verdict, "linearizable", verdict.reasons.join());
        }),
        { numRuns: 60 },
      );
    });
  }
});

describe("verdicts on histories of some size are those of trying every order", () => {
  const some = { processes: 4, operations: 40, keys: 1, infoChance: 0.05, timeMax: 12 };
  const sets = [registers, ["incr", "incrby", "get"], ["get", "write", "getdel", "append", "strlen", "exists"]];
  for (const [names, values] of sets.flatMap((set) => [[set, 1000] as const, [set, 2] as const])) {
    test(`${names.join(" ")}, ${values} values`, () => {
      let cut = 0;
      let untried = 0;
      fc.assert(
        fc.property(fc.integer({ min: 0 }), fc.integer({ min: 0 }), (seed, change) => {
          const operations = mutated(
            mutated(linearizableHistory(seed, { ...some, names, values }), change),
            change + 1,
          );
          const expected = bruteForce(operations);
          if (expected === null) {
            untried++;
            return;
          }
          const verdict = checkHistory(operations);
          assert.equal(verdict.verdict, expected ? "linearizable" : "violation");
          if (verdict.violation === null) return;
          const { part } = verdict.violation;
          if (part.some(({ process }) => process === BEFORE_PROCESS)) cut++;
          assert.notEqual(bruteForce(part), true, "the part is no contradiction");
        }),
        { numRuns: 100 },
      );
      assert.ok(untried <= 20, `${untried} of 100 histories had too many orders`);
      if (names.includes("incr")) assert.ok(cut > 0, "no part began in the middle of its history");
    });
  }
});

describe("verdicts on small histories are those of trying every order", () => {
  const small = [
    { processes: 3, operations: 6, keys: 1, values: 2, names: all, infoChance: 0.15, timeMax: 4 },
    { processes: 4, operations: 6, keys: 1, values: 2, names: ["get", "write"], infoChance: 0.15, timeMax: 8 },
    { processes: 3, operations: 6, keys: 1, values: 1000, names: registers, infoChance: 0.2, timeMax: 6 },
    {
      processes: 3,
      operations: 6,
      keys: 1,
      values: 2,
      names: ["incr", "get", "write", "del"],
      infoChance: 0.2,
      timeMax: 4,
    },
    // Values that come back while others swap them, operations that mean the same and touch, and unknown increments.
    { processes: 6, operations: 8, keys: 1, values: 2, names: ["write", "getset", "get"], infoChance: 0, timeMax: 9 },
    { processes: 3, operations: 7, keys: 1, values: 1, names: ["get", "write", "getdel"], infoChance: 0.3, timeMax: 1 },
    { processes: 4, operations: 8, keys: 1, values: 1, names: ["get", "write", "incr"], infoChance: 0.2, timeMax: 1 },
    { processes: 4, operations: 7, keys: 1, values: 3, names: ["get", "write", "incr"], infoChance: 0.4, timeMax: 3 },
    { processes: 3, operations: 6, keys: 2, values: 2, names: several, infoChance: 0.15, timeMax: 4 },
    // What concerns keys that it does not name, pieces of values, and transactions.
    {
      processes: 3,
      operations: 6,
      keys: 3,
      values: 2,
      names: ["range", "rangecount", "keys", "dbsize", "write", "del", "flushall", "delrange"],
      infoChance: 0.1,
      timeMax: 4,
    },
    {
      processes: 3,
      operations: 6,
      keys: 1,
      values: 2,
      names: ["getrange", "setrange", "write", "type", "touch", "get"],
      infoChance: 0.1,
      timeMax: 4,
    },
    { processes: 3, operations: 5, keys: 2, values: 2, names: ["exec", "get", "write"], infoChance: 0.1, timeMax: 4 },
  ];
  for (const [index, shape] of small.entries()) {
    test(`${shape.names.join(" ")}`, () => {
      let violations = 0;
      fc.assert(
        fc.property(fc.integer({ min: 0 }), fc.integer({ min: 0 }), (seed, change) => {
          let operations = linearizableHistory(seed, shape);
          assert.equal(bruteForce(operations), true);
          operations = mutated(mutated(operations, change), change + 1);
          const verdict = checkHistory(operations);
          assert.equal(verdict.verdict, bruteForce(operations) ? "linearizable" : "violation");
          if (verdict.violation === null) return;
          violations++;
          assert.equal(bruteForce(verdict.violation.part), false, "the part is no contradiction");
        }),
        { numRuns: 1500 },
      );
      assert.ok(violations > 100, `only ${violations} histories of shape ${index} were wrong`);
    });
  }
});

describe("the states that a history can end in are those of trying every order", () => {
  const sets = [all, registers, ["write", "get", "append"], ["incr", "get"], ["write", "get", "getdel"]];
  for (const names of sets) {
    test(names.join(" "), () => {
      fc.assert(
        fc.property(fc.integer({ min: 0 }), fc.constantFrom(2, 1000), (seed, values) => {
          const shape = { processes: 4, operations: 7, keys: 1, values, names, infoChance: 0.25, timeMax: 4 };
          const operations = linearizableHistory(seed, shape);
          const partition = groupByKey(operations, 100).groups[0]?.whole;
          if (partition === undefined || partition === null) return;
          const { model, items } = partition;
          const budget = { steps: 1e6, configurationsMax: 1e5 };
          const found = new Search(programOf(model, model.initial, items, true), budget).finalStates(1000);
          const texts = found?.map((state) => String(model.describe(state)["k0"])).sort();
          const expected = bruteForceStates(operations).map((state) => String(state.get("k0") ?? null));
          assert.deepEqual(texts, [...new Set(expected)].sort());
        }),
        { numRuns: 400 },
      );
    });
  }
});

describe("shrinking concludes nothing from a history that is right, wherever it is told to look", () => {
  const sets = [
    registers,
    ["incr", "incrby", "get"],
    ["write", "get", "append", "strlen"],
    ["write", "get", "incr"],
    all,
  ];
  for (const names of sets) {
    test(names.join(" "), () => {
      fc.assert(
        fc.property(fc.integer({ min: 0 }), fc.constantFrom(3, 1000), fc.nat(119), (seed, values, passed) => {
          const shape = { processes: 6, operations: 120, keys: 1, values, names, infoChance: 0.04, timeMax: 8 };
          const partition = groupByKey(linearizableHistory(seed, shape), 1000).groups[0]?.whole;
          if (partition === undefined || partition === null) return;
          const required = partition.items.filter((item) => item.completed !== Infinity).map((item) => item.operation);
          const { operations, before } = contradictionOf(partition, Math.min(passed, required.length - 1), 1e5);
          assert.equal(before, null, "a part from the middle was believed to be a contradiction");
          const lost = required.filter((operation) => !operations.includes(operation));
          assert.deepEqual(lost, [], "operations were believed not to matter");
        }),
        { numRuns: 60 },
      );
    });
  }
});

describe("long histories", () => {
  const long: Shape = { ...wide, operations: 20_000, processes: 32, keys: 2, timeMax: 100, infoChance: 0.001 };

  for (const names of [registers, ["incr", "get"], ["write", "get", "getdel", "append", "strlen"]]) {
    test(`${names.join(" ")}: accepted, and refused with a small part when one result is wrong`, () => {
      const operations = linearizableHistory(7, { ...long, names });
      const verdict = checkHistory(operations);
      assert.equal(verdict.verdict, "linearizable", verdict.reasons.join());
      const at = operations.findLastIndex((operation) => operation.op === "get" && operation.outcome === "ok");
      const wrong = operations.map((operation, index) =>
        index === at ? { ...operation, result: "7777777" } : operation,
      );
      const refusal = checkHistory(wrong);
      assert.equal(refusal.verdict, "violation", refusal.reasons.join());
      const part = refusal.violation?.part ?? [];
      assert.ok(part.length <= 100, `a part of ${part.length} operations`);
      assert.equal(checkHistory(part).verdict, "violation", "the part is no contradiction");
    });
  }
  test("a value read again long after it was overwritten, with unknown outcomes about, is shown by few operations", () => {
    const operations = linearizableHistory(7, {
      ...long,
      operations: 60_000,
      keys: 1,
      names: registers,
      infoChance: 0.002,
    });
    const reads = operations.filter((operation) => operation.op === "get" && operation.result !== null);
    const told = reads.filter(({ outcome }) => outcome === "ok").sort((a, b) => a.invokedNs - b.invokedNs);
    const victim = told[told.length - 100] as Operation;
    const result = told[told.length >> 1]?.result;
    const wrong = operations.map((operation) => (operation === victim ? { ...operation, result } : operation));
    const { verdict, violation, reasons } = checkHistory(wrong);
    assert.equal(verdict, "violation", reasons.join());
    const part = violation?.part ?? [];
    assert.ok(part.length <= 100, `a part of ${part.length} operations`);
    assert.equal(checkHistory(part).verdict, "violation", "the part is no contradiction");
  });
  test("a stale read deep inside costs little and is found by its three operations", () => {
    const operations = linearizableHistory(9, { ...long, keys: 1, names: ["write", "get"], infoChance: 0 });
    const reads = operations.filter((operation) => operation.op === "get" && operation.result !== null);
    reads.sort((a, b) => a.invokedNs - b.invokedNs);
    const victim = reads[reads.length - 200] as Operation;
    const stale = reads[1000]?.result;
    const verdict = checkHistory(
      operations.map((operation) => (operation === victim ? { ...operation, result: stale } : operation)),
    );
    assert.equal(verdict.verdict, "violation", verdict.reasons.join());
    assert.ok(verdict.steps < 20_000_000, `${verdict.steps} steps`);
    assert.equal(verdict.violation?.part.length, 3);
  });
});

describe("what concerns keys that are not named", () => {
  const wrote: Call[] = [
    ["a", 1, 2, "mset", ["k1", "1", "k2", "2", "k3", "3"], "OK"],
    ["a", 3, 4, "del", ["k2"], 1],
  ];
  const is = (verdict: string, ...calls: Call[]): void =>
    assert.equal(verdictOf(...wrote, ...calls).verdict, verdict, JSON.stringify(calls));

  test("ranges, counts, lists and removals of keys", () => {
    is("linearizable", ["b", 5, 6, "range", ["k1", "k9"], ["k1", "1", "k3", "3"]]);
    is("violation", ["b", 5, 6, "range", ["k1", "k9"], ["k1", "1", "k2", "2", "k3", "3"]]);
    is("violation", ["b", 5, 6, "range", ["k1", "k9"], ["k3", "3"]]);
    is("violation", ["b", 5, 6, "range", ["k1", "k9"], ["k3", "3", "k1", "1"]]);
    is("linearizable", ["b", 5, 6, "range", ["k1", "", "REV"], ["k3", "3", "k1", "1"]]);
    is("linearizable", ["b", 5, 6, "range", ["k1", "", "LIMIT", 1], ["k1", "1"]]);
    is("violation", ["b", 5, 6, "range", ["k1", "", "LIMIT", 1], ["k3", "3"]]);
    is("violation", ["b", 5, 6, "range", ["k1", "", "REV", "LIMIT", 1], ["k1", "1"]]);
    is("linearizable", ["b", 5, 6, "range", ["k4", "k9", "REV"], []]);
    // What the first run of the witness found: keys in front of a range that has none.
    is("violation", ["b", 5, 6, "range", ["k4", "k9", "REV"], ["k3", "3", "k1", "1"]]);
    is("linearizable", ["b", 5, 6, "rangecount", ["k1", "k2"], 1]);
    is("violation", ["b", 5, 6, "rangecount", ["k1", "k2"], 2]);
    is("violation", ["b", 5, 6, "rangecount", ["x", "y"], 1]);
    is("linearizable", ["b", 5, 6, "keys", ["k*"], ["k3", "k1"]]);
    is("violation", ["b", 5, 6, "keys", ["k*"], ["k1"]]);
    is("violation", ["b", 5, 6, "dbsize", [], 3]);
    is("linearizable", ["b", 5, 6, "delrange", ["k1", "k2"], 1], ["b", 7, 8, "get", ["k1"], null]);
    is("violation", ["b", 5, 6, "delrange", ["k1", "k2"], 1], ["b", 7, 8, "get", ["k1"], "1"]);
    is("linearizable", ["b", 5, 6, "flushall", [], "OK"], ["b", 7, 8, "randomkey", [], null]);
    is("violation", ["b", 5, 6, "flushall", [], "OK"], ["b", 7, 8, "randomkey", [], "k1"]);
    is("violation", ["b", 5, 6, "scan", ["0"], ["0", ["k2"]]]);
  });

  test("transactions with several commands on one key, and those that a watch has stopped", () => {
    const set = ["set", "k1", "7"];
    const read = ["get", "k1"];
    is("linearizable", ["b", 5, 6, "exec", [read, set, ["incr", "k1"], read], ["1", "OK", 8, "8"]]);
    is("violation", ["b", 5, 6, "exec", [read, set, ["incr", "k1"], read], ["1", "OK", 8, "7"]]);
    is("violation", ["b", 5, 6, "exec", [set, read], ["OK", "7"]], ["b", 7, 8, "get", ["k1"], "1"]);
    is("linearizable", ["b", 5, 6, "exec", [set, read], null], ["b", 7, 8, "get", ["k1"], "1"]);
  });

  test("of what is not modelled only the keys concerned are left out: the rest is judged", () => {
    const expiring: Call = ["a", 5, 6, "setex", ["x", 10, "1"], "OK"];
    const { verdict, reasons } = verdictOf(...wrote, expiring, ["b", 7, 8, "get", ["x"], "nonsense"]);
    assert.equal(verdict, "unknown");
    assert.match(reasons.join(), /"setex" with a time after which the key expires is not modelled/);
    is("violation", expiring, ["b", 7, 8, "get", ["k2"], "2"]);
    // Keys tied to those are as doubtful.
    is("unknown", expiring, ["c", 7, 8, "mset", ["x", "2", "k2", "5"], "OK"], ["b", 9, 10, "get", ["k2"], "2"]);
    is("unknown", ["b", 5, 6, "lpush", ["k1", "1"], 1], ["b", 7, 8, "get", ["k2"], "2"]);
  });
});
