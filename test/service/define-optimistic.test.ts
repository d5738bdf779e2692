/** Commands of users that say what they are likely to touch: attempted in one thread, taken back as soon as they touch more. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ByteWriter } from "#src/base/index.js";
import { ConfigError, maskOfAll, type SharedService } from "#src/model/index.js";
import {
  DeterminismError,
  definedService,
  defineService,
  partitionOf,
  sharedDefinedService,
  table,
  type UserCode,
} from "#src/service/index.js";
import { type Call, definedRun, type Outcome, outcomes, outcomesOf } from "./defined-run.js";
import { digestOf } from "./kv-command.js";
import { SharedViews } from "./shared-views.js";

interface Order {
  readonly from: string;
  readonly others: readonly string[];
  readonly amount: number;
}

/** Takes what it can at each warehouse in turn; what belongs to a warehouse stands under its name in both tables. */
function take(
  { stock, sent }: { stock: Tables["stock"]; sent: Tables["sent"] },
  { from, others, amount }: Order,
): number {
  let left = amount;
  for (const warehouse of [from, ...others]) {
    if (left === 0) break;
    const taken = Math.min(left, stock.get(warehouse) ?? 0);
    stock.set(warehouse, (stock.get(warehouse) ?? 0) - taken);
    sent.set(warehouse, [...(sent.get(warehouse) ?? []), taken].slice(-3));
    left -= taken;
  }
  // What it has changed until here is taken back.
  if (left > 0) throw new RangeError(`${left} are missing`);
  return amount;
}

interface Tables {
  readonly stock: { get(key: string): number | undefined; set(key: string, value: number): void };
  readonly sent: { get(key: string): number[] | undefined; set(key: string, value: number[]): void };
}

const shop = defineService({
  name: "shop",
  tables: { stock: table<number>(), sent: table<number[]>() },
  commands: {
    /** Usually the first warehouse has enough; that is found out by going on to the next. */
    order: {
      keys: (order: Order) => [order.from, ...order.others],
      likely: ({ from }) => [from],
      execute: (tables, order) => take(tables, order),
    },
    /** The same, which looks first. */
    checkedOrder: {
      keys: (order: Order) => [order.from, ...order.others],
      likely: ({ from }) => [from],
      check: ({ stock }, { from, amount }) => (stock.get(from) ?? 0) >= amount,
      execute: (tables, order) => take(tables, order),
    },
    /** The same, which catches whatever is thrown at it, and goes on. */
    stubbornOrder: {
      keys: (order: Order) => [order.from, ...order.others],
      likely: ({ from }) => [from],
      execute: (tables, order) => {
        try {
          return take(tables, order);
        } catch {
          tables.stock.set(order.from, 1000);
          return -1;
        }
      },
    },
    /** Of all warehouses the last, unless it names one. */
    last: {
      keys: "all",
      likely: (a: { of?: string }) => (a.of === undefined ? [] : [a.of]),
      execute: ({ stock }, { of }) => {
        if (of !== undefined) return stock.get(of);
        for (const [, amount] of stock.range(undefined, undefined, { limit: 1, reverse: true })) return amount;
        return stock.has("ana");
      },
    },
    stock: {
      keys: (a: { of: string; amount: number }) => [a.of],
      execute: ({ stock }, { of, amount }) => stock.set(of, amount),
    },
    /** It touches what it does not declare, in its own group or in another. */
    stray: {
      keys: (a: { of: string; other: string }) => [a.of],
      likely: ({ of }) => [of],
      execute: ({ stock }, { of, other }) => {
        stock.set(of, 7);
        return stock.get(other);
      },
    },
    /** Its likely keys are none that can be. */
    wrong: {
      keys: (a: { of: string }) => [a.of, "bo"],
      likely: ({ of }) => [of.repeat(9000)],
      execute: ({ stock }, { of }) => [stock.get(of), stock.get("bo")],
    },
    /** Its check throws. */
    throwing: {
      keys: (a: { of: string }) => [a.of],
      likely: ({ of }) => [of],
      check: () => {
        throw new RangeError("no");
      },
      execute: ({ stock }, { of }) => stock.get(of),
    },
    context: {
      keys: "all",
      likely: () => ["ana"],
      check: (_tables, _args, ctx) => ctx.random() >= 0,
      execute: ({ stock }, _args, ctx) => [stock.has("ana"), ctx.time, ctx.random()],
    },
  },
});

const shared = sharedDefinedService(shop, undefined, 2 ** 32);
const mapping = (groups: number): NonNullable<ReturnType<NonNullable<typeof shared.optimisticMapping>>> => {
  assert.ok(shared.optimisticMapping !== undefined);
  return shared.optimisticMapping(groups);
};
const groupOf = (key: string, groups: number): number => {
  const bytes = Buffer.from(key);
  return partitionOf(bytes, 0, bytes.length, groups);
};

