/**
 * tree: B+-trees over nodes in shared memory, the core that the ordered services share. `WordTree` orders 8-byte keys and
 * holds 8-byte values; `HandleTree` orders what its owner stores elsewhere, by keys of any length. Read `layout.ts`,
 * `word-node.ts`, `arena.ts` (memory and marks) and `tree.ts` (splits, merges, undo of both) first.
 */
export { HandleTree } from "./handle-tree.js";
export { type NodeMemory, type TreeRoots } from "./node-memory.js";
export { growShared, SHARED_TREE_BYTES_MAX, SHARING_THREADS_MAX, type TreeDescription } from "./shared-memory.js";
export { type HandleCursor, type HandleOrder, MARKS_MAX, PREFIX_BYTES_MAX, type Tails } from "./tails.js";
export { INNER_CAPACITY, LEAF_CAPACITY, WordTree } from "./word-tree.js";
export { WordSink, WordSource } from "./word-snapshot.js";
