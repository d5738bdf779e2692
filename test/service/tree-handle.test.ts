/** The order of handles against a sorted list, on keys that share prefixes of any length; its invariants; its marks. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { Prng } from "#src/base/index.js";
import { type HandleCursor, HandleTree, MARKS_MAX, type Tails } from "#src/service/index.js";

/** Keys by handle, as the owner of a tree has them. A handle that was removed is forgotten, so that asking for it fails. */
class Keys implements Tails {
  readonly keys = new Map<number, Uint8Array>();
  searched: Uint8Array = new Uint8Array(0);
  comparisons = 0;
  #handles = 0;

  add(key: Uint8Array): number {
    this.keys.set(++this.#handles, key);
    return this.#handles;
  }

  keyOf(handle: number): Uint8Array {
    const key = this.keys.get(handle);
    if (key === undefined) throw new Error(`the tree asks for handle ${handle}, which was removed`);
    return key;
  }

  compare(handle: number, from: number): number {
    this.comparisons++;
    const key = this.keyOf(handle);
    // The order of whole keys: a wrong `from` shows as a wrong answer below.
    const order = compareBytes(this.searched.subarray(from), key.subarray(from));
    const ends = Math.min(this.searched.length, key.length) <= from;
    assert.equal(
      Math.sign(ends ? this.searched.length - key.length : order),
      Math.sign(compareBytes(this.searched, key)),
    );
    return compareBytes(this.searched, key);
  }

  comparePrefix(handle: number, length: number): number {
    this.comparisons++;
    const key = this.keyOf(handle);
    assert.ok(key.length >= length);
    return compareBytes(this.searched.subarray(0, length), key.subarray(0, length));
  }

  searchedWord(from: number): number {
    return wordAt(this.searched, from);
  }

  word(handle: number, from: number): number {
    return wordAt(this.keyOf(handle), from);
  }

  commonPrefix(a: number, b: number): number {
    const x = this.keyOf(a);
    const y = this.keyOf(b);
    let i = 0;
    while (i < x.length && i < y.length && x[i] === y[i]) i++;
    return i;
  }
}

function wordAt(bytes: Uint8Array, at: number): number {
  let word = 0;
  for (let i = 0; i < 4; i++) word = word * 256 + (bytes[at + i] ?? 0);
  return word;
}

const compareBytes = (a: Uint8Array, b: Uint8Array): number => Buffer.compare(a, b);

/** A tree and a sorted list of the same keys, compared at every step. */
class Pair {
  readonly keys = new Keys();
  readonly tree = new HandleTree(this.keys);
  list: number[] = [];

  insert(key: Uint8Array): boolean {
    const place = this.#place(key);
    const there = this.#isAt(place, key);
    this.keys.searched = key;
    assert.equal(this.tree.find(), there ? this.list[place] : 0);
    if (there) return false;
    const handle = this.keys.add(key);
    this.tree.insert(handle);
    this.list = this.list.toSpliced(place, 0, handle);
    return true;
  }

