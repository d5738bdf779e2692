import { ByteQueue, type ByteWriter } from "../../base/index.js";
import { CheckpointDamagedError, type Digest, type SnapshotSink, type SnapshotSource } from "../../model/index.js";
import { nodeAt } from "./arena.js";
import { COUNT, COUNT_MASK, LEVEL_MASK, LEVEL_SHIFT, LEVELS_MAX } from "./layout.js";
import { MarkWalk } from "./mark-walk.js";
import { ITEM, node as nodes } from "./word-node.js";
import { INNER_CAPACITY, LEAF_CAPACITY, WordTree } from "./word-tree.js";

const { CHILD, HIGH, VALUE_HIGH, VALUE_LOW } = ITEM;
const { itemAt } = nodes;
const at = nodeAt;

/**
 * A snapshot of a tree with its shape, little-endian: `u32 magic`, `u32 format`, `f64 entries`, four u32 of digest,
 * `u32 level of the root`, `u32 0`; then the nodes, each in front of its children and those in ascending order. A node is
 * `u32 items | level << 8` and its columns one after the other: of a leaf key low, key high, value low, value high; of an
 * inner node key low and key high without item 0, whose key is the node's lower bound. Nothing follows the last node.
 */
const MAGIC = 0x45525442;
const FORMAT = 2;
const HEADER_BYTES = 40;
const NODE_HEADER_BYTES = 4;

/** Writes the tree as it was when the source was made. */
export class WordSource implements SnapshotSource {
  readonly #walk: MarkWalk;
  readonly #height: number;
  readonly #count: number;
  readonly #digest: Digest = new Uint32Array(4);
  #begun = false;

