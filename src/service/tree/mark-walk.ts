import { type Arena, nodeAt } from "./arena.js";
import * as layout from "./layout.js";

// Constants of this module are part of the compiled code, see `word-node.ts`.
const at = nodeAt;
const { COUNT, COUNT_MASK, LEVELS_MAX, LEVEL_MASK, LEVEL_SHIFT } = layout;

/**
 * Visits the nodes of a tree as they were when the walk was made, each in front of its children and those in ascending
 * order, while the tree goes on changing. What has been visited is copied no more if nobody else needs it.
 */
export class MarkWalk {
  readonly arena: Arena;
  readonly #epoch: number;
  /** Where the child of an item is in its node. */
  readonly #childAt: (slot: number) => number;
  readonly #height: number;
  /** The inner nodes above the present node, by level, and the next child of each. */
  readonly #nodes = new Uint32Array(LEVELS_MAX);
  readonly #slots = new Uint32Array(LEVELS_MAX);
  /** Level of the lowest of them that may have another child. */
  #level: number;
  /** The root before the first step, then the leaf visited latest, 0 if an inner node was. */
  #node: number;
  #begun = false;
  #open = true;

  constructor(arena: Arena, root: number, height: number, childAt: (slot: number) => number) {
    this.arena = arena;
    this.#epoch = arena.mark();
    this.#node = root;
    this.#height = height;
    this.#level = height + 1;
    this.#childAt = childAt;
  }

  /** The node with the content of the next one, valid until the next call; 0 behind the last. */
  next(): number {
    if (!this.#open) return 0;
    if (!this.#begun) {
      this.#begun = true;
      return this.#visit(this.#node);
    }
    if (this.#node !== 0) this.arena.passed(this.#node, this.#epoch);
    this.#node = 0;
    while (this.#level <= this.#height) {
      const node = this.#nodes[this.#level] as number;
      const version = this.arena.version(node, this.#epoch);
      const words = this.arena.words(version);
      const slot = this.#slots[this.#level] as number;
      if (slot < ((words[at(version) + COUNT] as number) & COUNT_MASK)) {
        this.#slots[this.#level] = slot + 1;
        return this.#visit(words[at(version) + this.#childAt(slot)] as number);
      }
      this.arena.passed(node, this.#epoch);
      this.#level++;
    }
    this.close();
    return 0;
  }

  /** Whether what has been read of the node that `next` returned is what the mark saw, should other threads write nodes. */
  isIntact(version: number): boolean {
    return this.arena.isIntact(version, this.#epoch);
  }

  /** The node with the content of that one after all. Other threads write leaves only. */
  again(): number {
    return this.arena.version(this.#node, this.#epoch);
  }

  /** Lets go of the mark; calling it again is harmless. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.arena.unmark(this.#epoch);
  }

  #visit(node: number): number {
    const version = this.arena.version(node, this.#epoch);
    const level = ((this.arena.words(version)[at(version) + COUNT] as number) >>> LEVEL_SHIFT) & LEVEL_MASK;
    this.#node = level === 0 ? node : 0;
    if (level > 0) {
      this.#level = level;
      this.#nodes[level] = node;
      this.#slots[level] = 0;
    } else if (this.#height > 0) this.#level = 1;
    return version;
  }
}
