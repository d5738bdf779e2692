import assert from "node:assert/strict";
import { test } from "node:test";
import { createPipelined, createSequential } from "#src/execution/index.js";
import { counter, CounterOperation } from "#src/service/index.js";
import { integer } from "../service/kv-command.js";
import { executionSuite } from "./execution.suite.js";
import { readBlock, Replica } from "./replica.js";

executionSuite("sequential", createSequential);
executionSuite("pipelined", createPipelined);

const add = { operation: CounterOperation.add, args: ["1"] };

test("sequential executes in the very step of the decision and wants one instance open", () => {
  const replica = new Replica(createSequential(counter.create()));
  assert.equal(replica.model.inspect().windowMax, 1);
  replica.decide(1, []);
  assert.deepEqual([replica.executedThrough, replica.workWanted], [[1], 0]);
});

test("pipelined queues decided batches, asks for work once, and executes them in slices of the budget", () => {
  const replica = new Replica(createPipelined(counter.create()));
  const session = replica.open(1);
  assert.equal(replica.model.inspect().windowMax, Infinity);
  for (let i = 0; i < 6; i++) replica.decide(2, [{ session, sequence: 1 + 10 * i, commands: Array(10).fill(add) }]);
  replica.read(4, 1, readBlock([{ operation: CounterOperation.get, args: [] }], 1));
  const view = replica.model.inspect();
  assert.deepEqual([replica.workWanted, view.executed, view.queuedBatches, view.queuedReads], [1, 1, 6, 1]);
  assert.ok(view.queuedBytes > 0);
  const steps: number[][] = [];
  while (replica.workWanted > 0) {
    replica.workWanted = 0;
    replica.model.step({ kind: "work", budget: 20 }, replica);
    const { executed, queuedBatches } = replica.model.inspect();
    steps.push([executed, queuedBatches, replica.reads.length]);
  }
  assert.deepEqual(steps, [
    [3, 4, 0],
    [5, 2, 1],
    [7, 0, 1],
  ]);
  assert.deepEqual(replica.reads[0]?.answer.replies, [integer(30)]);
  assert.equal(replica.model.inspect().queuedBytes, 0);
});

test("pipelined executes the oldest batch at once when its queue is full", () => {
  const replica = new Replica(createPipelined(counter.create(), { queueBatchesMax: 3 }));
  for (let i = 0; i < 5; i++) replica.decide(1, []);
  assert.deepEqual([replica.executedThrough, replica.model.inspect().queuedBatches], [[1, 2], 3]);
  replica.settle();
  assert.deepEqual(replica.executedThrough, [1, 2, 3, 4, 5]);
});
