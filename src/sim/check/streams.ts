import { type Digest, type Instance, type ReplicaId, type SessionId, TraceCode } from "../../model/index.js";
import { ClusterChecker } from "./cluster.js";

/** Seed under which hosts hash decided batches for the trace stream. */
export const DECIDED_HASH_SEED = 7;

/** A trace event of an instance that a thread executed. */
export interface ThreadEffect {
  readonly code: TraceCode;
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

/** A thread of a replica in one life of it. */
export interface ThreadLife {
  readonly replica: ReplicaId;
  readonly life: number;
  readonly thread: number;
}

/**
 * - `merge-order`: a thread delivers its two streams in one order, the same on all replicas and in all their lives, each stream
 *   without gap or repetition (MR1 to MR4); since all threads deliver g_all in its order, their orders together have no cycle.
 * - `agreement`: what a thread is given is what was decided, too.
 * - `cut`: all parts of a checkpoint are behind the same instance of g_all, and each where the order of its thread says.
 *
 * The others are those of `ClusterChecker`, which hold for each stream.
 */
export interface StreamsViolation {
  readonly invariant: string;
  readonly message: string;
}

/** What is known of a thread in its present life. */
interface Place {
  readonly life: number;
  own: Instance;
  all: Instance;
  /** Instances of g_all at which it has cut checkpoints. */
  readonly cuts: Instance[];
}

/** Places in the order of a thread, or sessions, that are remembered; the oldest are forgotten and no longer compared. */
const PLACES_MAX = 200_000;
const VIOLATIONS_MAX = 100;

/**
 * Checks a cluster with several groups while it runs: each stream as `ClusterChecker` does, and the orders in which threads
 * deliver g_all and their own stream against those of the other replicas. Fed with the trace of every member, and with what
 * observers of all threads see.
 */
export class StreamsChecker {
  readonly #groups: number;
  /** By stream. That of g_all knows what was executed from whichever thread executed it. */
  readonly #streams: readonly ClusterChecker[];
  readonly #violations: StreamsViolation[] = [];
  /** By thread: where it stands, by replica. */
  readonly #places: readonly Map<ReplicaId, Place>[];
  /** By thread: behind how many instances of its own stream it delivers an instance of g_all. */
  readonly #order: readonly Map<Instance, Instance>[];
  /** By stream: the hash of what was delivered or decided. */
  readonly #values: readonly Map<Instance, number>[];
  /** The last instance of g_all that each replica has executed, by whichever thread. */
  readonly #executedAll = new Map<ReplicaId, { readonly life: number; through: Instance }>();
  /** And that its member 0 has seen decided. */
  readonly #decidedAll = new Map<ReplicaId, { readonly life: number; readonly through: Instance }>();
  /** The stream of each session in which anything was executed. */
  readonly #sessions = new Map<SessionId, number>();
  /** The last command of each session that was acknowledged; in which stream is known when its instance is done with. */
  readonly #acknowledged = new Map<SessionId, number>();
  /** Instances of g_all whose state was compared, and merged instances that were. */
  states = 0;
  compared = 0;

  constructor(groups: number, replicas: number) {
    this.#groups = groups;
    this.#streams = Array.from({ length: groups + 1 }, () => new ClusterChecker(replicas));
    this.#places = Array.from({ length: groups }, () => new Map<ReplicaId, Place>());
    this.#order = Array.from({ length: groups }, () => new Map<Instance, Instance>());
    this.#values = Array.from({ length: groups + 1 }, () => new Map<Instance, number>());
  }

