// Hot file: nothing here may allocate in `get`, nor in `set` of a key that is there. Watched by bench/kv.mjs.
import { assert } from "../../base/index.js";
import {
  childIndex,
  cloneNode,
  guessChild,
  guessPlace,
  insertAt,
  insertKey,
  lowerBound,
  makeNode,
  type Node,
  NODE_KEYS_MAX,
  NODE_KEYS_MIN,
  rehead,
  removeAt,
  removeKey,
} from "./node.js";

/** Two nodes are merged when they fill three quarters of one, so that the next insertion does not split them again. */
const MERGED_KEYS_MAX = (NODE_KEYS_MAX * 3) / 4;

/** An ordered map from latin1 strings (characters below U+0100) to values, none of which is `undefined`. */
export class CowTree<V> {
  #root: Node<V> = makeNode<V>(0, true, [], []);
  #epoch = 0;
  #size = 0;
  /** Inner nodes of the last descent for a change, and which child was taken in each. */
  readonly #path: Node<V>[] = [];
  readonly #taken: number[] = [];
  /** How many of them there are; what lies behind is left over from a higher tree. */
  #depth = 0;

  /** Number of keys. */
  get size(): number {
    return this.#size;
  }

  get(key: string): V | undefined {
    const leaf = this.#guessLeaf(key);
    const at = guessPlace(leaf, key);
    if (at < leaf.keys.length && leaf.keys[at] === key) return leaf.slots[at] as V;
    return isBetween(leaf.keys, at, key) ? undefined : this.#getVerified(key);
  }

  /** Returns the value that was there before. */
  set(key: string, value: V): V | undefined {
    // No node is of a later epoch than the one above it, so that a leaf of this epoch may be changed where it is.
    const leaf = this.#guessLeaf(key);
    const at = guessPlace(leaf, key);
    if (leaf.epoch === this.#epoch) {
      if (at < leaf.keys.length && leaf.keys[at] === key) {
        const before = leaf.slots[at] as V;
        leaf.slots[at] = value;
        return before;
      }
      if (leaf.keys.length < NODE_KEYS_MAX && isBetween(leaf.keys, at, key)) {
        insertKey(leaf, at, key);
        insertAt(leaf.slots, at, value);
        this.#size++;
        return undefined;
      }
    }
    return this.#setVerified(key, value);
  }

  /** Returns the value that was removed. */
  delete(key: string): V | undefined {
    // A key that is not there must not cost copies of the nodes above it.
    const before = this.get(key);
    if (before === undefined) return undefined;
    const leaf = this.#descend(key);
    const at = lowerBound(leaf, key);
    removeKey(leaf, at);
    removeAt(leaf.slots, at);
    this.#size--;
    if (leaf.keys.length < NODE_KEYS_MIN) this.#refill();
    return before;
  }

  /**
   * A cursor over the tree as it is now, from the first key that is not less than `from`. Constant time: it begins a new
   * epoch, and later changes copy a node of an older epoch before they change it. Letting go of the cursor frees the copies.
   */
  mark(from = ""): TreeCursor<V> {
    this.#epoch++;
    return new TreeCursor(this.#root, from);
  }

  /** A cursor that is valid only until the next change. */
  cursor(from = ""): TreeCursor<V> {
    return new TreeCursor(this.#root, from);
  }

  /** Checks every invariant; for tests. Throws `AssertionError`. */
  check(): void {
    const depths = new Set<number>();
    const count = checkNode(this.#root, null, null, 0, depths, this.#epoch, true);
    assert(count === this.#size, `the tree holds ${count} keys and counts ${this.#size}`);
    assert(depths.size === 1, "the leaves differ in depth");
  }

  #guessLeaf(key: string): Node<V> {
    let node = this.#root;
    while (!node.leaf) node = node.slots[guessChild(node, key)] as Node<V>;
    return node;
  }

  #getVerified(key: string): V | undefined {
    let node = this.#root;
    while (!node.leaf) node = node.slots[childIndex(node, key)] as Node<V>;
    const at = lowerBound(node, key);
    return at < node.keys.length && node.keys[at] === key ? (node.slots[at] as V) : undefined;
  }

  #setVerified(key: string, value: V): V | undefined {
    const leaf = this.#descend(key);
    const at = lowerBound(leaf, key);
    if (at < leaf.keys.length && leaf.keys[at] === key) {
      const before = leaf.slots[at] as V;
      leaf.slots[at] = value;
      return before;
    }
    insertKey(leaf, at, key);
    insertAt(leaf.slots, at, value);
    this.#size++;
    if (leaf.keys.length > NODE_KEYS_MAX) this.#split(leaf, at === leaf.keys.length - 1);
    return undefined;
  }

  /** Finds the leaf of `key`, makes every node on the way this epoch's own, and records the way. */
  #descend(key: string): Node<V> {
    const epoch = this.#epoch;
    let node = this.#root;
    if (node.epoch !== epoch) this.#root = node = cloneNode(node, epoch);
    let depth = 0;
    while (!node.leaf) {
      const at = childIndex(node, key);
      this.#path[depth] = node;
      this.#taken[depth] = at;
      depth++;
      node = this.#own(node, at);
    }
    this.#depth = depth;
    return node;
  }

