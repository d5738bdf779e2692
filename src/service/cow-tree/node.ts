// Hot file: every command searches two to four nodes. No allocation in a search. Watched by bench/kv.mjs.

/** Most keys of a node; one more and it is split. */
export const NODE_KEYS_MAX = 64;
/** A node with fewer keys is merged with a neighbour, or takes keys from it. */
export const NODE_KEYS_MIN = 16;

/**
 * A node of the tree, inner or leaf; one class, so that every access in a search sees one shape.
 *
 * Invariants: `keys` ascend strictly. A leaf has one slot per key, its value. An inner node has one slot more than keys:
 * all keys below `slots[i]` are less than `keys[i]`, all below `slots[i + 1]` are at least `keys[i]`. All keys share their
 * first `prefix` characters, and `heads[i]` holds the four characters behind them as a number that orders as they do, so
 * that a search reads one array of small integers and follows one or two string pointers instead of six.
 */
export class Node<V> {
  /** The tree may change this node in place while its own epoch is the same. */
  readonly epoch: number;
  readonly leaf: boolean;
  keys: string[];
  heads: number[];
  prefix: number;
  slots: (V | Node<V>)[];

  constructor(epoch: number, leaf: boolean, keys: string[], heads: number[], prefix: number, slots: (V | Node<V>)[]) {
    this.epoch = epoch;
    this.leaf = leaf;
    this.keys = keys;
    this.heads = heads;
    this.prefix = prefix;
    this.slots = slots;
  }
}

export function makeNode<V>(epoch: number, leaf: boolean, keys: string[], slots: (V | Node<V>)[]): Node<V> {
  const node = new Node(epoch, leaf, keys, [], 0, slots);
  rehead(node);
  return node;
}

export function cloneNode<V>(node: Node<V>, epoch: number): Node<V> {
  return new Node(epoch, node.leaf, node.keys.slice(), node.heads.slice(), node.prefix, node.slots.slice());
}

/** Takes prefix and heads anew from the keys. */
export function rehead<V>(node: Node<V>): void {
  const { keys } = node;
  const count = keys.length;
  const prefix = count === 0 ? 0 : commonPrefix(keys[0] as string, keys[count - 1] as string);
  const heads: number[] = [];
  for (let i = 0; i < count; i++) heads.push(headOf(keys[i] as string, prefix));
  node.heads = heads;
  node.prefix = prefix;
}

/** Puts `key` at place `at`; the caller takes care of the slots. */
export function insertKey<V>(node: Node<V>, at: number, key: string): void {
  const { keys } = node;
  insertAt(keys, at, key);
  // A key between two others shares what they share; only a new first or last key can shorten the prefix.
  const atEdge = at === 0 || at === keys.length - 1;
  if (atEdge && (keys.length === 1 || commonPrefix(keys[0] as string, keys[keys.length - 1] as string) < node.prefix)) {
    rehead(node);
  } else {
    insertAt(node.heads, at, headOf(key, node.prefix));
  }
}

/** Removes the key at place `at`. The prefix may be shorter than it could be afterwards, which is harmless. */
export function removeKey<V>(node: Node<V>, at: number): void {
  removeAt(node.keys, at);
  removeAt(node.heads, at);
}

export function insertAt<T>(list: T[], at: number, item: T): void {
  list.push(item);
  for (let i = list.length - 1; i > at; i--) list[i] = list[i - 1] as T;
  list[at] = item;
}

export function removeAt<T>(list: T[], at: number): void {
  const last = list.length - 1;
  for (let i = at; i < last; i++) list[i] = list[i + 1] as T;
  list.pop();
}

/**
 * The place of the first key that is not less than `key`, as the heads say: right if `key` shares the prefix of this node,
 * anything otherwise. A search that ends at an equal key was right all the way, so that only one that finds nothing has to
 * be repeated with the searches below.
 */
export function guessPlace<V>(node: Node<V>, key: string): number {
  const { keys, heads } = node;
  const head = headOf(key, node.prefix);
  let low = 0;
  let high = heads.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const there = heads[middle] as number;
    if (there < head || (there === head && (keys[middle] as string) < key)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Which child of an inner node the key belongs to, if it shares the prefix of this node. */
export function guessChild<V>(node: Node<V>, key: string): number {
  const { keys, heads } = node;
  const head = headOf(key, node.prefix);
  let low = 0;
  let high = heads.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const there = heads[middle] as number;
    if (there < head || (there === head && (keys[middle] as string) <= key)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The place of the first key that is not less than `key`. */
export function lowerBound<V>(node: Node<V>, key: string): number {
  const { keys } = node;
  const at = guessPlace(node, key);
  // Rather than compare the prefix first, the guess is verified: both neighbours prove it.
  if ((at === keys.length || key <= (keys[at] as string)) && (at === 0 || (keys[at - 1] as string) < key)) return at;
  return searchWhole(keys, key);
}

/** Which child of an inner node the key belongs to. */
export function childIndex<V>(node: Node<V>, key: string): number {
  const at = lowerBound(node, key);
  return at < node.keys.length && node.keys[at] === key ? at + 1 : at;
}

function searchWhole(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((keys[middle] as string) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Characters `[at, at + 4)` as a signed 32-bit integer that orders as they do; what is missing counts as character 0. */
function headOf(key: string, at: number): number {
  const left = key.length - at;
  if (left >= 4) {
    return (
      ((key.charCodeAt(at) << 24) |
        (key.charCodeAt(at + 1) << 16) |
        (key.charCodeAt(at + 2) << 8) |
        key.charCodeAt(at + 3)) ^
      0x80000000
    );
  }
  let head = 0;
  if (left >= 1) head = key.charCodeAt(at) << 24;
  if (left >= 2) head |= key.charCodeAt(at + 1) << 16;
  if (left >= 3) head |= key.charCodeAt(at + 2) << 8;
  return head ^ 0x80000000;
}

function commonPrefix(a: string, b: string): number {
  const most = Math.min(a.length, b.length);
  let i = 0;
  while (i < most && a.charCodeAt(i) === b.charCodeAt(i)) i++;
  return i;
}
