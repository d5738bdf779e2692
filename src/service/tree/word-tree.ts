// Hot file: every command of the btree service ends here. Nothing allocates without an undo log but growth, and nothing
// throws. Watched by bench/btree.mjs.
import { type ByteWriter, mix32 } from "../../base/index.js";
import type { Digest, UndoLog } from "../../model/index.js";
import { ARENA_SUMS, ARENA_WORDS, at } from "./arena.js";
import { capacityOf, CHUNK_SHIFT, COUNT, COUNT_MASK, KEY_HIGH, LANE, STAMP, UNIFORM } from "./layout.js";
import { countBelow, countThrough } from "./search.js";
import { SHARED_TREE_BYTES_MAX, SharedMemory, type TreeDescription } from "./shared-memory.js";
import { Tree } from "./tree.js";
import { WordDigest } from "./word-digest.js";

/** Columns of a leaf: key high, key low, value (low and high word, since they are read together). */
const LEAF_COLUMNS = [1, 1, 2] as const;
/** Columns of an inner node: key high, key low, child. */
const INNER_COLUMNS = [1, 1, 1] as const;
export const LEAF_CAPACITY = capacityOf(LEAF_COLUMNS);
export const INNER_CAPACITY = capacityOf(INNER_COLUMNS);
export const LEAF_LOW = KEY_HIGH + LEAF_CAPACITY;
export const VALUE = LEAF_LOW + LEAF_CAPACITY;
export const INNER_LOW = KEY_HIGH + INNER_CAPACITY;
export const CHILD = INNER_LOW + INNER_CAPACITY;

/** What a tree that threads share publishes behind the words of its arena, and the first of the sums of its digest. */
const ROOT_WORD = ARENA_WORDS;
const HEIGHT_WORD = ARENA_WORDS + 1;
const STRUCTURE_WORD = ARENA_WORDS + 2;
const COUNT_WORD = ARENA_WORDS + 3;
const SHAPE_WORD = ARENA_WORDS + 4;
const ENTRIES_SUM = ARENA_SUMS;

const UPDATED = 8;
const INSERTED = 9;
const REMOVED = 10;

/**
 * A B+-tree from unsigned 64-bit keys to 64-bit values, both as two u32 words.
 *
 * Looking for a leaf and working on it are separate steps, so that the leaves of several commands are looked for together:
 * `locate` overlaps their cache misses. A leaf found stays the right one until `structure` changes.
 *
 * The digest covers the entries and the shape: for each node its level, lower bound and number of items.
 *
 * Threads may share a tree: `share` gives a description, `attach` makes another thread's view of it. Between barriers each
 * thread may read and update keys that no other thread does, without locks, since an update writes the words of one value. At
 * a barrier over all threads thread 0 may do anything. Every thread calls `publish` before it arrives at a barrier, thread 0
 * also before it lets the others go on, and those then call `adopt`. `digest`, and snapshots, are for thread 0 at such a barrier.
 */
export class WordTree extends Tree {
  /** The value that `read` found: low and high word. */
  readonly value = new Uint32Array(2);
  // The range that `leafRange` found: keys from the lower bound on, and below the upper one if it is bounded.
  lowerLow = 0;
  lowerHigh = 0;
  upperLow = 0;
  upperHigh = 0;
  bounded = false;
  readonly #entries = new WordDigest();
  /** Sums over all nodes of (items + 1) times two hashes of level and lower bound. */
  readonly #shape = new Int32Array(2);
  /** Keeps the compiler from leaving out reads whose result nobody uses. */
  touched = 0;
  #memory: SharedMemory | null = null;

  constructor() {
    super(LEAF_COLUMNS, INNER_COLUMNS);
    this.reset();
  }