  #own(parent: Node<V>, at: number): Node<V> {
    const child = parent.slots[at] as Node<V>;
    if (child.epoch === this.#epoch) return child;
    const copy = cloneNode(child, this.#epoch);
    parent.slots[at] = copy;
    return copy;
  }

  /**
   * Splits `node` and, as far as needed, the nodes on the recorded path above it. `atEnd`: the key that made it too large
   * is its last; on the right edge of the tree the old node then stays full, so that ascending keys fill the nodes.
   */
  #split(node: Node<V>, atEnd: boolean): void {
    const path = this.#path;
    const taken = this.#taken;
    let edge = atEnd;
    for (let depth = 0; edge && depth < this.#depth; depth++) {
      edge = taken[depth] === (path[depth] as Node<V>).keys.length;
    }
    let depth = this.#depth;
    for (;;) {
      const [separator, right] = splitNode(node, this.#epoch, edge);
      if (depth === 0) {
        this.#root = makeNode<V>(this.#epoch, false, [separator], [node, right]);
        return;
      }
      depth--;
      const parent = path[depth] as Node<V>;
      const at = taken[depth] as number;
      insertKey(parent, at, separator);
      insertAt(parent.slots, at + 1, right);
      if (parent.keys.length <= NODE_KEYS_MAX) return;
      node = parent;
    }
  }

  /** Restores the least number of keys along the recorded path, whose leaf has too few. */
  #refill(): void {
    const path = this.#path;
    for (let depth = this.#depth - 1; depth >= 0; depth--) {
      const parent = path[depth] as Node<V>;
      const at = this.#taken[depth] as number;
      const child = parent.slots[at] as Node<V>;
      if (child.keys.length >= NODE_KEYS_MIN) return;
      balance(
        parent,
        at === 0 ? 0 : at - 1,
        this.#own(parent, at === 0 ? 0 : at - 1),
        this.#own(parent, at === 0 ? 1 : at),
      );
    }
    const root = this.#root;
    if (!root.leaf && root.keys.length === 0) this.#root = root.slots[0] as Node<V>;
  }
}

/** Walks keys in ascending order. `next` moves on; `key` and `value` are those of the place reached. */
export class TreeCursor<V> {
  key = "";
  value: V | undefined = undefined;
  readonly #path: Node<V>[] = [];
  readonly #next: number[] = [];
  #leaf: Node<V>;
  #at: number;

  constructor(root: Node<V>, from: string) {
    let node = root;
    while (!node.leaf) {
      const at = childIndex(node, from);
      this.#path.push(node);
      this.#next.push(at + 1);
      node = node.slots[at] as Node<V>;
    }
    this.#leaf = node;
    this.#at = lowerBound(node, from);
  }

  /** False once there are no more keys. */
  next(): boolean {
    while (this.#at >= this.#leaf.keys.length) {
      if (!this.#nextLeaf()) return false;
    }
    this.key = this.#leaf.keys[this.#at] as string;
    this.value = this.#leaf.slots[this.#at] as V;
    this.#at++;
    return true;
  }

  #nextLeaf(): boolean {
    const path = this.#path;
    const next = this.#next;
    let depth = path.length - 1;
    while (depth >= 0 && (next[depth] as number) >= (path[depth] as Node<V>).slots.length) depth--;
    if (depth < 0) return false;
    path.length = depth + 1;
    next.length = depth + 1;
    let node = path[depth] as Node<V>;
    node = node.slots[(next[depth] as number)++] as Node<V>;
    while (!node.leaf) {
      path.push(node);
      next.push(1);
      node = node.slots[0] as Node<V>;
    }
    this.#leaf = node;
    this.#at = 0;
    return true;
  }
}