  constructor(tree: WordTree) {
    this.#walk = new MarkWalk(tree.arena, tree.root, tree.height, childAt);
    this.#height = tree.height;
    this.#count = tree.entries;
    tree.digest(this.#digest);
  }

  next(writer: ByteWriter, bytesTarget: number): boolean {
    const stop = writer.length + bytesTarget;
    if (!this.#begun) {
      this.#begun = true;
      writer.u32(MAGIC);
      writer.u32(FORMAT);
      writer.f64(this.#count);
      for (const lane of this.#digest) writer.u32(lane);
      writer.u32(this.#height);
      writer.u32(0);
    }
    for (let node = this.#walk.next(); node !== 0; node = this.#walk.next()) {
      const start = writer.length;
      writeNode(writer, this.#walk.arena.words(node), at(node));
      while (!this.#walk.isIntact(node)) {
        // Another thread has written the node meanwhile, and linked a copy of it before.
        writer.length = start;
        node = this.#walk.again();
        writeNode(writer, this.#walk.arena.words(node), at(node));
      }
      if (writer.length >= stop) return true;
    }
    return false;
  }

  close(): void {
    this.#walk.close();
  }
}

function writeNode(writer: ByteWriter, words: Uint32Array, start: number): void {
  const count = (words[start + COUNT] as number) & COUNT_MASK;
  const level = ((words[start + COUNT] as number) >>> LEVEL_SHIFT) & LEVEL_MASK;
  writer.u32(count | (level << LEVEL_SHIFT));
  if (level > 0) {
    writeColumn(writer, words, start, 1, count);
    writeColumn(writer, words, start + HIGH, 1, count);
    return;
  }
  writeColumn(writer, words, start, 0, count);
  writeColumn(writer, words, start + HIGH, 0, count);
  writeColumn(writer, words, start + VALUE_LOW, 0, count);
  writeColumn(writer, words, start + VALUE_HIGH, 0, count);
}

/** Writes one word of each item from `first` on. */
function writeColumn(writer: ByteWriter, words: Uint32Array, column: number, first: number, count: number): void {
  let offset = writer.skip(4 * (count - first));
  const { view } = writer;
  for (let i = first; i < count; i++) {
    view.setUint32(offset, words[column + itemAt(i)] as number, true);
    offset += 4;
  }
}

const childAt = (slot: number): number => itemAt(slot) + CHILD;

/** Rebuilds a tree beside the old one and hands it over when it is complete, in order, and has the digest it says. */
export class WordSink implements SnapshotSink {
  readonly #input = new ByteQueue();
  readonly #tree = new WordTree();
  readonly #digest: Digest = new Uint32Array(4);
  readonly #install: (tree: WordTree) => void;
  #begun = false;
  #entries = 0;
  #height = 0;
  #root = 0;
  /** The inner nodes whose children are being read, by level, and how many of each are there. */
  readonly #nodes = new Uint32Array(LEVELS_MAX);
  readonly #slots = new Uint32Array(LEVELS_MAX);
  /** Level of the node to come, above the root's when there is none to come. */
  #level = 0;
  // The range of the node to come: lower bound, and upper bound if it has one.
  #lowerLow = 0;
  #lowerHigh = 0;
  #upperLow = 0;
  #upperHigh = 0;
  #bounded = false;

  constructor(install: (tree: WordTree) => void) {
    this.#install = install;
  }

  write(bytes: Uint8Array, start: number, end: number): void {
    const input = this.#input;
    input.push(bytes, start, end);
    if (!this.#begun) {
      if (!input.has(HEADER_BYTES)) return;
      this.#readHeader();
    }
    while (this.#level <= this.#height && input.has(NODE_HEADER_BYTES)) if (!this.#readNode()) return;
    if (this.#level > this.#height && input.size > 0) throw damaged("bytes follow the last node");
  }

  finish(): void {
    const tree = this.#tree;
    if (!this.#begun || this.#level <= this.#height || this.#input.size > 0)
      throw damaged("it ends before its last node");
    tree.completeTree(this.#root, this.#height);
    if (tree.count !== this.#entries) throw damaged(`it has ${tree.count} entries and says ${this.#entries}`);
    const digest = new Uint32Array(4);
    tree.digest(digest);
    if (!digest.every((lane, i) => lane === this.#digest[i])) throw damaged("the digest does not match the nodes");
    this.#install(tree);
  }

  #readHeader(): void {
    const { view, at: start } = this.#input;
    if (view.getUint32(start, true) !== MAGIC) throw damaged("it does not begin as a tree's snapshot");
    const format = view.getUint32(start + 4, true);
    if (format !== FORMAT) throw damaged(`its format is ${format}, this version reads ${FORMAT}`);
    const entries = view.getFloat64(start + 8, true);
    if (!Number.isSafeInteger(entries) || entries < 0) throw damaged(`its number of entries is ${entries}`);
    const height = view.getUint32(start + 32, true);
    if (height >= LEVELS_MAX) throw damaged(`its root is at level ${height}, at most ${LEVELS_MAX - 1} are allowed`);
    if (view.getUint32(start + 36, true) !== 0) throw damaged("a reserved field is not 0");
    for (let i = 0; i < 4; i++) this.#digest[i] = view.getUint32(start + 16 + 4 * i, true);
    this.#entries = entries;
    this.#height = height;
    this.#level = height;
    this.#begun = true;
    this.#input.at = start + HEADER_BYTES;
  }

  /** False if the rest of the node has not arrived. */
  #readNode(): boolean {
    const input = this.#input;
    const header = input.view.getUint32(input.at, true);
    const count = header & COUNT_MASK;
    const level = header >>> LEVEL_SHIFT;
    if (level !== this.#level) {
      throw damaged(`a node says ${header} where one of level ${this.#level} is due`);
    }
    this.#checkCount(level, count);
    const bytes = NODE_HEADER_BYTES + (level === 0 ? 16 * count : 8 * (count - 1));
    if (!input.has(bytes)) return false;
    const node = this.#tree.addNode(level, count);
    const words = this.#tree.arena.words(node);
    const start = at(node);
    let from = input.at + NODE_HEADER_BYTES;
    if (level === 0) {
      from = readColumn(input.view, from, words, start, 0, count);
      from = readColumn(input.view, from, words, start + HIGH, 0, count);
      from = readColumn(input.view, from, words, start + VALUE_LOW, 0, count);
      from = readColumn(input.view, from, words, start + VALUE_HIGH, 0, count);
      this.#checkKeys(words, start, 0, count);
    } else {
      from = readColumn(input.view, from, words, start, 1, count);
      from = readColumn(input.view, from, words, start + HIGH, 1, count);
      this.#checkKeys(words, start, 1, count);
      words[start + itemAt(0)] = this.#lowerLow;
      words[start + itemAt(0) + HIGH] = this.#lowerHigh;
    }
    input.at = from;
    this.#tree.completeNode(node, level, this.#lowerLow, this.#lowerHigh);
    if (this.#tree.count > this.#entries) throw damaged(`it has more than the ${this.#entries} entries it says`);
    this.#place(node, level);
    return true;
  }

  #checkCount(level: number, count: number): void {
    const most = level === 0 ? LEAF_CAPACITY : INNER_CAPACITY;
    const root = level === this.#height;
    let fewest = level === 0 ? 1 : 2;
    if (root) fewest = level === 0 ? 0 : 2;
    else if (this.#bounded) fewest = this.#tree.minimum(level);
    if (count < fewest || count > most) {
      throw damaged(`a node of level ${level} has ${count} items, allowed are ${fewest} to ${most}`);
    }
  }

  /**
   * Checks that the keys of items `first` to `count` − 1 ascend strictly within the range of the node. That of item 0 may be
   * the lower bound itself.
   */
  #checkKeys(words: Uint32Array, start: number, first: number, count: number): void {
    let beforeLow = this.#lowerLow;
    let beforeHigh = this.#lowerHigh;
    for (let i = first; i < count; i++) {
      const keyLow = words[start + itemAt(i)] as number;
      const keyHigh = words[start + itemAt(i) + HIGH] as number;
      const above = keyHigh > beforeHigh || (keyHigh === beforeHigh && keyLow > beforeLow);
      const same = keyHigh === beforeHigh && keyLow === beforeLow;
      if (!above && !(i === 0 && same)) throw damaged("its keys do not ascend");
      beforeLow = keyLow;
      beforeHigh = keyHigh;
    }
    if (first === count || !this.#bounded) return;
    if (beforeHigh > this.#upperHigh || (beforeHigh === this.#upperHigh && beforeLow >= this.#upperLow)) {
      throw damaged("a key is not in the range of its node");
    }
  }

  /** Hangs a node below its parent and finds out which one is due next. */
  #place(node: number, level: number): void {
    if (level === this.#height) this.#root = node;
    else {
      const parent = this.#nodes[level + 1] as number;
      const slot = this.#slots[level + 1] as number;
      this.#tree.arena.words(parent)[at(parent) + childAt(slot)] = node;
      this.#slots[level + 1] = slot + 1;
    }
    let due = level;
    if (level > 0) {
      this.#nodes[level] = node;
      this.#slots[level] = 0;
    } else {
      due = 1;
      while (due <= this.#height && this.#slots[due] === this.#tree.countOf(this.#nodes[due] as number)) due++;
    }
    this.#level = due > this.#height ? due : due - 1;
    if (due <= this.#height) this.#setRange(due);
  }

  /** The range of the next child of the node at `level`. */
  #setRange(level: number): void {
    const slot = this.#slots[level] as number;
    const words = this.#tree.arena.words(this.#nodes[level] as number);
    const start = at(this.#nodes[level] as number);
    this.#lowerLow = words[start + itemAt(slot)] as number;
    this.#lowerHigh = words[start + itemAt(slot) + HIGH] as number;
    // The upper bound is that of the lowest ancestor with a child behind the one that leads here.
    this.#bounded = false;
    for (let above = level; above <= this.#height && !this.#bounded; above++) {
      const ancestor = this.#nodes[above] as number;
      const next = (this.#slots[above] as number) + (above === level ? 1 : 0);
      if (next === this.#tree.countOf(ancestor)) continue;
      const keys = this.#tree.arena.words(ancestor);
      this.#upperLow = keys[at(ancestor) + itemAt(next)] as number;
      this.#upperHigh = keys[at(ancestor) + itemAt(next) + HIGH] as number;
      this.#bounded = true;
    }
  }
}

/** Reads one word of each item from `first` on; returns where the next column begins. */
function readColumn(
  view: DataView,
  from: number,
  words: Uint32Array,
  column: number,
  first: number,
  count: number,
): number {
  let offset = from;
  for (let i = first; i < count; i++) {
    words[column + itemAt(i)] = view.getUint32(offset, true);
    offset += 4;
  }
  return offset;
}

function damaged(reason: string): CheckpointDamagedError {
  return new CheckpointDamagedError(`the snapshot of the tree is damaged: ${reason}`);
}
