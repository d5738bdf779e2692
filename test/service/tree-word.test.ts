/** The tree of words where the service does not reach: several chunks of memory, and the range that a safety check asks for. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Prng } from "#src/base/index.js";
import { LEAF_CAPACITY, WordSink, WordSource, WordTree } from "#src/service/index.js";
import { digestOf, restoreInto, snapshotOf } from "./kv-command.js";

const put = (tree: WordTree, key: number, value: number): boolean =>
  tree.insert(tree.leafOf(key, 0), key, 0, value, 0, null);

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
      tree.update(tree.leafOf(key, 0), key, 0, 1, 1, null);
      if (i % 2 === 0) tree.remove(tree.leafOf(key, 0), key, 0, null);
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
      assert.ok(restored.read(restored.leafOf(key, 0), key, 0));
      assert.deepEqual([...restored.value], [key, 0], `seed ${seed}`);
    }
  });

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
      tree.remove(left, key, 0, null);
    }
    assert.ok(tree.wouldUnderflow(left, boundary - 10, 0));
    assert.ok(!tree.wouldUnderflow(left, boundary - 9, 0));
  });
});
