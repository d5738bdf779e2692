// Hot file: every batch of a thread executes from here. Nothing may be allocated per command, nothing may wait, and nothing
// may throw for what a client sent. Watched by bench/psmr.mjs.
import { assert, mix32, Ring } from "../../base/index.js";
import {
  type Batch,
  batchTime,
  type Digest,
  type ExecutionEvent,
  type ExecutionSink,
  type ExecutionView,
  type GroupMapping,
  type Instance,
  maskOfAll,
  type QueueVisitor,
  type SharedService,
  type SnapshotSink,
  type SnapshotSource,
} from "../../model/index.js";
import { Barrier, type BarrierPoint } from "../barrier/index.js";
import { ReplicatedState, Role } from "../replicated-state/index.js";
import type { PsmrOptions } from "./config.js";
import { Gamma } from "./gamma.js";
import { OwnTurn } from "./own-turn.js";
import { Notes, type PsmrParts } from "./parts.js";
import { EmptySink, EmptySource, ThreadSink, ThreadSource } from "./thread-snapshot.js";

/** The stream that all threads deliver. */
const ALL = 0;

/** What a thread is doing. Only in the first two states may its driver leave it alone until something is delivered. */
export const Waiting = {
  /** It executes what is delivered, if anything is. */
  no: 0,
  /** It executes at a barrier, once the threads of `gamma` have arrived and the run before has been executed. */
  arrivals: 1,
  /** It is at a barrier that `executor` has to release. */
  release: 2,
} as const;
export type Waiting = (typeof Waiting)[keyof typeof Waiting];

export interface PsmrView extends ExecutionView {
  /** The last instance of g_all that this thread has passed; `executed` is that of its own stream. */
  readonly executedAll: Instance;
  readonly waiting: Waiting;
  /** Number of the barrier that the thread waits at, or came to latest. */
  readonly barrier: number;
  /** The threads that meet at that barrier, and the one of them that executes, by number. */
  readonly gamma: number;
  readonly executor: number;
  /** Of the digest that this thread took last: the instance that each thread had executed of its own stream. */
  readonly places: readonly Instance[];
}

/** A checkpoint's parts at a cut; all threads of a replica, and all replicas, are through the same instances there. */
export interface Cut {
  readonly all: Instance;
  /**
   * What this thread adds to the checkpoint: its position and sessions and, if the service is partitioned, the part of its state that
   * is this thread's, unless it is the first. A slice may be empty while the thread waits at a barrier: the next is asked for in a
   * later turn.
   */
  readonly part: SnapshotSource;
  /**
   * The service as it is at the cut, from the first thread; null from the others. If it is partitioned, the part of the first
   * thread, of which slices may be empty as well.
   */
  readonly service: SnapshotSource | null;
}

export interface PsmrSink extends ExecutionSink {
  /** This thread has arrived at a barrier that `executor` waits at, or will; a thread that sleeps does at its arrival word. */
  arrived(barrier: number, executor: number): void;
  /**
   * This thread has released a barrier: those of `gamma` may go on, and so may the executor of the next run, whichever it is.
   * Those of them that sleep do at the release word of this thread.
   */
  released(barrier: number, gamma: number): void;
  /** The checkpoint that was asked for begins here. Whoever gets a source reads it to the end, or closes it. */
  cutTaken(cut: Cut): void;
}

/** The mappings of commands to groups that threads go by. */
export interface ThreadMappings {
  /** Which threads meet for a command of g_all (C-G; CC-G of opt-PSMR). */
  readonly conservative: GroupMapping;
  /** OC-G of opt-PSMR: which commands a thread may try by itself. Null if those are no others. */
  readonly optimistic: GroupMapping | null;
}

type View = { -readonly [field in keyof PsmrView]: PsmrView[field] };

/**
 * One thread of P-SMR (PROTOCOLS section 4.4). It is given the decided batches of g_all (stream 0) and of its own group (stream
 * thread + 1) in the one order in which its merge delivers them.
 *
 * A batch of its own stream executes in parallel with other threads. A batch of g_all is a run of dependent commands: the
 * threads of γ, the groups that its commands concern, meet at a barrier in front of it. The lowest of them, the executor,
 * executes when all have arrived, and the run before has been executed, and then releases them; threads outside γ pass. With a barrier per command, that happens for
 * each of its commands.
 *
 * Invariants: Q1, commands that depend on each other execute in the same order on all replicas and never overlap, since they
 * have a thread in common. Q2, while the executor executes a run, no other thread of γ executes. Q3, barriers have the same
 * numbers in all threads, because γ follows from the batch alone and all threads deliver g_all in order. Runs that have no
 * thread in common take effect in the order of g_all, too, since the commands of a session there do.
 *
 * Exactly once: each thread has the sessions of its own stream, and those of g_all as all threads have them, but for the
 * replies, which the thread that executed remembers. Sessions are opened and closed in g_all, at a barrier over all threads.
 * The sessions of g_all are idle by the times in g_all alone, so that all threads forget the same ones at the same instance.
 *
 * Nothing here waits: `step` returns when the thread has to wait, and the view says for what. The driver steps again when that
 * may have changed; until then deliveries queue, and ordering goes on.
 */
