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

for (let before = 0; before < crashPoints.length; before += 2) {
  const point = crashPoints[before] as CrashPoint;
  assert(crashPoints[before + 1] === point.replace("before", "after"), `what is after ${point} follows it`);
}

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

  /** Passes a point; that behind it, which is called "after" where this one is called "before", has the next number. */
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
    const append = numberOf("before-log-append");
    const flush = numberOf("before-log-flush");
    const confirmed = numberOf("before-log-confirmed");
    const prologue = numberOf("before-log-prologue");
    const trim = numberOf("before-log-trim");
    const recovery = numberOf("before-log-recovery");
    const start = numberOf("before-log-start");
    const reset = numberOf("before-log-reset");
    return {
      recover: (visit, done) => {
        this.#pass(recovery);
        log.recover(visit, (error, condition, extent, gaps) => {
          this.#pass(recovery + 1);
          done(error, condition, extent, gaps);
        });
      },
      reset: (done) => {
        this.#pass(reset);
        log.reset((error) => {
          this.#pass(reset + 1);
          done(error);
        });
      },
      start: (handlers) => {
        this.#pass(start);
        log.start({
          onFatal: (error) => handlers.onFatal(error),
          onDurable: (position) => {
            this.#pass(confirmed);
            handlers.onDurable(position);
            this.#pass(confirmed + 1);
          },
          onSegment: () => {
            this.#pass(prologue);
            handlers.onSegment();
            this.#pass(prologue + 1);
          },
        });
        this.#pass(start + 1);
      },
      begin: (instance) => {
        this.#pass(append);
        return log.begin(instance);
      },
      end: () => {
        const position = log.end();
        this.#pass(append + 1);
        return position;
      },
      flush: () => {
        this.#pass(flush);
        log.flush();
        this.#pass(flush + 1);
      },
      trim: (through) => {
        this.#pass(trim);
        log.trim(through);
        this.#pass(trim + 1);
      },
      ...(log.revisit === undefined ? {} : { revisit: log.revisit.bind(log) }),
      pendingBytes: () => log.pendingBytes(),
      close: (done) => log.close(done),
    };
  }

  #checkpoints(store: CheckpointStore): CheckpointStore {
    const open = numberOf("before-checkpoint-open");
    const read = numberOf("before-checkpoint-read");
    const begin = numberOf("before-checkpoint-begin");
    const write = numberOf("before-checkpoint-write");
    const commit = numberOf("before-checkpoint-commit");
    return {
      open: (done) => {
        this.#pass(open);
        store.open((error, latest) => {
          this.#pass(open + 1);
          done(error, latest);
        });
      },
      read: (through) => {
        const reader = store.read(through);
        return {
          next: (done) => {
            this.#pass(read);
            reader.next((error, chunk) => {
              this.#pass(read + 1);
              done(error, chunk);
            });
          },
          close: () => reader.close(),
        };
      },
      begin: (through) => {
        this.#pass(begin);
        const writer = store.begin(through);
        this.#pass(begin + 1);
        return {
          write: (bytes, start, end, done) => {
            this.#pass(write);
            writer.write(bytes, start, end, (error) => {
              this.#pass(write + 1);
              done(error);
            });
          },
          commit: (digest, done: (error: Error | null, info: CheckpointInfo | null) => void) => {
            this.#pass(commit);
            writer.commit(digest, (error, info) => {
              this.#pass(commit + 1);
              done(error, info);
            });
          },
          abort: () => writer.abort(),
        };
      },
    };
  }

  #identity(store: IdentityStore): IdentityStore {
    const load = numberOf("before-identity-load");
    const save = numberOf("before-identity-save");
    return {
      load: (done) => {
        this.#pass(load);
        store.load((error, identity) => {
          this.#pass(load + 1);
          done(error, identity);
        });
      },
      save: (identity, done) => {
        this.#pass(save);
        store.save(identity, (error) => {
          this.#pass(save + 1);
          done(error);
        });
      },
      bootId: () => store.bootId(),
    };
  }

  #port(port: FramePort, whose: "peer" | "client"): FramePort {
    const send = numberOf(`before-${whose}-send`);
    const flush = numberOf(`before-${whose}-flush`);
    return {
      start: (handlers) => port.start(handlers),
      begin: (link, kind) => {
        this.#pass(send);
        return port.begin(link, kind);
      },
      end: () => {
        port.end();
        this.#pass(send + 1);
      },
      flush: () => {
        this.#pass(flush);
        port.flush();
        this.#pass(flush + 1);
      },
      inFlightBytes: (link) => port.inFlightBytes(link),
      pause: (link) => port.pause(link),
      resume: (link) => port.resume(link),
      disconnect: (link, reason) => port.disconnect(link, reason),
      close: (done) => port.close(done),
    };
  }
}
