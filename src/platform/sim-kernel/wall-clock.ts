import { assert } from "../../base/index.js";
import type { SimKernel } from "./kernel.js";

/**
 * The wall clock of a simulated machine. It is right at first; it can be set to any error, and it can run fast or slow from
 * then on. Monotonic time has none of this.
 */
export class SimWallClock {
  readonly #kernel: SimKernel;
  #sinceMs = 0;
  #errorMs = 0;
  #drift = 0;

  constructor(kernel: SimKernel) {
    this.#kernel = kernel;
  }

  /** Ms since 1970, as the machine believes. */
  nowMs(): number {
    return this.#kernel.wallEpochMs + this.#kernel.now + this.errorMs;
  }

  /** By how many ms it is ahead of the right time, or behind it if negative. */
  get errorMs(): number {
    return this.#errorMs + (this.#kernel.now - this.#sinceMs) * this.#drift;
  }

  /** It jumps to this error. The rate at which it runs stays. */
  jump(errorMs: number): void {
    this.#sinceMs = this.#kernel.now;
    this.#errorMs = errorMs;
  }

  /** From now on it gains so many ms each ms: 0.01 is fast by one in a hundred. At least -1, at which it stands still. */
  run(drift: number): void {
    assert(drift >= -1, `a clock does not run backwards, got ${drift}`);
    this.jump(this.errorMs);
    this.#drift = drift;
  }
}
