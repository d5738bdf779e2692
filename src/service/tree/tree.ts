// Hot file: inserts and deletes pass here when a leaf overflows or underflows. Nothing allocates without an undo log, and
// nothing throws. Watched by bench/btree.mjs.
import { assert } from "../../base/index.js";
import type { UndoLog } from "../../model/index.js";
import { Arena, nodeAt } from "./arena.js";
import * as layout from "./layout.js";
import type { NodeMemory, TreeRoots } from "./node-memory.js";

// Constants of this module are part of the compiled code, see `word-node.ts`.
const at = nodeAt;
const { COUNT, COUNT_MASK, HEADER_WORDS, LEVELS_MAX, LEVEL_SHIFT, NODE_WORDS, PREFIX_SHIFT, STAMP } = layout;

/**
 * Undo records of changes of the structure. A record is pushed as its parts and then its kind, so that whoever takes it back
 * pops the kind first. A kind of tree numbers its own from 8 on.
 */
const NODE = 1;
const ALLOCATED = 2;
const FREED = 3;
const ROOT = 4;

/**
 * The structure of a B+-tree, whatever its keys are: how nodes split, borrow and merge. A kind of tree adds how it searches
 * and what belongs to an item.
 *
 * The shape follows from the sequence of changes alone, never from node numbers, memory, marks or undone changes:
 * - A full node splits in the middle; at the right edge of the tree all but the last item stay, so that keys that arrive in
 *   ascending order leave full nodes behind. If the new item comes near the end elsewhere, the fewest items
 *   allowed go to the right, so that several ascending sequences at once leave nodes behind that are fuller than half.
 * - A node with fewer than `minimum` items after a removal merges with its left sibling (the first child with its right
 *   one) if both together have `mergedMax` items at most; else both get half.
 *
 * Invariants: all leaves are at level 0. A node other than the root has at least `minimum` items, or lies on the right
 * edge, where a leaf has at least 1 and an inner node at least 2. An inner root has at least 2.
 */
export abstract class Tree {
  readonly leafCapacity: number;
  readonly innerCapacity: number;
  arena: Arena;
  root = 0;
  /** Level of the root: 0 when it is a leaf. */
  height = 0;
  /** Items in leaves; where threads share the tree, what this one has added up of them, which may be below 0. */
  count = 0;
  /** Incremented when the range of a leaf changes: a leaf that was found before may then be the wrong one. */
  structure = 0;
  /** From the leaf at 0 up to the root: the nodes of the latest descent for a change, and the item of each that it took. */
  protected readonly path = new Uint32Array(LEVELS_MAX);
  protected readonly slots = new Uint32Array(LEVELS_MAX);
  #undo: UndoLog | null = null;

  /** Takes the most items of nodes, and where these come from if it is not memory of the tree's own. */
  constructor(leafCapacity: number, innerCapacity: number, memory: NodeMemory | null = null) {
    this.arena = new Arena(memory);
    this.leafCapacity = leafCapacity;
    this.innerCapacity = innerCapacity;
  }

  /** Says what the tree keeps beside its nodes, to `load` of another over the same memory. */
  save(roots: TreeRoots): void {
    this.arena.save(roots);
    roots.put(this.root);
    roots.put(this.height);
    roots.put(this.count);
    roots.put(this.structure);
  }

  load(roots: TreeRoots): void {
    this.arena.load(roots);
    this.root = roots.get() >>> 0;
    this.height = roots.get();
    this.count = roots.get();
    this.structure = roots.get();
  }

  /** Bytes of the nodes in use, copies for marks included. */
  get bytes(): number {
    return this.arena.bytes;
  }

  capacity(level: number): number {
    return level === 0 ? this.leafCapacity : this.innerCapacity;
  }

  /** Fewest items of a node off the right edge: a third, so that one which has split or merged is far from the next change. */
  minimum(level: number): number {
    return Math.floor(this.capacity(level) / 3);
  }

  /** Most items of a node into which two have merged. */
  mergedMax(level: number): number {
    const capacity = this.capacity(level);
    return capacity - Math.floor(capacity / 5);
  }

  // What a kind of tree adds.

  /** Where the child of an item is in its inner node. */
  protected abstract childAt(slot: number): number;
  /** Copies items, whatever belongs to them, between nodes of one level or within one. */
  protected abstract copyItems(
    level: number,
    from: number,
    first: number,
    into: number,
    target: number,
    count: number,
  ): void;
  /** The items or the lower bound of a node are about to change. */
  protected abstract leave(node: number): void;
  /** They have changed; with `moved`, by items of another node, and if `rebound` the first one is the new lower bound. */
  protected abstract settle(node: number, level: number, moved: boolean, rebound: boolean): void;
  /** Writes the key of item `slot` of an inner node: the lower bound of its child, which is the child's first item. */
  protected abstract placeChild(parent: number, slot: number, child: number, childLevel: number): void;
  /** Writes the key of the only item of a new root, which has no lower bound. */
  protected abstract placeFirst(root: number): void;
  /** Remembers in front of a change of the structure what the tree keeps beside its nodes. */
  protected abstract saveSums(undo: UndoLog): void;
  protected abstract restoreSums(undo: UndoLog): void;

