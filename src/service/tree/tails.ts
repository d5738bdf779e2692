/**
 * Byte-string keys in a tree of fixed-size nodes. The tree holds *handles*, u32 numbers above 0 which its owner gives to the
 * entries it stores elsewhere, in the order of their keys; it learns about keys only what it asks here.
 *
 * A node keeps of each key a *head*: the 8 bytes behind the prefix that all keys of the node share. Most comparisons end
 * there; keys with equal heads are told apart by `compare`.
 *
 * There is one *searched key* at a time, which the owner chooses (by whatever means of its own) before it calls a method of
 * the tree that looks for a key; the tree never changes it. A key may be anything that behaves as a string of bytes: an index
 * by (expiry, key) answers as if its keys were 8 bytes of expiry followed by those of the key.
 *
 * Nothing here may allocate, and nothing may change while the tree is at work.
 */
export interface Tails {
  /**
   * Orders the searched key against the key of a handle, both read from byte `from` on: below 0 if the searched key comes
   * first, 0 if they are equal, above 0 otherwise. A key that ends sooner comes first. The bytes before `from` are equal, where
   * those behind the end of a key count as 0: if one ends there, the lengths decide.
   */
  compare(handle: number, from: number): number;
  /**
   * The same for the first `length` bytes alone. The handle's key has that many; a searched key that is shorter is ordered
   * by the bytes it has, and comes first if they are equal.
   */
  comparePrefix(handle: number, length: number): number;
  /** Bytes `from` to `from + 3` of the searched key as a big-endian u32; bytes behind its end are 0. */
  searchedWord(from: number): number;
  /** Bytes `from` to `from + 3` of the key of a handle as a big-endian u32; bytes behind its end are 0. */
  word(handle: number, from: number): number;
  /** How many bytes the keys of two handles have in common at their beginning. */
  commonPrefix(a: number, b: number): number;
}

/** Longest common prefix that a node makes use of, in bytes; with keys that share more, heads begin there. */
export const PREFIX_BYTES_MAX = 65_535;

/**
 * Handles in the order of their keys, which are all different. "The searched key" is that of the `Tails` it was made with.
 * Nothing allocates except growth of the arena. Undo is the owner's: the inverse of a change is another change.
 */
export interface HandleOrder {
  readonly count: number;
  /** Bytes of memory in use, copies for marks included. */
  readonly bytes: number;
  /** The handle of the searched key, 0 if it is not there. */
  find(): number;
  /** Adds the searched key, which is not there yet, under a handle whose key it is. */
  insert(handle: number): void;
  /**
   * Puts a handle in place of the one that the searched key has, and returns that. Both have this key as long as the call
   * lasts. Returns 0, and does nothing, if the key is not there.
   */
  replace(handle: number): number;
  /**
   * Removes the searched key and returns its handle, whose key must stay readable until the call returns; 0 if the key is
   * not there.
   */
  remove(): number;
  /** The handle of the first key at or above the searched one (above it: `after`), 0 if there is none. */
  first(after: boolean): number;
  /** The handle of the last key at or below the searched one (below it: `before`), 0 if there is none. */
  last(before: boolean): number;
  smallest(): number;
  largest(): number;
  /** The handle behind this one, 0 behind the last; the searched key must be the handle's. Fast when called along the order. */
  next(handle: number): number;
  previous(handle: number): number;
  /** Forgets all handles. Costs no more than an instant. */
  clear(): void;
  /** A cursor over the handles as they are now, whatever changes meanwhile; at most `MARKS_MAX` of them at a time. */
  mark(): HandleCursor;
}

/** Walks the handles of a mark in order. The keys of handles that have been removed since are not asked for. */
export interface HandleCursor {
  /** The handle reached. */
  readonly handle: number;
  /** Moves on, first to the smallest; false behind the last. */
  next(): boolean;
  /** Lets go of the mark; copies made for it are given back. Must be called, finished or not; calling it again is harmless. */
  close(): void;
}

/** Most marks of one tree at a time. */
export const MARKS_MAX = 8;
