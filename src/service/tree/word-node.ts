// Hot file: every level of every descent for 8-byte keys searches here. Nothing allocates. Written without branches that
// depend on keys, since the processor would guess half of them wrong. Watched by bench/btree.mjs.
import * as layout from "./layout.js";

// What a module keeps to itself is part of the compiled code; a constant of another module, or one that is exported, is loaded
// from a cell and checked at each use (a quarter of the time of a descent, measured). Hence the constants that follow.
const { COUNT, COUNT_MASK, UNIFORM } = layout;

/**
 * A node of 8-byte keys: sixteen lines of the cache, of which a search reads two.
 *
 * The first line is the header and a directory. Each of the others is a cell of four items, with each of the four words of
 * an item beside those of its neighbours:
 *
 * | word of the cell | content |
 * |---|---|
 * | 0–3 | keys, low words |
 * | 4–7 | keys, high words |
 * | 8–11 | leaf: values, low words; inner node: children |
 * | 12–15 | leaf: values, high words; inner node: undefined |
 *
 * Word c of the directory (c from 1 on) belongs to the first key of cell c: its low word if the node is uniform, else its high
 * word. The directory alone therefore chooses the cell, unless high words repeat in a node that is not uniform, or a searched
 * key has another high word than all keys of a uniform node; the cell shows either, and a binary search follows.
 *
 * Words of keys are taken signed or unsigned: callers pass them signed, since a number from 2^31 on is boxed wherever the
 * compiler does not inline a call.
 *
 * Invariants: words of the directory without a cell, and the keys behind the last item in its cell, are all ones.
 */
const CELL_SHIFT = 4;
const CELL_ITEMS_SHIFT = 2;
const CELL_ITEMS_MASK = (1 << CELL_ITEMS_SHIFT) - 1;
const CELLS = 15;
const FIRST_CELL = 16;
/** Word c of the directory is at this plus c; c begins with 1. */
const DIRECTORY = 1;
const NOTHING = 0xffffffff;

const HIGH = 4;
const CHILD = 8;
const VALUE_LOW = 8;
const VALUE_HIGH = 12;

const itemAt = (slot: number): number =>
  (FIRST_CELL + ((slot >>> CELL_ITEMS_SHIFT) << CELL_SHIFT) + (slot & CELL_ITEMS_MASK)) | 0;

const cellAt = (cell: number): number => (FIRST_CELL + (cell << CELL_SHIFT)) | 0;

/** From the first item of a cell to the last of the cell before. */
const CELL_STEP_BACK = itemAt(1 << CELL_ITEMS_SHIFT) - itemAt(CELL_ITEMS_MASK);

/** The cell of the node at `start` in which a key stands or would stand, as far as the directory tells. */
function cellOf(words: Uint32Array, start: number, low: number, high: number): number {
  const key = (((words[start + COUNT] as number) & UNIFORM) === 0 ? high : low) >>> 0;
  let at = (start + DIRECTORY) | 0;
  let cell = 7 & -Number((words[(at + 7) | 0] as number) <= key);
  at = (at + cell) | 0;
  let step = 4 & -Number((words[(at + 4) | 0] as number) <= key);
  at = (at + step) | 0;
  cell = (cell + step) | 0;
  step = 2 & -Number((words[(at + 2) | 0] as number) <= key);
  at = (at + step) | 0;
  cell = (cell + step) | 0;
  return (cell + Number((words[(at + 1) | 0] as number) <= key)) | 0;
}

/** How many items of the leaf at `start` are below a key whose cell is this. */
function placeIn(words: Uint32Array, start: number, cell: number, keyLow: number, keyHigh: number): number {
  const low = keyLow >>> 0;
  const high = keyHigh >>> 0;
  const at = (start + cellAt(cell)) | 0;
  const header = words[start + COUNT] as number;
  const uniform = (header & UNIFORM) !== 0;
  const column = uniform ? at : (at + HIGH) | 0;
  const key = uniform ? low : high;
  const below =
    Number((words[column] as number) < key) +
    Number((words[(column + 1) | 0] as number) < key) +
    Number((words[(column + 2) | 0] as number) < key) +
    Number((words[(column + 3) | 0] as number) < key);
  // Of the item that comes next the word that the column does not have must agree.
  const next = (at + (below & CELL_ITEMS_MASK)) | 0;
  const firstHigh = words[(at + HIGH) | 0] as number;
  const misled =
    Number(cell << CELL_ITEMS_SHIFT >= (header & COUNT_MASK)) |
    (uniform
      ? Number(firstHigh !== high)
      : (Number(words[(next + HIGH) | 0] === high) & Number((words[next] as number) < low)) |
        (Number(cell > 0) & Number(firstHigh === high) & Number((words[at] as number) > low)));
  return misled === 0 ? (cell << CELL_ITEMS_SHIFT) + below : countBelow(words, start, 0, low, high);
}