/** True if `key` belongs between the keys at `at - 1` and `at` of one leaf, which proves that it belongs into that leaf. */
function isBetween(keys: readonly string[], at: number, key: string): boolean {
  return at > 0 && at < keys.length && (keys[at - 1] as string) < key && key < (keys[at] as string);
}

/** Moves the upper part of `node` to a new right neighbour; returns it and the key that separates them. */
function splitNode<V>(node: Node<V>, epoch: number, edge: boolean): [separator: string, right: Node<V>] {
  const { keys, slots } = node;
  const count = keys.length;
  if (node.leaf) {
    const at = edge ? count - 1 : count >> 1;
    const right = makeNode<V>(epoch, true, keys.slice(at), slots.slice(at));
    keys.length = at;
    slots.length = at;
    rehead(node);
    return [right.keys[0] as string, right];
  }
  // The middle key moves up; on the edge the right node keeps one key, the least an inner node has.
  const at = edge ? count - 2 : count >> 1;
  const separator = keys[at] as string;
  const right = makeNode<V>(epoch, false, keys.slice(at + 1), slots.slice(at + 1));
  keys.length = at;
  slots.length = at + 1;
  rehead(node);
  return [separator, right];
}

/** Merges the neighbours `left` and `right`, children `at` and `at + 1` of `parent`, or shares their keys evenly. */
function balance<V>(parent: Node<V>, at: number, left: Node<V>, right: Node<V>): void {
  const keys = left.leaf ? left.keys.concat(right.keys) : left.keys.concat(parent.keys[at] as string, right.keys);
  const slots = left.slots.concat(right.slots);
  if (keys.length <= MERGED_KEYS_MAX) {
    left.keys = keys;
    left.slots = slots;
    rehead(left);
    removeKey(parent, at);
    removeAt(parent.slots, at + 1);
    return;
  }
  const middle = keys.length >> 1;
  const separator = keys[middle] as string;
  left.keys = keys.slice(0, middle);
  left.slots = slots.slice(0, left.leaf ? middle : middle + 1);
  right.keys = keys.slice(left.leaf ? middle : middle + 1);
  right.slots = slots.slice(left.leaf ? middle : middle + 1);
  rehead(left);
  rehead(right);
  parent.keys[at] = separator;
  rehead(parent);
}

function checkNode<V>(
  node: Node<V>,
  low: string | null,
  high: string | null,
  depth: number,
  depths: Set<number>,
  epoch: number,
  isRoot: boolean,
): number {
  const { keys, heads, slots } = node;
  assert(node.epoch <= epoch, "a node is of a later epoch than its parent");
  assert(keys.length <= NODE_KEYS_MAX, `a node has ${keys.length} keys`);
  assert(heads.length === keys.length, "a node has heads and keys of different number");
  assert(slots.length === keys.length + (node.leaf ? 0 : 1), "a node has the wrong number of slots");
  assert(isRoot || keys.length > 0, "an empty node remains");
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i] as string;
    assert(i === 0 || (keys[i - 1] as string) < key, "keys do not ascend");
    assert((low === null || key >= low) && (high === null || key < high), "a key lies outside the bounds of its node");
    assert(key.slice(0, node.prefix) === (keys[0] as string).slice(0, node.prefix), "a key lacks the common prefix");
  }
  const anew = makeNode<V>(0, node.leaf, keys, slots);
  if (anew.prefix === node.prefix) {
    assert(
      heads.every((head, i) => head === anew.heads[i]),
      "a head differs from its key",
    );
  }
  if (node.leaf) {
    depths.add(depth);
    return keys.length;
  }
  let count = 0;
  for (let i = 0; i < slots.length; i++) {
    const from = i === 0 ? low : (keys[i - 1] as string);
    const to = i === keys.length ? high : (keys[i] as string);
    count += checkNode(slots[i] as Node<V>, from, to, depth + 1, depths, node.epoch, false);
  }
  return count;
}
