import { assert, Prng } from "../../base/index.js";
import type {
  CheckpointInfo,
  CheckpointStore,
  FramePort,
  IdentityStore,
  LogStorage,
  ReplicaPlatform,
} from "../../platform/index.js";

/**
 * Named places where a process can die: before and after everything by which it leaves a trace outside of itself (records,
 * frames, checkpoints, its identity), and before and after everything that it reads when it starts. At a place the exception
 * `ProcessKilled` unwinds the replica's own code, so nothing after it has happened, exactly as if the machine had stopped
 * between two instructions.
 */
export const crashPoints = [
  "before-log-append",
  "after-log-append",
  "before-log-flush",
  "after-log-flush",
  "before-log-confirmed",
  "after-log-confirmed",
  "before-log-prologue",
  "after-log-prologue",
  "before-log-trim",
  "after-log-trim",
  "before-peer-send",
  "after-peer-send",
  "before-peer-flush",
  "after-peer-flush",
  "before-client-send",
  "after-client-send",
  "before-client-flush",
  "after-client-flush",
  "before-checkpoint-begin",
  "after-checkpoint-begin",
  "before-checkpoint-write",
  "after-checkpoint-write",
  "before-checkpoint-commit",
  "after-checkpoint-commit",
  "before-identity-load",
  "after-identity-load",
  "before-checkpoint-open",
  "after-checkpoint-open",
  "before-checkpoint-read",
  "after-checkpoint-read",
  "before-log-recovery",
  "after-log-recovery",
  "before-identity-save",
  "after-identity-save",
  "before-log-start",
  "after-log-start",
  "before-log-reset",
  "after-log-reset",
] as const;
export type CrashPoint = (typeof crashPoints)[number];

const numbers = new Map<CrashPoint, number>(crashPoints.map((point, index) => [point, index]));
const numberOf = (point: CrashPoint): number => {
  const number = numbers.get(point);
  assert(number !== undefined, "every point has its number");
  return number;
};

/** What has to happen for a process to come by a point: it works, it starts, or it starts without what it had stored. */
export type Occasion = "work" | "start" | "loss";

/** Before this one stand the points of a process that works, from the next on those of one that starts. */
const startsAt = numberOf("before-identity-load");
const lossesAt = numberOf("before-log-reset");
const oftenBefore = numberOf("before-log-prologue");
const sendsFrom = numberOf("before-peer-send");
const sendsBefore = numberOf("before-checkpoint-begin");

export function occasionOf(point: CrashPoint): Occasion {
  const number = numberOf(point);
  return number >= lossesAt ? "loss" : number >= startsAt ? "start" : "work";
}

/** Thrown inside the process that dies. The world catches it where it runs the kernel. */
export class ProcessKilled extends Error {
  override readonly name = "ProcessKilled";
  readonly replica: number;
  constructor(replica: number, point: CrashPoint) {
    super(`replica ${replica} was killed ${point.replaceAll("-", " ")}`);
    this.replica = replica;
  }
}

/** How often processes came by each point, and died there. */
export class CrashCoverage {
  readonly #passes = new Uint32Array(crashPoints.length);
  readonly #deaths = new Uint32Array(crashPoints.length);

  passed(point: number): void {
    this.#passes[point] = (this.#passes[point] as number) + 1;
  }

  died(point: number): void {
    this.#deaths[point] = (this.#deaths[point] as number) + 1;
  }

  /** Of each point, in the order of `crashPoints`. */
  get counts(): readonly CrashPointCount[] {
    return crashPoints.map((point, index) => ({
      point,
      passes: this.#passes[index] as number,
      deaths: this.#deaths[index] as number,
    }));
  }
}

export interface CrashPointCount {
  readonly point: CrashPoint;
  readonly passes: number;
  readonly deaths: number;
}

/** An order to die: at which point, and the how-manieth time it is passed. */
export interface ArmedPoint {
  readonly point: CrashPoint;
  readonly passes: number;
}

/**
 * Where the process that a strike of this draw hits is to die: each point as likely as any other, those that are passed often at
 * one of many times. It follows from the draw alone, so that whoever writes a schedule can choose.
 */
export function crashPointOf(draw: number): ArmedPoint {
  const prng = new Prng(`crash point ${draw}`);
  const point = prng.pick(crashPoints);
  const number = numberOf(point);
  const often = number < oftenBefore || (number >= sendsFrom && number < sendsBefore);
  return { point, passes: often ? 1 + prng.below(20) : 1 };
}

/** The crash points of one process. At most one is armed: the process dies when it passes that place the n-th time. */
export class CrashPoints {
  readonly #replica: number;
  readonly #coverage: CrashCoverage;
  /** Asked when the time has come: what was allowed when the point was armed may be too much now. */
  readonly #mayDie: () => boolean;
  /** The number of the armed point, -1 for none. */
  #armed = -1;
  #passes = 0;

  constructor(replica: number, coverage: CrashCoverage, mayDie: () => boolean) {
    this.#replica = replica;
    this.#coverage = coverage;
    this.#mayDie = mayDie;
  }

  arm({ point, passes }: ArmedPoint): void {
    this.#armed = numberOf(point);
    this.#passes = passes;
  }

