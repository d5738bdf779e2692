/**
 * How a node lies in memory. A node is 256 u32 words (1 KiB): a header of two words, and behind it what the kind of tree
 * puts there: columns (`handle-tree.ts`) or cells of the size of a cache line (`word-node.ts`).
 *
 * | word | header field |
 * |---|---|
 * | 0 | `count`: items (bits 0–7), level (8–14; leaves are level 0), uniform (15), length of the prefix that keys leave out (16–31) |
 * | 1 | `stamp`: the newest mark there was when the node was last copied or taken into use, see `Arena` |
 *
 * Two more words of each node lie behind all nodes of the chunk, since only changes of the structure and copies for marks need them:
 *
 * | word | side field |
 * |---|---|
 * | 0 | `link`: the copy with the content before the stamp, 0 for none |
 * | 1 | `lane`: hash of level and lower bound, the node's part in the digest of the shape; in a free node the next free one |
 *
 * Items stand in ascending order of keys. The key of item i of an inner node is a lower bound for all keys of child i, and an
 * upper bound that is not reached for those of child i − 1; that of item 0 is the lower bound of the node itself and is never
 * compared with. A node is uniform only if the high words of all keys that are compared with are equal: the low words then
 * tell them apart.
 */
export const NODE_SHIFT = 8;
export const NODE_WORDS = 1 << NODE_SHIFT;
export const NODE_BYTES = 4 * NODE_WORDS;
export const HEADER_WORDS = 2;

export const COUNT = 0;
export const STAMP = 1;

export const SIDE_SHIFT = 1;
export const LINK = 0;
export const LANE = 1;

export const COUNT_MASK = 0xff;
export const LEVEL_SHIFT = 8;
export const LEVEL_MASK = 0x7f;
export const UNIFORM = 0x8000;
export const PREFIX_SHIFT = 16;

/** Nodes of a chunk of an arena: a little over 16 MiB. */
export const CHUNK_SHIFT = 14;
export const CHUNK_NODES = 1 << CHUNK_SHIFT;
export const CHUNK_MASK = CHUNK_NODES - 1;
/** Words of a chunk for each of its nodes: those of the nodes come first, then all side fields. */
export const CHUNK_WORDS_PER_NODE = NODE_WORDS + (1 << SIDE_SHIFT);

/** More levels than a tree can have: inner nodes off the right edge have at least 20 children, and nodes are u32 numbers. */
export const LEVELS_MAX = 16;
