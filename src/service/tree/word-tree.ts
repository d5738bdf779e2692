// Hot file: every command of the btree service ends here. Nothing allocates without an undo log but growth, and nothing
// throws. Watched by bench/btree.mjs.
import { type ByteWriter, mix32 } from "../../base/index.js";
import type { Digest, UndoLog } from "../../model/index.js";
import { ARENA_SUMS, ARENA_WORDS, nodeAt } from "./arena.js";
import * as layout from "./layout.js";
import { SHARED_TREE_BYTES_MAX, SharedMemory, type TreeDescription } from "./shared-memory.js";
import { Tree } from "./tree.js";
import { WordDigest } from "./word-digest.js";
import { CAPACITY, ITEM, node as nodes } from "./word-node.js";

// Constants of this module are part of the compiled code, see `word-node.ts`.
const at = nodeAt;
const { CHUNK_SHIFT, COUNT, COUNT_MASK, STAMP } = layout;
const { CHILD, HIGH, VALUE_HIGH, VALUE_LOW } = ITEM;
const { cellAt, cellOf, childFor, childSlotIn, closeItem, copyItems, indexNode, isAt, itemAt, openItem, placeIn } =
  nodes;

export const LEAF_CAPACITY = CAPACITY;
export const INNER_CAPACITY = CAPACITY;

/** What a tree that threads share publishes behind the words of its arena, and the first of the sums of its digest. */
const ROOT_WORD = ARENA_WORDS;
const HEIGHT_WORD = ARENA_WORDS + 1;
const STRUCTURE_WORD = ARENA_WORDS + 2;
const SHAPE_WORD = ARENA_WORDS + 3;
const COUNT_SUM = ARENA_SUMS;
const ENTRIES_SUM = ARENA_SUMS + 1;

/** Fewer keys than this are cheaper to look for one by one. */
const TOGETHER_MIN = 3;

const UPDATED = 8;
const INSERTED = 9;
const REMOVED = 10;

