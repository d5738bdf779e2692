import { ByteWriter, Prng, Ring } from "../../base/index.js";
import { emptyRun, type Run } from "../../model/index.js";
import {
  ALL,
  defaultMergeLimits,
  MergePointMerge,
  MergePointPacing,
  MultiRingMerge,
  MultiRingPacing,
  SingleMerge,
  singlePacing,
  type StreamId,
} from "../../multicast/index.js";
import type { Btree, BtreeOptions } from "../../service/index.js";
import { type ModelOptions, MulticastModel } from "../delivery/index.js";
import {
  encodeCommands,
  type Encoded,
  filledTree,
  isDependent,
  serviceOptions,
  type Workload,
} from "../streams/index.js";
import { barrierCost, type Costs, executionCost, optimisticCost } from "../study/index.js";

/**
 * One replica in virtual time, behind clients, agreement and merge: how long commands take, and which of opt-PSMR fail. The
 * merges and the tree with its safety check are the real ones; what execution costs is calibrated; agreement and network are assumed.
 *
 * A command that concerns one group takes: network, agreement, merge, execution, network. One that fails takes the way a second
 * time through g_all, and waits there until every thread has come to its barrier.
 */
export interface LatencyOptions {
  readonly system: "sequential" | "psmr" | "opt-psmr";
  readonly merge: "points" | "skips";
  /** Who multicasts again what has failed: the replicas at once, or the client when it hears of it. */
  readonly resubmit: "replicas" | "client";
  readonly threads: number;
  /** Commands and the tree that they find. */
  readonly workload: Workload;
  readonly costs: Costs;
  readonly seed: number;
  /** Commands per second that come at random, or clients that each have one outstanding. */
  readonly load: { readonly perSecond: number } | { readonly clients: number };
  /** For how long clients send, in virtual ms. */
  readonly durationMs: number;
}

export interface Latencies {
  /** Commands answered that passed, and those that failed before. */
  readonly passed: number;
  readonly failed: number;
  /** Mean latencies in ms; NaN where there was none. */
  readonly passedMs: number;
  readonly failedMs: number;
  readonly allMs: number;
  /** Commands answered per second while clients sent, but for the first quarter of that time. */
  readonly throughput: number;
}

/** One way between a client and a replica, in ms. */
export const HOP_MS = 0.4;
const DECISION_MS = [1.2, 2] as const;
const LEARN_MS = [0.2, 0.6] as const;
/** Δ, in ms: less than a tenth of what a command that passes takes. λ is above every rate of batches that occurs. */
export const SKIP_INTERVAL_MS = 0.25;
const SKIPS_PER_SECOND = 100_000;
const OPEN_MAX = 32;
const BATCH_COMMANDS_MAX = 512;
const WAITING_INSTANCES_MAX = 4096;
const DRAIN_MS = 60;
const WARM_UP_SHARE = 1 / 4;
/** Deliveries that wait for a thread, at most: what clients can have outstanding. */
const QUEUE_MAX = 1 << 16;

/** What the model assumes, for the configuration of a result. */
export const ASSUMED = Object.freeze({
  latencies: "virtual: agreement and network are assumed",
  network_ms: HOP_MS,
  decision_ms: DECISION_MS.join(" to "),
  to_learners_ms: LEARN_MS.join(" to "),
  skip_interval_ms: SKIP_INTERVAL_MS,
});

export function runLatencyModel(options: LatencyOptions): Latencies {
  return new Replica(options).run();
}

/** A batch as a thread has it delivered. */
interface Delivery {
  readonly stream: StreamId;
  readonly commands: readonly number[];
  readonly atMs: number;
}

class Replica {
  readonly #options: LatencyOptions;
  readonly #model: MulticastModel;
  readonly #prng: Prng;
  readonly #service: Btree;
  readonly #encoded: Encoded;
  readonly #run: Run;
  readonly #replies = new ByteWriter(256);
  readonly #pass = new Uint8Array(1);
  readonly #masks = new Uint32Array(1);
  readonly #queues: readonly Ring<Delivery>[];
  /** When each thread is through with what it has executed. */
  readonly #clocksMs: Float64Array;
  readonly #sentMs: Float64Array;
  readonly #hasFailed: Uint8Array;
  #next = 0;
  #passed = 0;
  #failed = 0;
  #passedSumMs = 0;
  #failedSumMs = 0;
  #answeredInTime = 0;

