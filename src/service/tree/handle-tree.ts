// Hot file: keys are put in order here. Nothing allocates but growth, and nothing throws for what a client sent. Watched by
// bench/btree.mjs.
import { assert } from "../../base/index.js";
import { nodeAt } from "./arena.js";
import * as layout from "./layout.js";
import { MarkWalk } from "./mark-walk.js";
import type { NodeMemory, TreeRoots } from "./node-memory.js";
import { countBelow, countThrough } from "./search.js";
import { type HandleCursor, type HandleOrder, PREFIX_BYTES_MAX, type Tails } from "./tails.js";
import { Tree } from "./tree.js";

// Constants of this module are part of the compiled code, see `word-node.ts`.
const at = nodeAt;
const { CHUNK_SHIFT, COUNT, COUNT_MASK, HEADER_WORDS, LEVEL_MASK, LEVEL_SHIFT, NODE_WORDS, PREFIX_SHIFT, UNIFORM } =
  layout;

/**
 * Behind the header of a node there are columns of one word an item. Items stand at the front of the columns; what is behind
 * them is undefined. Of a leaf: head high, head low, handle.
 */
const LEAF_COLUMNS = 3;
/** Columns of an inner node: head high, head low, child, handle. */
const INNER_COLUMNS = 4;
const LEAF_CAPACITY = Math.floor((NODE_WORDS - HEADER_WORDS) / LEAF_COLUMNS);
const INNER_CAPACITY = Math.floor((NODE_WORDS - HEADER_WORDS) / INNER_COLUMNS);
const KEY_HIGH = HEADER_WORDS;
const LEAF_LOW = KEY_HIGH + LEAF_CAPACITY;
const LEAF_HANDLE = LEAF_LOW + LEAF_CAPACITY;
const INNER_LOW = KEY_HIGH + INNER_CAPACITY;
const CHILD = INNER_LOW + INNER_CAPACITY;
const INNER_HANDLE = CHILD + INNER_CAPACITY;
const HEAD_BYTES = 8;
/** Heads are written anew when that leaves out so many more bytes; as long as half a head tells keys apart it costs more than it brings. */
const PREFIX_GAIN_MIN = 4;

/**
 * The order of handles by keys of any length.
 *
 * Each node leaves out a prefix that all its keys have, and compares the 8 bytes behind it. The key of item i of an inner
 * node is that of the first handle below it, so that no key is stored here and none outlives its handle; item 0 on the left
 * edge of the tree has no key, and handle 0.
 *
 * A descent has to know that the searched key has the prefix of a node. A key between two neighbouring ones of the node
 * above has their common prefix, so that the heads of those two say it for most nodes; only where they do not, at the edges,
 * is the searched key compared with a key of the node.
 */
export class HandleTree extends Tree implements HandleOrder {
  readonly #tails: Tails;
  /** Whether the latest search met the searched key, and whether that has the prefix of the node it searched last. */
  #found = false;
  #fits = false;
  /**
   * Bytes that the searched key is known to share with the lower bound of the node to be searched, which is the first key
   * below it. If that are as many as the prefix of the node has, the searched key has that prefix.
   */
  #shared = 0;
  /** A handle that was returned, and its place if nothing has changed since; leaf 0 if something has. */
  #lastHandle = 0;
  #lastLeaf = 0;
  #lastSlot = 0;

  /** Over `memory` that is not fresh the tree is there, and `load` comes first. */
  constructor(tails: Tails, memory: NodeMemory | null = null) {
    super(LEAF_CAPACITY, INNER_CAPACITY, memory);
    this.#tails = tails;
    if (memory === null || memory.fresh) this.reset();
  }

  override load(roots: TreeRoots): void {
    super.load(roots);
    this.#lastLeaf = 0;
  }

  find(): number {
    this.#descend();
    return this.#found ? this.#handleAt(this.path[0] as number, this.slots[0] as number) : 0;
  }