  remove(key: Uint8Array): void {
    const place = this.#place(key);
    this.keys.searched = key;
    if (!this.#isAt(place, key)) return assert.equal(this.tree.remove(), 0);
    const handle = this.list[place] as number;
    assert.equal(this.tree.remove(), handle);
    this.keys.keys.delete(handle);
    this.list = this.list.toSpliced(place, 1);
  }

  replace(key: Uint8Array): void {
    const place = this.#place(key);
    this.keys.searched = key;
    const handle = this.keys.add(key);
    if (!this.#isAt(place, key)) {
      assert.equal(this.tree.replace(handle), 0);
      this.keys.keys.delete(handle);
      return;
    }
    const before = this.list[place] as number;
    assert.equal(this.tree.replace(handle), before);
    this.keys.keys.delete(before);
    this.list = this.list.with(place, handle);
  }

  probe(key: Uint8Array): void {
    const place = this.#place(key);
    const there = this.#isAt(place, key);
    this.keys.searched = key;
    assert.equal(this.tree.first(false), this.list[place] ?? 0);
    assert.equal(this.tree.first(true), this.list[there ? place + 1 : place] ?? 0);
    assert.equal(this.tree.last(false), this.list[there ? place : place - 1] ?? 0);
    assert.equal(this.tree.last(true), this.list[place - 1] ?? 0);
  }

  check(): void {
    assert.equal(this.tree.count, this.list.length);
    assert.equal(this.tree.smallest(), this.list[0] ?? 0);
    assert.equal(this.tree.largest(), this.list[this.list.length - 1] ?? 0);
    const forward: number[] = [];
    for (let handle = this.tree.smallest(); handle !== 0; handle = this.tree.next(handle)) {
      forward.push(handle);
      this.keys.searched = this.keys.keyOf(handle);
    }
    assert.deepEqual(forward, this.list);
    assert.deepEqual(this.#backward(), this.list);
    assert.deepEqual(collect(this.tree.mark()), this.list);
  }

  #backward(): number[] {
    const backward: number[] = [];
    let handle = this.tree.largest();
    while (handle !== 0) {
      backward.push(handle);
      this.keys.searched = this.keys.keyOf(handle);
      handle = this.tree.previous(handle);
    }
    return backward.reverse();
  }

  #place(key: Uint8Array): number {
    let low = 0;
    let high = this.list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compareBytes(this.keys.keyOf(this.list[middle] as number), key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #isAt(place: number, key: Uint8Array): boolean {
    const handle = this.list[place];
    return handle !== undefined && compareBytes(this.keys.keyOf(handle), key) === 0;
  }
}

function collect(cursor: HandleCursor): number[] {
  const handles: number[] = [];
  while (cursor.next()) handles.push(cursor.handle);
  cursor.close();
  return handles;
}

/** Families of keys, of which numbers choose one. */
const families: Readonly<Record<string, (n: number) => Uint8Array>> = {
  "long common prefixes": (n) => Buffer.from(`application:tenant:user:${String(n % 5000).padStart(9, "0")}:name`),
  "prefixes of each other, and zeros": (n) => new Uint8Array((n * 7) % 61).fill(n % 3 === 0 ? 0 : 1, n % 5),
  "few letters, any length": (n) => Buffer.from((n % 60_000).toString(3).replaceAll("0", "\u0000")),
  "several kinds together": (n) =>
    n % 3 === 0
      ? Buffer.from(`k${n % 1000}`)
      : n % 3 === 1
        ? Buffer.from(`session:${(n * 7919) % 3000}`)
        : Buffer.from(`session:${(n * 7919) % 3000}:${"field".repeat(n % 4)}`),
  "random bytes": (n) => new Uint8Array(new Uint32Array([Math.imul(n, 0x9e3779b1), n]).buffer).slice(0, 1 + (n % 8)),
};

describe("the order of handles", () => {
  for (const [name, keyOf] of Object.entries(families)) {
    test(`does what a sorted list does: ${name}`, () => {
      const seed = 11;
      const prng = new Prng(seed);
      const pair = new Pair();
      for (let phase = 0; phase < 6; phase++) {
        const removals = [1, 1, 6, 2, 9, 3][phase] as number;
        for (let i = 0; i < 2500; i++) {
          const key = keyOf(prng.below(1 << 20));
          const choice = prng.below(10);
          if (choice < removals) {
            // Keys that are there, or hardly any would be removed.
            const handle = pair.list[prng.below(pair.list.length + 1)];
            pair.remove(handle === undefined ? key : pair.keys.keyOf(handle));
          } else if (choice === 9) pair.replace(key);
          else pair.insert(key);
          if (i % 10 === 0) pair.probe(keyOf(prng.below(1 << 20)));
        }
        pair.check();
      }
      for (const handle of pair.list) pair.remove(pair.keys.keyOf(handle));
      pair.check();
      assert.equal(pair.tree.height, 0);
      assert.equal(pair.tree.arena.nodes, 1);
    });
  }

  for (const order of ["ascending", "descending"] as const) {
    test(`grows and shrinks in ${order} order`, () => {
      const pair = new Pair();
      const keyOf = (i: number): Uint8Array =>
        Buffer.from(`order:${String(order === "ascending" ? i : 9_999_999 - i).padStart(12, "0")}`);
      for (let i = 0; i < 9000; i++) assert.ok(pair.insert(keyOf(i)));
      pair.check();
      if (order === "ascending") assert.ok(pair.tree.bytes / pair.list.length < 13);
      for (let i = 0; i < 8990; i++) pair.remove(keyOf(i));
      pair.check();
    });
  }

  test("marks keep what was there, several at a time, over a clear", () => {
    const step = fc.record({
      n: fc.nat(3000),
      kind: fc.constantFrom("insert", "insert", "remove", "replace", "mark", "close", "clear"),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400, size: "max" }), (steps) => {
        const pair = new Pair();
        const keyOf = families["long common prefixes"] as (n: number) => Uint8Array;
        for (let i = 0; i < 300; i++) pair.insert(keyOf(i * 7));
        const marks: { cursor: HandleCursor; list: number[] }[] = [];
        for (const { kind, n } of steps) {
          if (kind === "mark") {
            if (marks.length < MARKS_MAX) marks.push({ cursor: pair.tree.mark(), list: pair.list });
          } else if (kind === "close") {
            const [mark] = marks.splice(n % (marks.length + 1), 1);
            if (mark !== undefined) assert.deepEqual(collect(mark.cursor), mark.list);
          } else if (kind === "clear") {
            if (n % 10 > 0) continue;
            pair.tree.clear();
            pair.list = [];
          } else pair[kind](keyOf(n));
        }
        for (const { cursor, list } of marks) assert.deepEqual(collect(cursor), list);
        pair.check();
        assert.equal(pair.tree.arena.newest, 0);
      }),
      { numRuns: 60 },
    );
  });

  test("keys with long common prefixes are found without looking at many of them", () => {
    const pair = new Pair();
    const keyOf = (n: number): Uint8Array => Buffer.from(`application:tenant:user:${String(n).padStart(9, "0")}`);
    const prng = new Prng(3);
    for (let i = 0; i < 20_000; i++) pair.insert(keyOf(prng.below(1_000_000)));
    pair.keys.comparisons = 0;
    for (const handle of pair.list) {
      pair.keys.searched = pair.keys.keyOf(handle);
      assert.equal(pair.tree.find(), handle);
    }
    // One to see that the key found is the one searched for, and few more on the edges.
    assert.ok(pair.keys.comparisons < 3 * pair.list.length, `${pair.keys.comparisons / pair.list.length} per search`);
  });
});
