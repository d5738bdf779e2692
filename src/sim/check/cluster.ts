import { Hash64 } from "../../base/index.js";
import {
  type Digest,
  type Instance,
  majority,
  type Position,
  type ReplicaId,
  type SessionId,
  TraceCode,
} from "../../model/index.js";

/** Something that must never happen, and did. */
export interface InvariantViolation {
  readonly invariant: Invariant;
  readonly message: string;
}

/**
 * - `agreement`: an instance has one value, on all replicas and in all their lives.
 * - `order`: a replica decides and executes instance after instance, without gap or repetition, nothing before it is decided,
 *   beginning behind its checkpoint.
 * - `exactly-once`: the commands of a session execute in sequence, each once, and an instance executes the same commands
 *   wherever and whenever it is executed.
 * - `durability`: what was acknowledged has been executed; nothing is trimmed before f + 1 replicas hold a durable
 *   checkpoint of it.
 * - `digest`: states at equal positions are equal.
 * - `time`: agreed time never goes back along the log, over changes of leader and restarts too, and is the same everywhere at
 *   equal positions: what has expired stays so.
 */
export type Invariant = "agreement" | "order" | "exactly-once" | "durability" | "digest" | "time";

export interface ClusterCheckerOptions {
  /** Instances remembered at most. Beyond, the oldest are forgotten and no longer compared. */
  readonly instancesMax?: number;
  /** Digest positions remembered at most; the oldest are forgotten. */
  readonly positionsMax?: number;
  /** Sessions remembered at most; one forgotten is taken up again wherever it stands. */
  readonly sessionsMax?: number;
}

/** Violations kept; a broken run would report one with every event. */
const VIOLATIONS_MAX = 100;

/** One life of one replica, from its start to its end. */
interface Life {
  readonly incarnation: number;
  /** Instance behind which this life began; -1 until that is known. */
  base: Instance;
  decided: Instance;
  /** False while no decision was traced: hosts need not trace them. */
  decides: boolean;
  executed: Instance;
  installed: Instance;
  /** What the instance that is being executed did to sessions, as a hash, and as a list while no other replica is ahead. */
  readonly hash: Hash64;
  readonly pending: SessionEvent[];
  timeMs: number;
}

/** The digest of a state where a replica came to it first. */
interface KnownDigest {
  readonly words: Digest;
  readonly replica: ReplicaId;
}

interface SessionEvent {
  readonly code: TraceCode;
  readonly session: SessionId;
  readonly first: number;
  readonly count: number;
}

/**
 * Checks the trace streams of all replicas of a group against each other while they run. Feed it every trace event of every
 * replica; replicas may be at different places, crash and begin again from a checkpoint. Costs a few map operations per
 * instance; what all replicas have trimmed is forgotten.
 */
export class ClusterChecker {
  readonly #replicas: number;
  readonly #instancesMax: number;
  readonly #positionsMax: number;
  readonly #sessionsMax: number;
  readonly #violations: InvariantViolation[] = [];
  readonly #lives = new Map<ReplicaId, Life>();
  readonly #trimmed = new Map<ReplicaId, Instance>();
  readonly #checkpoints = new Map<ReplicaId, Instance>();
  /** Lives whose checkpoint is known from `onStart`; the rule on trimming needs to know it of all. */
  #startsKnown = false;

  /** By instance, above `#forgotten`: hash of the value, hash of what it did to sessions, agreed time. */
  readonly #values = new Map<Instance, number>();
  readonly #effects = new Map<Instance, number>();
  readonly #times = new Map<Instance, number>();
  #forgotten: Instance = 0;
  /** Agreed time after the last instance that was forgotten, as far as it was known. */
  #timeForgottenMs = -Infinity;

  /** Highest instance executed by any replica, and the last sequence number of each session there. */
  #frontier: Instance = 0;
  readonly #sessions = new Map<SessionId, number>();
  #sessionsForgotten = false;
  readonly #acknowledged = new Map<SessionId, number>();
  readonly #digests = new Map<Position, KnownDigest>();

  constructor(replicas: number, options: ClusterCheckerOptions = {}) {
    this.#replicas = replicas;
    this.#instancesMax = options.instancesMax ?? 1_000_000;
    this.#positionsMax = options.positionsMax ?? 10_000;
    this.#sessionsMax = options.sessionsMax ?? 1_000_000;
  }

