import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Prng } from "#src/base/index.js";
import {
  ANY_GROUP,
  coarseMapping,
  declaredMapping,
  type GroupMapping,
  MAPPED_GROUPS_MAX,
  maskOfAll,
  runIn,
  streamFor,
  unionOf,
} from "#src/model/index.js";
import { Btree } from "#src/service/index.js";
import { type Command, runOf } from "../service/btree-command.js";

const masksOf = (mapping: GroupMapping, commands: readonly Command[]): Uint32Array => {
  const masks = new Uint32Array(commands.length);
  mapping.masks(runOf(commands), masks);
  return masks;
};

const keyOf = (command: Command): [bigint, bigint] =>
  command.operation === "range"
    ? [command.key, command.last]
    : [(command as { key: bigint }).key, (command as { key: bigint }).key];

/** Whether the order of two commands of the tree matters: they touch a key in common and one writes, or one changes the structure. */
function depend(a: Command, b: Command): boolean {
  const structural = (command: Command): boolean => command.operation === "insert" || command.operation === "delete";
  if (structural(a) || structural(b)) return true;
  const [aLow, aHigh] = keyOf(a);
  const [bLow, bHigh] = keyOf(b);
  return (a.operation === "update" || b.operation === "update") && aLow <= bHigh && bLow <= aHigh;
}

function pickCommand(prng: Prng, keys: number): Command {
  const key = BigInt(prng.below(keys));
  const operation = prng.pick(["read", "update", "insert", "delete", "range"] as const);
  if (operation === "range") return { operation, key, last: key + BigInt(prng.below(keys)), pairs: 5 };
  return operation === "read" || operation === "delete" ? { operation, key } : { operation, key, value: 0n };
}

describe("mapping of commands to groups", () => {
  for (const kind of ["bounds", "hash", "coarse"] as const) {
    test(`commands that depend on each other have a group in common: ${kind}`, () => {
      for (let seed = 1; seed <= 40; seed++) {
        const prng = new Prng(seed);
        const groups = seed === 1 ? MAPPED_GROUPS_MAX : 1 + prng.below(8);
        const keys = 31 + prng.below(200);
        const bounds = Array.from(
          { length: groups - 1 },
          (_, i) => [Math.floor(((i + 1) * keys) / groups), 0] as const,
        );
        const service = new Btree(kind === "hash" ? { hashedGroups: groups } : { bounds });
        const mapping = kind === "coarse" ? coarseMapping(service, groups) : declaredMapping(service, groups);
        const commands = Array.from({ length: 40 }, () => pickCommand(prng, keys));
        const masks = masksOf(mapping, commands);
        for (const [i, a] of commands.entries()) {
          const mask = masks[i] as number;
          assert.ok(mask !== 0 && (mask === ANY_GROUP || (mask & ~maskOfAll(groups)) === 0), `seed ${seed}`);
          for (const [j, b] of commands.entries()) {
            if (!depend(a, b)) continue;
            // Any one group means that of whoever sends it: it has one in common with those for all groups alone.
            const other = masks[j] as number;
            const everybody = maskOfAll(groups);
            const common =
              mask === ANY_GROUP
                ? other === everybody
                : other === ANY_GROUP
                  ? mask === everybody
                  : (mask & other) !== 0;
            assert.ok(common, `seed ${seed}: ${a.operation} and ${b.operation}`);
          }
        }
      }
    });
  }

  test("a block goes to the group that all its commands concern, else to g_all", () => {
    const stream = (masks: readonly number[], pick = 0): number =>
      streamFor(Uint32Array.from(masks), masks.length, 4, pick);
    assert.equal(stream([0b0001, 0b0001]), 1);
    assert.equal(stream([0b1000]), 4);
    assert.equal(stream([0b0001, 0b0010]), 0);
    assert.equal(stream([0b0011]), 0);
    assert.equal(stream([ANY_GROUP, 0b0100, ANY_GROUP]), 3);
    assert.deepEqual(
      [0, 1, 5].map((pick) => stream([ANY_GROUP], pick)),
      [1, 2, 2],
    );
  });

  test("a thread takes a block if each command concerns its group alone, or any", () => {
    const runs = (group: number, masks: readonly number[]): boolean =>
      runIn(group, Uint32Array.from(masks), masks.length);
    assert.ok(runs(2, [0b100, ANY_GROUP]));
    assert.ok(!runs(1, [0b100]));
    assert.ok(!runs(2, [0b100, 0b110]));
    assert.equal(unionOf(Uint32Array.of(0b100, ANY_GROUP, 0b001), 3), 0b101);
    assert.equal(unionOf(Uint32Array.of(ANY_GROUP), 1), 1, "the first, if it does not matter");
    // Only as many as are in use count.
    assert.equal(unionOf(Uint32Array.of(0b100, 0b010), 1), 0b100);
  });

  test("there are 1 to 31 groups", () => {
    assert.throws(() => coarseMapping(new Btree(), 0), /1 to 31 groups/);
    assert.throws(() => declaredMapping(new Btree(), 32), /1 to 31 groups/);
    assert.equal(maskOfAll(31), 0x7fffffff);
    assert.equal(maskOfAll(1), 1);
  });
});
