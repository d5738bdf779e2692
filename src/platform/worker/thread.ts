import { Worker } from "node:worker_threads";
import { ThreadError } from "../../model/index.js";
import { checkThreadOptions, type ThreadOptions } from "./config.js";
import { FROM_THREAD, MAILBOX_BYTES, SentCount, TO_THREAD } from "./mailbox.js";
import type { ThreadHandle, ThreadHandlers, ThreadInit, ThreadPort } from "./port.js";
import type { FromThread, ThreadStart, ToThread } from "./thread-main.js";

/** Threads of the operating system, one a body. Throws `ConfigError` for an option out of bounds. */
export class WorkerThreads implements ThreadPort {
  readonly #options: ThreadOptions;

  constructor(options: Partial<ThreadOptions> = {}) {
    this.#options = checkThreadOptions(options);
  }

  start(init: ThreadInit, handlers: ThreadHandlers): ThreadHandle {
    return new WorkerThread(init, handlers, this.#options);
  }
}

class WorkerThread implements ThreadHandle {
  readonly #name: string;
  readonly #handlers: ThreadHandlers;
  readonly #options: ThreadOptions;
  readonly #worker: Worker;
  readonly #sent: SentCount;
  readonly #handled: Int32Array;
  /** Ends a thread that does not start or stop in time. */
  #limit: NodeJS.Timeout;
  #stopping = false;
  #ended = false;
  #error: ThreadError | null = null;

  constructor(init: ThreadInit, handlers: ThreadHandlers, options: ThreadOptions) {
    this.#name = init.name;
    this.#handlers = handlers;
    this.#options = options;
    const mailbox = new SharedArrayBuffer(MAILBOX_BYTES);
    this.#sent = new SentCount(mailbox, TO_THREAD, options.messagesMax);
    this.#handled = new Int32Array(mailbox);
    const { name, data } = init;
    this.#worker = new Worker(new URL("./thread-main.js", import.meta.url), {
      workerData: { name, module: init.module.href, data, options, mailbox } satisfies ThreadStart,
      name,
    });
    this.#limit = setTimeout(() => this.#kill(`did not start within ${options.startMs} ms`), options.startMs);
    this.#worker.on("message", (message: FromThread) => this.#onMessage(message));
    this.#worker.on("error", (error) => {
      const text = error instanceof Error ? error.message : String(error);
      this.#error ??= new ThreadError(`thread ${name}: ${text}`, { cause: error });
    });
    this.#worker.on("exit", (code) => this.#onExit(code));
  }

  post(message: unknown): boolean {
    if (this.#ended || !this.#sent.take()) return false;
    this.#worker.postMessage({ kind: "message", message } satisfies ToThread);
    return true;
  }

  stop(): void {
    if (this.#stopping || this.#ended) return;
    this.#stopping = true;
    const { stopMs } = this.#options;
    clearTimeout(this.#limit);
    this.#limit = setTimeout(() => this.#kill(`did not stop within ${stopMs} ms`), stopMs);
    this.#worker.postMessage({ kind: "stop" } satisfies ToThread);
  }

  #onMessage(message: FromThread): void {
    if (message.kind === "message") {
      Atomics.add(this.#handled, FROM_THREAD, 1);
      this.#handlers.onMessage(message.message);
      return;
    }
    if (!this.#stopping) clearTimeout(this.#limit);
    this.#handlers.onStart();
  }

  #kill(reason: string): void {
    this.#error ??= new ThreadError(`thread ${this.#name} ${reason}`);
    void this.#worker.terminate();
  }

  #onExit(code: number): void {
    this.#ended = true;
    clearTimeout(this.#limit);
    if (code !== 0) this.#error ??= new ThreadError(`thread ${this.#name} ended with exit code ${code}`);
    this.#handlers.onExit(this.#error);
  }
}
