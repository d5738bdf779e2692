/**
 * A world for merges: groups whose coordinators propose, crash and are succeeded, replicas that learn of decisions late and
 * at different times, and threads that merge. What consensus would decide is decided here by a seeded coin.
 */
import { assert, ByteWriter, Prng } from "#src/base/index.js";
import { type Batch, BatchArena, beginBlock, BlockKind, endBlock, type Instance } from "#src/model/index.js";
import { ALL, type Merge, type Pacing, type StreamId } from "#src/multicast/index.js";

export interface WorldOptions {
  readonly seed: number;
  readonly groups: number;
  /** Rounds in which clients send, of 1 ms each. */
  readonly rounds: number;
  /** Commands a round that each stream gets on average; the first is g_all's. */
  readonly rates: readonly number[];
  readonly failovers: boolean;
  readonly makeMerge: (thread: number) => Merge;
  readonly makePacing: (stream: StreamId) => Pacing;
}

/** One delivery of a thread: `stream:instance`, and for how long it had been decided. */
export interface Delivery {
  readonly name: string;
  readonly waitedMs: number;
}

interface Proposal {
  readonly batch: Batch;
  decideAt: number;
}

const REPLICAS = 3;
const MARK_BYTES_MAX = 64;

/** An ordered stream: its decided log, and what its coordinator has open. */
class Stream {
  readonly log: Batch[] = [];
  readonly decidedAt: number[] = [];
  open: Proposal[] = [];
  coordinator: number;
  /** Commands of clients that no batch holds yet. */
  waiting = 0;
  readonly pacings: readonly Pacing[];
  readonly id: StreamId;

  constructor(id: StreamId, makePacing: (stream: StreamId) => Pacing) {
    this.id = id;
    this.coordinator = id % REPLICAS;
    this.pacings = Array.from({ length: REPLICAS }, () => makePacing(id));
    (this.pacings[this.coordinator] as Pacing).lead(0);
  }

  get leader(): Pacing {
    return this.pacings[this.coordinator] as Pacing;
  }
}

class Replica {
  /** Per stream, how much of its log this replica knows. */
  readonly known: number[];
  readonly merges: Merge[];
  readonly deliveries: Delivery[][];

  constructor(options: WorldOptions) {
    this.known = Array.from({ length: options.groups + 1 }, () => 0);
    this.merges = Array.from({ length: options.groups }, (_, thread) => options.makeMerge(thread + 1));
    this.deliveries = this.merges.map(() => []);
  }
}