  /**
   * Lets `threads` threads share this tree, of which this one is number 0, and says what the others need to `attach`. Nodes
   * get new numbers never, new memory now. Throws `RangeError` if the process may not have so much address space.
   */
  share(threads: number, bytesMax = SHARED_TREE_BYTES_MAX): TreeDescription {
    const memory = SharedMemory.reserve(threads, bytesMax);
    this.arena.share(memory);
    this.#memory = memory;
    this.publish(true);
    return memory.description;
  }

  /** The view of thread `thread`, 1 or above, of a tree that another thread has shared. */
  static attach(description: TreeDescription, thread: number): WordTree {
    const tree = new WordTree();
    tree.#memory = new SharedMemory(description, thread);
    tree.arena.attach(tree.#memory);
    tree.adopt();
    return tree;
  }

  /** Puts what this thread has changed where the others find it; `alone` in thread 0 while all others wait at a barrier. */
  publish(alone: boolean): void {
    const memory = this.#memory;
    if (memory === null) return;
    this.arena.publish(memory, alone);
    for (let i = 0; i < 4; i++) memory.publishSum(ENTRIES_SUM + i, this.#entries.lane(i));
    if (!alone) return;
    memory.publish(ROOT_WORD, this.root);
    memory.publish(HEIGHT_WORD, this.height);
    memory.publish(STRUCTURE_WORD, this.structure);
    memory.publish(COUNT_WORD, this.count);
    memory.publish(SHAPE_WORD, this.#shape[0] as number);
    memory.publish(SHAPE_WORD + 1, this.#shape[1] as number);
  }

  /** Takes over what thread 0 has published; first thing behind a barrier. */
  adopt(): void {
    const memory = this.#memory;
    if (memory === null || memory.thread === 0) return;
    this.arena.adopt(memory);
    this.root = memory.published(ROOT_WORD) >>> 0;
    this.height = memory.published(HEIGHT_WORD);
    this.structure = memory.published(STRUCTURE_WORD);
    this.count = memory.published(COUNT_WORD) >>> 0;
    this.#shape[0] = memory.published(SHAPE_WORD);
    this.#shape[1] = memory.published(SHAPE_WORD + 1);
  }

  /** The leaf that a key belongs to. */
  leafOf(low: number, high: number): number {
    const { chunks } = this.arena;
    let node = this.root;
    for (let level = this.height; level > 0; level--)
      node = childFor(chunks[node >>> CHUNK_SHIFT] as Uint32Array, at(node), low, high);
    return node;
  }

  /** The leaves of several keys at once: those of `lows[i]`, `highs[i]` for i below `count` go to `leaves[i]`. */
  locate(lows: Uint32Array, highs: Uint32Array, leaves: Uint32Array, count: number): void {
    const { chunks } = this.arena;
    const { root } = this;
    for (let i = 0; i < count; i++) leaves[i] = root;
    let touched = 0;
    for (let level = this.height; level > 0; level--) {
      for (let i = 0; i < count; i++) {
        const node = leaves[i] as number;
        const words = chunks[node >>> CHUNK_SHIFT] as Uint32Array;
        const child = childFor(words, at(node), lows[i] as number, highs[i] as number);
        leaves[i] = child;
        // Two reads that nothing waits for, so that the child is on its way into the cache while others are searched.
        const below = chunks[child >>> CHUNK_SHIFT] as Uint32Array;
        touched ^=
          (below[at(child)] as number) ^
          (below[at(child) + 64] as number) ^
          (below[at(child) + 80] as number) ^
          (below[at(child) + 96] as number) ^
          (below[at(child) + 112] as number);
      }
    }
    this.touched = touched;
  }

  /** Reads the value of a key of this leaf into `value`; false if the key is not there. */
  read(leaf: number, low: number, high: number): boolean {
    const words = this.arena.words(leaf);
    const start = at(leaf);
    const slot = slotOf(words, start, low, high);
    if (slot < 0) return false;
    this.value[0] = words[start + VALUE + 2 * slot] as number;
    this.value[1] = words[start + VALUE + 2 * slot + 1] as number;
    return true;
  }

  /** Gives a key of this leaf another value; false, and nothing happens, if the key is not there. */
  update(leaf: number, low: number, high: number, valueLow: number, valueHigh: number, undo: UndoLog | null): boolean {
    let words = this.arena.words(leaf);
    const start = at(leaf);
    const slot = slotOf(words, start, low, high);
    if (slot < 0) return false;
    if ((words[start + STAMP] as number) < this.arena.newest) {
      this.arena.preserve(leaf);
      words = this.arena.words(leaf);
    }
    const beforeLow = words[start + VALUE + 2 * slot] as number;
    const beforeHigh = words[start + VALUE + 2 * slot + 1] as number;
    words[start + VALUE + 2 * slot] = valueLow;
    words[start + VALUE + 2 * slot + 1] = valueHigh;
    this.#entries.replace(low, high, beforeLow, beforeHigh, valueLow, valueHigh);
    if (undo !== null) undo.push(low, high, beforeLow, beforeHigh, UPDATED);
    return true;
  }

  /** Adds a key that belongs to this leaf; false, and nothing happens, if the key is there. */
  insert(leaf: number, low: number, high: number, valueLow: number, valueHigh: number, undo: UndoLog | null): boolean {
    const words = this.arena.words(leaf);
    const start = at(leaf);
    const count = (words[start] as number) & COUNT_MASK;
    const slot = countBelow(words, words[start] as number, start + KEY_HIGH, start + LEAF_LOW, count, high, low);
    if (slot < count && words[start + LEAF_LOW + slot] === low && words[start + KEY_HIGH + slot] === high) return false;
    if (count < LEAF_CAPACITY) this.#insertAt(leaf, slot, low, high, valueLow, valueHigh);
    else {
      this.#descend(low, high);
      this.makeRoom(undo);
      this.#insertAt(this.path[0] as number, this.slots[0] as number, low, high, valueLow, valueHigh);
    }
    if (undo !== null) undo.push(low, high, INSERTED);
    return true;
  }

  /** Removes a key of this leaf; false, and nothing happens, if the key is not there. */
  remove(leaf: number, low: number, high: number, undo: UndoLog | null): boolean {
    const words = this.arena.words(leaf);
    const start = at(leaf);
    const slot = slotOf(words, start, low, high);
    if (slot < 0) return false;
    if (undo !== null) {
      undo.push(low, high, words[start + VALUE + 2 * slot], words[start + VALUE + 2 * slot + 1], REMOVED);
    }
    const left = this.#removeAt(leaf, slot);
    if (this.height > 0 && left < this.minimum(0)) {
      this.#descend(low, high);
      this.mendUnderflow(undo);
    }
    return true;
  }

  /**
   * Appends the entries with first ≤ key ≤ last to a writer, ascending and at most `pairsMax`, each as key and value in
   * little-endian words, and returns their number.
   */
  writePairs(
    low: number,
    high: number,
    lastLow: number,
    lastHigh: number,
    pairsMax: number,
    writer: ByteWriter,
  ): number {
    this.#descend(low, high);
    let pairs = 0;
    while (pairs < pairsMax) {
      const leaf = this.path[0] as number;
      const words = this.arena.words(leaf);
      const start = at(leaf);
      const count = this.countOf(leaf);
      const first = start + KEY_HIGH + (this.slots[0] as number);
      const through = countThrough(
        words,
        words[start] as number,
        start + KEY_HIGH,
        start + LEAF_LOW,
        count,
        lastHigh,
        lastLow,
      );
      const stop = Math.min(start + KEY_HIGH + through, first + pairsMax - pairs);
      if (stop > first) {
        let offset = writer.skip(16 * (stop - first));
        const { view } = writer;
        for (let i = first; i < stop; i++) {
          view.setUint32(offset, words[i + LEAF_CAPACITY] as number, true);
          view.setUint32(offset + 4, words[i] as number, true);
          const value = start + VALUE + 2 * (i - start - KEY_HIGH);
          view.setUint32(offset + 8, words[value] as number, true);
          view.setUint32(offset + 12, words[value + 1] as number, true);
          offset += 16;
        }
        pairs += stop - first;
      }
      if (through < count || !this.nextLeaf()) break;
    }
    return pairs;
  }

  // What opt-PSMR's safety check asks (section V-B). It reads inner nodes, and of leaves only that of the key.

  /** The leaf that a key belongs to; the range of its keys is then in `lowerLow` and the fields behind it. */
  leafRange(low: number, high: number): number {
    let node = this.root;
    this.lowerLow = 0;
    this.lowerHigh = 0;
    this.bounded = false;
    for (let level = this.height; level > 0; level--) {
      const words = this.arena.words(node);
      const start = at(node);
      const slot = childSlot(words, start, low, high);
      if (slot > 0) {
        this.lowerLow = words[start + INNER_LOW + slot] as number;
        this.lowerHigh = words[start + KEY_HIGH + slot] as number;
      }
      if (slot + 1 < ((words[start + COUNT] as number) & COUNT_MASK)) {
        this.upperLow = words[start + INNER_LOW + slot + 1] as number;
        this.upperHigh = words[start + KEY_HIGH + slot + 1] as number;
        this.bounded = true;
      }
      node = words[start + CHILD + slot] as number;
    }
    return node;
  }

  /** Whether adding a key to its leaf would split it. */
  wouldOverflow(leaf: number, low: number, high: number): boolean {
    return this.countOf(leaf) === LEAF_CAPACITY && slotOf(this.arena.words(leaf), at(leaf), low, high) < 0;
  }

  /** Whether removing a key from its leaf would leave it too few items, whatever its siblings hold. */
  wouldUnderflow(leaf: number, low: number, high: number): boolean {
    if (this.height === 0 || this.countOf(leaf) > this.minimum(0)) return false;
    return slotOf(this.arena.words(leaf), at(leaf), low, high) >= 0;
  }

  /** Takes back everything recorded since `mark`, newest first; entries and shape are then as they were. */
  rollback(undo: UndoLog, mark: number): void {
    while (undo.mark() > mark) {
      const kind = undo.pop();
      if (kind !== UPDATED && kind !== INSERTED && kind !== REMOVED) {
        this.undoStructure(undo, kind);
        continue;
      }
      const valueHigh = kind === INSERTED ? 0 : (undo.pop() as number);
      const valueLow = kind === INSERTED ? 0 : (undo.pop() as number);
      const high = undo.pop() as number;
      const low = undo.pop() as number;
      const leaf = this.leafOf(low, high);
      if (kind === UPDATED) this.update(leaf, low, high, valueLow, valueHigh, null);
      else {
        // The leaf has the items it had, so it neither overflows nor has to be mended.
        const words = this.arena.words(leaf);
        const start = at(leaf);
        const slot = countBelow(
          words,
          words[start] as number,
          start + KEY_HIGH,
          start + LEAF_LOW,
          this.countOf(leaf),
          high,
          low,
        );
        if (kind === INSERTED) this.#removeAt(leaf, slot);
        else this.#insertAt(leaf, slot, low, high, valueLow, valueHigh);
      }
    }
  }

  /** Writes the digest of entries and shape as four u32. */
  digest(into: Digest): void {
    this.#entries.read(into);
    const memory = this.#memory;
    if (memory !== null) {
      for (let i = 0; i < 4; i++) into[i] = (into[i] as number) + memory.sumOfOthers(ENTRIES_SUM + i);
    }
    for (let i = 0; i < 4; i++) into[i] = mix32((into[i] as number) ^ mix32((this.#shape[i & 1] as number) + i));
  }

  /** Takes a node into use for a tree that is being restored; its items are written by the caller. */
  addNode(level: number, count: number): number {
    const node = this.allocate(level);
    this.setCount(node, count);
    return node;
  }

  /** Counts in a node whose items are complete, with its lower bound. */
  completeNode(node: number, level: number, lowerLow: number, lowerHigh: number): void {
    const words = this.arena.words(node);
    const start = at(node);
    const count = this.countOf(node);
    words[start + LANE] = laneOf(level, lowerLow, lowerHigh);
    markUniform(words, start, level);
    this.#addShape(words[start + LANE] as number, count + 1);
    if (level > 0) return;
    this.count += count;
    for (let i = 0; i < count; i++) {
      this.#entries.add(
        words[start + LEAF_LOW + i] as number,
        words[start + KEY_HIGH + i] as number,
        words[start + VALUE + 2 * i] as number,
        words[start + VALUE + 2 * i + 1] as number,
      );
    }
  }

  /** Puts the nodes added in place of the empty tree that there was. */
  completeTree(root: number, height: number): void {
    this.leave(this.root);
    this.arena.free(this.root);
    this.root = root;
    this.height = height;
    this.structure++;
  }

  /** Adds an item to a leaf that has room. */
  #insertAt(leaf: number, slot: number, low: number, high: number, valueLow: number, valueHigh: number): void {
    const start = at(leaf);
    if ((this.arena.words(leaf)[start + STAMP] as number) < this.arena.newest) this.arena.preserve(leaf);
    const words = this.arena.words(leaf);
    let header = words[start] as number;
    if ((header & COUNT_MASK) === 0) header |= UNIFORM;
    else if (words[start + KEY_HIGH] !== high) header &= ~UNIFORM;
    const count = header & COUNT_MASK;
    const first = start + KEY_HIGH + slot;
    for (let i = start + KEY_HIGH + count; i > first; i--) {
      words[i] = words[i - 1] as number;
      words[i + LEAF_CAPACITY] = words[i + LEAF_CAPACITY - 1] as number;
    }
    const value = start + VALUE + 2 * slot;
    for (let i = start + VALUE + 2 * count + 1; i > value + 1; i--) words[i] = words[i - 2] as number;
    words[first] = high;
    words[first + LEAF_CAPACITY] = low;
    words[value] = valueLow;
    words[value + 1] = valueHigh;
    words[start] = header + 1;
    this.count++;
    this.#addShape(words[start + LANE] as number, 1);
    this.#entries.add(low, high, valueLow, valueHigh);
  }

  /** Removes an item and returns how many are left. */
  #removeAt(leaf: number, slot: number): number {
    const start = at(leaf);
    if ((this.arena.words(leaf)[start + STAMP] as number) < this.arena.newest) this.arena.preserve(leaf);
    const words = this.arena.words(leaf);
    const header = words[start] as number;
    const left = (header & COUNT_MASK) - 1;
    const first = start + KEY_HIGH + slot;
    const last = start + KEY_HIGH + left;
    const value = start + VALUE + 2 * slot;
    this.#entries.remove(
      words[first + LEAF_CAPACITY] as number,
      words[first] as number,
      words[value] as number,
      words[value + 1] as number,
    );
    for (let i = first; i < last; i++) {
      words[i] = words[i + 1] as number;
      words[i + LEAF_CAPACITY] = words[i + LEAF_CAPACITY + 1] as number;
    }
    const lastValue = start + VALUE + 2 * left;
    for (let i = value; i < lastValue; i++) words[i] = words[i + 2] as number;
    words[start] = header - 1;
    this.count--;
    this.#addShape(words[start + LANE] as number, -1);
    return left;
  }

  /** Leads the path to the place of a key. */
  #descend(low: number, high: number): void {
    let node = this.root;
    for (let level = this.height; level > 0; level--) {
      const words = this.arena.words(node);
      const start = at(node);
      const slot = childSlot(words, start, low, high);
      this.path[level] = node;
      this.slots[level] = slot;
      node = words[start + CHILD + slot] as number;
    }
    const start = at(node);
    this.path[0] = node;
    const words = this.arena.words(node);
    const count = this.countOf(node);
    this.slots[0] = countBelow(words, words[start] as number, start + KEY_HIGH, start + LEAF_LOW, count, high, low);
  }

  /** Adds the part of a node with this lane in the shape `times`. */
  #addShape(lane: number, times: number): void {
    const shape = this.#shape;
    shape[0] = ((shape[0] as number) + Math.imul(lane, times)) | 0;
    shape[1] = ((shape[1] as number) + Math.imul(mix32(lane ^ 0x5bd1e995), times)) | 0;
  }

  protected override placeChild(parent: number, slot: number, child: number, childLevel: number): void {
    const into = this.arena.words(parent);
    const from = this.arena.words(child);
    into[at(parent) + KEY_HIGH + slot] = from[at(child) + KEY_HIGH] as number;
    into[at(parent) + INNER_LOW + slot] = from[at(child) + (childLevel === 0 ? LEAF_LOW : INNER_LOW)] as number;
  }

  protected override placeFirst(root: number): void {
    const words = this.arena.words(root);
    words[at(root) + KEY_HIGH] = 0;
    words[at(root) + INNER_LOW] = 0;
  }

  protected override saveSums(undo: UndoLog): void {
    undo.push(this.#shape[0], this.#shape[1]);
  }

  protected override restoreSums(undo: UndoLog): void {
    this.#shape[1] = undo.pop() as number;
    this.#shape[0] = undo.pop() as number;
  }

  protected override leave(node: number): void {
    this.#addShape(this.arena.words(node)[at(node) + LANE] as number, -(this.countOf(node) + 1));
  }

  protected override settle(node: number, level: number, _moved: boolean, rebound: boolean): void {
    const words = this.arena.words(node);
    const start = at(node);
    if (rebound) {
      const empty = this.countOf(node) === 0;
      const low = level === 0 ? LEAF_LOW : INNER_LOW;
      words[start + LANE] = empty
        ? laneOf(level, 0, 0)
        : laneOf(level, words[start + low] as number, words[start + KEY_HIGH] as number);
    }
    markUniform(words, start, level);
    this.#addShape(words[start + LANE] as number, this.countOf(node) + 1);
  }
}

/** Hash of the level and lower bound of a node. */
function laneOf(level: number, low: number, high: number): number {
  return mix32(mix32(low ^ Math.imul(level + 1, 0x9e3779b1)) + Math.imul(high, 0x85ebca6b));
}

/** Notes whether all keys of a node that are compared with have one high word: of an inner node all but the first. */
function markUniform(words: Uint32Array, start: number, level: number): void {
  const header = words[start] as number;
  const first = level === 0 ? 0 : 1;
  const last = (header & COUNT_MASK) - 1;
  const uniform = last <= first || words[start + KEY_HIGH + first] === words[start + KEY_HIGH + last];
  words[start] = uniform ? header | UNIFORM : header & ~UNIFORM;
}

/** The child of the inner node at `start` that a key belongs to. */
function childFor(words: Uint32Array, start: number, low: number, high: number): number {
  return words[start + CHILD + childSlot(words, start, low, high)] as number;
}

function childSlot(words: Uint32Array, start: number, low: number, high: number): number {
  const count = (words[start + COUNT] as number) & COUNT_MASK;
  return countThrough(words, words[start] as number, start + KEY_HIGH + 1, start + INNER_LOW + 1, count - 1, high, low);
}

/** Where a key stands in the leaf at `start`, -1 if it is not there. */
function slotOf(words: Uint32Array, start: number, low: number, high: number): number {
  const count = (words[start + COUNT] as number) & COUNT_MASK;
  const header = words[start + COUNT] as number;
  const slot = countBelow(words, header, start + KEY_HIGH, start + LEAF_LOW, count, high, low);
  if (slot === count || words[start + LEAF_LOW + slot] !== low) return -1;
  // In a uniform leaf the first high word tells, which is beside the header.
  return words[start + KEY_HIGH + ((header & UNIFORM) === 0 ? slot : 0)] === high ? slot : -1;
}
