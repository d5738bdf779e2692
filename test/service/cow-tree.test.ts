/** The copy-on-write tree against a sorted map, its invariants after every change, and marks that later changes don't reach. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { Prng } from "#src/base/index.js";
import { CowTree, type TreeCursor } from "#src/service/index.js";

type Entries = [string, number][];

function collect(cursor: TreeCursor<number>): Entries {
  const entries: Entries = [];
  while (cursor.next()) entries.push([cursor.key, cursor.value as number]);
  return entries;
}

const sorted = (map: ReadonlyMap<string, number>): Entries => [...map].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));

/** Keys that share long prefixes, are prefixes of each other, hold bytes 0 and 255, or are empty. */
const key = fc.oneof(
  fc.nat(400).map((n) => `key:${String(n).padStart(12, "0")}`),
  fc.nat(40).map((n) => "\u0000".repeat(n)),
  fc.array(fc.constantFrom("\u0000", "a", "b", "\u00ff"), { maxLength: 7 }).map((parts) => parts.join("")),
);

describe("the copy-on-write tree", () => {
  test("does what a sorted map does, and a mark keeps what was there", () => {
    const step = fc.record({ key, value: fc.nat(), kind: fc.constantFrom("set", "set", "set", "delete", "mark") });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 600, size: "max" }), key, (steps, from) => {
        const tree = new CowTree<number>();
        const model = new Map<string, number>();
        const marks: { cursor: TreeCursor<number>; entries: Entries }[] = [];
        for (const { kind, key: at, value } of steps) {
          if (kind === "mark") {
            if (marks.length < 4) marks.push({ cursor: tree.mark(), entries: sorted(model) });
          } else if (kind === "set") {
            assert.equal(tree.set(at, value), model.get(at));
            model.set(at, value);
          } else {
            assert.equal(tree.delete(at), model.get(at));
            model.delete(at);
          }
          assert.equal(tree.get(at), model.get(at));
        }
        tree.check();
        assert.equal(tree.size, model.size);
        assert.deepEqual(collect(tree.cursor()), sorted(model));
        assert.deepEqual(
          collect(tree.cursor(from)),
          sorted(model).filter(([at]) => at >= from),
        );
        for (const { cursor, entries } of marks) assert.deepEqual(collect(cursor), entries);
      }),
      { numRuns: 150 },
    );
  });

  for (const order of ["ascending", "descending", "random"] as const) {
    test(`grows and shrinks over several levels, ${order}`, () => {
      const seed = 7;
      const prng = new Prng(seed);
      const count = 20_000;
      const numbers = Array.from({ length: count }, (_, i) => i);
      if (order === "descending") numbers.reverse();
      if (order === "random") {
        for (let i = count - 1; i > 0; i--) {
          const j = prng.below(i + 1);
          [numbers[i], numbers[j]] = [numbers[j] as number, numbers[i] as number];
        }
      }
      const keyOf = (n: number): string => `user${String(n).padStart(8, "0")}`;
      const tree = new CowTree<number>();
      for (const n of numbers) tree.set(keyOf(n), n);
      tree.check();
      const before = tree.mark();
      for (const n of numbers) {
        if (n % 7 !== 0) assert.equal(tree.delete(keyOf(n)), n);
      }
      tree.check();
      assert.equal(tree.size, Math.ceil(count / 7));
      for (let n = 0; n < count; n++) assert.equal(tree.get(keyOf(n)), n % 7 === 0 ? n : undefined);
      for (let n = 0; n < count; n += 7) tree.delete(keyOf(n));
      tree.check();
      assert.equal(tree.size, 0);
      assert.equal(collect(before).length, count);
    });
  }
});