/**
 * A B+-tree from unsigned 64-bit keys to 64-bit values, both as two u32 words.
 *
 * Looking for a key and working on it are separate steps, so that several keys are looked for together: `locate` overlaps
 * their cache misses. It finds the leaf and the cell of each (see `word-node.ts`); a leaf stays the right one until
 * `structure` changes, and a cell until `moves` does.
 *
 * The digest covers the entries and the shape: of each node its level and lower bound. The number of its items follows.
 *
 * Threads may share a tree: `share` gives a description, `attach` makes another thread's view of it. Between barriers a thread may read
 * and update, without locks, keys that no other thread works on, since an update writes the words of one value. It may also insert into
 * and delete from leaves that hold none but its own keys and neither overflow nor underflow by it: no other thread looks into those. At a
 * barrier over all threads any one thread may do anything. Every thread calls `publish` before it arrives at a barrier; the one that
 * works there `adopt` in front of that and `publish` behind it; the others `adopt` when they go on. `count` is what this thread has
 * added up, `entries` the sum. Snapshots are for thread 0 at a barrier over all, `digest` for any thread there.
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
  /** Incremented when items of a leaf change places: a cell that was found before may then be the wrong one. */
  moves = 0;
  readonly #entries = new WordDigest();
  /** Sums over all nodes of two hashes of level and lower bound. */
  readonly #shape = new Int32Array(2);
  /** Keeps the compiler from leaving out reads whose result nobody uses. */
  touched = 0;
  #memory: SharedMemory | null = null;

  constructor() {
    super(LEAF_CAPACITY, INNER_CAPACITY);
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

  get isShared(): boolean {
    return this.#memory !== null;
  }

  /** Items in leaves, those of other threads as they have published them. */
  get entries(): number {
    const memory = this.#memory;
    return memory === null ? this.count : (this.count + memory.sumOfOthers(COUNT_SUM)) >>> 0;
  }

  /** Puts what this thread has changed where the others find it; `alone` while all others wait at a barrier. */
  publish(alone: boolean): void {
    const memory = this.#memory;
    if (memory === null) return;
    this.arena.publish(memory, alone);
    memory.publishSum(COUNT_SUM, this.count);
    for (let i = 0; i < 4; i++) memory.publishSum(ENTRIES_SUM + i, this.#entries.lane(i));
    if (!alone) return;
    memory.publish(ROOT_WORD, this.root);
    memory.publish(HEIGHT_WORD, this.height);
    memory.publish(STRUCTURE_WORD, this.structure);
    memory.publish(SHAPE_WORD, this.#shape[0] as number);
    memory.publish(SHAPE_WORD + 1, this.#shape[1] as number);
  }

  /** Takes over what whoever ran alone last has published: first thing behind a barrier, and before working at one. */
  adopt(): void {
    const memory = this.#memory;
    if (memory === null) return;
    // Ahead of what is published is only the thread of a cluster with one group, to which all commands belong: it is alone at any time.
    if (((this.structure - memory.published(STRUCTURE_WORD)) | 0) > 0) return;
    this.arena.adopt(memory);
    this.root = memory.published(ROOT_WORD) >>> 0;
    this.height = memory.published(HEIGHT_WORD);
    this.structure = memory.published(STRUCTURE_WORD);
    this.#shape[0] = memory.published(SHAPE_WORD);
    this.#shape[1] = memory.published(SHAPE_WORD + 1);
  }

  /** The leaf that a key belongs to. */
  leafOf(low: number, high: number): number {
    const { chunks } = this.arena;
    let node = this.root;
    for (let level = this.height; level > 0; level--) {
      node = childFor(chunks[node >>> CHUNK_SHIFT] as Uint32Array, at(node), low, high);
    }
    return node;
  }

  /** The cell of a leaf that a key belongs to. */
  cellOf(leaf: number, low: number, high: number): number {
    return cellOf(this.arena.words(leaf), at(leaf), low, high);
  }

  /**
   * The places of several keys at once: those of `lows[i]`, `highs[i]` for i below `count` go to `leaves[i]` and `cells[i]`.
   *
   * Each step is a loop that searches what has arrived, and one that only reads a word of each line needed next: nothing
   * waits for these reads, and there are few instructions between them, so that the processor has all of them under way.
   */
  locate(lows: Uint32Array, highs: Uint32Array, leaves: Uint32Array, cells: Uint8Array, count: number): void {
    if (count < TOGETHER_MIN) {
      for (let i = 0; i < count; i++) {
        const low = (lows[i] as number) | 0;
        const high = (highs[i] as number) | 0;
        const leaf = this.leafOf(low, high);
        leaves[i] = leaf;
        cells[i] = this.cellOf(leaf, low, high);
      }
      return;
    }
    const { chunks } = this.arena;
    const { root } = this;
    for (let i = 0; i < count; i++) leaves[i] = root;
    for (let level = this.height; level > 0; level--) {
      findCells(chunks, lows, highs, leaves, cells, count);
      this.touched = touchCells(chunks, leaves, cells, count);
      for (let i = 0; i < count; i++) {
        const node = leaves[i] as number;
        const words = chunks[node >>> CHUNK_SHIFT] as Uint32Array;
        const start = at(node);
        const slot = childSlotIn(words, start, cells[i] as number, lows[i] as number, highs[i] as number);
        leaves[i] = words[start + itemAt(slot) + CHILD] as number;
      }
      this.touched = touchNodes(chunks, leaves, count);
    }
    findCells(chunks, lows, highs, leaves, cells, count);
    this.touched = touchCells(chunks, leaves, cells, count);
  }

  /** Reads the value of a key of this leaf and cell into `value`; false if the key is not there. */
  read(leaf: number, cell: number, low: number, high: number): boolean {
    const words = this.arena.words(leaf);
    const start = at(leaf);
    const slot = placeIn(words, start, cell, low, high);
    if (!isAt(words, start, slot, low, high)) return false;
    const item = start + itemAt(slot);
    this.value[0] = words[item + VALUE_LOW] as number;
    this.value[1] = words[item + VALUE_HIGH] as number;
    return true;
  }

  /** Gives a key of this leaf and cell another value; false, and nothing happens, if the key is not there. */
  update(
    leaf: number,
    cell: number,
    low: number,
    high: number,
    valueLow: number,
    valueHigh: number,
    undo: UndoLog | null,
  ): boolean {
    let words = this.arena.words(leaf);
    const start = at(leaf);
    const slot = placeIn(words, start, cell, low, high);
    if (!isAt(words, start, slot, low, high)) return false;
    if ((words[start + STAMP] as number) < this.arena.newest) {
      this.arena.preserve(leaf);
      words = this.arena.words(leaf);
    }
    const item = start + itemAt(slot);
    const beforeLow = (words[item + VALUE_LOW] as number) | 0;
    const beforeHigh = (words[item + VALUE_HIGH] as number) | 0;
    words[item + VALUE_LOW] = valueLow;
    words[item + VALUE_HIGH] = valueHigh;
    this.#entries.replace(low, high, beforeLow, beforeHigh, valueLow, valueHigh);
    if (undo !== null) undo.push(low, high, beforeLow, beforeHigh, UPDATED);
    return true;
  }

  /** Adds a key that belongs to this leaf and cell; false, and nothing happens, if the key is there. */
  insert(
    leaf: number,
    cell: number,
    low: number,
    high: number,
    valueLow: number,
    valueHigh: number,
    undo: UndoLog | null,
  ): boolean {
    const words = this.arena.words(leaf);
    const start = at(leaf);
    const slot = placeIn(words, start, cell, low, high);
    if (isAt(words, start, slot, low, high)) return false;
    if (((words[start + COUNT] as number) & COUNT_MASK) < LEAF_CAPACITY) {
      this.#insertAt(leaf, slot, low, high, valueLow, valueHigh);
    } else {
      this.#descend(low, high);
      this.makeRoom(undo);
      this.#insertAt(this.path[0] as number, this.slots[0] as number, low, high, valueLow, valueHigh);
    }
    if (undo !== null) undo.push(low, high, INSERTED);
    return true;
  }

  /** Removes a key of this leaf and cell; false, and nothing happens, if the key is not there. */
  remove(leaf: number, cell: number, low: number, high: number, undo: UndoLog | null): boolean {
    const words = this.arena.words(leaf);
    const start = at(leaf);
    const slot = placeIn(words, start, cell, low, high);
    if (!isAt(words, start, slot, low, high)) return false;
    if (undo !== null) {
      const item = start + itemAt(slot);
      undo.push(low, high, words[item + VALUE_LOW], words[item + VALUE_HIGH], REMOVED);
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
      const first = this.slots[0] as number;
      let through = placeIn(words, start, cellOf(words, start, lastLow, lastHigh), lastLow, lastHigh);
      if (isAt(words, start, through, lastLow, lastHigh)) through++;
      const stop = Math.min(through, first + pairsMax - pairs);
      if (stop > first) {
        let offset = writer.skip(16 * (stop - first));
        const { view } = writer;
        for (let i = first; i < stop; i++) {
          const item = start + itemAt(i);
          view.setUint32(offset, words[item] as number, true);
          view.setUint32(offset + 4, words[item + HIGH] as number, true);
          view.setUint32(offset + 8, words[item + VALUE_LOW] as number, true);
          view.setUint32(offset + 12, words[item + VALUE_HIGH] as number, true);
          offset += 16;
        }
        pairs += stop - first;
      }
      if (through < count || !this.nextLeaf() || this.#leafIsAbove(lastLow, lastHigh)) break;
    }
    return pairs;
  }

  /**
   * Whether all keys of the leaf that `nextLeaf` came to are above a key, by inner nodes alone: the leaf may be another thread's, which
   * writes it meanwhile.
   */
  #leafIsAbove(low: number, high: number): boolean {
    let level = 1;
    while (this.slots[level] === 0) level++;
    const node = this.path[level] as number;
    const words = this.arena.words(node);
    const item = at(node) + itemAt(this.slots[level] as number);
    const itemHigh = words[item + HIGH] as number;
    return itemHigh > high || (itemHigh === high && (words[item] as number) > low);
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
      const slot = childSlotIn(words, start, cellOf(words, start, low, high), low, high);
      if (slot > 0) {
        this.lowerLow = words[start + itemAt(slot)] as number;
        this.lowerHigh = words[start + itemAt(slot) + HIGH] as number;
      }
      if (slot + 1 < ((words[start + COUNT] as number) & COUNT_MASK)) {
        this.upperLow = words[start + itemAt(slot + 1)] as number;
        this.upperHigh = words[start + itemAt(slot + 1) + HIGH] as number;
        this.bounded = true;
      }
      node = words[start + itemAt(slot) + CHILD] as number;
    }
    return node;
  }

  /** Whether adding a key to its leaf would split it. */
  wouldOverflow(leaf: number, low: number, high: number): boolean {
    return this.countOf(leaf) === LEAF_CAPACITY && !this.#holds(leaf, low, high);
  }

  /** Whether removing a key from its leaf would leave it too few items, whatever its siblings hold. */
  wouldUnderflow(leaf: number, low: number, high: number): boolean {
    if (this.height === 0 || this.countOf(leaf) > this.minimum(0)) return false;
    return this.#holds(leaf, low, high);
  }

  #holds(leaf: number, low: number, high: number): boolean {
    const words = this.arena.words(leaf);
    const start = at(leaf);
    return isAt(words, start, placeIn(words, start, cellOf(words, start, low, high), low, high), low, high);
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
      const cell = this.cellOf(leaf, low, high);
      if (kind === UPDATED) this.update(leaf, cell, low, high, valueLow, valueHigh, null);
      else {
        // The leaf has the items it had, so it neither overflows nor has to be mended.
        const slot = placeIn(this.arena.words(leaf), at(leaf), cell, low, high);
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
    const lane = laneOf(level, lowerLow, lowerHigh);
    this.arena.setLane(node, lane);
    indexNode(words, start, level);
    this.#addShape(lane, 1);
    if (level > 0) return;
    this.count += count;
    for (let i = 0; i < count; i++) {
      const item = start + itemAt(i);
      this.#entries.add(
        words[item] as number,
        words[item + HIGH] as number,
        words[item + VALUE_LOW] as number,
        words[item + VALUE_HIGH] as number,
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
    openItem(words, start, slot, low, high);
    const item = start + itemAt(slot);
    words[item + VALUE_LOW] = valueLow;
    words[item + VALUE_HIGH] = valueHigh;
    this.count++;
    this.moves++;
    this.#entries.add(low, high, valueLow, valueHigh);
  }

  /** Removes an item and returns how many are left. */
  #removeAt(leaf: number, slot: number): number {
    const start = at(leaf);
    if ((this.arena.words(leaf)[start + STAMP] as number) < this.arena.newest) this.arena.preserve(leaf);
    const words = this.arena.words(leaf);
    const item = start + itemAt(slot);
    this.#entries.remove(
      words[item] as number,
      words[item + HIGH] as number,
      words[item + VALUE_LOW] as number,
      words[item + VALUE_HIGH] as number,
    );
    this.count--;
    this.moves++;
    return closeItem(words, start, slot);
  }

  /** Leads the path to the place of a key. */
  #descend(low: number, high: number): void {
    let node = this.root;
    for (let level = this.height; level > 0; level--) {
      const words = this.arena.words(node);
      const start = at(node);
      const slot = childSlotIn(words, start, cellOf(words, start, low, high), low, high);
      this.path[level] = node;
      this.slots[level] = slot;
      node = words[start + itemAt(slot) + CHILD] as number;
    }
    const words = this.arena.words(node);
    this.path[0] = node;
    this.slots[0] = placeIn(words, at(node), cellOf(words, at(node), low, high), low, high);
  }

  /** Adds the part of a node with this lane in the shape, or takes it out. */
  #addShape(lane: number, times: 1 | -1): void {
    const shape = this.#shape;
    shape[0] = ((shape[0] as number) + Math.imul(lane, times)) | 0;
    shape[1] = ((shape[1] as number) + Math.imul(mix32(lane ^ 0x5bd1e995), times)) | 0;
  }

  protected override childAt(slot: number): number {
    return itemAt(slot) + CHILD;
  }

  protected override copyItems(
    _level: number,
    from: number,
    first: number,
    into: number,
    target: number,
    count: number,
  ): void {
    copyItems(this.arena.words(from), at(from), first, this.arena.words(into), at(into), target, count);
  }

  protected override placeChild(parent: number, slot: number, child: number): void {
    const into = this.arena.words(parent);
    const from = this.arena.words(child);
    into[at(parent) + itemAt(slot)] = from[at(child) + itemAt(0)] as number;
    into[at(parent) + itemAt(slot) + HIGH] = from[at(child) + itemAt(0) + HIGH] as number;
  }

  protected override placeFirst(root: number): void {
    const words = this.arena.words(root);
    words[at(root) + itemAt(0)] = 0;
    words[at(root) + itemAt(0) + HIGH] = 0;
  }

  protected override saveSums(undo: UndoLog): void {
    undo.push(this.#shape[0], this.#shape[1]);
  }

  protected override restoreSums(undo: UndoLog): void {
    this.#shape[1] = undo.pop() as number;
    this.#shape[0] = undo.pop() as number;
  }

  protected override leave(node: number): void {
    this.#addShape(this.arena.lane(node), -1);
  }

  protected override settle(node: number, level: number, _moved: boolean, rebound: boolean): void {
    const words = this.arena.words(node);
    const start = at(node);
    if (rebound) {
      const empty = this.countOf(node) === 0;
      const first = start + itemAt(0);
      this.arena.setLane(
        node,
        empty ? laneOf(level, 0, 0) : laneOf(level, words[first] as number, words[first + HIGH] as number),
      );
    }
    indexNode(words, start, level);
    this.#addShape(this.arena.lane(node), 1);
  }
}

