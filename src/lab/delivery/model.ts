import { assert, ByteWriter, Heap, MiB, Prng } from "../../base/index.js";
import { type Batch, BatchArena, beginBlock, BlockKind, endBlock, type Instance } from "../../model/index.js";
import { ALL, type Merge, type Pacing, type StreamId } from "../../multicast/index.js";

/**
 * A model of groups in virtual time: clients send, coordinators batch and propose, consensus takes a while, learners hear of
 * decisions some time later, threads merge. Merges and the coordinators' parts are the real ones of `multicast`.
 */
export interface ModelOptions {
  readonly seed: number;
  /** Groups beside g_all, each with a thread at every learner. */
  readonly groups: number;
  /** Commands per second of each stream, g_all first; they arrive at random. */
  readonly rates: readonly number[];
  /** For how long clients send, in virtual ms. */
  readonly durationMs: number;
  /** Which streams there are; g_all is left out where one group is alone. */
  readonly withAll: boolean;
  readonly makeMerge: (thread: StreamId) => Merge;
  readonly makePacing: (stream: StreamId) => Pacing;
  /** Commands of one batch, 64 by default, and proposals of a coordinator that are open at a time, 8; more commands wait, and go together. */
  readonly batchCommandsMax?: number;
  readonly openMax?: number;
  /** How long consensus takes from proposal to decision, and a decision to a learner, in ms: uniform between these. */
  readonly decisionMs?: readonly [from: number, to: number];
  readonly learnMs?: readonly [from: number, to: number];
  /** How long after `durationMs` what is under way may take to come out; 500 by default. */
  readonly drainMs?: number;
  /**
   * Who is told what the threads of the first learner deliver, in their order; commands then come from `send` and are known by the
   * number that they were sent with. Absent where all that matters is when commands were delivered.
   */
  readonly observer?: DeliveryObserver;
  /** Coordinators that crash, and when. A successor coordinates after `FAILOVER_MS`. */
  readonly failovers: readonly { readonly atMs: number; readonly stream: StreamId }[];
}

/** Hears of every instance that a thread delivers; for no-ops and marks of streams `commands` is empty. */
export type DeliveryObserver = (thread: number, stream: StreamId, commands: readonly number[]) => void;

const DEFAULTS = {
  batchCommandsMax: 64,
  openMax: 8,
  decisionMs: [0.3, 0.5],
  learnMs: [0.05, 0.15],
  drainMs: 500,
} as const;
/** From a coordinator's crash until its successor coordinates. */
export const FAILOVER_MS = 60;
const REPLICAS = 3;
interface Event {
  readonly atMs: number;
  readonly serial: number;
  run(): void;
}

interface Proposal {
  readonly batch: Batch;
  /** When its commands came in, or the numbers that they were sent with. */
  readonly arrivals: readonly number[];
}

/** What a thread has delivered. */
export interface Delivered {
  /** `stream:instance`, in order. */
  readonly sequence: string[];
  /** From arrival to delivery of the commands of the thread's own group, in ms. */
  readonly delaysMs: number[];
  /** When commands of its own group were delivered, in ms; as long as `delaysMs`. */
  readonly atMs: number[];
  /** The most instances that one stream had waiting in its merge. */
  waitingMax: number;
}

class Stream {
  readonly id: StreamId;
  readonly log: Proposal[] = [];
  open: Proposal[] = [];
  waiting: number[] = [];
  coordinator: number;
  /** False between the crash of one coordinator and the beginning of the next. */
  led = true;
  /** Rises with each coordinator: what was under way for the one before is dropped. */
  term = 0;
  readonly pacings: readonly Pacing[];
  lastDecisionMs = 0;
  wakeMs = Infinity;

  constructor(id: StreamId, makePacing: (stream: StreamId) => Pacing) {
    this.id = id;
    this.coordinator = id % REPLICAS;
    this.pacings = Array.from({ length: REPLICAS }, () => makePacing(id));
    this.leader.lead(0);
  }

  get leader(): Pacing {
    return this.pacings[this.coordinator] as Pacing;
  }
}

interface Learner {
  readonly id: number;
  /** By stream, how many instances it knows and when it learned of the last of them. */
  readonly known: number[];
  readonly learnedMs: number[];
  readonly merges: readonly Merge[];
  readonly threads: readonly Delivered[];
}

export class MulticastModel {
  readonly #options: ModelOptions & Required<Pick<ModelOptions, keyof typeof DEFAULTS>>;
  readonly #prng: Prng;
  readonly #arena = new BatchArena(MiB);
  readonly #writer = new ByteWriter(4096);
  readonly #events = new Heap<Event>((a, b) => a.atMs < b.atMs || (a.atMs === b.atMs && a.serial < b.serial));
  readonly #streams: readonly (Stream | null)[];
  readonly #learners: readonly Learner[];
  #serial = 0;
  #nowMs = 0;
  #stopped = false;