export class PsmrThread {
  readonly thread: number;
  readonly #options: PsmrOptions;
  readonly #service: SharedService;
  readonly #barrier: Barrier;
  readonly #notes: Notes;
  readonly #gamma: Gamma;
  readonly #optimistic: boolean;
  readonly #everybody: number;
  /** The sessions and commands of the thread's own stream, and those of g_all. */
  readonly #own: ReplicatedState;
  readonly #all: ReplicatedState;
  /** What was delivered and has not executed; the streams in the same order. */
  readonly #batches: Ring<Batch>;
  readonly #streams: Ring<number>;
  /** How many of them are of g_all. */
  #queuedAll = 0;
  /** The last barrier of the latest run before the one that this thread is at, and who executed that; 0 before the first. */
  #before = 0;
  #beforeExecutor = 0;
  /** Units that are left to the executor of the batch at whose barrier the thread is, the present one included. */
  #units = 0;
  /** The executors behind that one, and whether it executes more than what failed. */
  #executors = 0;
  #ordinary = false;
  /** Where the next block of commands that failed is looked for, with a barrier for each command. */
  #nextFailed = 0;
  #cutAsked = false;
  readonly #turn = new OwnTurn();
  #asked = false;
  readonly #places: Instance[] = [];
  readonly #view: View = {
    executed: 0,
    executedAll: 0,
    queuedBatches: 0,
    queuedBytes: 0,
    queuedReads: 0,
    commands: 0,
    ordered: 0,
    windowMax: Infinity,
    time: 0,
    due: Infinity,
    sessions: 0,
    waiting: Waiting.no,
    barrier: 0,
    gamma: 0,
    executor: 0,
    places: this.#places,
  };

  /** `service` is this thread's own view of the service. All threads of a replica have the same parts, and alike options. */
  constructor(
    parts: PsmrParts,
    thread: number,
    service: SharedService,
    { conservative, optimistic }: ThreadMappings,
    options: PsmrOptions,
  ) {
    assert(thread >= 0 && thread < parts.threads, `thread ${thread} of ${parts.threads}`);
    for (const { groups } of [conservative, optimistic ?? conservative]) {
      assert(groups === parts.threads, `${groups} groups for ${parts.threads} threads`);
    }
    this.thread = thread;
    this.#options = options;
    this.#service = service;
    this.#barrier = new Barrier(parts.memory, parts.threads);
    this.#notes = new Notes(parts);
    this.#optimistic = optimistic !== null;
    this.#gamma = new Gamma(conservative, this.#optimistic);
    const admission = optimistic === null ? this.#gamma : new Gamma(optimistic, true);
    this.#everybody = maskOfAll(parts.threads);
    this.#own = new ReplicatedState(service, options, {
      stream: thread + 1,
      control: false,
      admits: (run) => admission.runsIn(thread, run),
      digest: null,
      passesConservative: false,
      optimistic: optimistic === null ? null : { service, thread },
    });
    this.#all = new ReplicatedState(service, options, {
      stream: ALL,
      control: true,
      admits: null,
      digest: (into) => this.#digest(into),
      passesConservative: true,
      optimistic: null,
    });
    this.#batches = new Ring(options.queueBatchesMax);
    this.#streams = new Ring(options.queueBatchesMax);
  }

  /** Whether no further batch can be delivered before some have executed; the host keeps it, or reads it from its log again. */
  get full(): boolean {
    return this.#batches.full;
  }

  /**
   * `decided` delivers a batch, which stays readable until `executed` tells it is done with; `work` executes. Reads are
   * ordered in this model.
   */
  step(event: ExecutionEvent, out: PsmrSink): void {
    if (event.kind === "decided") this.#deliver(event.stream, event.instance, event.batch, out);
    else if (event.kind === "work") this.#work(event.budget, out);
    else assert(event.kind !== "read", "P-SMR takes ordered commands only");
  }

  inspect(): PsmrView {
    const view = this.#view;
    view.queuedBatches = this.#batches.size;
    view.commands = this.#own.commands + this.#all.commands;
    view.ordered = this.#own.ordered + this.#all.ordered;
    view.time = this.#own.time;
    view.sessions = this.#all.sessions;
    if (this.#turn.has) view.due = this.#own.due;
    if (this.#optimistic) {
      view.failed = this.#own.failed;
      view.passed = this.#own.passed;
      view.conservative = this.#own.conservative;
    }
    return view;
  }

  /**
   * Where this thread waits, into `point`: until that word has changed, a `work` step gets no further. False if it may get
   * further now. A word changes before others hear `arrived` or `released`, so that who looks here and then sleeps at the word as
   * long as it has that value misses nothing.
   */
  waitsAt(point: BarrierPoint): boolean {
    const { waiting, barrier: number, gamma, executor } = this.#view;
    if (waiting === Waiting.no) return false;
    if (waiting === Waiting.release) return this.#waitsForRelease(executor, number, point);
    const barrier = this.#barrier;
    for (let left = gamma; left !== 0; left &= left - 1) {
      const thread = 31 - Math.clz32(left & -left);
      look(point, barrier, barrier.arrivalWord(thread));
      if (!barrier.allArrived(number, 1 << thread)) return true;
    }
    return this.#before > 0 && this.#waitsForRelease(this.#beforeExecutor, this.#before, point);
  }

  queues(visit: QueueVisitor): void {
    visit("batches to execute", this.#batches.size, this.#options.queueBatchesMax);
    this.#own.queues(visit);
    this.#all.queues(visit);
  }

  /** The first thread cuts a checkpoint at the next barrier over all threads, such as that of an ordered digest command. */
  requestCut(): void {
    assert(this.thread === 0, "the first thread asks for a checkpoint");
    this.#cutAsked = true;
  }

  /**
   * Takes this thread's part of a checkpoint, before anything is delivered to any thread with the same parts. The first thread's service is
   * restored before it is shared, from what its cut had as `service`.
   */
  restore(): SnapshotSink {
    const hasPart = this.thread > 0 && this.#service.partitioned;
    const all = this.#all.restore(() => {}, hasPart ? this.#service.restore() : new EmptySink());
    const own = this.#own.restore(() => {}, all);
    return new ThreadSink(this.#notes.threads, this.thread, own, (position) => {
      assert(this.#view.executed === 0 && this.#view.executedAll === 0, "a thread is restored before it executes");
      this.#view.executedAll = position.all;
      this.#view.executed = position.own;
    });
  }

  #waitsForRelease(executor: number, number: number, point: BarrierPoint): boolean {
    look(point, this.#barrier, this.#barrier.releaseWord(executor));
    return !this.#barrier.released(executor, number);
  }

  #deliver(stream: number, instance: Instance, batch: Batch, out: PsmrSink): void {
    const view = this.#view;
    const own = stream === this.thread + 1;
    assert(own || stream === ALL, `thread ${this.thread} was given stream ${stream}`);
    const queued = own ? this.#batches.size - this.#queuedAll : this.#queuedAll;
    const expected = (own ? view.executed : view.executedAll) + queued + 1;
    assert(instance === expected, `instance ${instance} of stream ${stream} was delivered when ${expected} was next`);
    this.#batches.push(batch);
    this.#streams.push(stream);
    if (!own) this.#queuedAll++;
    view.queuedBytes += batch.end - batch.start;
    this.#ask(out);
  }

  #work(budget: number, out: PsmrSink): void {
    this.#asked = false;
    const stop = this.#own.cost + this.#all.cost + budget;
    for (;;) {
      if (this.#view.waiting !== Waiting.no && !this.#goOn(out)) return;
      if (this.#view.waiting === Waiting.no) {
        if (this.#batches.size === 0) return;
        if (this.#streams.at(0) === ALL) this.#comeToRun(this.#batches.at(0) as Batch, out);
        else this.#executeOwn(this.#batches.at(0) as Batch, out);
      }
      if (this.#own.cost + this.#all.cost >= stop) break;
    }
    if (this.#batches.size > 0) this.#ask(out);
  }

  /** A batch in parallel mode. */
  #executeOwn(batch: Batch, out: PsmrSink): void {
    const view = this.#view;
    this.#own.apply(view.executed + view.executedAll + 1, batch, out, Role.among);
    this.#drop(batch);
    view.executed++;
    out.executed(this.thread + 1, view.executed);
  }

  /** Comes to a batch of g_all: to the first barrier in front of it, if it has one for this thread. */
  #comeToRun(batch: Batch, out: PsmrSink): void {
    const view = this.#view;
    this.#own.advanceTo(batchTime(batch.view, batch.start));
    const gamma = this.#gamma.of(batch);
    if (gamma === 0) return this.#follow(batch, out);
    this.#before = view.barrier;
    this.#beforeExecutor = view.executor;
    view.gamma = gamma;
    this.#executors = this.#gamma.failedOf | (this.#gamma.ordinary ? gamma & -gamma : 0);
    this.#nextExecutor(batch);
    if ((gamma & (1 << this.thread)) === 0) {
      // Nobody counts this thread at these barriers; it is counted in so that its numbers are never far behind.
      view.barrier += this.#units;
      while (this.#executors !== 0) {
        this.#nextExecutor(batch);
        view.barrier += this.#units;
      }
      this.#barrier.arrive(this.thread, view.barrier);
      return this.#follow(batch, out);
    }
    this.#arrive(out);
  }

  /** Turns to the next executor of a run, from the highest on, and to its units. */
  #nextExecutor(batch: Batch): void {
    const executor = 31 - Math.clz32(this.#executors);
    this.#executors &= ~(1 << executor);
    this.#ordinary = this.#gamma.ordinary && this.#executors === 0;
    this.#nextFailed = 0;
    this.#units = 1;
    if (this.#options.barrier === "command") {
      this.#units = (this.#gamma.failed[executor] as number) + (this.#ordinary ? ReplicatedState.unitsOf(batch) : 0);
    }
    this.#view.executor = executor;
  }

  #arrive(out: PsmrSink): void {
    const view = this.#view;
    const notes = this.#notes;
    view.barrier++;
    view.waiting = view.executor === this.thread ? Waiting.arrivals : Waiting.release;
    notes.say(this.thread, this.#own.time, view.executed, view.ordered);
    notes.sayLanes(this.thread, this.#own.lanes, this.#all.lanes);
    this.#turn.give();
    this.#service.publish(false, 1 << this.thread);
    this.#barrier.arrive(this.thread, view.barrier);
    if (view.waiting === Waiting.release) out.arrived(view.barrier, view.executor);
  }

  /** Goes on if what the thread waits for has come about. */
  #goOn(out: PsmrSink): boolean {
    const view = this.#view;
    if (view.waiting === Waiting.arrivals) {
      if (!this.#barrier.allArrived(view.barrier, view.gamma)) return false;
      if (this.#before > 0 && !this.#barrier.released(this.#beforeExecutor, this.#before)) return false;
      this.#executeRun(out);
    } else {
      if (!this.#barrier.released(view.executor, view.barrier)) return false;
      this.#leave(out);
    }
    return true;
  }

  /** The executor's part of a barrier. */
  #executeRun(out: PsmrSink): void {
    const view = this.#view;
    const { gamma } = view;
    const batch = this.#batches.at(0) as Batch;
    const alone = gamma === this.#everybody;
    const role = alone ? Role.alone : Role.among;
    const time = this.#notes.timeOf(gamma);
    this.#service.adopt(gamma);
    this.#turn.take();
    this.#own.advanceTo(time);
    this.#all.observe(time);
    if (this.#options.barrier === "run") this.#executeUnits(batch, role, out);
    else this.#executeUnit(batch, role, out);
    const last = this.#units === 0 && this.#executors === 0;
    const cut = last && alone && this.#cutAsked && this.thread === 0;
    if (last && this.#ordinary) this.#passed(batch, out);
    else if (last) this.#follow(batch, out);
    if (cut) {
      this.#cutAsked = false;
      const whole = this.#service.snapshot();
      const service = this.#service.partitioned ? this.#turn.guard(whole) : whole;
      out.cutTaken({ all: view.executedAll, part: this.#part(new EmptySource()), service });
    }
    this.#service.publish(alone, gamma);
    this.#notes.tell(gamma, time, cut);
    view.waiting = Waiting.no;
    this.#barrier.release(this.thread, view.barrier);
    out.released(view.barrier, gamma);
    if (last) return;
    if (this.#units === 0) this.#nextExecutor(batch);
    this.#arrive(out);
  }

  /** All that a run has for its present executor, which is this thread. */
  #executeUnits(batch: Batch, role: Role, out: PsmrSink): void {
    const { executed, executedAll } = this.#view;
    const instance = executedAll + 1;
    if ((this.#gamma.failedOf & (1 << this.thread)) !== 0) {
      this.#own.executeConservative(executed + instance, batch, 0, Infinity, out);
    }
    if (this.#ordinary) this.#all.apply(instance, batch, out, role);
    this.#units = 0;
  }

  /** The next unit of that. */
  #executeUnit(batch: Batch, role: Role, out: PsmrSink): void {
    const { executed, executedAll } = this.#view;
    const instance = executedAll + 1;
    const ordinary = this.#ordinary ? ReplicatedState.unitsOf(batch) : 0;
    if (this.#units > ordinary) {
      this.#nextFailed = this.#own.executeConservative(executed + instance, batch, this.#nextFailed, 1, out);
    } else {
      if (this.#units === ordinary) this.#all.begin(instance, batch, out, role);
      this.#all.unit(out);
    }
    this.#units--;
    if (this.#units === 0 && this.#ordinary) this.#all.end(out);
  }

  /** The part of the threads that were released. */
  #leave(out: PsmrSink): void {
    const view = this.#view;
    const batch = this.#batches.at(0) as Batch;
    this.#service.adopt(1 << this.thread);
    this.#turn.take();
    this.#own.advanceTo(this.#notes.agreed(this.thread));
    view.waiting = Waiting.no;
    this.#units--;
    if (this.#units === 0 && this.#executors !== 0) this.#nextExecutor(batch);
    if (this.#units > 0) return this.#arrive(out);
    const cut = this.#notes.isCut(this.thread);
    this.#follow(batch, out);
    if (!cut) return;
    const service = this.#service.partitioned ? this.#turn.guard(this.#service.snapshot()) : new EmptySource();
    out.cutTaken({ all: view.executedAll, part: this.#part(service), service: null });
  }

  /** Takes from a batch of g_all what all threads keep of it. */
  #follow(batch: Batch, out: PsmrSink): void {
    this.#all.apply(this.#view.executedAll + 1, batch, out, Role.follow);
    this.#passed(batch, out);
  }

  #passed(batch: Batch, out: PsmrSink): void {
    const view = this.#view;
    this.#own.mirror(view.executedAll + 1, view.executed + view.executedAll + 1, batch);
    this.#drop(batch);
    this.#queuedAll--;
    view.executedAll++;
    out.executed(ALL, view.executedAll);
  }

  #drop(batch: Batch): void {
    this.#batches.shift();
    this.#streams.shift();
    this.#view.queuedBytes -= batch.end - batch.start;
  }

  #part(service: SnapshotSource): SnapshotSource {
    const { executed, executedAll } = this.#view;
    const rest = this.#own.snapshot(this.#all.snapshot(service));
    return new ThreadSource(
      { threads: this.#notes.threads, thread: this.thread, all: executedAll, own: executed },
      rest,
    );
  }

  /**
   * Digest over the service and, of each thread, its sessions, agreed time and position: the positions are the same on all
   * replicas at one instance of g_all (Q4), because each is where the merge of that thread has put it.
   */
  #digest(into: Digest): void {
    const notes = this.#notes;
    notes.sayLanes(this.thread, this.#own.lanes, this.#all.lanes);
    this.#service.digest(into);
    for (let thread = 0; thread < notes.threads; thread++) {
      this.#places[thread] = notes.executed(thread);
      for (let i = 0; i < 4; i++) {
        let lane = mix32((into[i] as number) ^ mix32(notes.lane(thread, i) + 1));
        lane = mix32(lane ^ mix32(notes.lane(thread, 4 + i) + 2));
        into[i] = mix32(lane + hashNumber(notes.executed(thread)) + Math.imul(hashNumber(notes.time(thread)), i + 1));
      }
    }
  }

  #ask(out: PsmrSink): void {
    if (this.#asked) return;
    this.#asked = true;
    out.wantWork();
  }
}

/** Sets the point to a word and the value that it has now, in front of the look that says whether to wait for another. */
function look(point: BarrierPoint, barrier: Barrier, index: number): void {
  point.words = barrier.words;
  point.index = index;
  point.value = Atomics.load(barrier.words, index);
}

/** Hash of a number that need not be whole. */
function hashNumber(value: number): number {
  const whole = Math.floor(value);
  const fraction = Math.floor((value - whole) * 4294967296) >>> 0;
  return mix32((whole >>> 0) ^ mix32((Math.floor(whole / 4294967296) >>> 0) ^ mix32(fraction)));
}
