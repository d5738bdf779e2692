/** A replica's P-SMR threads in one thread of the test, which a seeded scheduler interleaves, with a witness of what they did. */

import { ByteWriter, type Prng } from "#src/base/index.js";
import {
  type BarrierPoint,
  createOptPsmrThread,
  createPsmrParts,
  createPsmrThread,
  type Cut,
  type PsmrOptions,
  type PsmrSink,
  type PsmrThread,
  Waiting,
} from "#src/execution/index.js";
import {
  BATCH_BLOCKS_MAX,
  type Batch,
  BlockKind,
  declaredMapping,
  type Digest,
  type GroupMapping,
  optimisticMapping,
  ReplyStatus,
  type SharedService,
} from "#src/model/index.js";
import { Btree } from "#src/service/index.js";
import { AccessChecker, describeOverlap, touchesOf, WatchedView } from "#src/sim/index.js";
import type { Delivery, Plan } from "./psmr-plan.js";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** Whether a reply block, in hexadecimal, says that the replies are gone. */
export const isStale = (reply: string): boolean => parseInt(reply.slice(48, 50), 16) === ReplyStatus.stale;

/** What a thread told its host. */
class Sink implements PsmrSink {
  readonly #replica: PsmrReplica;
  readonly #thread: number;
  readonly #writer = new ByteWriter(64, 1 << 26);
  #pending: [block: number, reply: string][] = [];
  readonly again?: NonNullable<PsmrSink["again"]>;

  constructor(replica: PsmrReplica, thread: number, multicastsAgain: boolean) {
    this.#replica = replica;
    this.#thread = thread;
    if (multicastsAgain) this.again = (bytes, _view, start, end) => replica.copies.push(bytes.slice(start, end));
  }

