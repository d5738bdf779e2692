/**
 * The module that every worker thread of the `thread` port starts from: it loads the module of the body, makes the body, and
 * steps it, with a visit to the event loop between runs of steps.
 */
import { parentPort, workerData } from "node:worker_threads";
import { assert } from "../../base/index.js";
import type { ThreadOptions } from "./config.js";
import { FROM_THREAD, SentCount, TO_THREAD } from "./mailbox.js";
import { StepOutcome, type ThreadBody, type ThreadContext, type ThreadModule } from "./port.js";
import { block, LaterResume, spin } from "./waiting.js";

/** What a worker thread is started with. */
export interface ThreadStart {
  readonly name: string;
  readonly module: string;
  readonly data: unknown;
  readonly options: ThreadOptions;
  readonly mailbox: SharedArrayBuffer;
}

/** To the thread; everything but `stop` is counted in the mailbox. */
export type ToThread = { readonly kind: "message"; readonly message: unknown } | { readonly kind: "stop" };

/** From the thread; everything but `started` is counted in the mailbox. */
export type FromThread = { readonly kind: "message"; readonly message: unknown } | { readonly kind: "started" };

class ThreadLoop {
  readonly #options: ThreadOptions;
  readonly #body: ThreadBody;
  #scheduled = false;
  #stopping = false;
  #ended = false;
  readonly #onTurn = (): void => {
    this.#scheduled = false;
    this.#run();
  };
  readonly #later = new LaterResume(() => this.#run());

  constructor(body: ThreadBody, options: ThreadOptions) {
    this.#body = body;
    this.#options = options;
    this.wake();
  }

  wake(): void {
    if (this.#scheduled || this.#ended) return;
    this.#scheduled = true;
    setImmediate(this.#onTurn);
  }

  message(message: unknown): void {
    if (this.#ended) return;
    this.#body.onMessage?.(message);
    this.wake();
  }

  stop(): void {
    if (this.#stopping || this.#ended) return;
    this.#stopping = true;
    this.#body.stop?.();
    this.wake();
  }

  #run(): void {
    const body = this.#body;
    const { waiting, spinsMax, stepsMax, blockMs } = this.#options;
    for (let steps = 0; steps < stepsMax && !this.#ended; steps++) {
      if (this.#stopping && body.stop === undefined) return this.#end();
      const outcome = body.step();
      if (outcome === StepOutcome.more) continue;
      if (outcome === StepOutcome.done) return this.#end();
      if (outcome === StepOutcome.idle) return;
      if (spin(body.waitPoint, spinsMax)) continue;
      if (waiting === "async") {
        if (this.#later.arm(body.waitPoint)) return;
        continue;
      }
      if (waiting === "block") block(body.waitPoint, blockMs);
      break;
    }
    this.wake();
  }

  #end(): void {
    this.#ended = true;
    // The last messages are delivered; a wait that is still pending must not hold the thread.
    process.exit(0);
  }
}

assert(parentPort !== null, "this module is the main module of a worker thread");
const port = parentPort;
const start = workerData as ThreadStart;
const sent = new SentCount(start.mailbox, FROM_THREAD, start.options.messagesMax);
const handled = new Int32Array(start.mailbox);
/** What came before there was a body. It is bounded by `messagesMax`. */
let early: ToThread[] = [];
let loop: ThreadLoop | null = null;

function handle(message: ToThread): void {
  if (loop === null) early.push(message);
  else if (message.kind === "stop") loop.stop();
  else {
    Atomics.add(handled, TO_THREAD, 1);
    loop.message(message.message);
  }
}

port.on("message", handle);
const context: ThreadContext = {
  name: start.name,
  data: start.data,
  post(message) {
    if (!sent.take()) return false;
    port.postMessage({ kind: "message", message } satisfies FromThread);
    return true;
  },
  wake() {
    loop?.wake();
  },
};
const module = (await import(start.module)) as ThreadModule;
const body = await module.createThread(context);
loop = new ThreadLoop(body, start.options);
port.postMessage({ kind: "started" } satisfies FromThread);
for (const message of early) handle(message);
early = [];