  insert(handle: number): void {
    this.#lastLeaf = 0;
    this.#descend();
    assert(!this.#found, "a key is added once");
    let fits = this.#fits;
    if (this.countOf(this.path[0] as number) === LEAF_CAPACITY) {
      this.makeRoom(null);
      fits = false;
    }
    const leaf = this.path[0] as number;
    const slot = this.slots[0] as number;
    this.arena.preserve(leaf);
    if (!fits) this.#admit(leaf, handle);
    const words = this.arena.words(leaf);
    const start = at(leaf);
    const header = words[start + COUNT] as number;
    const count = header & COUNT_MASK;
    const prefix = header >>> PREFIX_SHIFT;
    const high = this.#tails.searchedWord(prefix);
    const uniform = count === 0 || ((header & UNIFORM) !== 0 && words[start + KEY_HIGH] === high);
    const first = start + KEY_HIGH + slot;
    for (let i = start + KEY_HIGH + count; i > first; i--) {
      words[i] = words[i - 1] as number;
      words[i + LEAF_CAPACITY] = words[i + LEAF_CAPACITY - 1] as number;
      words[i + 2 * LEAF_CAPACITY] = words[i + 2 * LEAF_CAPACITY - 1] as number;
    }
    words[first] = high;
    words[first + LEAF_CAPACITY] = this.#tails.searchedWord(prefix + 4);
    words[first + 2 * LEAF_CAPACITY] = handle;
    words[start + COUNT] = ((header + 1) & ~UNIFORM) | (uniform ? UNIFORM : 0);
    this.count++;
  }

  replace(handle: number): number {
    this.#lastLeaf = 0;
    this.#descend();
    if (!this.#found) return 0;
    const leaf = this.path[0] as number;
    const slot = this.slots[0] as number;
    this.arena.preserve(leaf);
    const words = this.arena.words(leaf);
    const before = words[at(leaf) + LEAF_HANDLE + slot] as number;
    words[at(leaf) + LEAF_HANDLE + slot] = handle;
    if (slot === 0) this.#rebind(handle);
    return before;
  }

  remove(): number {
    this.#lastLeaf = 0;
    this.#descend();
    if (!this.#found) return 0;
    const leaf = this.path[0] as number;
    const slot = this.slots[0] as number;
    this.arena.preserve(leaf);
    const handle = this.#handleAt(leaf, slot);
    const count = this.countOf(leaf) - 1;
    this.copyItems(0, leaf, slot + 1, leaf, slot, count - slot);
    this.setCount(leaf, count);
    this.count--;
    if (slot === 0 && count > 0) this.#rebind(this.#handleAt(leaf, 0));
    if (this.height > 0 && count < this.minimum(0)) this.mendUnderflow(null);
    return handle;
  }

  first(after: boolean): number {
    this.#descend();
    if (this.#found && after) this.slots[0] = (this.slots[0] as number) + 1;
    if ((this.slots[0] as number) === this.countOf(this.path[0] as number) && !this.nextLeaf()) return 0;
    return this.#arrive();
  }

  last(before: boolean): number {
    this.#descend();
    if (this.#found && !before) return this.#arrive();
    if (this.slots[0] === 0) return this.previousLeaf() ? this.#arrive() : 0;
    this.slots[0] = (this.slots[0] as number) - 1;
    return this.#arrive();
  }

  smallest(): number {
    if (this.count === 0) return 0;
    let node = this.root;
    for (let level = this.height; level > 0; level--) node = this.childOf(node, 0);
    return this.#handleAt(node, 0);
  }

  largest(): number {
    if (this.count === 0) return 0;
    let node = this.root;
    for (let level = this.height; level > 0; level--) node = this.childOf(node, this.countOf(node) - 1);
    return this.#handleAt(node, this.countOf(node) - 1);
  }

  next(handle: number): number {
    const slot = this.#lastSlot + 1;
    if (this.#lastLeaf === 0 || handle !== this.#lastHandle || slot === this.countOf(this.#lastLeaf)) {
      return this.first(true);
    }
    this.#lastSlot = slot;
    this.#lastHandle = this.#handleAt(this.#lastLeaf, slot);
    return this.#lastHandle;
  }

  previous(handle: number): number {
    const slot = this.#lastSlot - 1;
    if (this.#lastLeaf === 0 || handle !== this.#lastHandle || slot < 0) return this.last(true);
    this.#lastSlot = slot;
    this.#lastHandle = this.#handleAt(this.#lastLeaf, slot);
    return this.#lastHandle;
  }

  clear(): void {
    this.#lastLeaf = 0;
    this.reset();
  }

  mark(): HandleCursor {
    return new Cursor(new MarkWalk(this.arena, this.root, this.height, childAt));
  }

  /** Remembers the place of the handle that the path leads to, and returns it. */
  #arrive(): number {
    this.#lastLeaf = this.path[0] as number;
    this.#lastSlot = this.slots[0] as number;
    this.#lastHandle = this.#handleAt(this.#lastLeaf, this.#lastSlot);
    return this.#lastHandle;
  }

  #handleAt(leaf: number, slot: number): number {
    return this.arena.words(leaf)[at(leaf) + LEAF_HANDLE + slot] as number;
  }

  /** Leads the path to the searched key, or to where it belongs. */
  #descend(): void {
    const { chunks } = this.arena;
    let node = this.root;
    this.#shared = 0;
    for (let level = this.height; level > 0; level--) {
      const words = chunks[node >>> CHUNK_SHIFT] as Uint32Array;
      const start = at(node);
      const slot = this.#searchInner(words, start);
      this.path[level] = node;
      this.slots[level] = slot;
      node = words[start + CHILD + slot] as number;
    }
    const words = chunks[node >>> CHUNK_SHIFT] as Uint32Array;
    const start = at(node);
    const count = (words[start + COUNT] as number) & COUNT_MASK;
    this.path[0] = node;
    this.slots[0] = this.#search(words, start, count, start + KEY_HIGH, start + LEAF_LOW, start + LEAF_HANDLE);
  }

  /** The child of the inner node at `start` that the searched key belongs to. */
  #searchInner(words: Uint32Array, start: number): number {
    const header = words[start + COUNT] as number;
    const count = header & COUNT_MASK;
    const below = this.#search(
      words,
      start,
      count - 1,
      start + KEY_HIGH + 1,
      start + INNER_LOW + 1,
      start + INNER_HANDLE + 1,
    );
    const slot = this.#found ? below + 1 : below;
    // On the left edge the keys below have no lower bound that says anything about them.
    if (words[start + INNER_HANDLE + slot] === 0) this.#shared = 0;
    else if (this.#fits && slot + 1 < count) {
      const shared = (header >>> PREFIX_SHIFT) + commonHeadBytes(words, start + slot);
      if (shared > this.#shared) this.#shared = shared;
    }
    return slot;
  }

  /** How many of `count` keys of a node are below the searched one; sets `#found` and `#fits`. */
  #search(words: Uint32Array, start: number, count: number, high: number, low: number, handles: number): number {
    const tails = this.#tails;
    const header = words[start + COUNT] as number;
    const prefix = header >>> PREFIX_SHIFT;
    this.#found = false;
    this.#fits = false;
    if (count === 0) return 0;
    if (prefix > this.#shared) {
      const order = tails.comparePrefix(words[handles] as number, prefix);
      if (order !== 0) return order < 0 ? 0 : count;
      this.#shared = prefix;
    }
    this.#fits = true;
    const headHigh = tails.searchedWord(prefix);
    const headLow = tails.searchedWord(prefix + 4);
    let first = countBelow(words, header, high, low, count, headHigh, headLow);
    if (first === count || words[low + first] !== headLow || words[high + first] !== headHigh) return first;
    // Heads that are equal: mostly one, so the first is tried before the others are counted.
    const order = tails.compare(words[handles + first] as number, prefix + HEAD_BYTES);
    if (order <= 0) {
      this.#found = order === 0;
      return first;
    }
    first++;
    let end = first + countThrough(words, header, high + first, low + first, count - first, headHigh, headLow);
    while (first < end) {
      const middle = (first + end) >>> 1;
      const middleOrder = tails.compare(words[handles + middle] as number, prefix + HEAD_BYTES);
      if (middleOrder === 0) {
        this.#found = true;
        return middle;
      }
      if (middleOrder > 0) first = middle + 1;
      else end = middle;
    }
    return first;
  }

  /** Makes the prefix of a leaf one that a handle about to be added has too. */
  #admit(leaf: number, handle: number): void {
    const header = this.arena.words(leaf)[at(leaf) + COUNT] as number;
    if (header >>> PREFIX_SHIFT === 0) return;
    if ((header & COUNT_MASK) === 0) return this.#rehead(leaf, 0, 0);
    const common = this.#tails.commonPrefix(handle, this.#handleAt(leaf, 0));
    if (common < header >>> PREFIX_SHIFT) this.#rehead(leaf, 0, common);
  }

