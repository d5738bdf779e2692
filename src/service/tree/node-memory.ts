/** Where the nodes of a tree come from that several threads work on in turn, never two at once. */
export interface NodeMemory {
  /** Whether the tree is yet to be made; else it is there, and is loaded before anything else. */
  readonly fresh: boolean;
  /** So many words for chunk `index` of nodes, which may hold anything. */
  take(index: number, words: number): Uint32Array;
}

/** Whole numbers that a tree keeps beside its nodes, on their way to another view of it and from it, in one order. */
export interface TreeRoots {
  put(value: number): void;
  get(): number;
}
