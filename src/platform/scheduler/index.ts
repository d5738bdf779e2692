/**
 * scheduler: the real `Scheduler`: the machine's clocks, timers over `setTimeout`, turns over `setImmediate`. Works the
 * same in a worker thread; monotonic times of different threads have different origins and are never compared.
 */
import type { Clock, Scheduler, Timer, Turn } from "../port.js";

/** Longest delay `setTimeout` takes; a timer due later than that is armed again on the way. */
const DELAY_MS_MAX = 2_147_483_647;

/**
 * Turns that ask for turns (a gateway's hands frames to its replica's, whose turn follows) run without going back to the
 * event loop in between, but only this often in a row: a ring of turns must not keep sockets waiting.
 */
const ROUNDS_MAX = 4;

/** The machine's clocks. `monotonicMs` counts from the start of the thread. */
export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
};

/** The scheduler of one real thread. */
export class SystemScheduler implements Scheduler {
  readonly clock: Clock = systemClock;
  /** Turns asked for and not yet begun; each stands in it at most once, so its length is bounded by their number. */
  #requested: SystemTurn[] = [];
  #running: SystemTurn[] = [];
  #armed = false;
  readonly #runTurns = (): void => this.#run();

  timer(fire: () => void): Timer {
    return new SystemTimer(fire);
  }

  turn(run: () => void): Turn {
    const turn = new SystemTurn(run, (requested) => {
      this.#requested.push(requested);
      if (this.#armed) return;
      this.#armed = true;
      setImmediate(this.#runTurns);
    });
    return turn;
  }

  #run(): void {
    for (let round = 0; round < ROUNDS_MAX && this.#requested.length > 0; round++) {
      const turns = this.#requested;
      this.#requested = this.#running;
      this.#running = turns;
      for (let i = 0; i < turns.length; i++) (turns[i] as SystemTurn).begin();
      turns.length = 0;
    }
    if (this.#requested.length > 0) setImmediate(this.#runTurns);
    else this.#armed = false;
  }
}

class SystemTurn implements Turn {
  readonly #run: () => void;
  readonly #enqueue: (turn: SystemTurn) => void;
  #requested = false;

  constructor(run: () => void, enqueue: (turn: SystemTurn) => void) {
    this.#run = run;
    this.#enqueue = enqueue;
  }

  request(): void {
    if (this.#requested) return;
    this.#requested = true;
    this.#enqueue(this);
  }

  begin(): void {
    this.#requested = false;
    this.#run();
  }
}

/**
 * Protocols set their timer on nearly every step, mostly to later times (a heard heartbeat puts the election off). So a
 * pending timeout that fires early enough is left alone; when it fires too early it is armed again for the time then set.
 */
class SystemTimer implements Timer {
  readonly #fire: () => void;
  #dueMs = Infinity;
  #timeout: NodeJS.Timeout | null = null;
  /** When the pending timeout fires; Infinity without one. */
  #timeoutMs = Infinity;
  readonly #onTimeout = (): void => this.#expire();

  constructor(fire: () => void) {
    this.#fire = fire;
  }

  set(atMs: number): void {
    if (atMs === Infinity) {
      this.clear();
      return;
    }
    this.#dueMs = atMs;
    if (this.#timeoutMs <= atMs) return;
    this.#arm(performance.now());
  }

  clear(): void {
    this.#dueMs = Infinity;
    // A timeout left pending would keep a process alive that has nothing else to do.
    if (this.#timeout !== null) clearTimeout(this.#timeout);
    this.#timeout = null;
    this.#timeoutMs = Infinity;
  }

  #arm(nowMs: number): void {
    if (this.#timeout !== null) clearTimeout(this.#timeout);
    const delayMs = Math.min(Math.max(Math.ceil(this.#dueMs - nowMs), 1), DELAY_MS_MAX);
    this.#timeoutMs = Math.max(this.#dueMs, nowMs);
    if (delayMs === DELAY_MS_MAX) this.#timeoutMs = nowMs + DELAY_MS_MAX;
    this.#timeout = setTimeout(this.#onTimeout, delayMs);
  }

  #expire(): void {
    this.#timeout = null;
    this.#timeoutMs = Infinity;
    const nowMs = performance.now();
    // The event loop's clock is truncated to whole ms, so a timeout may fire a fraction of one too early.
    if (nowMs < this.#dueMs) {
      this.#arm(nowMs);
      return;
    }
    this.#dueMs = Infinity;
    this.#fire();
  }
}
