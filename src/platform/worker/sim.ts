import { assert, type Prng } from "../../base/index.js";
import { threadDefaults } from "./config.js";
import { HostedThread, type LoadedModules } from "./hosted-thread.js";
import type { ThreadHandle, ThreadHandlers, ThreadInit, ThreadPort } from "./port.js";

/** How likely a thread that has just acted acts again; one of them is drawn for each run, since each finds other bugs. */
const STICKINESS = [0, 0.5, 0.9, 0.99] as const;
/** How likely a thread that waits makes a step nevertheless: real wake-ups may come for nothing. */
const SPURIOUS = 1 / 64;

/**
 * Threads in an order drawn from a seed: `step` lets one thread, of those that can do something, do one thing. The same seed
 * and the same bodies give the same run. Steps are atomic here; bodies whose steps are to be interleaved make small ones.
 */
export class SimThreads implements ThreadPort {
  readonly #random: Prng;
  readonly #modules: LoadedModules;
  readonly #stickiness: number;
  readonly #threads: HostedThread[] = [];
  readonly #able: HostedThread[] = [];
  #last: HostedThread | null = null;
  /** Actions so far. */
  steps = 0;

  constructor(random: Prng, modules: LoadedModules) {
    this.#random = random;
    this.#modules = modules;
    this.#stickiness = random.pick(STICKINESS);
  }

  /** The module must be loaded, and make its body at once. */
  start(init: ThreadInit, handlers: ThreadHandlers): ThreadHandle {
    const module = this.#modules.get(init.module.href);
    assert(module !== undefined, `simulated threads run loaded modules, not ${init.module.href}`);
    const thread = new HostedThread(init, handlers, threadDefaults.messagesMax, () => undefined);
    thread.create(module, init);
    this.#threads.push(thread);
    return thread;
  }

  /** One action of one thread; false if none can do anything. */
  step(): boolean {
    const able = this.#able;
    able.length = 0;
    for (const thread of this.#threads) {
      if (thread.hasNews || thread.canStep || (thread.waits && this.#random.chance(SPURIOUS))) able.push(thread);
    }
    const able0 = able[0];
    if (able0 === undefined) return false;
    const last = this.#last;
    const stays = last !== null && this.#random.chance(this.#stickiness) && able.includes(last);
    const thread = stays ? last : (able[this.#random.below(able.length)] ?? able0);
    this.#last = thread;
    this.steps++;
    // What the owner is told may come late, after further steps of the body.
    if (thread.hasNews && (!thread.canStep || this.#random.chance(0.5))) thread.tell();
    else thread.step();
    if (thread.ended && !thread.hasNews) this.#threads.splice(this.#threads.indexOf(thread), 1);
    return true;
  }

  /** Steps until nothing can be done, at most `stepsMax` times; false if there was still something to do. */
  run(stepsMax: number): boolean {
    for (let i = 0; i < stepsMax; i++) if (!this.step()) return true;
    return false;
  }

  /** The threads that wait for a word that nobody is left to change, by name: a deadlock if `run` has come to rest. */
  waiting(): string[] {
    return this.#threads.filter((thread) => thread.waits).map((thread) => thread.name);
  }
}