/** Which item of the inner node at `start` leads to a key whose cell is this. */
function childSlotIn(words: Uint32Array, start: number, cell: number, keyLow: number, keyHigh: number): number {
  const low = keyLow >>> 0;
  const high = keyHigh >>> 0;
  const at = (start + cellAt(cell)) | 0;
  const header = words[start + COUNT] as number;
  const uniform = (header & UNIFORM) !== 0;
  const column = uniform ? at : (at + HIGH) | 0;
  const key = uniform ? low : high;
  const through =
    Number((words[(column + 1) | 0] as number) <= key) +
    Number((words[(column + 2) | 0] as number) <= key) +
    Number((words[(column + 3) | 0] as number) <= key);
  const slot = (cell << CELL_ITEMS_SHIFT) + through;
  // The key of item 0 says nothing, so the next one speaks for the first cell. The words behind the last item are at or below
  // the greatest key.
  const misled =
    Number(slot >= (header & COUNT_MASK)) |
    (uniform
      ? Number(words[at + HIGH + Number(cell === 0)] !== high)
      : Number(slot > 0) & Number(words[at + through + HIGH] === high) & Number((words[at + through] as number) > low));
  return misled === 0 ? slot : countThrough(words, start, low, high) - 1;
}

/** The child of the inner node at `start` that a key belongs to. */
function childFor(words: Uint32Array, start: number, low: number, high: number): number {
  const slot = childSlotIn(words, start, cellOf(words, start, low, high), low, high);
  return words[start + itemAt(slot) + CHILD] as number;
}

function isBelow(low: number, high: number, keyLow: number, keyHigh: number): number {
  return Number(high < keyHigh) | (Number(high === keyHigh) & Number(low < keyLow));
}

/** How many items of a node are below a key, those before `first` being so. */
function countBelow(words: Uint32Array, start: number, first: number, low: number, high: number): number {
  let begin = first;
  let end = (words[start + COUNT] as number) & COUNT_MASK;
  while (begin < end) {
    const middle = (begin + end) >>> 1;
    const at = start + itemAt(middle);
    if (isBelow(words[at] as number, words[(at + HIGH) | 0] as number, low, high) !== 0) begin = middle + 1;
    else end = middle;
  }
  return begin;
}

/** How many items of an inner node are at or below a key, where the first one always counts. */
function countThrough(words: Uint32Array, start: number, low: number, high: number): number {
  const below = countBelow(words, start, 1, low, high);
  if (below === ((words[start + COUNT] as number) & COUNT_MASK)) return below;
  const at = start + itemAt(below);
  return below + Number(words[at] === low && words[(at + HIGH) | 0] === high);
}

/** Whether item `slot` of the node at `start` is there and has this key. */
function isAt(words: Uint32Array, start: number, slot: number, keyLow: number, keyHigh: number): boolean {
  const low = keyLow >>> 0;
  const high = keyHigh >>> 0;
  const at = start + itemAt(slot);
  return slot < ((words[start + COUNT] as number) & COUNT_MASK) && words[at] === low && words[(at + HIGH) | 0] === high;
}

/**
 * Makes room for an item in front of item `slot` of the leaf at `start`, which is not full, writes its key, and counts it. The
 * words of its value are undefined.
 */
function openItem(words: Uint32Array, start: number, slot: number, low: number, high: number): void {
  const header = words[start + COUNT] as number;
  const count = header & COUNT_MASK;
  const opened = start + itemAt(slot);
  let to = start + itemAt(count);
  if ((count & CELL_ITEMS_MASK) === 0) fillCell(words, to);
  for (let i = count; i > slot; i--) {
    const from = (i & CELL_ITEMS_MASK) === 0 ? to - CELL_STEP_BACK : to - 1;
    words[to] = words[from] as number;
    words[to + HIGH] = words[from + HIGH] as number;
    words[to + VALUE_LOW] = words[from + VALUE_LOW] as number;
    words[to + VALUE_HIGH] = words[from + VALUE_HIGH] as number;
    to = from;
  }
  words[opened] = low;
  words[opened + HIGH] = high;
  words[start + COUNT] = header + 1;
  // The new item comes first or the one that did has moved by one, so that any other one tells the common high word.
  const other = slot === 0 ? 1 : 0;
  const wasUniform = count === 0 || (header & UNIFORM) !== 0;
  if (wasUniform && count > 0 && words[start + itemAt(other) + HIGH] !== high >>> 0) indexNode(words, start, 0);
  else {
    if (count === 0) words[start + COUNT] = (header + 1) | UNIFORM;
    indexFrom(words, start, slot);
  }
}

