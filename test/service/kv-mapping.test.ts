/** Which groups the commands of kv concern: commands that depend on each other have one in common. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { emptyRun, ANY_GROUP, maskOfAll } from "#src/model/index.js";
import { kvMapping, KvOperation, partitionOf, RangeFlag, SetFlag } from "#src/service/index.js";
import { type Command, runOf } from "./kv-command.js";
import { transaction } from "./kv-random.js";

const maskOf = (command: Command, groups: number): number => {
  const masks = new Uint32Array(1);
  kvMapping(groups).masks(runOf([command]), masks);
  return masks[0] as number;
};
const ofKeys = (keys: readonly string[], groups: number): number =>
  keys.reduce((mask, key) => mask | (1 << partitionOf(Buffer.from(key, "latin1"), 0, key.length, groups)), 0);

const anyKey = fc.string({ unit: "binary-ascii", maxLength: 12 });
const anyGroups = fc.integer({ min: 1, max: 31 });

describe("the groups of kv's commands", () => {
  test("a command that names keys concerns their groups, and no others", () => {
    fc.assert(
      fc.property(anyGroups, fc.array(anyKey, { minLength: 1, maxLength: 5 }), (groups, keys) => {
        const [first = ""] = keys;
        const O = KvOperation;
        assert.equal(maskOf({ operation: O.get, args: [first] }, groups), ofKeys([first], groups));
        const flags = SetFlag.expires;
        assert.equal(maskOf({ operation: O.set, flags, args: [first, "x", "9"] }, groups), ofKeys([first], groups));
        for (const operation of [O.delete, O.exists, O.getMany, O.rename]) {
          assert.equal(maskOf({ operation, args: keys }, groups), ofKeys(keys, groups));
        }
        const pairs = keys.flatMap((key) => [key, `value of ${key}`]);
        assert.equal(maskOf({ operation: O.setMany, args: pairs }, groups), ofKeys(keys, groups));
        const inner = keys.map((key): Command => ({ operation: O.increment, args: [key, "1"] }));
        assert.equal(maskOf(transaction(0, ...inner), groups), ofKeys(keys, groups));
      }),
    );
  });

  test("what depends on keys that it does not name concerns all groups", () => {
    for (const groups of [1, 2, 5, 31]) {
      const all = maskOfAll(groups);
      for (const [operation, ...args] of [
        [KvOperation.count],
        [KvOperation.clear],
        [KvOperation.keys, "*"],
        [KvOperation.scan, "0", "10"],
        [KvOperation.randomKey],
        [KvOperation.range, "a", "b"],
        [KvOperation.rangeCount, "a", "b"],
        [KvOperation.rangeDelete, "a", "b"],
        [KvOperation.watch, "", "a"],
        [KvOperation.unwatch, "12345678"],
      ] as const) {
        assert.equal(maskOf({ operation, args }, groups), all, `operation ${operation}`);
      }
      assert.equal(maskOf(transaction(7, { operation: KvOperation.get, args: ["a"] }), groups), all);
      const count = { operation: KvOperation.count, args: [] };
      assert.equal(maskOf(transaction(0, { operation: KvOperation.get, args: ["a"] }, count), groups), all);
    }
  });

  test("what is an error in any state may run in any group", () => {
    for (const command of [
      { operation: 0, args: [] },
      { operation: 200, args: ["a"] },
      { operation: KvOperation.get, args: [] },
      { operation: KvOperation.fail, args: ["ERR wrong"] },
      { operation: KvOperation.transaction, args: [] },
      transaction(0, { operation: KvOperation.fail, args: ["ERR wrong"] }),
      transaction(0, transaction(0, { operation: KvOperation.get, args: ["a"] })),
    ]) {
      assert.equal(maskOf(command, 4), ANY_GROUP);
    }
    const { limit } = RangeFlag;
    assert.equal(maskOf({ operation: KvOperation.range, flags: limit, args: [] }, 4), maskOfAll(4), "for simplicity");
  });

  test("whatever the bytes are, a mask comes out, and nothing beyond the command is read", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 4, maxLength: 60 }), anyGroups, (bytes, groups) => {
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
        view.setUint32(0, bytes.length, true);
        const run = emptyRun();
        run.bytes = bytes;
        run.view = view;
        run.count = 1;
        const masks = new Uint32Array(1);
        kvMapping(groups).masks(run, masks);
        const mask = masks[0] as number;
        assert.ok(mask === ANY_GROUP || (mask !== 0 && (mask & ~maskOfAll(groups)) === 0), `mask ${mask}`);
      }),
      { numRuns: 2000 },
    );
  });

  test("keys spread over the groups", () => {
    for (const groups of [2, 3, 16, 31]) {
      const counts = Array.from({ length: groups }, () => 0);
      for (let i = 0; i < 31_000; i++) {
        const key = Buffer.from(`key:${i}`);
        const group = partitionOf(key, 0, key.length, groups);
        counts[group] = (counts[group] as number) + 1;
      }
      for (const count of counts) assert.ok(Math.abs(count - 31_000 / groups) < 5 * Math.sqrt(31_000 / groups));
    }
  });
});
