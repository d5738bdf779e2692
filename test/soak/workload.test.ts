/** What the loads of the nemesis write down is worth something only if a wrong cluster's history is rejected. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkHistory, HistoryRecorder } from "#src/sim/index.js";
import { KeyLives } from "./workload/key-lives.js";

type Step = readonly [op: string, args: readonly unknown[], result: unknown];

/** One operation after the other. */
function verdictOf(steps: readonly Step[], expires: readonly (readonly [key: string, value: string])[] = []): string {
  const recorder = new HistoryRecorder();
  let at = 0;
  for (const [key, value] of expires) {
    recorder.invoke(`expires ${value}`, "expired", [key, value], ++at);
    recorder.complete(`expires ${value}`, "info", null, ++at);
  }
  for (const [op, args, result] of steps) {
    recorder.invoke("c", op, args, ++at);
    recorder.complete("c", "ok", result, ++at);
  }
  return checkHistory(recorder.operations).verdict;
}

test("a transfer that happened twice, by half, or was forgotten is no history of the bank", () => {
  const opened: Step[] = [
    ["add", ["a", 100], null],
    ["add", ["b", 100], null],
  ];
  const paid: Step[] = [
    ["add", ["a", -30], 70],
    ["add", ["b", 30], null],
  ];
  const reading = (a: number, b: number): Step[] => [
    ["add", ["a", 0], a],
    ["add", ["b", 0], b],
  ];
  assert.equal(verdictOf([...opened, ...paid, ...reading(70, 130)]), "linearizable");
  for (const [a, b] of [
    [40, 160],
    [70, 100],
    [100, 130],
    [100, 100],
  ] as const) {
    assert.equal(verdictOf([...opened, ...paid, ...reading(a, b)]), "violation", `${a} and ${b}`);
  }
});

test("a value that expired does not come back, and one that did not expire does not go", () => {
  const set: Step = ["set", ["x", "1"], "OK"];
  const gone: Step = ["get", ["x"], null];
  const there: Step = ["get", ["x"], "1"];
  const expiring = [["x", "1"]] as const;
  assert.equal(verdictOf([set, there, gone], expiring), "linearizable");
  assert.equal(verdictOf([set, gone, there], expiring), "violation");
  assert.equal(verdictOf([set, there, gone]), "violation");
});

test("a range or transaction that saw one half of what was written at once is no history", () => {
  const both: Step = ["mset", ["j:a", "1", "j:b", "2"], "OK"];
  assert.equal(verdictOf([both, ["mget", ["j:a", "j:b"], ["1", "2"]]]), "linearizable");
  assert.equal(verdictOf([both, ["mget", ["j:a", "j:b"], ["1", null]]]), "violation");
  const exec = [
    ["getset", "j:a", "3"],
    ["del", "j:b"],
  ];
  assert.equal(verdictOf([both, ["exec", exec, ["1", 1]]]), "linearizable");
  assert.equal(verdictOf([both, ["exec", exec, ["1", 0]]]), "violation");
});

test("keys are retired after a few unknown outcomes or many uses, and are read again at the end", () => {
  const lives = new KeyLives("k", 2, 3);
  assert.deepEqual([lives.use(0), lives.use(0), lives.use(0), lives.use(0)], ["k0", "k0", "k0", "k0'1"]);
  for (let i = 0; i < 5; i++) assert.equal(lives.noteUnknown("k1"), false);
  assert.equal(lives.noteUnknown("k1"), true);
  assert.equal(lives.noteUnknown("k1"), false, "it is retired already");
  assert.deepEqual(lives.all, ["k0", "k1", "k0'1", "k1'1"]);
});
