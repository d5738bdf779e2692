/**
 * The port through which threads of one process are made and run. A thread runs a *body*: an object with small steps that
 * never waits by itself but says what it waits for. Who waits, and how, is up to the port, and so is the order in which
 * steps of different threads come about:
 *
 * - `thread`: one worker thread a body, steps at full speed;
 * - `inline`: all bodies in the calling thread, in turn (for one group, and for tests);
 * - `sim`: all bodies in the calling thread, in an order drawn from a seed, step by step, so that a run can be repeated.
 *
 * As with the other ports, a callback never runs inside the call that asked for it.
 */
export interface ThreadPort {
  /** Starts a thread. What becomes of it is told to the handlers. */
  start(init: ThreadInit, handlers: ThreadHandlers): ThreadHandle;
}

export interface ThreadInit {
  /** For logs and errors. */
  readonly name: string;
  /** A module that exports `createThread` (see `ThreadModule`). */
  readonly module: URL;
  /** What the body is made from: anything that can be cloned; shared memory stays shared. */
  readonly data: unknown;
}

export interface ThreadHandlers {
  /** The body has been made. */
  onStart(): void;
  onMessage(message: unknown): void;
  /** The last call. `error` is null if the body was done or was stopped. */
  onExit(error: Error | null): void;
}

export interface ThreadHandle {
  /**
   * Sends the body a message, cloned. False, and it is not sent, if `messagesMax` are under way already: messages are for
   * control, data goes through rings.
   */
  post(message: unknown): boolean;
  /**
   * Asks the body to stop; `onExit` follows within the time limit of the port, at the latest by force and then with a
   * `ThreadError`. Asking again changes nothing.
   */
  stop(): void;
}

/** What a module of a thread exports. */
export interface ThreadModule {
  createThread(context: ThreadContext): ThreadBody | Promise<ThreadBody>;
}

/** What a body has of its port. */
export interface ThreadContext {
  readonly name: string;
  readonly data: unknown;
  /** Sends the owner a message, cloned. False, and it is not sent, if `messagesMax` are under way already. */
  post(message: unknown): boolean;
  /** Has `step` called again after it said `idle`. For callbacks that the body has outside of the port. */
  wake(): void;
}

export interface ThreadBody {
  /**
   * One bounded piece of work, short against the time that messages may wait. Throwing ends the thread, and `onExit` gets the
   * error.
   */
  step(): StepOutcome;
  /** Where it waits after `step` said `wait`. The object may be the same one each time. */
  readonly waitPoint: WaitPoint;
  onMessage?(message: unknown): void;
  /** The owner wants it to end: steps go on until one says `done`. Without this method it ends before its next step. */
  stop?(): void;
}

export const StepOutcome = {
  /** There is more to do at once. */
  more: 0,
  /** Nothing to do while the word at `waitPoint` has the value there. Steps that come too early do no harm. */
  wait: 1,
  /** Nothing to do before a message or a `wake`. */
  idle: 2,
  /** The thread ends. */
  done: 3,
} as const;
export type StepOutcome = (typeof StepOutcome)[keyof typeof StepOutcome];

/** A word in shared memory; whoever changes it also notifies (`Atomics.notify`), unless all that wait there only spin. */
export interface WaitPoint {
  readonly words: Int32Array;
  readonly index: number;
  readonly value: number;
}