  executed(stream: number, instance: number): void {
    const replica = this.#replica;
    for (const [block, reply] of this.#pending) replica.answer(`${stream}/${instance}/${block}`, reply);
    this.#pending = [];
    const model = replica.threads[this.#thread] as PsmrThread;
    const { waiting, executor } = model.inspect();
    // A batch of g_all is executed where its executor says so; the others follow, or pass.
    if (stream > 0) replica.witness.push({ stream, instance });
    else if (waiting === Waiting.arrivals && executor === this.#thread) replica.witness.push({ stream, instance });
    replica.watch?.();
  }
  replies(): ByteWriter {
    this.#writer.clear();
    return this.#writer;
  }
  replied(_session: number, position: number, at: number): void {
    this.#pending.push([position % BATCH_BLOCKS_MAX, hex(this.#writer.bytes.subarray(at, this.#writer.length))]);
  }
  digestTaken(_high: number, _low: number, position: number, digest: Digest): void {
    this.#replica.digests.set(position, Array.from(digest, (lane) => lane.toString(16)).join("-"));
  }
  cutTaken(cut: Cut): void {
    this.#replica.cuts[this.#thread]?.push(cut);
  }
  wantWork(): void {}
  arrived(): void {}
  released(): void {}
  readDone(): void {}
  trace(): void {}
}

export interface ReplicaOptions extends Partial<PsmrOptions> {
  readonly mapping?: (service: SharedService, threads: number) => GroupMapping;
  /** A service to begin with, which is not shared yet. */
  readonly service?: Btree;
  /** The threads are those of opt-PSMR, and the replicas, or clients, multicast again what fails. */
  readonly optimistic?: "replicas" | "client";
}

export class PsmrReplica {
  readonly plan: Plan;
  readonly threads: PsmrThread[] = [];
  readonly service: Btree;
  readonly checker: AccessChecker;
  /** Batches in the order in which they executed. */
  readonly witness: { readonly stream: number; readonly instance: number }[] = [];
  /** Every answer by `stream/instance/block`. */
  readonly answers = new Map<string, string>();
  readonly digests = new Map<number, string>();
  /** Blocks that threads asked to be multicast again. */
  readonly copies: Uint8Array[] = [];
  readonly cuts: Cut[][] = [];
  /** Called when a batch is done with. */
  watch: (() => void) | null = null;
  /** How many deliveries of its plan each thread was given. */
  readonly given: number[];
  /** And how many it may be given for now. */
  givenMax = Infinity;
  readonly #sinks: Sink[] = [];

  constructor(plan: Plan, options: ReplicaOptions = {}) {
    const { mapping = declaredMapping, service = new Btree(plan.options), optimistic, ...others } = options;
    const { threads } = plan;
    this.plan = plan;
    this.service = service;
    this.checker = new AccessChecker(threads);
    this.given = Array.from({ length: threads }, () => 0);
    const description = service.share(threads, 64 * 1024 * 1024);
    const parts = createPsmrParts(threads);
    for (let thread = 0; thread < threads; thread++) {
      const inner = thread === 0 ? service : Btree.attach(description, thread, plan.options);
      const watched = new WatchedView(inner, thread, this.checker, touchesOf("btree", threads, plan.keys));
      const conservative = mapping(watched, threads);
      const mappings = { conservative, optimistic: optimisticMapping(watched, threads) };
      const model =
        optimistic === undefined
          ? createPsmrThread(parts, thread, watched, conservative, others)
          : createOptPsmrThread(parts, thread, watched, mappings, others);
      watched.watch(() => model.inspect());
      this.threads.push(model);
      this.#sinks.push(new Sink(this, thread, optimistic === "replicas"));
      this.cuts.push([]);
    }
  }

  /**
   * A copy of a block of which commands failed is answered by the replies that came later, too; and that a reply is gone is said by
   * each thread that could have had it.
   */
  answer(block: string, reply: string): void {
    const known = this.answers.get(block);
    if (known === reply && isStale(reply)) return;
    const late = parseInt(reply.slice(50, 52), 16) === BlockKind.conservative;
    if (known !== undefined && !late) throw new Error(`block ${block} was answered twice`);
    this.answers.set(block, known === undefined ? reply : `${known} ${reply}`);
  }

  /** Lets chosen threads take turns until none of them gets any further; `lag` are left alone. */
  run(prng: Prng, lag: readonly number[] = []): void {
    const active = this.threads.filter((_, thread) => !lag.includes(thread));
    const asleep = new Map<number, BarrierPoint>();
    const canBeGiven = (model: PsmrThread): boolean => {
      const most = Math.min(this.#deliveries(model.thread).length, this.givenMax);
      return (this.given[model.thread] as number) < most && !model.full;
    };
    // As drivers that sleep: a thread steps again only when the word that it waited at has changed.
    const canWork = (model: PsmrThread): boolean => {
      const point = asleep.get(model.thread);
      if (point !== undefined && Atomics.load(point.words, point.index) === point.value) return false;
      return model.inspect().queuedBatches > 0;
    };
    for (;;) {
      const able = active.filter((model) => canBeGiven(model) || canWork(model));
      if (able.length === 0) return;
      const model = prng.pick(able);
      const { thread } = model;
      const sink = this.#sinks[thread] as Sink;
      if (canBeGiven(model) && (!canWork(model) || prng.chance(0.5))) {
        const given = this.given[thread] as number;
        model.step({ kind: "decided", ...(this.#deliveries(thread)[given] as Delivery) }, sink);
        this.given[thread] = given + 1;
        continue;
      }
      const before = progressOf(model);
      model.step({ kind: "work", budget: 1 + prng.below(3) }, sink);
      const next: BarrierPoint = { words: new Int32Array(0), index: 0, value: 0 };
      if (model.waitsAt(next)) asleep.set(thread, next);
      else {
        asleep.delete(thread);
        if (progressOf(model) === before) throw new Error(`thread ${thread} waits for nothing and does nothing`);
      }
    }
  }

  #deliveries(thread: number): readonly Delivery[] {
    return this.plan.merged[thread] as readonly Delivery[];
  }

  /** What is wrong with a run that should have come to its end; null if nothing is. */
  complaint(): string | null {
    const overlap = this.checker.overlaps()[0];
    if (overlap !== undefined) return describeOverlap(overlap);
    for (const model of this.threads) {
      const view = model.inspect();
      if (view.queuedBatches > 0) {
        return `thread ${model.thread} stands at barrier ${view.barrier} (${view.waiting}) with ${view.queuedBatches} batches`;
      }
    }
    return null;
  }

  batch(stream: number, instance: number): Batch {
    // One of g_all may be in the merge of some thread alone so far.
    for (const deliveries of stream === 0 ? this.plan.merged : [this.plan.merged[stream - 1] ?? []]) {
      const found = deliveries.find((delivery) => delivery.stream === stream && delivery.instance === instance);
      if (found !== undefined) return found.batch;
    }
    throw new Error(`no batch ${instance} in stream ${stream}`);
  }
}

function progressOf(model: PsmrThread): string {
  const { executed, executedAll, barrier, waiting } = model.inspect();
  return `${executed} ${executedAll} ${barrier} ${waiting}`;
}