/** Attempts commands from one on, and says how far it got and what was replied. */
function attempt(
  view: SharedService,
  calls: readonly Call[],
  first: number,
  thread: number,
  time = 0,
): [number, Outcome[]] {
  const writer = new ByteWriter();
  writer.u32(7);
  const run = definedRun(calls, { time, seed: calls.length });
  run.repliesAt = 4;
  assert.ok(view.attempt !== undefined);
  const done = view.attempt(run, first, thread, writer);
  const found = outcomesOf(writer, 4);
  assert.equal(found.length, done - first);
  return [done, found];
}

const name = fc.constantFrom("ana", "bo", "cy", "dora", "é", "日本", "f".repeat(70));
const order = fc.record({ from: name, others: fc.array(name, { maxLength: 2 }), amount: fc.nat(12) });
const call: fc.Arbitrary<Call> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(name, fc.nat(30)).map(([of, amount]): Call => ["stock", { of, amount }]) },
  {
    weight: 8,
    arbitrary: fc
      .tuple(fc.constantFrom("order", "checkedOrder", "stubbornOrder"), order)
      .map(([command, argument]): Call => [command, argument]),
  },
  { weight: 2, arbitrary: name.map((of): Call => ["last", { of }]) },
  { weight: 2, arbitrary: name.map((of): Call => ["wrong", { of }]) },
  { weight: 1, arbitrary: name.map((of): Call => ["throwing", { of }]) },
  { weight: 1, arbitrary: fc.constantFrom<Call>(["last", {}], ["nothing"], ["order", 5], ["order"]) },
);