  /** The first handle of the leaf at the end of the path is another now: so are the keys above that are made of it. */
  #rebind(handle: number): void {
    for (let level = 1; level <= this.height; level++) {
      const node = this.path[level] as number;
      const slot = this.slots[level] as number;
      if (this.arena.words(node)[at(node) + INNER_HANDLE + slot] === 0) return;
      this.arena.preserve(node);
      this.#place(node, slot, handle);
      if (slot > 0) return;
    }
  }

  /** Writes the key of item `slot` of an inner node that has been preserved. */
  #place(node: number, slot: number, handle: number): void {
    const tails = this.#tails;
    const words = this.arena.words(node);
    const start = at(node);
    words[start + INNER_HANDLE + slot] = handle;
    const header = words[start + COUNT] as number;
    const prefix = header >>> PREFIX_SHIFT;
    if (prefix > 0) {
      // Any other key tells what the prefix is. There is one: only a new root has a single key, and it leaves out nothing.
      const other = slot === (header & COUNT_MASK) - 1 ? slot - 1 : slot + 1;
      const neighbour = words[start + INNER_HANDLE + other] as number;
      const common = neighbour === 0 ? 0 : tails.commonPrefix(handle, neighbour);
      if (common < prefix) return this.#rehead(node, level(header), common);
    }
    words[start + KEY_HIGH + slot] = tails.word(handle, prefix);
    words[start + INNER_LOW + slot] = tails.word(handle, prefix + 4);
    markUniform(words, start, level(header));
  }

  /** Writes all heads of a node for a prefix of another length. */
  #rehead(node: number, atLevel: number, length: number): void {
    const tails = this.#tails;
    const prefix = length < PREFIX_BYTES_MAX ? length : PREFIX_BYTES_MAX;
    const words = this.arena.words(node);
    const start = at(node);
    const count = (words[start + COUNT] as number) & COUNT_MASK;
    const low = start + (atLevel === 0 ? LEAF_LOW : INNER_LOW);
    const handles = start + (atLevel === 0 ? LEAF_HANDLE : INNER_HANDLE);
    for (let i = 0; i < count; i++) {
      const handle = words[handles + i] as number;
      words[start + KEY_HIGH + i] = handle === 0 ? 0 : tails.word(handle, prefix);
      words[low + i] = handle === 0 ? 0 : tails.word(handle, prefix + 4);
    }
    words[start + COUNT] = count | (atLevel << LEVEL_SHIFT) | (prefix << PREFIX_SHIFT);
    markUniform(words, start, atLevel);
  }

  protected override childAt(slot: number): number {
    return childAt(slot);
  }

  protected override copyItems(
    atLevel: number,
    from: number,
    first: number,
    into: number,
    target: number,
    count: number,
  ): void {
    if (count <= 0) return;
    const capacity = this.capacity(atLevel);
    const source = this.arena.words(from);
    const sink = this.arena.words(into);
    const up = from === into && target > first;
    for (let column = atLevel === 0 ? LEAF_COLUMNS - 1 : INNER_COLUMNS - 1; column >= 0; column--) {
      const read = at(from) + HEADER_WORDS + column * capacity + first;
      const write = at(into) + HEADER_WORDS + column * capacity + target;
      if (up) for (let i = count - 1; i >= 0; i--) sink[write + i] = source[read + i] as number;
      else for (let i = 0; i < count; i++) sink[write + i] = source[read + i] as number;
    }
  }

  protected override placeChild(parent: number, slot: number, child: number, childLevel: number): void {
    const words = this.arena.words(child);
    this.#place(parent, slot, words[at(child) + (childLevel === 0 ? LEAF_HANDLE : INNER_HANDLE)] as number);
  }

  protected override placeFirst(root: number): void {
    const words = this.arena.words(root);
    words[at(root) + KEY_HIGH] = 0;
    words[at(root) + INNER_LOW] = 0;
    words[at(root) + INNER_HANDLE] = 0;
  }

  /** Items that came from another node have heads for its prefix; and fewer items may have a longer one in common. */
  protected override settle(node: number, atLevel: number, moved: boolean): void {
    const words = this.arena.words(node);
    const start = at(node);
    const header = words[start + COUNT] as number;
    const count = header & COUNT_MASK;
    const handles = start + (atLevel === 0 ? LEAF_HANDLE : INNER_HANDLE);
    const first = count > 0 && words[handles] === 0 ? 1 : 0;
    const prefix = header >>> PREFIX_SHIFT;
    let common = moved ? 0 : prefix;
    if (count - first > 1)
      common = this.#tails.commonPrefix(words[handles + first] as number, words[handles + count - 1] as number);
    if (moved || common >= prefix + PREFIX_GAIN_MIN) this.#rehead(node, atLevel, common);
    else markUniform(words, start, atLevel);
  }

  /** Nothing is kept beside the nodes. */
  protected override leave(): void {}
  protected override saveSums(): void {}
  protected override restoreSums(): void {}
}

