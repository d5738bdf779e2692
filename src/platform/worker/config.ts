import { ConfigError } from "../../model/index.js";

/**
 * How a thread waits at a point in shared memory, after it has looked `spinsMax` times in vain.
 *
 * - `async`: the event loop goes on, and an `Atomics.waitAsync` brings the thread back (20–50 µs). For replicas.
 * - `spin`: it looks on and on, with a visit to its event loop after each `spinsMax` looks. For replay alone: a thread that
 *   spins takes a core from whoever it waits for when there are fewer cores than threads.
 * - `block`: `Atomics.wait` for at most `blockMs`, then a visit to the event loop. For replay alone: a thread that blocks
 *   neither votes nor answers.
 */
export type Waiting = "async" | "spin" | "block";

export interface ThreadOptions {
  readonly waiting: Waiting;
  /** How often a word is looked at before the thread waits in another way. */
  readonly spinsMax: number;
  /** Steps in a row before the event loop gets its turn. */
  readonly stepsMax: number;
  /** How long a thread blocks at most before it visits its event loop, in ms. */
  readonly blockMs: number;
  /** How long a thread may take to make its body, in ms; then it is ended with a `ThreadError`. */
  readonly startMs: number;
  /** How long a thread may take to stop, in ms; then it is ended by force. */
  readonly stopMs: number;
  /** Messages under way in one direction; further ones are not taken. */
  readonly messagesMax: number;
}

export const threadDefaults: ThreadOptions = Object.freeze({
  waiting: "async",
  spinsMax: 2000,
  stepsMax: 64,
  blockMs: 20,
  startMs: 30_000,
  stopMs: 5000,
  messagesMax: 1024,
});

/** Completes the options with the defaults. Throws `ConfigError` that names the field and prints the value. */
export function checkThreadOptions(options: Partial<ThreadOptions>): ThreadOptions {
  const complete = { ...threadDefaults, ...options };
  const { waiting, ...numbers } = complete;
  if (!["async", "spin", "block"].includes(waiting)) {
    throw new ConfigError(`waiting must be async, spin or block, got ${String(waiting)}`);
  }
  for (const [field, value] of Object.entries(numbers)) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new ConfigError(`${field} must be a whole number of at least 1, got ${value}`);
    }
  }
  return Object.freeze(complete);
}
