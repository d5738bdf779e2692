import { assert } from "../../base/index.js";
import type { Clock, Scheduler, Timer, Turn } from "../port.js";
import type { SimKernel } from "./kernel.js";
import { SimWallClock } from "./wall-clock.js";

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
  /** That of its machine: processes of one machine share it. */
  wall: SimWallClock;

  constructor(kernel: SimKernel, name: string) {
    this.kernel = kernel;
    this.name = name;
    this.wall = new SimWallClock(kernel);
    this.clock = { monotonicMs: () => kernel.now, wallMs: () => this.wall.nowMs() };
  }

  /** Runs `run` in this process at virtual time `at`, unless it is dead by then. */
  at(at: number, run: () => void): void {
    this.kernel.schedule(at, this, run);
  }

  after(delayMs: number, run: () => void): void {
    this.kernel.schedule(this.kernel.now + delayMs, this, run);
  }

  /** Runs `run` now if the process runs, when it continues if it is paused, never if it is dead. */
  enter(run: () => void): void {
    if (!this.alive) return;
    if (this.#paused) this.#held.push(run);
    else run();
  }

  timer(fire: () => void): Timer {
    return new SimTimer(this, fire);
  }

  turn(run: () => void): Turn {
    let requested = false;
    const begin = (): void => {
      requested = false;
      run();
    };
    return {
      request: () => {
        if (requested) return;
        requested = true;
        this.at(this.kernel.now, begin);
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

/**
 * Hosts put their timers off with every message, so a timer that is put off schedules nothing: the event that it has finds,
 * when its time comes, that there is time left, and is scheduled again.
 */
class SimTimer implements Timer {
  readonly #process: SimProcess;
  readonly #fire: () => void;
  readonly #onEvent = (): void => this.#wake();
  /** Infinity: not set. */
  #deadline = Infinity;
  /** Time of the earliest event that this timer has scheduled and that counts; Infinity: none does. */
  #scheduled = Infinity;

  constructor(process: SimProcess, fire: () => void) {
    this.#process = process;
    this.#fire = fire;
  }

  set(atMs: number): void {
    this.#deadline = atMs;
    if (atMs < this.#scheduled) this.#schedule();
  }

  clear(): void {
    this.#deadline = Infinity;
  }

  #schedule(): void {
    this.#scheduled = Math.max(this.#deadline, this.#process.kernel.now);
    this.#process.at(this.#scheduled, this.#onEvent);
  }

  #wake(): void {
    const { now } = this.#process.kernel;
    // An event that was overtaken by an earlier one; of a paused process they may come together, and either will do.
    if (now < this.#scheduled) return;
    this.#scheduled = Infinity;
    if (this.#deadline > now) {
      if (this.#deadline !== Infinity) this.#schedule();
      return;
    }
    this.#deadline = Infinity;
    this.#fire();
  }
}
