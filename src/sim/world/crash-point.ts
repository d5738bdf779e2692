import type { Prng } from "../../base/index.js";
import type {
  CheckpointInfo,
  CheckpointStore,
  FramePort,
  IdentityStore,
  LogStorage,
  ReplicaPlatform,
} from "../../platform/index.js";

/**
 * Named places inside a turn where a process can die. At a place the exception `ProcessKilled` unwinds the replica's own
 * code, so nothing after it has happened, exactly as if the machine had stopped between two instructions.
 */
export const crashPoints = [
  "before-log-flush",
  "after-log-flush",
  "before-log-confirmed",
  "after-log-confirmed",
  "before-peer-flush",
  "after-peer-flush",
  "before-client-flush",
  "before-checkpoint-commit",
  "after-checkpoint-commit",
  "before-identity-save",
  "after-identity-save",
  "before-log-reset",
  "after-log-reset",
] as const;
export type CrashPoint = (typeof crashPoints)[number];

/** Thrown inside the process that dies. The world catches it where it runs the kernel. */
export class ProcessKilled extends Error {
  override readonly name = "ProcessKilled";
  readonly replica: number;
  constructor(replica: number, point: CrashPoint) {
    super(`replica ${replica} was killed ${point.replaceAll("-", " ")}`);
    this.replica = replica;
  }
}

/** The crash points of one process. At most one is armed: the process dies when it passes that place the n-th time. */
export class CrashPoints {
  readonly #replica: number;
  /** Asked when the time has come: what was allowed when the point was armed may be too much now. */
  readonly #mayDie: () => boolean;
  #armed: CrashPoint | null = null;
  #passes = 0;

  constructor(replica: number, mayDie: () => boolean) {
    this.#replica = replica;
    this.#mayDie = mayDie;
  }

  arm(prng: Prng): void {
    this.#armed = prng.pick(crashPoints);
    const rare =
      this.#armed.includes("checkpoint") || this.#armed.includes("identity") || this.#armed.includes("reset");
    this.#passes = rare ? 1 : 1 + prng.below(20);
  }

  disarm(): void {
    this.#armed = null;
  }

  pass(point: CrashPoint): void {
    if (this.#armed !== point || --this.#passes > 0) return;
    this.#armed = null;
    if (!this.#mayDie()) return;
    throw new ProcessKilled(this.#replica, point);
  }

  /** The platform with the crash points in it. */
  around(platform: ReplicaPlatform): ReplicaPlatform {
    return {
      ...platform,
      log: this.#log(platform.log),
      checkpoints: this.#checkpoints(platform.checkpoints),
      identity: this.#identity(platform.identity),
      peers: this.#port(platform.peers, "before-peer-flush", "after-peer-flush"),
      clients: platform.clients.map((port) => this.#port(port, "before-client-flush", null)),
    };
  }

  #log(log: LogStorage): LogStorage {
    return {
      recover: (visit, done) => log.recover(visit, done),
      reset: (done) => {
        this.pass("before-log-reset");
        log.reset((error) => {
          this.pass("after-log-reset");
          done(error);
        });
      },
      start: (handlers) =>
        log.start({
          ...handlers,
          onDurable: (position) => {
            this.pass("before-log-confirmed");
            handlers.onDurable(position);
            this.pass("after-log-confirmed");
          },
        }),
      begin: (instance) => log.begin(instance),
      end: () => log.end(),
      flush: () => {
        this.pass("before-log-flush");
        log.flush();
        this.pass("after-log-flush");
      },
      trim: (through) => log.trim(through),
      pendingBytes: () => log.pendingBytes(),
      close: (done) => log.close(done),
    };
  }

  #checkpoints(store: CheckpointStore): CheckpointStore {
    return {
      open: (done) => store.open(done),
      read: (through) => store.read(through),
      begin: (through) => {
        const writer = store.begin(through);
        return {
          write: (bytes, start, end, done) => writer.write(bytes, start, end, done),
          commit: (digest, done: (error: Error | null, info: CheckpointInfo | null) => void) => {
            this.pass("before-checkpoint-commit");
            writer.commit(digest, (error, info) => {
              this.pass("after-checkpoint-commit");
              done(error, info);
            });
          },
          abort: () => writer.abort(),
        };
      },
    };
  }

  #identity(store: IdentityStore): IdentityStore {
    return {
      load: (done) => store.load(done),
      save: (identity, done) => {
        this.pass("before-identity-save");
        store.save(identity, (error) => {
          this.pass("after-identity-save");
          done(error);
        });
      },
      bootId: () => store.bootId(),
    };
  }

  #port(port: FramePort, before: CrashPoint, after: CrashPoint | null): FramePort {
    return {
      start: (handlers) => port.start(handlers),
      begin: (link, kind) => port.begin(link, kind),
      end: () => port.end(),
      flush: () => {
        this.pass(before);
        port.flush();
        if (after !== null) this.pass(after);
      },
      inFlightBytes: (link) => port.inFlightBytes(link),
      pause: (link) => port.pause(link),
      resume: (link) => port.resume(link),
      disconnect: (link, reason) => port.disconnect(link, reason),
      close: (done) => port.close(done),
    };
  }
}
