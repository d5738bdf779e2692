import type { Prng } from "../../base/index.js";
import type { Scheduler, Timer } from "../port.js";

/** Bounds of the wait between two attempts to connect. */
export interface BackoffOptions {
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
}

/**
 * When to dial one address again: after a wait that doubles with each failure and is reset by success. Half of it is
 * jitter, so that the many who lost one server at the same moment do not return at the same moment.
 */
export class Redial {
  readonly #scheduler: Scheduler;
  readonly #prng: Prng;
  readonly #options: BackoffOptions;
  readonly #timer: Timer;
  #failures = 0;

  constructor(scheduler: Scheduler, prng: Prng, options: BackoffOptions, dial: () => void) {
    this.#scheduler = scheduler;
    this.#prng = prng;
    this.#options = options;
    this.#timer = scheduler.timer(dial);
  }

  /** Failures since the last success. */
  get failures(): number {
    return this.#failures;
  }

  soon(): void {
    this.#failures = 0;
    this.#timer.set(this.#scheduler.clock.monotonicMs());
  }

  /** `waitMsMin`: not earlier than that. */
  failed(waitMsMin = 0): void {
    const { backoffMinMs, backoffMaxMs } = this.#options;
    let waitMs = backoffMinMs;
    for (let i = 0; i < this.#failures && waitMs < backoffMaxMs; i++) waitMs *= 2;
    waitMs = Math.max(Math.min(waitMs, backoffMaxMs), 2 * waitMsMin);
    this.#failures++;
    this.#timer.set(this.#scheduler.clock.monotonicMs() + waitMs * this.#prng.between(0.5, 1));
  }

  succeeded(): void {
    this.#failures = 0;
    this.#timer.clear();
  }

  stop(): void {
    this.#timer.clear();
  }
}
