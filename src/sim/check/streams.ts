import { type Digest, type Instance, type ReplicaId, type SessionId, type Span, TraceCode } from "../../model/index.js";
import { ClusterChecker } from "./cluster.js";
import { MergedChecker } from "./merged-order.js";
import type { KeyedReference } from "./reference.js";
import type { ThreadEffect, ThreadExecution } from "./thread-execution.js";

/** Seed under which hosts hash decided batches for the trace stream. */
export const DECIDED_HASH_SEED = 7;

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
 * - `pass-fail`: the same commands of an instance pass the safety check on all replicas (O1 of opt-PSMR).
 *
 * The others are those of `ClusterChecker`, which hold for each stream, and of `MergedChecker`.
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

/** Where a replica is in g_all in its present life, and what its threads have told of the instances behind that. */
interface PlaceInAll {
  readonly life: number;
  through: Instance;
  readonly told: Map<Instance, (readonly ThreadEffect[] | null | undefined)[]>;
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
  /** The last instance of g_all that all threads of each replica have come through. */
  readonly #executedAll = new Map<ReplicaId, PlaceInAll>();
  /** And that its member 0 has seen decided. */
  readonly #decidedAll = new Map<ReplicaId, { readonly life: number; readonly through: Instance }>();
  /** The stream of each session in which anything was executed. */
  readonly #sessions = new Map<SessionId, number>();
  /** The last command of each session that was acknowledged; in which stream is known when its instance is done with. */
  readonly #acknowledged = new Map<SessionId, number>();
  /** By stream: which commands of an instance failed. */
  readonly #failed: readonly Map<Instance, string>[];
  /** Null for a service whose commands nobody executes once more. */
  readonly merged: MergedChecker | null;
  /** Instances of g_all whose state was compared, and merged instances that were. */
  states = 0;
  compared = 0;
  /** Commands that failed their safety check, and those of them that were executed conservatively; each once, not once a replica. */
  failed = 0;
  conservative = 0;

  constructor(groups: number, replicas: number, reference: KeyedReference | null = null) {
    this.#groups = groups;
    this.#streams = Array.from({ length: groups + 1 }, () => new ClusterChecker(replicas));
    this.#places = Array.from({ length: groups }, () => new Map<ReplicaId, Place>());
    this.#order = Array.from({ length: groups }, () => new Map<Instance, Instance>());
    this.#values = Array.from({ length: groups + 1 }, () => new Map<Instance, number>());
    this.#failed = Array.from({ length: groups + 1 }, () => new Map<Instance, string>());
    this.merged = reference === null ? null : new MergedChecker(reference, groups);
  }

  violations(): readonly StreamsViolation[] {
    for (const [stream, checker] of this.#streams.entries()) {
      const found = checker.violations()[0];
      if (found === undefined) continue;
      return [...this.#violations, { invariant: found.invariant, message: `stream ${stream}: ${found.message}` }];
    }
    if (this.#violations.length > 0) return this.#violations;
    return this.merged?.violations() ?? [];
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
    this.#executedAll.set(replica, { life, through: all, told: new Map() });
    if (restored) this.#stream(0).onStart(replica, life, all);
  }

  /** `hash` is that of the batch. */
  onDelivered(
    { replica, life, thread }: ThreadLife,
    stream: number,
    instance: Instance,
    hash: number,
    batch: Span,
  ): void {
    const place = this.#place(replica, life, thread);
    if (place === null) return;
    this.merged?.onDelivered(thread, stream, instance, place.own, place.all, batch);
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

  /** `execution` is null where other threads executed all of the instance. */
  onExecuted(life: ThreadLife, stream: number, through: Instance, execution: ThreadExecution | null): void {
    const { replica, thread } = life;
    this.merged?.onExecuted(thread, stream, through, execution);
    if (stream === 0) return this.#onExecutedAll(life, through, execution?.effects ?? null);
    if (stream !== thread + 1) {
      this.#report("merge-order", `thread ${thread} of replica ${replica} executes an instance of stream ${stream}`);
    }
    if (execution !== null) this.#apply(life, stream, through, execution.effects);
  }

  /** What threads did with an instance of g_all is what they did together, which is known when all are through it. */
  #onExecutedAll(
    { replica, life, thread }: ThreadLife,
    through: Instance,
    effects: readonly ThreadEffect[] | null,
  ): void {
    const place = this.#executedAll.get(replica);
    if (place === undefined || place.life !== life || through <= place.through) return;
    const told = place.told.get(through) ?? Array.from({ length: this.#groups }, () => undefined);
    place.told.set(through, told);
    told[thread] = effects;
    if (told.includes(undefined)) return;
    place.told.delete(through);
    place.through = through;
    this.#apply(
      { replica, life, thread },
      0,
      through,
      told.flatMap((each) => each ?? []),
    );
  }

  #apply({ replica, life }: ThreadLife, stream: number, through: Instance, effects: readonly ThreadEffect[]): void {
    const checker = this.#stream(stream);
    const failed: string[] = [];
    let conservative = 0;
    for (const { code, a, b, c } of effects) {
      if (code === TraceCode.commandsExecuted) this.#use(a, stream);
      else if (code === TraceCode.conservativeExecuted) conservative += c;
      if (code === TraceCode.commandFailed) failed.push(`${b} of session ${a}`);
      else checker.onTrace(replica, life, code, a, b, c);
    }
    this.#compareFailed(replica, stream, through, failed, conservative);
    checker.onTrace(replica, life, TraceCode.executed, through, 0, 0);
  }

  #compareFailed(replica: ReplicaId, stream: number, through: Instance, failed: string[], conservative: number): void {
    const failures = this.#failed[stream] as Map<Instance, string>;
    const known = failures.get(through);
    const here = failed.join(", ");
    if (known === undefined) {
      remember(failures, through, here);
      this.failed += failed.length;
      this.conservative += conservative;
    } else if (known !== here) {
      const message = `of instance ${through} of stream ${stream} fail on replica ${replica}: ${here || "none"}`;
      this.#report("pass-fail", `${message}; elsewhere ${known || "none"}`);
    }
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

  /** A client was told the results of commands `first` to `last`; `finish` checks that they were executed. */
  onAcknowledged(session: SessionId, first: number, last: number): void {
    remember(this.#acknowledged, session, Math.max(last, this.#acknowledged.get(session) ?? 0));
    this.merged?.onAcknowledged(session, first, last);
  }

  /** To be called when the replicas have settled. */
  finish(): void {
    for (const [session, sequence] of this.#acknowledged) {
      const stream = this.#sessions.get(session);
      if (stream !== undefined) this.#stream(stream).onAcknowledged(session, sequence);
      else this.#report("durability", `command ${sequence} of session ${session} was acknowledged and not executed`);
    }
    for (const checker of this.#streams) checker.finish();
    this.merged?.finish();
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
    case TraceCode.commandFailed:
    case TraceCode.conservativeExecuted:
      return true;
    default:
      return false;
  }
}

function remember<T>(map: Map<Instance, T>, instance: Instance, value: T): void {
  map.set(instance, value);
  if (map.size <= PLACES_MAX) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    return;
  }
}
