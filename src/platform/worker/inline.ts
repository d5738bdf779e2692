import type { Scheduler, Timer, Turn } from "../port.js";
import { checkThreadOptions, type ThreadOptions } from "./config.js";
import { HostedThread, type LoadedModules } from "./hosted-thread.js";
import type { ThreadHandle, ThreadHandlers, ThreadInit, ThreadModule, ThreadPort } from "./port.js";
import { LaterResume } from "./waiting.js";

/**
 * Threads that are none: all bodies run in the calling thread, a step each in turn, `stepsMax` steps before the event loop
 * goes on. For one group, whose ordering and execution need no thread of their own, and for tests. Throws `ConfigError` for
 * an option out of bounds.
 */
export class InlineThreads implements ThreadPort {
  readonly #scheduler: Scheduler;
  readonly #options: ThreadOptions;
  readonly #modules: LoadedModules;
  readonly #threads: InlineThread[] = [];
  readonly #turn: Turn;
  #next = 0;

  constructor(scheduler: Scheduler, options: Partial<ThreadOptions> = {}, modules: LoadedModules = new Map()) {
    this.#scheduler = scheduler;
    this.#options = checkThreadOptions(options);
    this.#modules = modules;
    this.#turn = scheduler.turn(() => this.#run());
  }

  start(init: ThreadInit, handlers: ThreadHandlers): ThreadHandle {
    const thread = new InlineThread(init, handlers, this.#options, this.#scheduler, this.#turn);
    this.#threads.push(thread);
    void this.#create(thread.hosted, init);
    return thread;
  }

  async #create(thread: HostedThread, init: ThreadInit): Promise<void> {
    try {
      const { href } = init.module;
      thread.create(this.#modules.get(href) ?? ((await import(href)) as ThreadModule), init);
    } catch (error) {
      thread.fail(error);
    }
  }

  #run(): void {
    const threads = this.#threads;
    let idle = 0;
    for (let steps = 0; steps < this.#options.stepsMax && threads.length > 0 && idle < threads.length; steps++) {
      this.#next = (this.#next + 1) % threads.length;
      const thread = threads[this.#next] as InlineThread;
      const { hosted } = thread;
      if (hosted.canStep) {
        hosted.step();
        idle = 0;
      } else idle++;
      // Whoever is told may start and stop threads.
      while (hosted.hasNews) hosted.tell();
      if (hosted.ended) threads.splice(threads.indexOf(thread), 1);
    }
    if (threads.some(({ hosted }) => hosted.canStep || hosted.hasNews)) this.#turn.request();
    // Another thread of the process may change the words that these wait for.
    else for (const thread of threads) if (!thread.rest()) this.#turn.request();
  }
}

class InlineThread implements ThreadHandle {
  readonly hosted: HostedThread;
  readonly #options: ThreadOptions;
  readonly #scheduler: Scheduler;
  readonly #later: LaterResume;
  /** Ends a thread that does not start or stop in time. */
  readonly #limit: Timer;
  #stopping = false;

  constructor(init: ThreadInit, handlers: ThreadHandlers, options: ThreadOptions, scheduler: Scheduler, turn: Turn) {
    this.#options = options;
    this.#scheduler = scheduler;
    this.#later = new LaterResume(() => turn.request());
    this.#limit = scheduler.timer(() => {
      const { startMs, stopMs } = options;
      this.hosted.kill(this.#stopping ? `did not stop within ${stopMs} ms` : `did not start within ${startMs} ms`);
    });
    this.#limit.set(scheduler.clock.monotonicMs() + options.startMs);
    const watched: ThreadHandlers = {
      onStart: () => {
        if (!this.#stopping) this.#limit.clear();
        handlers.onStart();
      },
      onMessage: (message) => handlers.onMessage(message),
      onExit: (error) => {
        this.#limit.clear();
        handlers.onExit(error);
      },
    };
    this.hosted = new HostedThread(init, watched, options.messagesMax, () => turn.request());
  }

  post(message: unknown): boolean {
    return this.hosted.post(message);
  }

  stop(): void {
    if (this.#stopping || this.hosted.ended) return;
    this.#stopping = true;
    this.#limit.set(this.#scheduler.clock.monotonicMs() + this.#options.stopMs);
    this.hosted.stop();
  }

  /** Has the turn come again when a word changes that the body waits for; false if it has changed already. */
  rest(): boolean {
    const { body } = this.hosted;
    return body === null || !this.hosted.waits || this.#later.arm(body.waitPoint);
  }
}