describe("commands that say what they are likely to touch", () => {
  test("have the outcomes and digest of a service in one piece, wherever they pass and fail", () => {
    let passed = 0;
    let failed = 0;
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.array(fc.tuple(fc.array(call, { minLength: 1, maxLength: 4 }), fc.nat(99)), { maxLength: 40 }),
        (threads, batches) => {
          const views = new SharedViews(shared, threads);
          const whole = definedService(shop).create();
          batches.forEach(([calls, pick], time) => {
            const { stream } = views.routeOf(definedRun(calls), pick, mapping(threads));
            const expected = outcomes(whole, definedRun(calls, { time, seed: calls.length }));
            if (stream === 0) {
              const { mask } = views.routeOf(definedRun(calls), pick);
              const run = definedRun(calls, { time, seed: calls.length });
              assert.deepEqual(
                views.meet(mask, (view) => outcomes(view, run)),
                expected,
              );
              return;
            }
            const thread = stream - 1;
            const view = views.view(thread);
            const found: Outcome[] = [];
            while (found.length < calls.length) {
              const [done, replies] = attempt(view, calls, found.length, thread, time);
              found.push(...replies);
              passed += replies.length;
              if (done === calls.length) break;
              failed++;
              // Again, alone among all that it declares, in the thread that has the session.
              const again = calls.slice(done, done + 1);
              const { mask } = views.routeOf(definedRun(again), pick);
              found.push(
                ...views.meet(mask | (1 << thread), (one) => outcomes(one, definedRun(again, { time })), {
                  executor: thread,
                }),
              );
            }
            assert.deepEqual(found, expected);
          });
          assert.equal(views.digestNow(), digestOf(whole));
        },
      ),
      { numRuns: 300 },
    );
    assert.ok(passed > 1000 && failed > 100, `${passed} passed, ${failed} failed`);
  });

  const groups = 4;
  /** Keys of two groups, two of the first. */
  const [own, same, other] = ((): string[] => {
    const names = Array.from({ length: 99 }, (_, i) => `w${i}`);
    const first = names[0] as string;
    const group = groupOf(first, groups);
    const twin = names.find((one) => one !== first && groupOf(one, groups) === group) as string;
    return [first, twin, names.find((one) => groupOf(one, groups) !== group) as string];
  })() as [string, string, string];
  const thread = groupOf(own, groups);

  function ready(userCode?: UserCode): SharedViews {
    const views = new SharedViews(sharedDefinedService(shop, userCode, 2 ** 32), groups);
    for (const of of [own, same, other]) {
      outcomes(views.view(groupOf(of, groups)), definedRun([["stock", { of, amount: 10 }]]));
    }
    return views;
  }

  test("go to the group of their likely keys, and to all that they declare where these can't be", () => {
    const masks = new Uint32Array(6);
    const run = definedRun([
      ["order", { from: own, others: [other], amount: 1 }],
      ["last", { of: own }],
      ["stock", { of: other, amount: 1 }],
      ["wrong", { of: own }],
      ["order", 5],
      ["last", {}],
    ]);
    mapping(groups).masks(run, masks);
    const bit = (key: string): number => 1 << groupOf(key, groups);
    assert.deepEqual([...masks], [bit(own), bit(own), bit(other), bit(own) | bit("bo"), 0x80000000, 0x80000000]);
    shared.mapping(groups).masks(run, masks);
    const all = maskOfAll(groups);
    assert.deepEqual([...masks], [bit(own) | bit(other), all, bit(other), bit(own) | bit("bo"), 0x80000000, all]);
  });

  test("pass while they touch their group alone, and leave nothing when they touch another", () => {
    const views = ready();
    const view = views.view(thread);
    const within: Order = { from: own, others: [other], amount: 10 };
    const beyond: Order = { from: own, others: [other], amount: 3 };
    assert.deepEqual(attempt(view, [["order", within]], 0, thread), [1, [{ result: 10 }]]);
    const before = views.digestNow();
    for (const command of ["order", "checkedOrder", "stubbornOrder"]) {
      assert.deepEqual(attempt(view, [[command, beyond]], 0, thread), [0, []], command);
      assert.equal(views.digestNow(), before, command);
    }
    // Both warehouses are of the group: nothing is in the way but the check, which looks at one of them.
    const beside: Order = { from: own, others: [same], amount: 3 };
    assert.deepEqual(attempt(view, [["checkedOrder", beside]], 0, thread), [0, []]);
    assert.deepEqual(attempt(view, [["order", beside]], 0, thread), [1, [{ result: 3 }]]);
    // Not there is an answer, too: whether an entry of another group is there is not looked at.
    assert.deepEqual(attempt(view, [["last", {}]], 0, thread), [0, []]);
    assert.deepEqual(attempt(view, [["throwing", { of: own }]], 0, thread), [0, []]);
  });

  test("stop at the first that fails, and go on behind it", () => {
    const views = ready();
    const calls: Call[] = [
      ["order", { from: own, others: [other], amount: 4 }],
      ["order", { from: own, others: [other], amount: 7 }],
      ["order", { from: own, others: [other], amount: 6 }],
    ];
    assert.deepEqual(attempt(views.view(thread), calls, 0, thread), [1, [{ result: 4 }]]);
    assert.deepEqual(attempt(views.view(thread), calls, 2, thread), [3, [{ result: 6 }]]);
  });

  test("a key that is not declared is an error within the group, and a failure beyond it only if it is declared", () => {
    const views = ready();
    const before = views.digestNow();
    for (const beyond of [same, other]) {
      const [done, [reply]] = attempt(views.view(thread), [["stray", { of: own, other: beyond }]], 0, thread);
      assert.equal(done, 1);
      assert.ok(reply !== undefined && "error" in reply && reply.error === "undeclared");
      assert.equal(views.digestNow(), before);
    }
  });

  test("have the agreed random numbers whether they are checked or not", () => {
    const views = ready();
    const calls: Call[] = [["context", {}]];
    const first = groupOf("ana", groups);
    const [, passed] = attempt(views.view(first), calls, 0, first, 5);
    assert.deepEqual(
      passed,
      views.meet(views.everybody, (view) => outcomes(view, definedRun(calls, { time: 5, seed: 1 }))),
    );
  });

  test("fail where the guard objects to their check, and leave the guard as it was", () => {
    const userCode: UserCode = { running: null, violation: null };
    const guarded = defineService({
      name: "guarded",
      tables: { rows: table<number>() },
      commands: {
        look: {
          keys: (a: { of: string }) => [a.of],
          likely: ({ of }) => [of],
          check: () => {
            assert.equal(userCode.running, "service guarded, command look");
            // What the determinism guard of a replica does; the check has caught its error.
            userCode.violation = new DeterminismError("a clock");
            return true;
          },
          execute: () => {
            throw new RangeError("no guard");
          },
        },
      },
    });
    const views = new SharedViews(sharedDefinedService(guarded, userCode, 2 ** 32), 1);
    const calls: Call[] = [["look", { of: "a" }]];
    assert.deepEqual(attempt(views.view(0), calls, 0, 0), [0, []]);
    assert.deepEqual(userCode, { running: null, violation: null });
    assert.deepEqual(outcomes(views.view(0), definedRun(calls)), [{ error: "thrown", message: "no guard" }]);
  });

  test("a service whose commands say nothing of the kind has none to attempt", () => {
    const plain = sharedDefinedService(
      defineService({
        name: "plain",
        tables: { rows: table<number>() },
        commands: { put: { keys: (a: { of: string }) => [a.of], execute: ({ rows }, { of }) => rows.set(of, 1) } },
      }),
      undefined,
      2 ** 32,
    );
    assert.ok(!("optimisticMapping" in plain) && !("attempt" in plain.createShared(2)));
  });

  test("what makes no sense is refused", () => {
    const define = (command: object): unknown =>
      defineService({ name: "bad", tables: { rows: table<number>() }, commands: { put: command as never } });
    const execute = (): number => 1;
    const keys = (): string[] => ["a"];
    const cases: [RegExp, object][] = [
      [/check goes with likely/, { keys, execute, check: () => true }],
      [/likely is a function/, { keys, execute, likely: "all" }],
      [/likely is synchronous/, { keys, execute, likely: async () => Promise.resolve([]) }],
      [/check is synchronous/, { keys, execute, likely: keys, check: async () => Promise.resolve(true) }],
      [/likely and check are for commands/, { reads: "all", partial: execute, combine: execute, likely: keys }],
    ];
    for (const [message, command] of cases) {
      assert.throws(
        () => define(command),
        (error) => error instanceof ConfigError && message.test(error.message),
      );
    }
  });
});
