/**
 * The kernel of the deterministic world: a virtual clock, one queue of events, and processes whose pending callbacks die
 * with them. Everything simulated (network, disk, timers) schedules here, so one seed gives one history.
 */
import { assert, Hash64, Heap, Prng } from "../../base/index.js";
import type { Clock, Scheduler, Timer, Turn } from "../port.js";

interface Scheduled {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

export class SimKernel {
  readonly #queue = new Heap<Scheduled>((a, b) => a.at < b.at || (a.at === b.at && a.order < b.order));
  #order = 0;
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
    this.#queue.push({ at: Math.max(at, this.now), order: this.#order++, run });
  }

  after(delayMs: number, run: () => void): void {
    this.at(this.now + delayMs, run);
  }

  spawn(name: string): SimProcess {
    return new SimProcess(this, name);
  }

  /** Executes events until virtual time `untilMs`, or until `stop` says so, or nothing is left. Returns false if it ran dry. */
  run(untilMs: number, stop?: () => boolean): boolean {
    for (;;) {
      const next = this.#queue.peek();
      if (next === undefined) return false;
      if (next.at > untilMs) {
        this.now = untilMs;
        return true;
      }
      this.#queue.pop();
      this.now = next.at;
      this.events++;
      next.run();
      if (stop?.() === true) return true;
    }
  }
}

/**
 * One incarnation of a simulated process. Callbacks scheduled through it are dropped once it has crashed, and put off
 * while it is paused (as SIGSTOP would).
 */
export class SimProcess implements Scheduler {
  readonly clock: Clock;
  readonly kernel: SimKernel;
  readonly name: string;
  alive = true;
  #paused = false;
  readonly #held: (() => void)[] = [];
  /** Wall clock error of this process's machine in ms. */
  wallSkewMs = 0;

  constructor(kernel: SimKernel, name: string) {
    this.kernel = kernel;
    this.name = name;
    this.clock = {
      monotonicMs: () => kernel.now,
      wallMs: () => kernel.wallEpochMs + kernel.now + this.wallSkewMs,
    };
  }

  /** Runs `run` in this process at virtual time `at`, unless it is dead by then. */
  at(at: number, run: () => void): void {
    this.kernel.at(at, () => this.enter(run));
  }

  after(delayMs: number, run: () => void): void {
    this.at(this.kernel.now + delayMs, run);
  }

  /** Runs `run` now if the process runs, when it continues if it is paused, never if it is dead. */
  enter(run: () => void): void {
    if (!this.alive) return;
    if (this.#paused) this.#held.push(run);
    else run();
  }

  timer(fire: () => void): Timer {
    let generation = 0;
    return {
      set: (atMs) => {
        const mine = ++generation;
        if (atMs === Infinity) return;
        this.at(atMs, () => {
          if (mine === generation) fire();
        });
      },
      clear: () => {
        generation++;
      },
    };
  }

  turn(run: () => void): Turn {
    let requested = false;
    return {
      request: () => {
        if (requested) return;
        requested = true;
        this.at(this.kernel.now, () => {
          requested = false;
          run();
        });
      },
    };
  }

  get paused(): boolean {
    return this.#paused;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    assert(this.#paused, "resume of a process that is not paused");
    this.#paused = false;
    const held = this.#held.splice(0);
    for (const run of held) this.at(this.kernel.now, run);
  }

  /** The process is gone: nothing of it runs any more. What its disk keeps is the disk's business. */
  crash(): void {
    this.alive = false;
    this.#held.length = 0;
  }
}