/** Takes item `slot` out of the leaf at `start`, and returns how many are left. */
function closeItem(words: Uint32Array, start: number, slot: number): number {
  const header = words[start + COUNT] as number;
  const left = (header & COUNT_MASK) - 1;
  let to = start + itemAt(slot);
  for (let i = slot + 1; i <= left; i++) {
    const from = (i & CELL_ITEMS_MASK) === 0 ? to + CELL_STEP_BACK : to + 1;
    words[to] = words[from] as number;
    words[to + HIGH] = words[from + HIGH] as number;
    words[to + VALUE_LOW] = words[from + VALUE_LOW] as number;
    words[to + VALUE_HIGH] = words[from + VALUE_HIGH] as number;
    to = from;
  }
  words[to] = NOTHING;
  words[to + HIGH] = NOTHING;
  words[start + COUNT] = header - 1;
  if (left > 0 && (left & CELL_ITEMS_MASK) === 0) words[start + DIRECTORY + (left >>> CELL_ITEMS_SHIFT)] = NOTHING;
  indexFrom(words, start, slot);
  return left;
}

/** Copies items between nodes, or within one. What the directories say is then void. */
function copyItems(
  source: Uint32Array,
  from: number,
  first: number,
  sink: Uint32Array,
  into: number,
  target: number,
  count: number,
): void {
  const up = source === sink && from === into && target > first;
  for (let i = 0; i < count; i++) {
    const item = up ? count - 1 - i : i;
    const read = from + itemAt(first + item);
    const write = into + itemAt(target + item);
    sink[write] = source[read] as number;
    sink[write + HIGH] = source[read + HIGH] as number;
    sink[write + VALUE_LOW] = source[read + VALUE_LOW] as number;
    sink[write + VALUE_HIGH] = source[read + VALUE_HIGH] as number;
  }
}

/** Writes what follows from the keys of the node at `start`: whether it is uniform, the directory, the words behind the last. */
function indexNode(words: Uint32Array, start: number, level: number): void {
  const header = words[start + COUNT] as number;
  const count = header & COUNT_MASK;
  const first = level === 0 ? 0 : 1;
  const last = count - 1;
  const uniform = last <= first || words[start + itemAt(first) + HIGH] === words[start + itemAt(last) + HIGH];
  words[start + COUNT] = uniform ? header | UNIFORM : header & ~UNIFORM;
  for (let i = count; (i & CELL_ITEMS_MASK) !== 0; i++) {
    words[start + itemAt(i)] = NOTHING;
    words[start + itemAt(i) + HIGH] = NOTHING;
  }
  indexFrom(words, start, 0);
  for (let cell = Math.max(1, (count + CELL_ITEMS_MASK) >>> CELL_ITEMS_SHIFT); cell < CELLS; cell++) {
    words[start + DIRECTORY + cell] = NOTHING;
  }
}

/** Writes the directory for the cells whose first item is item `slot` or one behind it. */
function indexFrom(words: Uint32Array, start: number, slot: number): void {
  const header = words[start + COUNT] as number;
  const cells = ((header & COUNT_MASK) + CELL_ITEMS_MASK) >>> CELL_ITEMS_SHIFT;
  const column = (header & UNIFORM) === 0 ? HIGH : 0;
  const begin = slot === 0 ? 1 : (slot + CELL_ITEMS_MASK) >>> CELL_ITEMS_SHIFT;
  for (let cell = begin; cell < cells; cell++) {
    words[start + DIRECTORY + cell] = words[start + cellAt(cell) + column] as number;
  }
}

/** Fills the keys of the cell at `at` with what stands behind the last item. */
function fillCell(words: Uint32Array, at: number): void {
  for (let i = 0; i < 1 << CELL_ITEMS_SHIFT; i++) {
    words[at + i] = NOTHING;
    words[at + i + HIGH] = NOTHING;
  }
}

/** Items of a node. */
export const CAPACITY = CELLS << CELL_ITEMS_SHIFT;

/** Where the words of an item are, from where the item is: all but the low word of its key. */
export const ITEM = { HIGH, CHILD, VALUE_LOW, VALUE_HIGH } as const;

/** The same functions for other modules; this one calls its own. */
export const node = {
  /** Where the low word of the key of an item is, from the beginning of its node. */
  itemAt,
  /** Where a cell begins, from the beginning of its node. */
  cellAt,
  cellOf,
  placeIn,
  childSlotIn,
  childFor,
  isAt,
  openItem,
  closeItem,
  copyItems,
  indexNode,
} as const;
