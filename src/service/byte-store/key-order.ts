import type { HandleOrder, Tails } from "../tree/index.js";

export function createKeyOrder(tails: Tails): HandleOrder {
  return new SortedHandles(tails);
}

class SortedHandles {
  readonly #tails: Tails;
  readonly #list: number[] = [];
  readonly bytes = 0;
  constructor(tails: Tails) {
    this.#tails = tails;
  }
  get count(): number {
    return this.#list.length;
  }
  #lower(above: boolean): number {
    let low = 0;
    let high = this.#list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const order = this.#tails.compare(this.#list[middle] as number, 0);
      if (order > 0 || (above && order === 0)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
  find(): number {
    const handle = this.#list[this.#lower(false)];
    return handle !== undefined && this.#tails.compare(handle, 0) === 0 ? handle : 0;
  }
  insert(handle: number): void {
    this.#list.splice(this.#lower(false), 0, handle);
  }
  replace(handle: number): number {
    const before = this.find();
    if (before !== 0) this.#list[this.#lower(false)] = handle;
    return before;
  }
  remove(): number {
    const before = this.find();
    if (before !== 0) this.#list.splice(this.#lower(false), 1);
    return before;
  }
  first(after: boolean): number {
    return this.#list[this.#lower(after)] ?? 0;
  }
  last(before: boolean): number {
    return this.#list[this.#lower(!before) - 1] ?? 0;
  }
  smallest(): number {
    return this.#list[0] ?? 0;
  }
  largest(): number {
    return this.#list[this.#list.length - 1] ?? 0;
  }
  next(): number {
    return this.first(true);
  }
  previous(): number {
    return this.last(true);
  }
  clear(): void {
    this.#list.length = 0;
  }
  mark(): never {
    throw new Error("not used");
  }
}