  /** An empty tree in an arena of its own; marks keep the former one. */
  protected reset(): void {
    if (this.root !== 0) this.arena = new Arena();
    this.root = this.allocate(0);
    this.height = 0;
    this.count = 0;
    this.structure++;
    this.settle(this.root, 0, false, true);
  }

  countOf(node: number): number {
    return (this.arena.words(node)[at(node) + COUNT] as number) & COUNT_MASK;
  }

  protected childOf(node: number, slot: number): number {
    return this.arena.words(node)[at(node) + this.childAt(slot)] as number;
  }

  protected setCount(node: number, count: number): void {
    const words = this.arena.words(node);
    words[at(node) + COUNT] = ((words[at(node) + COUNT] as number) & ~COUNT_MASK) | count;
  }

  /** Moves the path to the first item of the next leaf; false behind the last. */
  protected nextLeaf(): boolean {
    const { path, slots } = this;
    let level = 1;
    while (level <= this.height && (slots[level] as number) + 1 === this.countOf(path[level] as number)) level++;
    if (level > this.height) return false;
    slots[level] = (slots[level] as number) + 1;
    for (; level > 0; level--) {
      path[level - 1] = this.childOf(path[level] as number, slots[level] as number);
      slots[level - 1] = 0;
    }
    return true;
  }

  /** Moves the path to the last item of the leaf before; false in front of the first. */
  protected previousLeaf(): boolean {
    const { path, slots } = this;
    let level = 1;
    while (level <= this.height && slots[level] === 0) level++;
    if (level > this.height) return false;
    slots[level] = (slots[level] as number) - 1;
    for (; level > 0; level--) {
      const node = this.childOf(path[level] as number, slots[level] as number);
      path[level - 1] = node;
      slots[level - 1] = this.countOf(node) - 1;
    }
    return true;
  }

  /** Splits the leaf at the end of the path, which is full, and the full nodes above it. The path leads where it led. */
  protected makeRoom(undo: UndoLog | null): void {
    this.#begin(undo);
    this.#split(0, this.#isRightEdge());
    this.#undo = null;
  }

  /** Restores the fewest items of the leaf at the end of the path, which has lost one. The path is void afterwards. */
  protected mendUnderflow(undo: UndoLog | null): void {
    this.#begin(undo);
    this.#rebalance(0);
    this.#undo = null;
  }

  /** Takes back the newest record, whose kind has been popped. */
  protected undoStructure(undo: UndoLog, kind: unknown): void {
    this.structure++;
    switch (kind) {
      case NODE:
        return this.#restoreNode(undo.pop() as number, undo.pop() as Uint32Array);
      case ALLOCATED:
        return this.arena.free(undo.pop() as number);
      case FREED:
        return this.arena.unfree(undo.pop() as number);
      default:
        assert(kind === ROOT, "an undo record of another service");
        this.height = undo.pop() as number;
        this.root = undo.pop() as number;
        this.restoreSums(undo);
    }
  }