  constructor(options: LatencyOptions) {
    const { workload, threads, seed } = options;
    const { keys, space = "even" } = workload.options;
    this.#options = options;
    this.#prng = new Prng(seed).fork("arrivals");
    this.#service = filledTree(keys, space, groupsOf(options));
    this.#encoded = encodeCommands(workload.operations, workload.keys, keys, space);
    this.#run = Object.assign(emptyRun(), { bytes: this.#encoded.bytes, view: this.#encoded.view, count: 1 });
    this.#queues = Array.from({ length: threads }, () => new Ring<Delivery>(QUEUE_MAX));
    this.#clocksMs = new Float64Array(threads);
    this.#sentMs = new Float64Array(workload.operations.length);
    this.#hasFailed = new Uint8Array(workload.operations.length);
    this.#model = new MulticastModel({
      seed,
      groups: threads,
      rates: [],
      failovers: [],
      durationMs: options.durationMs,
      drainMs: DRAIN_MS,
      decisionMs: DECISION_MS,
      learnMs: LEARN_MS,
      openMax: OPEN_MAX,
      batchCommandsMax: BATCH_COMMANDS_MAX,
      withAll: options.system !== "sequential",
      observer: (thread, stream, commands) => this.#delivered(thread, stream, commands),
      ...mergeOf(options),
    });
  }

  run(): Latencies {
    const { load, durationMs } = this.#options;
    if ("clients" in load) {
      // They do not all begin at once: nor do they send together later.
      for (let client = 0; client < load.clients; client++) this.#sendAt(this.#prng.float() * 2 * HOP_MS);
    } else {
      this.#arrive(load.perSecond);
    }
    this.#model.run();
    const answered = this.#passed + this.#failed;
    return {
      passed: this.#passed,
      failed: this.#failed,
      passedMs: this.#passedSumMs / this.#passed,
      failedMs: this.#failedSumMs / this.#failed,
      allMs: (this.#passedSumMs + this.#failedSumMs) / answered,
      throughput: (1000 * this.#answeredInTime) / ((1 - WARM_UP_SHARE) * durationMs),
    };
  }

  /** Commands that come independently of each other. */
  #arrive(perSecond: number): void {
    const atMs = this.#model.nowMs - (Math.log(1 - this.#prng.float()) * 1000) / perSecond;
    if (!this.#sendAt(atMs)) return;
    this.#model.at(atMs, () => this.#arrive(perSecond));
  }

  /** A client sends the next command at this moment; false if the time or the commands are over. */
  #sendAt(atMs: number): boolean {
    if (atMs > this.#options.durationMs || this.#next === this.#sentMs.length) return false;
    const command = this.#next++;
    this.#sentMs[command] = atMs;
    this.#model.at(atMs + HOP_MS, () => this.#model.send(this.#streamOf(command), command));
    return true;
  }

  #streamOf(command: number): StreamId {
    const { system } = this.#options;
    if (system === "sequential") return 1;
    this.#select(command);
    this.#service.groups(this.#run, system === "psmr" ? 0 : 1, this.#masks);
    const mask = this.#masks[0] as number;
    return (mask & (mask - 1)) === 0 ? 32 - Math.clz32(mask) : ALL;
  }

  #delivered(thread: number, stream: StreamId, commands: readonly number[]): void {
    if (commands.length === 0) return;
    (this.#queues[thread] as Ring<Delivery>).push({ stream, commands, atMs: this.#model.nowMs });
    while (this.#goOn());
  }

  /** Lets threads execute what they can; true if one of them may now go further than before. */
  #goOn(): boolean {
    let waiting = 0;
    for (const [thread, queue] of this.#queues.entries()) {
      for (;;) {
        const delivery = queue.size === 0 ? undefined : queue.at(0);
        if (delivery === undefined) break;
        if (delivery.stream === ALL) {
          waiting++;
          break;
        }
        queue.shift();
        this.#executeOwn(thread, delivery);
      }
    }
    if (waiting < this.#queues.length) return false;
    this.#meet();
    return true;
  }

  #executeOwn(thread: number, { commands, atMs }: Delivery): void {
    const { system, costs, threads } = this.#options;
    let clockMs = Math.max(this.#clocksMs[thread] as number, atMs);
    for (const command of commands) {
      const dependent = isDependent(this.#operationOf(command));
      if (!dependent) clockMs += executionCost(costs, threads) / 1e6;
      else if (system === "sequential") clockMs += costs.d1 / 1e6;
      else clockMs += optimisticCost(costs, threads) / 1e6;
      if (system === "opt-psmr" && dependent && !this.#passes(command, thread)) this.#fail(command, clockMs);
      else {
        if (dependent) this.#execute(command);
        this.#answer(command, clockMs);
      }
    }
    this.#clocksMs[thread] = clockMs;
  }

  /** All threads have come to the same batch of g_all: what it brings executes alone. */
  #meet(): void {
    const { costs, threads } = this.#options;
    let clockMs = Math.max(...this.#clocksMs);
    let commands: readonly number[] = [];
    for (const queue of this.#queues) {
      const delivery = queue.shift() as Delivery;
      clockMs = Math.max(clockMs, delivery.atMs);
      ({ commands } = delivery);
    }
    // Copies of different threads are executed by these, at a barrier each.
    const { system } = this.#options;
    const meetings = system === "psmr" ? 1 : new Set(commands.map((command) => this.#streamOf(command))).size;
    clockMs += (meetings * barrierCost(costs, threads)) / 1e6;
    for (const command of commands) {
      clockMs += costs.d1 / 1e6;
      this.#execute(command);
      this.#answer(command, clockMs);
    }
    this.#clocksMs.fill(clockMs);
  }

  #fail(command: number, clockMs: number): void {
    this.#hasFailed[command] = 1;
    const hops = this.#options.resubmit === "client" ? 2 * HOP_MS : 0;
    this.#model.at(Math.max(clockMs, this.#model.nowMs) + hops, () => this.#model.send(ALL, command));
  }

  #answer(command: number, clockMs: number): void {
    const atMs = clockMs + HOP_MS;
    const latencyMs = atMs - (this.#sentMs[command] as number);
    if (this.#hasFailed[command] === 1) {
      this.#failed++;
      this.#failedSumMs += latencyMs;
    } else {
      this.#passed++;
      this.#passedSumMs += latencyMs;
    }
    const { durationMs } = this.#options;
    if (atMs > WARM_UP_SHARE * durationMs && atMs <= durationMs) this.#answeredInTime++;
    if ("clients" in this.#options.load)
      this.#model.at(Math.max(atMs, this.#model.nowMs), () => this.#sendAt(this.#model.nowMs));
  }

  #passes(command: number, thread: number): boolean {
    this.#select(command);
    this.#service.safetyCheck(this.#run, thread, this.#pass);
    return this.#pass[0] === 1;
  }

  #execute(command: number): void {
    this.#select(command);
    this.#replies.clear();
    this.#service.execute(this.#run, this.#replies, null);
  }

  #select(command: number): void {
    this.#run.offsets = this.#encoded.offsets.subarray(command, command + 1);
  }

  #operationOf(command: number): number {
    return this.#options.workload.operations[command] as number;
  }
}

function groupsOf({ threads, workload }: LatencyOptions): BtreeOptions {
  return serviceOptions(workload.options.keys, threads, "range", workload.options.space);
}

function mergeOf({ system, merge }: LatencyOptions): Pick<ModelOptions, "makeMerge" | "makePacing"> {
  const limits = { ...defaultMergeLimits, instancesMax: WAITING_INSTANCES_MAX };
  if (system === "sequential") {
    return { makeMerge: (thread) => new SingleMerge(thread, limits), makePacing: () => singlePacing };
  }
  if (merge === "points") {
    return {
      makeMerge: (thread) => new MergePointMerge(thread, limits),
      makePacing: (stream) => (stream === ALL ? singlePacing : new MergePointPacing()),
    };
  }
  const ring = { instancesPerSecond: SKIPS_PER_SECOND, intervalMs: SKIP_INTERVAL_MS, turn: 1, startMs: 0 };
  return {
    makeMerge: (thread) => new MultiRingMerge([ALL, thread], ring, limits),
    makePacing: () => new MultiRingPacing(ring),
  };
}