  /** What was found so far, oldest first; at most `VIOLATIONS_MAX`. */
  violations(): readonly InvariantViolation[] {
    return this.#violations;
  }

  /** A replica begins a life with a durable checkpoint through this instance (0: none). Optional, and then the first event. */
  onStart(replica: ReplicaId, incarnation: number, checkpointThrough: Instance): void {
    const life = this.#begin(replica, incarnation);
    life.base = life.decided = life.executed = checkpointThrough;
    this.#startsKnown = true;
    this.#checkpointed(replica, checkpointThrough);
    if (checkpointThrough > this.#frontier) {
      const message = `replica ${replica} starts from a checkpoint through ${checkpointThrough}`;
      this.#report("order", `${message}, but no replica has executed more than ${this.#frontier}`);
    }
  }

  /** A trace event. Events of a life that is over are ignored. `incarnation` numbers the lives of a replica and rises. */
  onTrace(replica: ReplicaId, incarnation: number, code: TraceCode, a: number, b: number, c: number): void {
    const known = this.#lives.get(replica);
    if (known !== undefined && incarnation < known.incarnation) return;
    const life = known?.incarnation === incarnation ? known : this.#begin(replica, incarnation);
    switch (code) {
      case TraceCode.decided:
        return this.#onDecided(replica, life, a, c);
      case TraceCode.executed:
        return this.#onExecuted(replica, life, a);
      case TraceCode.installed:
        return this.#onInstalled(replica, life, a);
      case TraceCode.checkpointed:
        if (life.executed < a) this.#report("order", `replica ${replica} has a checkpoint ahead of its state, at ${a}`);
        return this.#checkpointed(replica, a);
      case TraceCode.trimmed:
        return this.#onTrimmed(replica, life, a);
      case TraceCode.commandsExecuted:
      case TraceCode.commandsSkipped:
      case TraceCode.sessionOpened:
      case TraceCode.sessionExpired:
      case TraceCode.conservativeExecuted:
        life.hash.u32(code).f64(a).f64(b).f64(c);
        if (life.executed === this.#frontier || life.base < 0) {
          life.pending.push({ code, session: a, first: b, count: c });
        }
        return;
      default:
    }
  }

  /** The state of a replica at a position, as an ordered digest command or a checkpoint found it. */
  onDigest(replica: ReplicaId, position: Position, digest: Digest): void {
    const known = this.#digests.get(position);
    if (known === undefined) {
      this.#digests.set(position, { words: digest.slice(), replica });
      bound(this.#digests, this.#positionsMax);
    } else if (!equalDigests(known.words, digest)) {
      const states = `${digest.join(".")}, that of replica ${known.replica} is ${known.words.join(".")}`;
      this.#report("digest", `at position ${position} the digest of replica ${replica} is ${states}`);
    }
  }

  /** Agreed time, in ms, after executing an instance. */
  onAgreedTime(replica: ReplicaId, incarnation: number, instance: Instance, timeMs: number): void {
    const known = this.#lives.get(replica);
    if (known !== undefined && incarnation < known.incarnation) return;
    const life = known?.incarnation === incarnation ? known : this.#begin(replica, incarnation);
    const back = timeMs < life.timeMs;
    if (back) {
      this.#report("time", `replica ${replica}: agreed time goes back from ${life.timeMs} to ${timeMs} at ${instance}`);
    }
    life.timeMs = timeMs;
    if (back || instance <= this.#forgotten) return;
    const agreed = this.#times.get(instance);
    if (agreed === undefined) {
      this.#alongTheLog(replica, instance, timeMs);
      this.#remember(this.#times, instance, timeMs);
    } else if (agreed !== timeMs) {
      this.#report(
        "time",
        `replica ${replica}: agreed time after instance ${instance} is ${timeMs}, elsewhere ${agreed}`,
      );
    }
  }

  /** Compares with the instances beside this one, on whatever replica and in whatever life they were executed. */
  #alongTheLog(replica: ReplicaId, instance: Instance, timeMs: number): void {
    const before = this.#times.get(instance - 1) ?? this.#timeForgottenMs;
    const after = this.#times.get(instance + 1) ?? Infinity;
    if (before <= timeMs && timeMs <= after) return;
    const [other, otherMs] = before > timeMs ? ["before", before] : ["behind", after];
    const message = `replica ${replica}: agreed time after instance ${instance} is ${timeMs}, after one ${other} it ${otherMs}`;
    this.#report("time", message);
  }

