// Hot file: barriers wait here. Nothing allocates but `LaterResume`, which is for threads that
// have nothing else to do.
import type { WaitPoint } from "./port.js";

/** Looks at the word up to `spinsMax` times; true as soon as it has another value. */
export function spin(point: WaitPoint, spinsMax: number): boolean {
  const { words, index, value } = point;
  for (let i = 0; i < spinsMax; i++) if (Atomics.load(words, index) !== value) return true;
  return false;
}

/** Blocks the whole thread until the word is notified or has another value, at most for `ms`. Never on the main thread of a replica. */
export function block(point: WaitPoint, ms: number): void {
  Atomics.wait(point.words, point.index, point.value, ms);
}

/** True if the word still has the value waited for. */
export function stillWaits(point: WaitPoint): boolean {
  return Atomics.load(point.words, point.index) === point.value;
}

/**
 * Comes back from the event loop when a word is notified. There is never more than one wait pending on the same word and
 * value, however often the thread is brought back by something else and waits again.
 */
export class LaterResume {
  readonly #resume: () => void;
  #words: Int32Array | null = null;
  #index = 0;
  #value = 0;

  constructor(resume: () => void) {
    this.#resume = resume;
  }

  /** Has `resume` called once when the word is notified; false, and nothing is called, if it has another value already. */
  arm(point: WaitPoint): boolean {
    const { words, index, value } = point;
    if (this.#words === words && this.#index === index && this.#value === value) return true;
    const result = Atomics.waitAsync(words, index, value);
    if (!result.async) return false;
    this.#words = words;
    this.#index = index;
    this.#value = value;
    void result.value.then(() => {
      // A later wait, at another word, goes on.
      if (this.#words === words && this.#index === index && this.#value === value) this.#words = null;
      this.#resume();
    });
    return true;
  }
}
