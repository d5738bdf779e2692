/**
 * cow-tree: an ordered map of byte strings as a B+-tree whose nodes are copied on the first change after a mark, so that a
 * checkpoint walks the tree as it was, in slices, while commands go on.
 *
 * A node belongs to the epoch in which it was made, and is changed in place only during that epoch. `mark` begins a new one:
 * whatever is reachable from the root at that moment never changes again. Deletion keeps every node but the root and the
 * right edge at a quarter of its size or more, by merging with a neighbour or taking keys from it.
 */
export { CowTree, TreeCursor } from "./tree.js";