  violations(): readonly StreamsViolation[] {
    for (const [stream, checker] of this.#streams.entries()) {
      const found = checker.violations()[0];
      if (found === undefined) continue;
      return [{ invariant: found.invariant, message: `stream ${stream}: ${found.message}` }, ...this.#violations];
    }
    return this.#violations;
  }

  /** What the protocol of a member traced; what its thread traced comes with `onExecuted`. */
  onTrace(member: number, replica: ReplicaId, life: number, { code, a, b, c }: ThreadEffect): void {
    if (isOfExecution(code)) return;
    if (code === TraceCode.decided) this.#onDecided(member, replica, life, a, c);
    // When threads execute what g_all has decided has nothing to do with when its own member starts.
    if (member > 0 || code !== TraceCode.decided) this.#stream(member).onTrace(replica, life, code, a, b, c);
  }

  #onDecided(member: number, replica: ReplicaId, life: number, instance: Instance, hash: number): void {
    this.#value(member, instance, hash, `replica ${replica} decides`);
    if (member > 0) return;
    const last = this.#decidedAll.get(replica);
    if (last?.life === life && instance !== last.through + 1) {
      this.#report("order", `replica ${replica} decides instance ${instance} of g_all after ${last.through}`);
    }
    this.#decidedAll.set(replica, { life, through: instance });
  }

  /** A thread begins behind these instances of its own stream and of g_all, with the state of a checkpoint or with none. */
  onBegan({ replica, life, thread }: ThreadLife, own: Instance, all: Instance, restored: boolean): void {
    this.#placesOf(thread).set(replica, { life, own, all, cuts: [] });
    if (restored) this.#stream(thread + 1).onStart(replica, life, own);
    const known = this.#orderOf(thread).get(all);
    if (known !== undefined && own !== known) {
      this.#report(
        "cut",
        `thread ${thread} of replica ${replica} begins behind ${own} and g_all ${all}, which comes behind ${known}`,
      );
    }
    const executed = this.#executedAll.get(replica);
    if (executed?.life === life) {
      if (executed.through >= all) return;
      this.#report("cut", `thread ${thread} of replica ${replica} begins behind g_all ${all}, others before that`);
    }
    this.#executedAll.set(replica, { life, through: all });
    if (restored) this.#stream(0).onStart(replica, life, all);
  }

