import { FrameKind } from "../../model/index.js";
import type { CheckpointStore, LogHandlers, LogStorage, ReplicaPlatform, Scheduler } from "../../platform/index.js";
import type { Disguise } from "../world/index.js";
import { heard, PassingCheckpoints, PassingLog } from "./passing-platform.js";

/** After a restart, the log confirms what it was told to flush without waiting for the disk. */
export const syncClaimed = (): Disguise => {
  const started = new Set<number>();
  return {
    platform: (real, replica): ReplicaPlatform => {
      if (!started.has(replica)) return (started.add(replica), real);
      return { ...real, log: new ClaimingLog(real.log, real.scheduler) };
    },
  };
};

class ClaimingLog extends PassingLog {
  readonly #scheduler: Scheduler;
  #handlers: LogHandlers | null = null;
  #position = 0;
  #confirmed = 0;

  constructor(inner: LogStorage, scheduler: Scheduler) {
    super(inner);
    this.#scheduler = scheduler;
  }

  override start(handlers: LogHandlers): void {
    this.#handlers = handlers;
    this.inner.start({ ...handlers, onDurable: (position) => this.#confirm(position) });
  }

  override end(): number {
    this.#position = this.inner.end();
    return this.#position;
  }

  override flush(): void {
    this.inner.flush();
    const flushed = this.#position;
    this.#scheduler.turn(() => this.#confirm(flushed)).request();
  }

  #confirm(position: number): void {
    if (position <= this.#confirmed) return;
    this.#confirmed = position;
    this.#handlers?.onDurable(position);
  }
}

/** Checkpoints say that they cover one instance more than they do. */
export const checkpointAhead = (): Disguise => ({
  platform: (real): ReplicaPlatform => ({ ...real, checkpoints: new AheadCheckpoints(real.checkpoints) }),
});

class AheadCheckpoints extends PassingCheckpoints {
  override begin(through: number): ReturnType<CheckpointStore["begin"]> {
    return this.inner.begin(through + 1);
  }
}

/** What is found in a log ends one record early: the last is taken for a torn one. */
export const lastRecordCut = (): Disguise => ({
  platform: (real): ReplicaPlatform => ({ ...real, log: new CuttingLog(real.log) }),
});

class CuttingLog extends PassingLog {
  override recover(...[visit, done]: Parameters<LogStorage["recover"]>): void {
    let held: (() => void) | null = null;
    this.inner.recover((bytes, _view, start, end) => {
      held?.();
      const copy = bytes.slice(start, end);
      held = () => visit(copy, new DataView(copy.buffer), 0, copy.length);
    }, done);
  }
}

/** A log that has lost records says that it is whole. */
export const damageUnnoticed = (): Disguise => ({
  platform: (real): ReplicaPlatform => ({ ...real, log: new ProudLog(real.log) }),
});

class ProudLog extends PassingLog {
  override recover(...[visit, done]: Parameters<LogStorage["recover"]>): void {
    this.inner.recover(visit, (error) => done(error, "intact"));
  }
}

/** A log with holes says that what it lacks can have been of no instance. */
export const holesUnbounded = (): Disguise => ({
  platform: (real): ReplicaPlatform => ({ ...real, log: new CarelessLog(real.log) }),
});

class CarelessLog extends PassingLog {
  override recover(...[visit, done]: Parameters<LogStorage["recover"]>): void {
    this.inner.recover(visit, (error, condition, extent, gaps) =>
      done(
        error,
        condition,
        extent,
        gaps?.map(({ behind }) => ({ behind, through: 0 })),
      ),
    );
  }
}

/** The log drops every segment that is complete, whatever it was told to keep. */
export const logTrimmedTooFar = (): Disguise => ({
  platform: (real): ReplicaPlatform => ({ ...real, log: new ForgetfulLog(real.log) }),
});

class ForgetfulLog extends PassingLog {
  override trim(): void {
    this.inner.trim(Number.MAX_SAFE_INTEGER);
  }
}

/** A fetched checkpoint is said to cover one instance more than it does. The field stands behind the chunk's number. */
const THROUGH_AT = 9;
export const transferAhead = (): Disguise => ({
  platform: (real): ReplicaPlatform => ({
    ...real,
    peers: heard(real.peers, (handlers) => (link, kind, bytes, view, start, end) => {
      if (kind === FrameKind.stateChunk) {
        view.setFloat64(start + THROUGH_AT, view.getFloat64(start + THROUGH_AT, true) + 1, true);
      }
      handlers.onFrame(link, kind, bytes, view, start, end);
    }),
  }),
});
