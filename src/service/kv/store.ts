// Hot file: every change of the state passes here. Nothing is allocated unless there is an undo log. See bench/kv.mjs.
import { assert } from "../../base/index.js";
import type { Digest, UndoLog } from "../../model/index.js";
import { CowTree, type TreeCursor } from "../cow-tree/index.js";
import { EntryDigest } from "./entry-digest.js";

/** The state of the service: the entries, and what is kept up to date along with them. */
export class Store {
  readonly #tree = new CowTree<string>();
  readonly #digest = new EntryDigest();
  /** Bytes of all keys and values. */
  bytes = 0;

  get count(): number {
    return this.#tree.size;
  }

  get(key: string): string | undefined {
    return this.#tree.get(key);
  }

  /** Returns the value that was there before. */
  set(key: string, value: string, undo: UndoLog | null): string | undefined {
    const before = this.#tree.set(key, value);
    if (before === undefined) {
      this.#digest.add(key, value);
      this.bytes += key.length + value.length;
    } else {
      this.#digest.replace(key, before, value);
      this.bytes += value.length - before.length;
    }
    if (undo !== null) undo.push(key, before);
    return before;
  }

  /** True if the key was there. */
  delete(key: string, undo: UndoLog | null): boolean {
    const before = this.#tree.delete(key);
    if (before === undefined) return false;
    this.#digest.remove(key, before);
    this.bytes -= key.length + before.length;
    if (undo !== null) undo.push(key, before);
    return true;
  }

  rollback(undo: UndoLog, mark: number): void {
    while (undo.mark() > mark) {
      const before = undo.pop() as string | undefined;
      const key = undo.pop();
      assert(typeof key === "string", "the undo log holds records of another service");
      if (before === undefined) this.delete(key, null);
      else this.set(key, before, null);
    }
  }

  readDigest(into: Digest): void {
    this.#digest.read(into);
  }

  hasDigest(digest: Digest): boolean {
    return this.#digest.equals(digest);
  }

  /** The entries as they are now, in ascending order of keys; later changes do not reach the cursor. */
  mark(): TreeCursor<string> {
    return this.#tree.mark();
  }
}