  onDelivered({ replica, life, thread }: ThreadLife, stream: number, instance: Instance, hash: number): void {
    const place = this.#place(replica, life, thread);
    if (place === null) return;
    const who = `thread ${thread} of replica ${replica}`;
    const last = stream === 0 ? place.all : place.own;
    if (instance !== last + 1) {
      this.#report("merge-order", `${who} delivers instance ${instance} of stream ${stream} behind ${last}`);
    }
    this.#value(stream, instance, hash, `${who} is given`);
    if (stream > 0) {
      place.own = instance;
      return;
    }
    place.all = instance;
    const order = this.#orderOf(thread);
    const known = order.get(instance);
    this.compared++;
    if (known === undefined) remember(order, instance, place.own);
    else if (known !== place.own) {
      this.#report(
        "merge-order",
        `${who} delivers instance ${instance} of g_all behind ${place.own} of its own stream, elsewhere that was behind ${known}`,
      );
    }
  }

  /** `effects` is null where another thread executed the instance. */
  onExecuted(
    { replica, life, thread }: ThreadLife,
    stream: number,
    through: Instance,
    effects: readonly ThreadEffect[] | null,
  ): void {
    if (effects === null) return;
    const checker = this.#stream(stream);
    if (stream === 0) {
      const executed = this.#executedAll.get(replica);
      if (executed === undefined || executed.life !== life) return;
      // An instance that concerns nobody is executed by no thread.
      for (let skipped = executed.through + 1; skipped < through; skipped++) {
        checker.onTrace(replica, life, TraceCode.executed, skipped, 0, 0);
      }
      executed.through = Math.max(executed.through, through);
    } else if (stream !== thread + 1) {
      this.#report("merge-order", `thread ${thread} of replica ${replica} executes an instance of stream ${stream}`);
    }
    for (const { code, a } of effects) if (code === TraceCode.commandsExecuted) this.#use(a, stream);
    for (const { code, a, b, c } of effects) checker.onTrace(replica, life, code, a, b, c);
    checker.onTrace(replica, life, TraceCode.executed, through, 0, 0);
  }

  /** The state of the service where all threads of a replica meet. */
  onState(replica: ReplicaId, life: number, through: Instance, digest: Digest, timeMs: number): void {
    this.states++;
    this.#stream(0).onDigest(replica, through, digest);
    this.#stream(0).onAgreedTime(replica, life, through, timeMs);
  }

  onCut({ replica, life, thread }: ThreadLife, all: Instance, own: Instance): void {
    const place = this.#place(replica, life, thread);
    if (place === null) return;
    place.cuts.push(all);
    const known = this.#orderOf(thread).get(all);
    if (known !== own) {
      this.#report("cut", `replica ${replica} cuts g_all at ${all}, thread ${thread} behind ${own}, not ${known}`);
    }
    const index = place.cuts.length - 1;
    for (let other = 0; other < this.#groups; other++) {
      const there = this.#place(replica, life, other)?.cuts[index];
      if (there !== undefined && there !== all) {
        this.#report(
          "cut",
          `replica ${replica}: cut ${index} is at ${all} in thread ${thread}, at ${there} in ${other}`,
        );
      }
    }
  }

  /** A client was told the result of this command; `finish` checks that it was executed. */
  onAcknowledged(session: SessionId, sequence: number): void {
    remember(this.#acknowledged, session, Math.max(sequence, this.#acknowledged.get(session) ?? 0));
  }

  /** To be called when the replicas have settled. */
  finish(): void {
    for (const [session, sequence] of this.#acknowledged) {
      const stream = this.#sessions.get(session);
      if (stream !== undefined) this.#stream(stream).onAcknowledged(session, sequence);
      else this.#report("durability", `command ${sequence} of session ${session} was acknowledged and not executed`);
    }
    for (const checker of this.#streams) checker.finish();
  }

  /** A session belongs to the one stream in which it is used. */
  #use(session: SessionId, stream: number): void {
    const known = this.#sessions.get(session);
    if (known === undefined) remember(this.#sessions, session, stream);
    else if (known !== stream) {
      this.#report("exactly-once", `session ${session} of stream ${known} is used in stream ${stream}`);
    }
  }

  #value(stream: number, instance: Instance, hash: number, who: string): void {
    const values = this.#values[stream] as Map<Instance, number>;
    const known = values.get(instance);
    if (known === undefined) remember(values, instance, hash);
    else if (known !== hash) {
      this.#report("agreement", `${who} ${hash} as instance ${instance} of stream ${stream}, which is ${known}`);
    }
  }

  #stream(stream: number): ClusterChecker {
    return this.#streams[stream] as ClusterChecker;
  }

  #orderOf(thread: number): Map<Instance, Instance> {
    return this.#order[thread] as Map<Instance, Instance>;
  }

  #placesOf(thread: number): Map<ReplicaId, Place> {
    return this.#places[thread] as Map<ReplicaId, Place>;
  }

  /** Null for a life that is over. */
  #place(replica: ReplicaId, life: number, thread: number): Place | null {
    const place = this.#placesOf(thread).get(replica);
    return place?.life === life ? place : null;
  }

  #report(invariant: string, message: string): void {
    if (this.#violations.length < VIOLATIONS_MAX) this.#violations.push({ invariant, message });
  }
}

function isOfExecution(code: TraceCode): boolean {
  switch (code) {
    case TraceCode.executed:
    case TraceCode.commandsExecuted:
    case TraceCode.commandsSkipped:
    case TraceCode.sessionOpened:
    case TraceCode.sessionExpired:
      return true;
    default:
      return false;
  }
}

function remember(map: Map<Instance, number>, instance: Instance, value: number): void {
  map.set(instance, value);
  if (map.size <= PLACES_MAX) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    return;
  }
}