  /** A client was told the result of this command; `finish` checks that it was executed. */
  onAcknowledged(session: SessionId, sequence: number): void {
    if (sequence > (this.#acknowledged.get(session) ?? 0)) this.#acknowledged.set(session, sequence);
    bound(this.#acknowledged, this.#sessionsMax);
  }

  /**
   * To be called when the replicas have settled: everything acknowledged must have been executed. That its effect is still
   * there is for a final read of every key to show, which the linearizability check then judges.
   */
  finish(): readonly InvariantViolation[] {
    for (const [session, sequence] of this.#acknowledged) {
      const last = this.#sessions.get(session) ?? (this.#sessionsForgotten ? Infinity : 0);
      if (last < sequence) {
        const message = `session ${session}: command ${sequence} was acknowledged, the last executed is ${last}`;
        this.#report("durability", message);
      }
    }
    return this.#violations;
  }

  #begin(replica: ReplicaId, incarnation: number): Life {
    const first = !this.#lives.has(replica);
    // The first life of a replica begins with the log.
    const life: Life = {
      incarnation,
      base: first ? 0 : -1,
      decided: 0,
      decides: false,
      executed: 0,
      installed: 0,
      hash: new Hash64(),
      pending: [],
      timeMs: -Infinity,
    };
    this.#lives.set(replica, life);
    return life;
  }

  /** Without `onStart`, a life begins where its first event says, if a checkpoint can have covered what came before. */
  #beginAt(replica: ReplicaId, life: Life, instance: Instance): void {
    if (life.base >= 0) return;
    life.base = life.decided = life.executed = instance - 1;
    if (instance - 1 > this.#frontier) {
      this.#report("order", `replica ${replica} begins with instance ${instance}; none has executed ${instance - 1}`);
    }
  }

  #onDecided(replica: ReplicaId, life: Life, instance: Instance, hash: number): void {
    this.#beginAt(replica, life, instance);
    const follows = instance === life.decided + 1;
    if (!follows && !(life.installed >= life.decided && instance === life.installed + 1)) {
      this.#report("order", `replica ${replica} decides instance ${instance} after ${life.decided}`);
    }
    life.decided = Math.max(life.decided, instance);
    life.decides = true;
    if (instance <= this.#forgotten) return;
    const known = this.#values.get(instance);
    if (known === undefined) this.#remember(this.#values, instance, hash);
    else if (known !== hash) {
      this.#report(
        "agreement",
        `replica ${replica} decides another value for instance ${instance}: ${hash}, not ${known}`,
      );
    }
  }

