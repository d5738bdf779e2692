/**
 * How a node lies in memory. A node is 256 u32 words (1 KiB): a header, then columns of `capacity` items each, of one word
 * or two.
 * Items stand at the front of the columns in ascending order of keys; what is behind them is undefined.
 *
 * | word | header field |
 * |---|---|
 * | 0 | `count`: items (bits 0–7), level (8–14; leaves are level 0), uniform (15), length of the prefix that keys leave out (16–31) |
 * | 1 | `lane`: hash of level and lower bound, the node's part in the digest of the shape; in a free node the next free one |
 * | 2 | `stamp`: the newest mark there was when the node was last copied or taken into use, see `Arena` |
 * | 3 | `link`: the copy with the content before that, 0 for none |
 *
 * Columns 0 and 1 are the key, high and low word. A node is uniform only if the high words of all keys that are compared with
 * are equal: a search then reads the header, one high word beside it, and low words, and no other lines of the cache. In an inner node column 2 is the child. What else there is belongs to the
 * kind of tree. The key of item i of an inner node is a lower bound for all keys of child i, and an upper bound that is not
 * reached for those of child i − 1; that of item 0 is the lower bound of the node itself and is never compared with.
 */
export const NODE_SHIFT = 8;
export const NODE_WORDS = 1 << NODE_SHIFT;
export const NODE_BYTES = 4 * NODE_WORDS;
export const HEADER_WORDS = 4;

export const COUNT = 0;
export const LANE = 1;
export const STAMP = 2;
export const LINK = 3;
export const KEY_HIGH = HEADER_WORDS;

export const COUNT_MASK = 0xff;
export const LEVEL_SHIFT = 8;
export const LEVEL_MASK = 0x7f;
export const UNIFORM = 0x8000;
export const PREFIX_SHIFT = 16;

/** Nodes of a chunk of an arena: 16 MiB. */
export const CHUNK_SHIFT = 14;
export const CHUNK_NODES = 1 << CHUNK_SHIFT;
export const CHUNK_MASK = CHUNK_NODES - 1;

/** Items of a node whose columns take so many words an item. */
export const capacityOf = (widths: readonly number[]): number =>
  Math.floor((NODE_WORDS - HEADER_WORDS) / widths.reduce((sum, width) => sum + width, 0));

/** More levels than a tree can have: inner nodes off the right edge have at least 21 children, and nodes are u32 numbers. */
export const LEVELS_MAX = 16;