  constructor(options: ModelOptions) {
    this.#options = { ...DEFAULTS, ...options };
    this.#prng = new Prng(options.seed);
    const streams = options.groups + 1;
    this.#streams = Array.from({ length: streams }, (_, id) =>
      id === ALL && !options.withAll ? null : new Stream(id, options.makePacing),
    );
    this.#learners = Array.from({ length: REPLICAS }, (_, id) => ({
      id,
      known: Array.from({ length: streams }, () => 0),
      learnedMs: Array.from({ length: streams }, () => 0),
      merges: Array.from({ length: options.groups }, (_unused, thread) => options.makeMerge(thread + 1)),
      threads: Array.from({ length: options.groups }, () => ({
        sequence: [],
        delaysMs: [],
        atMs: [],
        waitingMax: 0,
      })),
    }));
  }

  /** The present, in virtual ms. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Does something at a moment that is not in the past. */
  at(atMs: number, run: () => void): void {
    assert(atMs >= this.#nowMs, `${atMs} ms is past at ${this.#nowMs} ms`);
    this.#at(atMs, run);
  }

  /** A command comes to the coordinator of a stream now; the observer hears of it under this number. */
  send(id: StreamId, command: number): void {
    const stream = this.#streams[id];
    assert(stream !== null && stream !== undefined, `there is a stream ${id}`);
    stream.waiting.push(command);
    this.#propose(stream);
  }

  /** By learner, what its threads have delivered. */
  run(): readonly (readonly Delivered[])[] {
    const { durationMs, drainMs, failovers } = this.#options;
    for (const stream of this.#streams) {
      if (stream === null) continue;
      this.#arrive(stream);
      this.#propose(stream);
    }
    for (const { atMs, stream } of failovers) this.#at(atMs, () => this.#crash(this.#streams[stream] as Stream));
    for (;;) {
      const event = this.#events.pop();
      if (event === undefined || event.atMs > durationMs + drainMs) break;
      this.#nowMs = event.atMs;
      event.run();
    }
    this.#finish();
    return this.#learners.map(({ threads }) => threads);
  }

  /** Nobody proposes any more, and all learners hear of all that was decided: from here on they must have delivered the same. */
  #finish(): void {
    this.#stopped = true;
    for (const learner of this.#learners) {
      for (const stream of this.#streams) {
        if (stream === null) continue;
        const known = learner.known[stream.id] as number;
        for (let next = known + 1; next <= stream.log.length; next++) this.#learn(learner, stream, next);
      }
    }
  }

  #at(atMs: number, run: () => void): void {
    this.#events.push({ atMs, serial: this.#serial++, run });
  }

  /** The next command of a stream's clients: independent of each other, so that the times between them are exponential. */
  #arrive(stream: Stream): void {
    const rate = this.#options.rates[stream.id] ?? 0;
    if (rate <= 0) return;
    const atMs = this.#nowMs - (Math.log(1 - this.#prng.float()) * 1000) / rate;
    if (atMs > this.#options.durationMs) return;
    this.#at(atMs, () => {
      stream.waiting.push(this.#nowMs);
      this.#propose(stream);
      this.#arrive(stream);
    });
  }

  /** Proposes while commands wait or a mark is due, and comes back when the next one will be. */
  #propose(stream: Stream): void {
    if (!stream.led || this.#stopped) return;
    const { leader } = stream;
    leader.allDecided((this.#learners[stream.coordinator] as Learner).known[ALL] as number);
    while (
      stream.open.length < this.#options.openMax &&
      (stream.waiting.length > 0 || leader.due(this.#nowMs) <= this.#nowMs)
    ) {
      this.#proposeOne(stream);
    }
    // With proposals open, the next decision comes back here.
    const due = leader.due(this.#nowMs);
    if (due === Infinity || due <= this.#nowMs || stream.wakeMs <= due) return;
    stream.wakeMs = due;
    this.#at(due, () => {
      if (stream.wakeMs !== due) return;
      stream.wakeMs = Infinity;
      this.#propose(stream);
    });
  }

  #proposeOne(stream: Stream): void {
    const writer = this.#writer;
    writer.clear();
    const { leader, term } = stream;
    let blocks = leader.mark(writer, this.#nowMs) ? 1 : 0;
    const arrivals = stream.waiting.splice(0, this.#options.batchCommandsMax);
    if (arrivals.length > 0) {
      const block = beginBlock(writer, BlockKind.commands, 1, 1, 0);
      for (let i = 0; i < arrivals.length; i++) writer.u32(4);
      endBlock(writer, block, arrivals.length);
      blocks++;
    }
    const batch = this.#arena.build(writer.bytes, 0, writer.length, blocks, arrivals.length, this.#nowMs);
    leader.proposed(stream.log.length + stream.open.length + 1, batch);
    const proposal = { batch, arrivals };
    stream.open.push(proposal);
    // Decisions come in the order of the log.
    const decisionMs = Math.max(stream.lastDecisionMs, this.#nowMs + this.#prng.between(...this.#options.decisionMs));
    stream.lastDecisionMs = decisionMs;
    this.#at(decisionMs, () => {
      if (stream.term === term) this.#decide(stream);
    });
  }

  /** The oldest open proposal is decided; its coordinator's replica knows at once, the others later. */
  #decide(stream: Stream): void {
    const proposal = stream.open.shift();
    assert(proposal !== undefined, "a decision has a proposal");
    stream.log.push(proposal);
    const instance = stream.log.length;
    for (const learner of this.#learners) {
      const own = learner.id === stream.coordinator && stream.led;
      const soonest = this.#nowMs + (own ? 0 : this.#prng.between(...this.#options.learnMs));
      const atMs = Math.max(learner.learnedMs[stream.id] as number, soonest);
      learner.learnedMs[stream.id] = atMs;
      this.#at(atMs, () => this.#learn(learner, stream, instance));
    }
  }

  #learn(learner: Learner, stream: Stream, instance: Instance): void {
    learner.known[stream.id] = instance;
    (stream.pacings[learner.id] as Pacing).decided(instance, (stream.log[instance - 1] as Proposal).batch);
    for (let thread = 0; thread < learner.merges.length; thread++) {
      if (stream.id === ALL || stream.id === thread + 1) this.#deliver(learner, thread);
    }
    // A longer prefix of g_all may make a merge point due in any group that this replica coordinates.
    for (const each of this.#streams) {
      if (each?.coordinator !== learner.id || (each !== stream && stream.id !== ALL)) continue;
      this.#propose(each);
    }
  }

  /** A thread is offered what its replica knows, as far as there is room, and delivers what it can. */
  #deliver(learner: Learner, thread: number): void {
    const merge = learner.merges[thread] as Merge;
    const delivered = learner.threads[thread] as Delivered;
    const own = thread + 1;
    const observer = learner.id === 0 ? this.#options.observer : undefined;
    const out = {
      delivered: (id: StreamId, instance: Instance): void => {
        if (this.#options.observer !== undefined) {
          observer?.(thread, id, ((this.#streams[id] as Stream).log[instance - 1] as Proposal).arrivals);
          return;
        }
        delivered.sequence.push(`${id}:${instance}`);
        if (id !== own) return;
        for (const arrivedMs of ((this.#streams[id] as Stream).log[instance - 1] as Proposal).arrivals) {
          delivered.delaysMs.push(this.#nowMs - arrivedMs);
          delivered.atMs.push(this.#nowMs);
        }
      },
    };
    let more = true;
    while (more) {
      let offered = 0;
      for (const id of [ALL, own]) {
        const stream = this.#streams[id];
        if (stream === null || stream === undefined) continue;
        for (let next = merge.expected(id); next <= (learner.known[id] as number); next++) {
          if (!merge.offer(id, next, (stream.log[next - 1] as Proposal).batch)) break;
          offered++;
        }
      }
      merge.queues((_name, size) => {
        delivered.waitingMax = Math.max(delivered.waitingMax, size);
      });
      more = merge.deliver(out, Infinity) > 0 && offered > 0;
    }
  }

  /**
   * A coordinator is gone. Of what it has open the first part was accepted by a majority and is decided under its successor,
   * some of it as no-ops; nobody knows of the rest. Clients send again what was not decided.
   */
  #crash(stream: Stream): void {
    stream.leader.follow();
    stream.term++;
    stream.led = false;
    stream.wakeMs = Infinity;
    const kept = this.#prng.below(stream.open.length + 1);
    for (const [i, { arrivals }] of stream.open.entries()) {
      const lost = i >= kept || this.#prng.chance(0.3);
      if (!lost) continue;
      stream.waiting.unshift(...arrivals);
      stream.open[i] = { batch: this.#arena.empty(this.#nowMs), arrivals: [] };
    }
    stream.open.length = kept;
    const { term } = stream;
    this.#at(this.#nowMs + FAILOVER_MS, () => {
      stream.coordinator = (stream.coordinator + 1) % REPLICAS;
      stream.led = true;
      stream.lastDecisionMs = this.#nowMs;
      stream.leader.lead(stream.log.length + stream.open.length);
      for (let i = 0; i < kept; i++) {
        this.#at(this.#nowMs + this.#prng.between(...this.#options.decisionMs), () => {
          if (stream.term === term) this.#decide(stream);
        });
      }
      this.#propose(stream);
    });
  }
}
