// Hot file: one look-up per branch of the search. No allocation but when the table doubles.

/**
 * A set of configurations (which operations have taken effect, and the state), each stored as three random-looking words
 * for the operations and the state itself. Two different sets of operations share all three words with probability 2^-96,
 * so that a search of 10^7 configurations takes one for another with probability below 10^-14.
 */
export class ConfigurationTable {
  #slots: Int32Array;
  #mask: number;
  #size = 0;
  readonly #entriesMax: number;

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
    this.#mask = 63;
    this.#slots = new Int32Array(64 * 4);
  }

  get size(): number {
    return this.#size;
  }

  get full(): boolean {
    return this.#size >= this.#entriesMax;
  }

  /** Adds a configuration; false if it was there. A full table (see `full`) is the caller's reason to give up. */
  add(a: number, b: number, c: number, state: number): boolean {
    const slots = this.#slots;
    const mark = state + 1;
    let at = (a ^ Math.imul(state, 0x9e3779b1)) & this.#mask;
    for (;;) {
      const slot = at * 4;
      const taken = slots[slot + 3] as number;
      if (taken === 0) break;
      if (taken === mark && slots[slot] === a && slots[slot + 1] === b && slots[slot + 2] === c) return false;
      at = (at + 1) & this.#mask;
    }
    this.#put(slots, at * 4, a, b, c, mark);
    this.#size++;
    if (this.#size * 2 > this.#mask) this.#grow();
    return true;
  }

  #put(slots: Int32Array, slot: number, a: number, b: number, c: number, mark: number): void {
    slots[slot] = a;
    slots[slot + 1] = b;
    slots[slot + 2] = c;
    slots[slot + 3] = mark;
  }

  #grow(): void {
    const old = this.#slots;
    this.#mask = this.#mask * 2 + 1;
    const slots = new Int32Array((this.#mask + 1) * 4);
    for (let slot = 0; slot < old.length; slot += 4) {
      const mark = old[slot + 3] as number;
      if (mark === 0) continue;
      const a = old[slot] as number;
      let at = (a ^ Math.imul(mark - 1, 0x9e3779b1)) & this.#mask;
      while (slots[at * 4 + 3] !== 0) at = (at + 1) & this.#mask;
      this.#put(slots, at * 4, a, old[slot + 1] as number, old[slot + 2] as number, mark);
    }
    this.#slots = slots;
  }
}