  #onExecuted(replica: ReplicaId, life: Life, instance: Instance): void {
    this.#beginAt(replica, life, instance);
    const follows = instance === life.executed + 1;
    if (!follows && !(life.installed >= life.executed && instance === life.installed + 1)) {
      this.#report("order", `replica ${replica} executes instance ${instance} after ${life.executed}`);
    }
    if (life.decides && instance > life.decided) {
      this.#report("order", `replica ${replica} executes instance ${instance}, but has decided only ${life.decided}`);
    }
    const effect = life.hash.number();
    life.hash.reset();
    life.executed = Math.max(life.executed, instance);
    const { pending } = life;
    this.#compareEffects(replica, instance, effect, pending);
    pending.length = 0;
  }

  #compareEffects(replica: ReplicaId, instance: Instance, effect: number, pending: readonly SessionEvent[]): void {
    if (instance <= this.#forgotten) return;
    const known = this.#effects.get(instance);
    if (known !== undefined && known !== effect) {
      this.#report(
        "exactly-once",
        `replica ${replica} executes other commands in instance ${instance} than another did`,
      );
    }
    if (known === undefined) this.#remember(this.#effects, instance, effect);
    if (instance !== this.#frontier + 1) {
      this.#frontier = Math.max(this.#frontier, instance);
      return;
    }
    this.#frontier = instance;
    for (const event of pending) this.#apply(replica, instance, event);
  }

  /** Follows the sessions at the frontier, where each instance is seen once. */
  #apply(replica: ReplicaId, instance: Instance, { code, session, first, count }: SessionEvent): void {
    if (code === TraceCode.sessionOpened) {
      this.#sessions.set(session, 0);
    } else if (code === TraceCode.sessionExpired) {
      this.#sessions.set(session, Infinity);
    } else if (code === TraceCode.commandsExecuted) {
      const last = this.#sessions.get(session);
      if (last !== undefined && first !== last + 1) {
        const what = first <= last ? "executes again" : "executes, leaving a gap,";
        const past = last === Infinity ? "which has expired" : `whose last was ${last}`;
        const message = `in instance ${instance} command ${first} of session ${session}, ${past}`;
        this.#report("exactly-once", `replica ${replica} ${what} ${message}`);
      }
      this.#sessions.set(session, Math.max(last ?? 0, first + count - 1));
    }
    if (this.#sessions.size > this.#sessionsMax) this.#sessionsForgotten = true;
    bound(this.#sessions, this.#sessionsMax);
  }

  #onInstalled(replica: ReplicaId, life: Life, through: Instance): void {
    if (through > this.#frontier) {
      this.#report("order", `replica ${replica} installs a state through ${through}, which no replica has executed`);
    }
    if (life.base < 0) life.base = life.decided = life.executed = 0;
    life.installed = Math.max(life.installed, through);
    life.decided = Math.max(life.decided, through);
    if (through > life.executed) {
      life.executed = through;
      life.hash.reset();
      life.pending.length = 0;
    }
    this.#checkpointed(replica, through);
  }

  #checkpointed(replica: ReplicaId, through: Instance): void {
    this.#checkpoints.set(replica, Math.max(through, this.#checkpoints.get(replica) ?? 0));
  }

  #onTrimmed(replica: ReplicaId, life: Life, through: Instance): void {
    // Nothing is trimmed yet, so nothing need be covered.
    if (through === 0) return;
    const own = this.#checkpoints.get(replica) ?? 0;
    let holders = 0;
    for (const checkpoint of this.#checkpoints.values()) if (checkpoint >= through) holders++;
    const needed = majority(this.#replicas);
    if (this.#startsKnown && own < through) {
      this.#report("durability", `replica ${replica} trims through ${through}, its checkpoint is at ${own}`);
    } else if (this.#startsKnown && holders < needed && through > life.installed) {
      // An installed checkpoint, durable here, stands for the part of the log that it replaces.
      const message = `replica ${replica} trims through ${through}, which ${holders} durable checkpoints cover`;
      this.#report("durability", `${message}; it needs at least ${needed}`);
    }
    this.#trimmed.set(replica, Math.max(through, this.#trimmed.get(replica) ?? 0));
    if (this.#trimmed.size < this.#replicas) return;
    this.#forgetThrough(Math.min(...this.#trimmed.values()));
  }

  #remember<T>(map: Map<Instance, T>, instance: Instance, value: T): void {
    map.set(instance, value);
    if (map.size > this.#instancesMax) this.#forgetThrough(this.#forgotten + Math.ceil(this.#instancesMax / 8));
  }

  #forgetThrough(through: Instance): void {
    // Instances may be missing from a map, so each map is asked for each; this is amortised over their insertion.
    for (; this.#forgotten < through; this.#forgotten++) {
      const instance = this.#forgotten + 1;
      this.#values.delete(instance);
      this.#effects.delete(instance);
      this.#timeForgottenMs = this.#times.get(instance) ?? this.#timeForgottenMs;
      this.#times.delete(instance);
    }
  }

  #report(invariant: Invariant, message: string): void {
    if (this.#violations.length < VIOLATIONS_MAX) this.#violations.push({ invariant, message });
  }
}

function equalDigests(a: Digest, b: Digest): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Forgets the oldest entries of a map beyond its maximum. */
function bound<K, V>(map: Map<K, V>, sizeMax: number): void {
  if (map.size <= sizeMax) return;
  for (const key of map.keys()) {
    map.delete(key);
    if (map.size <= sizeMax) return;
  }
}