export class World {
  readonly #options: WorldOptions;
  readonly #prng: Prng;
  readonly #arena = new BatchArena(64 * 1024);
  readonly streams: readonly Stream[];
  readonly replicas: readonly Replica[];
  /** Restores from checkpoints that were taken and put in place. */
  restores = 0;
  failovers = 0;
  now = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.#prng = new Prng(options.seed);
    this.streams = Array.from({ length: options.groups + 1 }, (_, id) => new Stream(id, options.makePacing));
    this.replicas = Array.from({ length: REPLICAS }, () => new Replica(options));
  }

  /** The rounds with clients, then `quietRounds` without, in which everything decided has to come out. */
  run(quietRounds: number): void {
    const { rounds } = this.#options;
    for (let round = 0; round < rounds + quietRounds; round++) {
      this.now++;
      const quiet = round >= rounds;
      for (const stream of this.streams) this.#stream(stream, quiet);
      for (const replica of this.replicas) this.#learn(replica, quiet);
    }
  }

  /** Commands that a thread of a replica has delivered of all that was decided for it. */
  undelivered(): string[] {
    const left: string[] = [];
    for (const [r, replica] of this.replicas.entries()) {
      for (const [t, merge] of replica.merges.entries()) {
        for (const stream of [ALL, t + 1]) {
          const { log } = this.streams[stream] as Stream;
          // What only paces the streams may stay behind: nobody waits for it.
          const last = log.findLastIndex((batch) => batch.commands > 0) + 1;
          if (merge.delivered(stream) < last) left.push(`r${r} t${t + 1} stream ${stream}`);
        }
      }
    }
    return left;
  }

  #stream(stream: Stream, quiet: boolean): void {
    const prng = this.#prng;
    while (stream.open[0] !== undefined && stream.open[0].decideAt <= this.now) {
      stream.log.push((stream.open.shift() as Proposal).batch);
      stream.decidedAt.push(this.now);
    }
    const rate = this.#options.rates[stream.id] ?? 0;
    if (!quiet) stream.waiting += Math.floor(rate) + (prng.chance(rate - Math.floor(rate)) ? 1 : 0);
    if (!quiet && this.#options.failovers && prng.chance(0.01)) this.#fail(stream);
    const { leader } = stream;
    for (const replica of this.replicas) leader.allDecided(replica.known[ALL] as number);
    if (stream.open.length < 8 && (stream.waiting > 0 || leader.due(this.now) <= this.now)) this.#propose(stream);
  }

  #propose(stream: Stream): void {
    const writer = new ByteWriter(1024);
    const { leader } = stream;
    let blocks = leader.mark(writer, this.now) ? 1 : 0;
    assert(writer.length <= MARK_BYTES_MAX, "a mark is longer than its bound");
    const commands = Math.min(stream.waiting, 1 + this.#prng.below(8));
    if (commands > 0) {
      const at = beginBlock(writer, BlockKind.commands, 1, 1, 0);
      for (let i = 0; i < commands; i++) writer.u32(4);
      endBlock(writer, at, commands);
      blocks++;
    }
    stream.waiting -= commands;
    const batch = this.#arena.build(writer.bytes, 0, writer.length, blocks, commands, this.now);
    leader.proposed(stream.log.length + stream.open.length + 1, batch);
    // Decided in the order of the log, some time later.
    const before = stream.open.at(-1)?.decideAt ?? 0;
    stream.open.push({ batch, decideAt: Math.max(before, this.now + 1 + this.#prng.below(4)) });
  }

  /** The coordinator is gone: what it has open is decided, or a successor puts a no-op there, or nobody ever saw it. */
  #fail(stream: Stream): void {
    this.failovers++;
    stream.leader.follow();
    const kept = this.#prng.below(stream.open.length + 1);
    stream.open.length = kept;
    stream.open.forEach((proposal, i) => {
      const lost = this.#prng.chance(0.3);
      stream.open[i] = { batch: lost ? this.#arena.empty(this.now) : proposal.batch, decideAt: proposal.decideAt + 5 };
    });
    stream.coordinator = (stream.coordinator + 1 + this.#prng.below(REPLICAS - 1)) % REPLICAS;
    stream.leader.lead(stream.log.length + kept);
  }

  /** The replica hears of some of what was decided, and its threads deliver. */
  #learn(replica: Replica, quiet: boolean): void {
    const prng = this.#prng;
    for (const stream of this.streams) {
      const known = replica.known[stream.id] as number;
      const more = quiet ? stream.log.length - known : prng.below(stream.log.length - known + 1);
      for (let instance = known + 1; instance <= known + more; instance++) {
        replica.known[stream.id] = instance;
        const batch = stream.log[instance - 1] as Batch;
        (stream.pacings[this.replicas.indexOf(replica)] as Pacing).decided(instance, batch);
      }
    }
    for (const thread of replica.merges.keys()) {
      if (this.#options.failovers && prng.chance(0.005)) this.#restart(replica, thread);
      const deliveries = replica.deliveries[thread] as Delivery[];
      const sink = {
        delivered: (stream: StreamId, instance: Instance) => {
          const decidedAt = (this.streams[stream] as Stream).decidedAt[instance - 1] as number;
          deliveries.push({ name: `${stream}:${instance}`, waitedMs: this.now - decidedAt });
        },
      };
      const merge = replica.merges[thread] as Merge;
      do this.#offer(replica, merge, thread + 1);
      while (merge.deliver(sink, 1 + prng.below(50)) > 0 || this.#offerable(replica, merge));
    }
  }

  /** Offers what the replica knows, in an order between the streams that chance decides, as far as there is room. */
  #offer(replica: Replica, merge: Merge, group: StreamId): void {
    const order = this.#prng.chance(0.5) ? [ALL, group] : [group, ALL];
    for (const stream of order) {
      for (let next = merge.expected(stream); next <= (replica.known[stream] as number); next++) {
        if (!merge.offer(stream, next, (this.streams[stream] as Stream).log[next - 1] as Batch)) break;
      }
    }
  }

  /** True if deliveries go on once what this replica knows has been offered. */
  #offerable(replica: Replica, merge: Merge): boolean {
    const { waitsFor } = merge;
    return waitsFor < 0 || merge.expected(waitsFor) <= (replica.known[waitsFor] as number);
  }

  /** The thread's checkpoint is put in place of its merge: what was queued is offered again. */
  #restart(replica: Replica, thread: number): void {
    const writer = new ByteWriter(256);
    (replica.merges[thread] as Merge).save(writer);
    const merge = this.#options.makeMerge(thread + 1);
    const end = merge.restore(writer.view, 0, writer.length);
    assert(end === writer.length, "a saved position was not restored whole");
    replica.merges[thread] = merge;
    this.restores++;
  }
}