/** Walks the leaves of a mark. */
class Cursor implements HandleCursor {
  handle = 0;
  readonly #walk: MarkWalk;
  #leaf = 0;
  #slot = 0;

  constructor(walk: MarkWalk) {
    this.#walk = walk;
  }

  next(): boolean {
    const { arena } = this.#walk;
    while (this.#leaf === 0 || this.#slot === ((arena.words(this.#leaf)[at(this.#leaf)] as number) & COUNT_MASK)) {
      this.#leaf = this.#walk.next();
      this.#slot = 0;
      if (this.#leaf === 0) return false;
      const header = arena.words(this.#leaf)[at(this.#leaf)] as number;
      if (level(header) > 0) this.#leaf = 0;
    }
    this.handle = arena.words(this.#leaf)[at(this.#leaf) + LEAF_HANDLE + this.#slot++] as number;
    return true;
  }

  close(): void {
    this.#walk.close();
    this.#leaf = 0;
  }
}

const childAt = (slot: number): number => CHILD + slot;

const level = (header: number): number => (header >>> LEVEL_SHIFT) & LEVEL_MASK;

/** How many bytes the heads of an item of an inner node and the next one have in common; `item` is their place in column 0. */
function commonHeadBytes(words: Uint32Array, item: number): number {
  const high = (words[item + KEY_HIGH] as number) ^ (words[item + KEY_HIGH + 1] as number);
  if (high !== 0) return Math.clz32(high) >>> 3;
  return 4 + (Math.clz32((words[item + INNER_LOW] as number) ^ (words[item + INNER_LOW + 1] as number)) >>> 3);
}

/** Notes whether the high words of all heads that are compared with are equal: of an inner node all but the first. */
function markUniform(words: Uint32Array, start: number, atLevel: number): void {
  const header = words[start + COUNT] as number;
  const first = start + HEADER_WORDS + (atLevel === 0 ? 0 : 1);
  const last = start + HEADER_WORDS + (header & COUNT_MASK) - 1;
  words[start + COUNT] = last <= first || words[first] === words[last] ? header | UNIFORM : header & ~UNIFORM;
}
