/** Services of users with tables in partitions, against the same service with tables in one piece. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ANY_GROUP, maskOfAll, type Service, type SharedService } from "#src/model/index.js";
import {
  args,
  definedService,
  defineService,
  partitionOf,
  sharedDefinedService,
  table,
  type UserCode,
} from "#src/service/index.js";
import { type Call, definedRun, type Outcome, outcomes } from "./defined-run.js";
import { digestOf, snapshotOf } from "./kv-command.js";
import { SharedViews } from "./shared-views.js";

const bank = defineService({
  name: "bank",
  tables: { accounts: table<number>(), notes: table<string>() },
  commands: {
    deposit: {
      keys: (a: { to: string; amount: number }) => [a.to],
      execute: ({ accounts }, a) => {
        const sum = (accounts.get(a.to) ?? 0) + a.amount;
        accounts.set(a.to, sum);
        return sum;
      },
    },
    transfer: {
      keys: (a: { from: string; to: string; amount: number }) => [a.from, a.to],
      execute: ({ accounts, notes }, a) => {
        const left = (accounts.get(a.from) ?? 0) - a.amount;
        accounts.set(a.from, left);
        accounts.set(a.to, (accounts.get(a.to) ?? 0) + a.amount);
        notes.set(a.to, `from ${a.from}`);
        // What it has changed until here is taken back.
        if (left < 0) throw new RangeError(`${a.from} has too little`);
        return left;
      },
    },
    empty: {
      keys: (a: { of: string }) => [a.of],
      execute: ({ accounts, notes }, a) => [accounts.delete(a.of), notes.delete(a.of)],
    },
    stray: {
      keys: (a: { of: string; other: string }) => [a.of],
      execute: ({ accounts }, a) => {
        accounts.set(a.of, 0);
        return accounts.get(a.other);
      },
    },
    total: {
      reads: "all",
      partial: ({ accounts }) => [...accounts.range()].reduce((sum, [, balance]) => sum + balance, 0),
      combine: (sums: number[]) => sums.reduce((sum, one) => sum + one, 0),
    },
    list: {
      keys: "all",
      args: args<{ from: string; limit: number; reverse: boolean }>(),
      execute: ({ accounts, notes }, { from, ...options }) => [
        [...accounts.range(from, undefined, options)],
        [...notes.range()].length,
      ],
    },
    reset: {
      keys: "all",
      args: args<{ from: string }>(),
      execute: ({ accounts }, { from }) => {
        for (const [name] of accounts.range(from)) accounts.delete(name);
      },
    },
    context: { keys: () => [], execute: (_tables, _args, ctx) => [ctx.time, ctx.random()] },
  },
});

const shared = sharedDefinedService(bank, undefined, 2 ** 32);
const name = fc.constantFrom("ana", "bo", "cy", "dora", "é", "日本", "", "f".repeat(70));
const amount = fc.integer({ min: 0, max: 30 });
const call: fc.Arbitrary<Call> = fc.oneof(
  fc.tuple(name, amount).map(([to, sum]): Call => ["deposit", { to, amount: sum }]),
  fc.tuple(name, name, amount).map(([from, to, sum]): Call => ["transfer", { from, to, amount: sum }]),
  name.map((of): Call => ["empty", { of }]),
  fc.tuple(name, name).map(([of, other]): Call => ["stray", { of, other }]),
  fc.tuple(name, fc.nat(5), fc.boolean()).map(([from, limit, reverse]): Call => ["list", { from, limit, reverse }]),
  fc.constantFrom<Call>(["total"], ["context"], ["reset", { from: "dora" }], ["nothing"], ["deposit", 5]),
);

function play(service: Service, calls: readonly Call[], time: number): Outcome[] {
  return outcomes(service, definedRun(calls, { time, seed: calls.length }));
}

function maskOf(one: Call, groups: number): number {
  const masks = new Uint32Array(1);
  shared.mapping(groups).masks(definedRun([one]), masks);
  return masks[0] as number;
}

describe("tables in partitions", () => {
  test("have the outcomes and digest of tables in one piece, and snapshots that bring their state", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.array(fc.tuple(fc.array(call, { minLength: 1, maxLength: 4 }), fc.nat(99)), { maxLength: 40 }),
        (threads, batches) => {
          const views = new SharedViews(shared, threads);
          const whole = definedService(bank).create();
          batches.forEach(([calls, pick], time) => {
            const { stream, mask } = views.routeOf(definedRun(calls), pick);
            const execute = (view: SharedService): Outcome[] => play(view, calls, time);
            const found = stream > 0 ? execute(views.view(stream - 1)) : views.meet(mask, execute);
            assert.deepEqual(found, play(whole, calls, time));
          });
          const sources = views.snapshotParts();
          assert.equal(views.digestNow(), digestOf(whole));
          assert.deepEqual(views.view(0).size(), whole.size());
          // Everything changes before the snapshot is read.
          views.meet(views.everybody, (view) =>
            play(
              view,
              [
                ["reset", { from: "" }],
                ["deposit", { to: "x", amount: 1 }],
              ],
              0,
            ),
          );
          const restored = new SharedViews(
            shared,
            threads,
            sources.map((source) => snapshotOf(source)),
          );
          assert.equal(restored.digestNow(), digestOf(whole));
        },
      ),
      { numRuns: 300 },
    );
  });

  test("commands concern the groups of the keys that they declare, in any table", () => {
    for (const groups of [1, 2, 7, 31]) {
      const bits = (...keys: string[]): number =>
        keys.reduce((mask, key) => {
          const bytes = Buffer.from(key);
          return mask | (1 << partitionOf(bytes, 0, bytes.length, groups));
        }, 0);
      assert.equal(maskOf(["deposit", { to: "é", amount: 1 }], groups), bits("é"));
      assert.equal(maskOf(["transfer", { from: "ana", to: "bo", amount: 1 }], groups), bits("ana", "bo"));
      for (const all of ["total", "list", "reset"]) assert.equal(maskOf([all, {}], groups), maskOfAll(groups));
      assert.equal(maskOf(["context"], groups), ANY_GROUP);
    }
  });

  test("what is an error in any state may run in any group, and leaves no trace of the user's code", () => {
    const userCode: UserCode = { running: null, violation: null };
    const mapping = sharedDefinedService(bank, userCode).mapping(4);
    const masks = new Uint32Array(4);
    const run = definedRun([["nothing"], ["deposit"], ["deposit", { to: 5 }], ["deposit", "text"]]);
    mapping.masks(run, masks);
    assert.deepEqual([...masks], [ANY_GROUP, ANY_GROUP, ANY_GROUP, ANY_GROUP]);
    assert.deepEqual(userCode, { running: null, violation: null });
  });
});
