/** Commands of unknown outcome on a key after which it is left alone. */
const UNKNOWN_MAX = 6;
/** Lives that are remembered for the reads at the end of a run; older ones have been read while they were in use. */
const REMEMBERED_MAX = 2000;

/**
 * Names of keys that are replaced while a history grows: `a1`, `a1'1`, `a1'2`. A command of unknown outcome may take
 * effect at any later time, and each one doubles what a checker has to consider, so a key that has met a few is retired. Keys
 * that commands touch together are retired after so many uses too: what belongs together is checked together.
 */
export class KeyLives {
  readonly #prefix: string;
  readonly #usesMax: number;
  readonly #lives: number[];
  readonly #unknown: number[];
  readonly #uses: number[];
  readonly #slots = new Map<string, number>();
  readonly #retired: string[] = [];

  constructor(prefix: string, count: number, usesMax = Infinity) {
    this.#prefix = prefix;
    this.#usesMax = usesMax;
    this.#lives = Array.from({ length: count }, () => 0);
    this.#unknown = [...this.#lives];
    this.#uses = [...this.#lives];
    for (let slot = 0; slot < count; slot++) this.#slots.set(this.name(slot), slot);
  }

  get count(): number {
    return this.#lives.length;
  }

  name(slot: number): string {
    const life = this.#lives[slot] as number;
    return `${this.#prefix}${slot}${life === 0 ? "" : `'${life}`}`;
  }

  life(slot: number): number {
    return this.#lives[slot] as number;
  }

  /** The name in use at `slot`, counted as used once. */
  use(slot: number): string {
    const name = this.name(slot);
    this.#uses[slot] = (this.#uses[slot] as number) + 1;
    if ((this.#uses[slot] as number) >= this.#usesMax) this.#retire(slot);
    return name;
  }

  /** A command on this name has an unknown outcome. True if the name was retired for it. */
  noteUnknown(name: string): boolean {
    const slot = this.#slots.get(name);
    if (slot === undefined) return false;
    this.#unknown[slot] = (this.#unknown[slot] as number) + 1;
    if ((this.#unknown[slot] as number) < UNKNOWN_MAX) return false;
    this.#retire(slot);
    return true;
  }

  /** What is in use, and the youngest of what was. */
  get all(): readonly string[] {
    return [...this.#retired.slice(-REMEMBERED_MAX), ...this.#lives.map((_, slot) => this.name(slot))];
  }

  #retire(slot: number): void {
    const name = this.name(slot);
    this.#slots.delete(name);
    this.#retired.push(name);
    if (this.#retired.length > 2 * REMEMBERED_MAX) this.#retired.splice(0, REMEMBERED_MAX);
    this.#lives[slot] = (this.#lives[slot] as number) + 1;
    this.#unknown[slot] = 0;
    this.#uses[slot] = 0;
    this.#slots.set(this.name(slot), slot);
  }
}
