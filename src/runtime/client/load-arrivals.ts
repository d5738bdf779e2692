// Hot file: one due time per command of an open loop. No allocation.
import type { Prng } from "../../base/index.js";
import type { LoadArrivals } from "./load-options.js";

/**
 * When the commands of one client of an open loop are due, in monotonic ms. A load of `rate` commands per second gives each
 * of its n clients a stream of `rate / n`: with constant arrivals the streams lie evenly between each other, and
 * independent Poisson streams add up to one Poisson stream, so the whole is what it would be if one schedule were dealt out.
 */
export class ArrivalSchedule {
  readonly #prng: Prng;
  readonly #arrivals: LoadArrivals;
  readonly #stepMs: number;
  readonly #startMs: number;
  #count = 0;
  #dueMs: number;

  /** `ratePerSecond` is that of the whole load; this is the stream of client `index` of `clients`. */
  constructor(
    prng: Prng,
    arrivals: LoadArrivals,
    ratePerSecond: number,
    startMs: number,
    index: number,
    clients: number,
  ) {
    this.#prng = prng;
    this.#arrivals = arrivals;
    this.#stepMs = (1000 * clients) / ratePerSecond;
    this.#startMs = arrivals === "constant" ? startMs + (index * 1000) / ratePerSecond : startMs;
    this.#dueMs = arrivals === "constant" ? this.#startMs : this.#startMs + this.#gapMs();
  }

  /** When the next command is due. */
  get dueMs(): number {
    return this.#dueMs;
  }

  /** Moves on to the command after the next; returns when that next one was due. */
  take(): number {
    const due = this.#dueMs;
    this.#count++;
    // Multiplied rather than added up, so that a long run keeps its rate to the last bit.
    this.#dueMs = this.#arrivals === "constant" ? this.#startMs + this.#count * this.#stepMs : due + this.#gapMs();
    return due;
  }

  /** Exponentially distributed, which is what makes the arrivals a Poisson process. */
  #gapMs(): number {
    return -Math.log(1 - this.#prng.float()) * this.#stepMs;
  }
}
