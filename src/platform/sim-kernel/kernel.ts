import { Hash64, Prng } from "../../base/index.js";
import { EventQueue } from "./event-queue.js";
import { SimProcess } from "./process.js";

export class SimKernel {
  readonly #queue = new EventQueue();
  /** Virtual ms since the world began. */
  now = 0;
  /** Wall clock in ms at virtual time 0. */
  readonly wallEpochMs = 1_700_000_000_000;
  readonly prng: Prng;
  /** Events executed so far. */
  events = 0;
  /** Every traced fact of the run goes in here; equal seeds give equal digests. */
  readonly trace = new Hash64();

  constructor(seed: number | string) {
    this.prng = new Prng(seed);
  }

  /** Runs `run` at virtual time `at` (now or later); same-time events run in the order they were scheduled. */
  at(at: number, run: () => void): void {
    this.schedule(at, null, run);
  }

  after(delayMs: number, run: () => void): void {
    this.schedule(this.now + delayMs, null, run);
  }

  /** The same in a process, which may be dead or paused by then; null: in the world itself. */
  schedule(at: number, process: SimProcess | null, run: () => void): void {
    this.#queue.add(this.now, at > this.now ? at : this.now, process, run);
  }

  spawn(name: string): SimProcess {
    return new SimProcess(this, name);
  }

  /** Executes events until virtual time `untilMs`, or until `stop` says so, or nothing is left. Returns false if it ran dry. */
  run(untilMs: number, stop?: () => boolean): boolean {
    const queue = this.#queue;
    for (;;) {
      const event = queue.peek();
      if (event === undefined) return false;
      if (event.at > untilMs) {
        this.now = untilMs;
        return true;
      }
      queue.take(event);
      this.now = event.at;
      this.events++;
      if (event.process === null) event.run();
      else event.process.enter(event.run);
      if (stop !== undefined && stop()) return true;
    }
  }
}
