// Hot file: each command of a session of which something is pending is looked up here. Nothing allocates but growth.
import type { PendingCommand } from "./failed.js";

/** Pending commands over more than one key that are compared one by one; with more, everything counts as in conflict. */
const RANGES_MAX = 64;

/**
 * Which commands are in conflict with one of a set, by their conflict columns: their ranges overlap and one of them writes. Most are
 * about one key, so that a look costs a search in two sorted lists. Derived from what is pending: no part of the replicated state.
 */
export class ConflictIndex {
  readonly #written = new SortedKeys();
  readonly #read = new SortedKeys();
  #ranges: Range[] = [];

  add(command: Range): void {
    const { low, high, writes } = command;
    if (low === high) (writes ? this.#written : this.#read).add(low);
    else if (low < high) this.#ranges.push(command);
  }

  /** Removes one that was added. */
  remove({ low, high, writes }: Range): void {
    if (low === high) (writes ? this.#written : this.#read).remove(low);
    else if (low < high) {
      const at = this.#ranges.findIndex((range) => range.low === low && range.high === high && range.writes === writes);
      this.#ranges.splice(at, 1);
    }
  }

  clear(): void {
    this.#written.size = 0;
    this.#read.size = 0;
    if (this.#ranges.length > 0) this.#ranges = [];
  }

  /** Whether a command is in conflict with any. */
  conflicts(low: number, high: number, writes: boolean): boolean {
    if (this.#written.hasWithin(low, high) || (writes && this.#read.hasWithin(low, high))) return true;
    const ranges = this.#ranges;
    if (ranges.length > RANGES_MAX) return true;
    for (let i = 0; i < ranges.length; i++) {
      const range = ranges[i] as Range;
      if ((writes || range.writes) && low <= range.high && range.low <= high) return true;
    }
    return false;
  }
}

type Range = Pick<PendingCommand, "low" | "high" | "writes">;

/** Numbers in order, some of them several times. */
class SortedKeys {
  #keys = new Float64Array(16);
  size = 0;

  add(key: number): void {
    if (this.size === this.#keys.length) {
      const larger = new Float64Array(2 * this.size);
      larger.set(this.#keys);
      this.#keys = larger;
    }
    const at = this.#from(key);
    this.#keys.copyWithin(at + 1, at, this.size);
    this.#keys[at] = key;
    this.size++;
  }

  remove(key: number): void {
    const at = this.#from(key);
    this.#keys.copyWithin(at, at + 1, this.size);
    this.size--;
  }

  hasWithin(low: number, high: number): boolean {
    const at = this.#from(low);
    return at < this.size && (this.#keys[at] as number) <= high;
  }

  /** Where the first is that is at least `key`. */
  #from(key: number): number {
    const keys = this.#keys;
    let low = 0;
    let high = this.size;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((keys[middle] as number) < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
