/** The tree of words where the service does not reach: several chunks of memory, and the range that a safety check asks for. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Prng } from "#src/base/index.js";
import { LEAF_CAPACITY, WordSink, WordSource, WordTree } from "#src/service/index.js";
import { digestOf, restoreInto, snapshotOf } from "./kv-command.js";

/** Leaf and cell of a key. */
const placeOf = (tree: WordTree, low: number, high = 0): [leaf: number, cell: number] => {
  const leaf = tree.leafOf(low, high);
  return [leaf, tree.cellOf(leaf, low, high)];
};

const put = (tree: WordTree, key: number, value: number): boolean =>
  tree.insert(...placeOf(tree, key), key, 0, value, 0, null);

describe("the tree of words", () => {
  test("grows over chunks of memory, is marked and changed there, and is restored", () => {
    const seed = 21;
    const prng = new Prng(seed);
    const count = 1_150_000;
    const tree = new WordTree();
    for (let key = 0; key < count; key++) assert.ok(put(tree, key, key));
    assert.ok(tree.arena.chunks.length > 1, "or the test is about nothing");
    const source = new WordSource(tree);
    const digest = digestOf(tree);
    for (let i = 0; i < 20_000; i++) {
      const key = prng.below(count);
      tree.update(...placeOf(tree, key), key, 0, 1, 1, null);
      if (i % 2 === 0) tree.remove(...placeOf(tree, key), key, 0, null);
    }
    let restored = new WordTree();
    restoreInto(
      new WordSink((whole) => {
        restored = whole;
      }),
      snapshotOf(source, 1 << 20),
      [1 << 20],
    );
    assert.equal(digestOf(restored), digest);
    assert.equal(restored.count, count);
    for (let i = 0; i < 1000; i++) {
      const key = prng.below(count);
      assert.ok(restored.read(...placeOf(restored, key), key, 0));
      assert.deepEqual([...restored.value], [key, 0], `seed ${seed}`);
    }
  });

  // What a directory of one word for each cell cannot tell: keys that share a high word with keys of other high words beside
  // them, searched keys with another high word than all of a node, and the greatest words, which stand for nothing.
  for (const highs of [
    [0],
    [7],
    [0xffffffff],
    [0, 1],
    [5, 6, 0xffffffff],
    Array.from({ length: 12 }, (_, i) => i * 3),
    Array.from({ length: 3000 }, (_, i) => i * 1_000_003),
  ]) {
    test(`finds keys with ${highs.length} high words from ${highs[0]} on`, () => {
      const seed = 77 + highs.length;
      const prng = new Prng(seed);
      const lows = Array.from({ length: 400 }, (_, i) => (i < 200 ? i : 0xffffffff - (i - 200) * 1_000_000));
      const model = new Map<string, number>();
      const tree = new WordTree();
      const step = (): [low: number, high: number] => [
        lows[prng.below(highs.length > 100 ? 2 : lows.length)] as number,
        highs[prng.below(highs.length)] as number,
      ];
      const check = (low: number, high: number): void => {
        const value = model.get(`${high} ${low}`);
        const found = tree.read(...placeOf(tree, low, high), low, high);
        assert.equal(found ? tree.value[0] : undefined, value, `seed ${seed}, key ${high} ${low}`);
      };
      for (let i = 0; i < 12_000; i++) {
        const [low, high] = step();
        const key = `${high} ${low}`;
        const place = placeOf(tree, low, high);
        // It grows, shrinks to nothing much, and grows again.
        if (prng.below(10) < (i % 6000 < 3000 ? 7 : 2)) {
          assert.equal(tree.insert(...place, low, high, i, 0, null), !model.has(key), `seed ${seed}`);
          if (!model.has(key)) model.set(key, i);
        } else assert.equal(tree.remove(...place, low, high, null), model.delete(key), `seed ${seed}`);
        check(...step());
        check(prng.u32(), highs[prng.below(highs.length)] as number);
        check(lows[prng.below(lows.length)] as number, prng.u32());
      }
      assert.equal(tree.count, model.size);
    });
  }

  test("says the range of a leaf, and what would overflow or underflow", () => {
    const tree = new WordTree();
    // 32 keys stay on the left when the 64th comes in the middle.
    for (let key = 0; key < LEAF_CAPACITY; key++) put(tree, key * 10, key);
    const alone = tree.leafRange(5, 0);
    assert.deepEqual([tree.lowerLow, tree.lowerHigh, tree.bounded], [0, 0, false]);
    assert.ok(tree.wouldOverflow(alone, 5, 0));
    assert.ok(!tree.wouldOverflow(alone, 10, 0));
    put(tree, 5, 0);
    const left = tree.leafRange(5, 0);
    assert.ok(tree.bounded);
    const boundary = tree.upperLow;
    const right = tree.leafRange(boundary, 0);
    assert.notEqual(left, right);
    assert.deepEqual([tree.lowerLow, tree.bounded], [boundary, false]);
    assert.equal(tree.leafRange(boundary - 1, 0), left);
    // Down to the fewest items: the next one that is there would underflow, one that is not would not.
    for (let key = 0; tree.countOf(left) > tree.minimum(0); key += 10) {
      assert.ok(!tree.wouldUnderflow(left, key, 0));
      tree.remove(left, tree.cellOf(left, key, 0), key, 0, null);
    }
    assert.ok(tree.wouldUnderflow(left, boundary - 10, 0));
    assert.ok(!tree.wouldUnderflow(left, boundary - 9, 0));
  });
});