  #begin(undo: UndoLog | null): void {
    this.#undo = undo;
    this.structure++;
    if (undo === null) return;
    this.saveSums(undo);
    undo.push(this.root, this.height, ROOT);
  }

  /** Call before a node is written by a change of the structure. */
  protected touch(node: number): void {
    this.arena.preserve(node);
    if (this.#undo === null) return;
    const start = at(node);
    const content = new Uint32Array(this.arena.words(node).subarray(start, start + NODE_WORDS));
    // The stamp is not taken back, so that its place is free.
    content[STAMP] = this.arena.lane(node);
    this.#undo.push(content, node, NODE);
  }

  #restoreNode(node: number, content: Uint32Array): void {
    this.arena.preserve(node);
    const words = this.arena.words(node);
    const start = at(node);
    words[start + COUNT] = content[COUNT] as number;
    words.set(content.subarray(HEADER_WORDS), start + HEADER_WORDS);
    this.arena.setLane(node, content[STAMP] as number);
  }

  protected allocate(level: number): number {
    const node = this.arena.allocate();
    const words = this.arena.words(node);
    words[at(node) + COUNT] = level << LEVEL_SHIFT;
    if (this.#undo !== null) this.#undo.push(node, ALLOCATED);
    return node;
  }

  #free(node: number): void {
    this.touch(node);
    this.arena.free(node);
    if (this.#undo !== null) this.#undo.push(node, FREED);
  }

  /** Whether the path leads behind the last item of the tree. */
  #isRightEdge(): boolean {
    if (this.slots[0] !== this.countOf(this.path[0] as number)) return false;
    for (let level = 1; level <= this.height; level++) {
      if (this.slots[level] !== this.countOf(this.path[level] as number) - 1) return false;
    }
    return true;
  }

  #split(level: number, rightEdge: boolean): void {
    const { path, slots } = this;
    const node = path[level] as number;
    if (level === this.height) this.#growRoot();
    else if (this.countOf(path[level + 1] as number) === this.innerCapacity) this.#split(level + 1, rightEdge);
    const count = this.countOf(node);
    const late = 4 * (slots[level] as number) >= 3 * count;
    const kept = rightEdge ? count - 1 : late ? count - this.minimum(level) : count >>> 1;
    const right = this.allocate(level);
    this.touch(node);
    this.leave(node);
    this.copyItems(level, node, kept, right, 0, count - kept);
    const words = this.arena.words(node);
    const prefix = (words[at(node) + COUNT] as number) >>> PREFIX_SHIFT;
    this.arena.words(right)[at(right) + COUNT] = (count - kept) | (level << LEVEL_SHIFT) | (prefix << PREFIX_SHIFT);
    this.setCount(node, kept);
    this.settle(node, level, false, false);
    this.settle(right, level, false, true);
    this.#insertChild(level + 1, (slots[level + 1] as number) + 1, right);
    // A new item at the very boundary goes to the left node in the middle, and to the emptier one at the right edge.
    const slot = slots[level] as number;
    if (slot > kept || (slot === kept && (rightEdge || level > 0))) {
      path[level] = right;
      slots[level] = slot - kept;
      slots[level + 1] = (slots[level + 1] as number) + 1;
    }
  }

  #growRoot(): void {
    const level = this.height + 1;
    assert(level < LEVELS_MAX, `a tree has at most ${LEVELS_MAX} levels`);
    const root = this.allocate(level);
    const words = this.arena.words(root);
    words[at(root) + COUNT] = 1 | (level << LEVEL_SHIFT);
    words[at(root) + this.childAt(0)] = this.root;
    this.placeFirst(root);
    this.settle(root, level, false, true);
    this.root = root;
    this.height = level;
    this.path[level] = root;
    this.slots[level] = 0;
  }

  /** Puts a node at level − 1 into the node of the path at `level`, which has room, as child `slot`. */
  #insertChild(level: number, slot: number, child: number): void {
    const parent = this.path[level] as number;
    this.touch(parent);
    this.leave(parent);
    const count = this.countOf(parent);
    this.copyItems(level, parent, slot, parent, slot + 1, count - slot);
    this.setCount(parent, count + 1);
    this.arena.words(parent)[at(parent) + this.childAt(slot)] = child;
    this.placeChild(parent, slot, child, level - 1);
    this.settle(parent, level, false, false);
  }

  #rebalance(level: number): void {
    const { path, slots } = this;
    const parent = path[level + 1] as number;
    const slot = slots[level + 1] as number;
    const boundary = slot === 0 ? 1 : slot;
    const left = this.childOf(parent, boundary - 1);
    const right = this.childOf(parent, boundary);
    const leftCount = this.countOf(left);
    const rightCount = this.countOf(right);
    const total = leftCount + rightCount;
    this.touch(left);
    this.touch(right);
    this.touch(parent);
    this.leave(left);
    this.leave(right);
    this.leave(parent);
    if (total <= this.mergedMax(level)) {
      this.copyItems(level, right, 0, left, leftCount, rightCount);
      this.setCount(left, total);
      this.settle(left, level, true, false);
      this.#free(right);
      this.#removeChild(level + 1, parent, boundary);
      return;
    }
    const half = total >>> 1;
    if (leftCount < half) {
      const moved = half - leftCount;
      this.copyItems(level, right, 0, left, leftCount, moved);
      this.copyItems(level, right, moved, right, 0, rightCount - moved);
    } else {
      const moved = leftCount - half;
      this.copyItems(level, right, 0, right, moved, rightCount);
      this.copyItems(level, left, half, right, 0, moved);
    }
    this.setCount(left, half);
    this.setCount(right, total - half);
    this.settle(left, level, true, false);
    this.settle(right, level, true, true);
    this.placeChild(parent, boundary, right, level);
    this.settle(parent, level + 1, false, false);
  }

  /** Takes child `slot` out of a node that has been left. */
  #removeChild(level: number, parent: number, slot: number): void {
    const count = this.countOf(parent) - 1;
    this.copyItems(level, parent, slot + 1, parent, slot, count - slot);
    this.setCount(parent, count);
    if (level === this.height) {
      if (count === 1) {
        this.root = this.childOf(parent, 0);
        this.height--;
        this.#free(parent);
      } else this.settle(parent, level, false, false);
      return;
    }
    this.settle(parent, level, false, false);
    if (count < this.minimum(level)) this.#rebalance(level);
  }
}