  disarm(): void {
    this.#armed = -1;
  }

  #pass(point: number): void {
    this.#coverage.passed(point);
    if (this.#armed !== point || --this.#passes > 0) return;
    this.#armed = -1;
    if (!this.#mayDie()) return;
    this.#coverage.died(point);
    throw new ProcessKilled(this.#replica, crashPoints[point] as CrashPoint);
  }

  /** The platform with the crash points in it. */
  around(platform: ReplicaPlatform): ReplicaPlatform {
    return {
      ...platform,
      log: this.#log(platform.log),
      checkpoints: this.#checkpoints(platform.checkpoints),
      identity: this.#identity(platform.identity),
      peers: this.#port(platform.peers, "peer"),
      clients: platform.clients.map((port) => this.#port(port, "client")),
    };
  }

  #log(log: LogStorage): LogStorage {
    const append = this.#around("before-log-append");
    const flush = this.#around("before-log-flush");
    const confirmed = this.#around("before-log-confirmed");
    const prologue = this.#around("before-log-prologue");
    const trim = this.#around("before-log-trim");
    const recovery = this.#around("before-log-recovery");
    const start = this.#around("before-log-start");
    const reset = this.#around("before-log-reset");
    return {
      recover: (visit, done) => {
        recovery.before();
        log.recover(visit, (error, condition, extent, gaps) => {
          recovery.after();
          done(error, condition, extent, gaps);
        });
      },
      reset: (done) => {
        reset.before();
        log.reset((error) => {
          reset.after();
          done(error);
        });
      },
      start: (handlers) => {
        start.before();
        log.start({
          onFatal: (error) => handlers.onFatal(error),
          onDurable: (position) => {
            confirmed.before();
            handlers.onDurable(position);
            confirmed.after();
          },
          onSegment: () => {
            prologue.before();
            handlers.onSegment();
            prologue.after();
          },
        });
        start.after();
      },
      begin: (instance) => {
        append.before();
        return log.begin(instance);
      },
      end: () => {
        const position = log.end();
        append.after();
        return position;
      },
      flush: () => {
        flush.before();
        log.flush();
        flush.after();
      },
      trim: (through) => {
        trim.before();
        log.trim(through);
        trim.after();
      },
      ...(log.revisit === undefined ? {} : { revisit: log.revisit.bind(log) }),
      pendingBytes: () => log.pendingBytes(),
      close: (done) => log.close(done),
    };
  }

  #checkpoints(store: CheckpointStore): CheckpointStore {
    const open = this.#around("before-checkpoint-open");
    const read = this.#around("before-checkpoint-read");
    const begin = this.#around("before-checkpoint-begin");
    const write = this.#around("before-checkpoint-write");
    const commit = this.#around("before-checkpoint-commit");
    return {
      open: (done) => {
        open.before();
        store.open((error, latest) => {
          open.after();
          done(error, latest);
        });
      },
      read: (through) => {
        const reader = store.read(through);
        return {
          next: (done) => {
            read.before();
            reader.next((error, chunk) => {
              read.after();
              done(error, chunk);
            });
          },
          close: () => reader.close(),
        };
      },
      begin: (through) => {
        begin.before();
        const writer = store.begin(through);
        begin.after();
        return {
          write: (bytes, start, end, done) => {
            write.before();
            writer.write(bytes, start, end, (error) => {
              write.after();
              done(error);
            });
          },
          commit: (digest, done: (error: Error | null, info: CheckpointInfo | null) => void) => {
            commit.before();
            writer.commit(digest, (error, info) => {
              commit.after();
              done(error, info);
            });
          },
          abort: () => writer.abort(),
        };
      },
    };
  }

  #identity(store: IdentityStore): IdentityStore {
    const load = this.#around("before-identity-load");
    const save = this.#around("before-identity-save");
    return {
      load: (done) => {
        load.before();
        store.load((error, identity) => {
          load.after();
          done(error, identity);
        });
      },
      save: (identity, done) => {
        save.before();
        store.save(identity, (error) => {
          save.after();
          done(error);
        });
      },
      bootId: () => store.bootId(),
    };
  }

  #port(port: FramePort, whose: "peer" | "client"): FramePort {
    const send = this.#around(`before-${whose}-send`);
    const flush = this.#around(`before-${whose}-flush`);
    return {
      start: (handlers) => port.start(handlers),
      begin: (link, kind) => {
        send.before();
        return port.begin(link, kind);
      },
      end: () => {
        port.end();
        send.after();
      },
      flush: () => {
        flush.before();
        port.flush();
        flush.after();
      },
      inFlightBytes: (link) => port.inFlightBytes(link),
      pause: (link) => port.pause(link),
      resume: (link) => port.resume(link),
      disconnect: (link, reason) => port.disconnect(link, reason),
      close: (done) => port.close(done),
    };
  }

  /** The two points around something; each stands in the list right behind the other. */
  #around(point: CrashPoint): { before: () => void; after: () => void } {
    const before = numberOf(point);
    assert(crashPoints[before + 1] === point.replace("before", "after"), `what is after ${point} follows it`);
    return { before: () => this.#pass(before), after: () => this.#pass(before + 1) };
  }
}
