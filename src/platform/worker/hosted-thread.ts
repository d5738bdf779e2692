import { assert } from "../../base/index.js";
import { ThreadError } from "../../model/index.js";
import {
  StepOutcome,
  type ThreadBody,
  type ThreadContext,
  type ThreadHandle,
  type ThreadHandlers,
  type ThreadInit,
  type ThreadModule,
} from "./port.js";
import { stillWaits } from "./waiting.js";

/** Modules that are loaded already, by the address they would be loaded from. */
export type LoadedModules = ReadonlyMap<string, ThreadModule>;

/**
 * A thread that shares the thread of its owner: the body and what is under way between the two. What it does next is up to
 * the port, one small action at a time: `step` lets the body have a message or make a step, `tell` tells the owner one thing.
 */
export class HostedThread implements ThreadHandle {
  readonly name: string;
  readonly #handlers: ThreadHandlers;
  readonly #messagesMax: number;
  /** Something can be done that could not before. */
  readonly #changed: () => void;
  #body: ThreadBody | null = null;
  #outcome: StepOutcome = StepOutcome.more;
  #stopAsked = false;
  #stopTold = false;
  #ended = false;
  /** Messages to the body, and what the owner is to be told. Both are bounded by `messagesMax`, start and exit aside. */
  readonly #inbox: unknown[] = [];
  readonly #news: (() => void)[] = [];
  #told = 0;
  /** Messages among the news. */
  #toTell = 0;

  constructor(init: ThreadInit, handlers: ThreadHandlers, messagesMax: number, changed: () => void) {
    this.name = init.name;
    this.#handlers = handlers;
    this.#messagesMax = messagesMax;
    this.#changed = changed;
  }

  /** Makes the body. `data` is cloned, as it is on the way to a thread of its own. */
  create(module: ThreadModule, init: ThreadInit): void {
    const context: ThreadContext = {
      name: init.name,
      data: structuredClone(init.data),
      post: (message) => this.#toOwner(message),
      wake: () => {
        if (this.#outcome === StepOutcome.idle) this.#outcome = StepOutcome.more;
        this.#changed();
      },
    };
    try {
      const made = module.createThread(context);
      if (made instanceof Promise) {
        made.then(
          (body) => this.#begin(body),
          (error: unknown) => this.fail(error),
        );
      } else this.#begin(made);
    } catch (error) {
      this.fail(error);
    }
  }

  post(message: unknown): boolean {
    if (this.#ended || this.#inbox.length >= this.#messagesMax) return false;
    this.#inbox.push(structuredClone(message));
    this.#changed();
    return true;
  }

  stop(): void {
    this.#stopAsked = true;
    this.#changed();
  }

  get ended(): boolean {
    return this.#ended;
  }

  /**
   * True while the body has nothing to do but for a word to change, whether or not it has changed by now: it may at any moment, so
   * that only who looks and waits in one can tell (`LaterResume.arm`).
   */
  get waits(): boolean {
    return this.#body !== null && !this.#ended && this.#outcome === StepOutcome.wait && !this.#isCalled;
  }

  get body(): ThreadBody | null {
    return this.#body;
  }

  /** True if the body has something to do. */
  get canStep(): boolean {
    const body = this.#body;
    if (body === null || this.#ended) return false;
    if (this.#isCalled) return true;
    if (this.#outcome === StepOutcome.wait) return !stillWaits(body.waitPoint);
    return this.#outcome === StepOutcome.more;
  }

  /** True if its owner has something for it to do. */
  get #isCalled(): boolean {
    if (this.#inbox.length > 0 || this.#stopAsked !== this.#stopTold) return true;
    return this.#stopTold && this.#body?.stop === undefined;
  }

  /** One action of the body; also without need, which must do no harm. */
  step(): void {
    const body = this.#body;
    assert(body !== null && !this.#ended, `thread ${this.name} has nothing to step`);
    try {
      if (this.#inbox.length > 0) {
        this.#outcome = StepOutcome.more;
        body.onMessage?.(this.#inbox.shift());
      } else if (this.#stopAsked && !this.#stopTold) {
        this.#stopTold = true;
        this.#outcome = StepOutcome.more;
        body.stop?.();
      } else if (this.#stopTold && body.stop === undefined) this.#end(null);
      else {
        this.#outcome = body.step();
        if (this.#outcome === StepOutcome.done) this.#end(null);
      }
    } catch (error) {
      this.fail(error);
    }
  }

  get hasNews(): boolean {
    return this.#told < this.#news.length;
  }

  /** Tells the owner the next thing. */
  tell(): void {
    const news = this.#news[this.#told++];
    assert(news !== undefined, `thread ${this.name} has nothing to tell`);
    if (this.#told === this.#news.length) {
      this.#news.length = 0;
      this.#told = 0;
    }
    news();
  }

  fail(error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    this.#end(new ThreadError(`thread ${this.name}: ${text}`, { cause: error }));
  }

  /** Ends it where it stands. */
  kill(reason: string): void {
    this.#end(new ThreadError(`thread ${this.name} ${reason}`));
  }

  #begin(body: ThreadBody): void {
    if (this.#ended) return;
    this.#body = body;
    this.#news.push(() => this.#handlers.onStart());
    this.#changed();
  }

  #toOwner(message: unknown): boolean {
    if (this.#ended || this.#toTell >= this.#messagesMax) return false;
    const cloned: unknown = structuredClone(message);
    this.#toTell++;
    this.#news.push(() => {
      this.#toTell--;
      this.#handlers.onMessage(cloned);
    });
    this.#changed();
    return true;
  }

  #end(error: Error | null): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#news.push(() => this.#handlers.onExit(error));
    this.#changed();
  }
}
