import type { CheckpointStore, LogHandlers, LogStorage, ReplicaPlatform, Scheduler } from "../../platform/index.js";
import type { Disguise } from "../world/index.js";

/** The log confirms what it was told to flush without waiting for the disk. */
export const syncClaimed = (): Disguise => ({
  platform: (real): ReplicaPlatform => ({ ...real, log: new ClaimingLog(real.log, real.scheduler) }),
});

class ClaimingLog implements LogStorage {
  readonly #log: LogStorage;
  readonly #scheduler: Scheduler;
  #handlers: LogHandlers | null = null;
  #position = 0;
  #confirmed = 0;

  constructor(log: LogStorage, scheduler: Scheduler) {
    this.#log = log;
    this.#scheduler = scheduler;
  }

  recover(...args: Parameters<LogStorage["recover"]>): void {
    this.#log.recover(...args);
  }

  reset(...args: Parameters<LogStorage["reset"]>): void {
    this.#log.reset(...args);
  }

  start(handlers: LogHandlers): void {
    this.#handlers = handlers;
    this.#log.start({ ...handlers, onDurable: (position) => this.#confirm(position) });
  }

  begin(instance: number): ReturnType<LogStorage["begin"]> {
    return this.#log.begin(instance);
  }

  end(): number {
    this.#position = this.#log.end();
    return this.#position;
  }

  flush(): void {
    this.#log.flush();
    const flushed = this.#position;
    this.#scheduler.turn(() => this.#confirm(flushed)).request();
  }

  #confirm(position: number): void {
    if (position <= this.#confirmed) return;
    this.#confirmed = position;
    this.#handlers?.onDurable(position);
  }

  trim(through: number): void {
    this.#log.trim(through);
  }

  pendingBytes(): number {
    return this.#log.pendingBytes();
  }

  close(done: () => void): void {
    this.#log.close(done);
  }
}

/** Checkpoints say that they cover one instance more than they do. */
export const checkpointAhead = (): Disguise => ({
  platform: (real): ReplicaPlatform => ({ ...real, checkpoints: ahead(real.checkpoints) }),
});

function ahead(store: CheckpointStore): CheckpointStore {
  return {
    open: (done) => store.open(done),
    begin: (through) => store.begin(through + 1),
    read: (through) => store.read(through),
  };
}
