import { assert } from "./assert.js";

/** A first-in first-out queue over a circular array, with a declared maximum. `push` on a full ring is a programmer error. */
export class Ring<T> {
  #slots: (T | undefined)[];
  #head = 0;
  #size = 0;
  readonly capacityMax: number;

  constructor(capacityMax: number) {
    assert(capacityMax >= 1, `ring capacity must be at least 1, got ${capacityMax}`);
    this.capacityMax = capacityMax;
    this.#slots = [];
    this.#slots.length = Math.min(16, capacityMax);
  }

  get size(): number {
    return this.#size;
  }

  get full(): boolean {
    return this.#size === this.capacityMax;
  }

  push(item: T): void {
    assert(this.#size < this.capacityMax, `ring is full at ${this.capacityMax}`);
    if (this.#size === this.#slots.length) this.#grow();
    this.#slots[(this.#head + this.#size) % this.#slots.length] = item;
    this.#size++;
  }

  shift(): T | undefined {
    if (this.#size === 0) return undefined;
    const item = this.#slots[this.#head];
    this.#slots[this.#head] = undefined;
    this.#head = (this.#head + 1) % this.#slots.length;
    this.#size--;
    return item;
  }

  /** The element `index` places behind the oldest. */
  at(index: number): T | undefined {
    if (index < 0 || index >= this.#size) return undefined;
    return this.#slots[(this.#head + index) % this.#slots.length];
  }

  clear(): void {
    this.#slots = Array.from({ length: Math.min(16, this.capacityMax) });
    this.#head = 0;
    this.#size = 0;
  }

  #grow(): void {
    const next: (T | undefined)[] = Array.from({ length: Math.min(this.#slots.length * 2, this.capacityMax) });
    for (let i = 0; i < this.#size; i++) next[i] = this.#slots[(this.#head + i) % this.#slots.length];
    this.#slots = next;
    this.#head = 0;
  }
}
