/**
 * tree: B+-trees over nodes in shared memory, the core that the ordered services share.
 */
export { type HandleCursor, type HandleOrder, MARKS_MAX, PREFIX_BYTES_MAX, type Tails } from "./tails.js";
export { INNER_CAPACITY, LEAF_CAPACITY, WordTree } from "./word-tree.js";
export { WordSink, WordSource } from "./word-snapshot.js";
