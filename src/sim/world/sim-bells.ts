import type { Prng } from "../../base/index.js";
import type { SimProcess } from "../../platform/index.js";
import type { Bells } from "../../runtime/index.js";

/** How likely a ring is heard twice. */
const AGAIN = 0.1;

/**
 * The bells of the members of one life of a replica. A ring is heard after a while, the one before and the one behind it
 * perhaps together with it, and now and then once more; one that a thread which stands still is rung with, it hears when it goes on.
 */
export class SimBells {
  readonly #processes: readonly SimProcess[];
  readonly #prng: Prng;
  readonly #delayMsMax: number;
  readonly #handlers: (() => void)[] = [];
  /** Members for which a ring is under way. */
  readonly #rung: boolean[] = [];
  /** Rings so far. */
  rings = 0;

  /** `processes`: one a member, by number. */
  constructor(processes: readonly SimProcess[], prng: Prng, delayMsMax: number) {
    this.#processes = processes;
    this.#prng = prng;
    this.#delayMsMax = delayMsMax;
  }

  /** The bells as one member has them. */
  of(member: number): Bells {
    return {
      ring: (other) => this.#ring(other),
      onRing: (handler) => {
        this.#handlers[member] = handler;
        // What came before is made up for.
        this.#ring(member);
      },
    };
  }

  #ring(member: number): void {
    this.rings++;
    if (this.#rung[member] === true) return;
    this.#rung[member] = true;
    this.#later(member, true);
    if (this.#prng.chance(AGAIN)) this.#later(member, false);
  }

  #later(member: number, first: boolean): void {
    this.#processes[member]?.after(this.#prng.between(0, this.#delayMsMax), () => {
      // Whoever rings from now on means what this handler may not have seen.
      if (first) this.#rung[member] = false;
      this.#handlers[member]?.();
    });
  }
}