/** Hash of the level and lower bound of a node. */
function laneOf(level: number, low: number, high: number): number {
  return mix32(mix32(low ^ Math.imul(level + 1, 0x9e3779b1)) + Math.imul(high, 0x85ebca6b));
}

/** The cell of each key in its node. */
function findCells(
  chunks: readonly Uint32Array[],
  lows: Uint32Array,
  highs: Uint32Array,
  nodes: Uint32Array,
  cells: Uint8Array,
  count: number,
): void {
  for (let i = 0; i < count; i++) {
    const node = nodes[i] as number;
    cells[i] = cellOf(chunks[node >>> CHUNK_SHIFT] as Uint32Array, at(node), lows[i] as number, highs[i] as number);
  }
}

/** Reads a word of the first line of each node. */
function touchNodes(chunks: readonly Uint32Array[], nodes: Uint32Array, count: number): number {
  let touched = 0;
  for (let i = 0; i < count; i++) {
    const node = nodes[i] as number;
    touched ^= (chunks[node >>> CHUNK_SHIFT] as Uint32Array)[at(node)] as number;
  }
  return touched;
}

/** Reads a word of each cell. */
function touchCells(chunks: readonly Uint32Array[], nodes: Uint32Array, cells: Uint8Array, count: number): number {
  let touched = 0;
  for (let i = 0; i < count; i++) {
    const node = nodes[i] as number;
    touched ^= (chunks[node >>> CHUNK_SHIFT] as Uint32Array)[at(node) + cellAt(cells[i] as number)] as number;
  }
  return touched;
}
