/** A thread of P-SMR or opt-PSMR as a body of the thread port: it delivers what was recorded, and waits at barriers as its port does. */
import { ByteWriter } from "#src/base/index.js";
import {
  Barrier,
  type BarrierPoint,
  createOptPsmrThread,
  createPsmrThread,
  type PsmrParts,
  type PsmrSink,
  type PsmrThread,
} from "#src/execution/index.js";
import { Deliveries } from "#src/lab/replay/index.js";
import {
  encodeCommands,
  type Encoded,
  filledTree,
  type Mapping,
  type Recording,
  serviceOptions,
} from "#src/lab/streams/index.js";
import { type Batch, declaredMapping, emptyRun, optimisticMapping } from "#src/model/index.js";
import { StepOutcome, type ThreadBody, type ThreadContext } from "#src/platform/index.js";
import { Btree, BtreeOperation, type BtreeOptions, type TreeDescription } from "#src/service/index.js";

export interface PsmrBodyData {
  readonly thread: number;
  readonly threads: number;
  readonly keys: number;
  /** Optimistic threads have a tree with scattered keys. */
  readonly optimistic: boolean;
  readonly mapping: Mapping;
  readonly barrier: "run" | "command";
  readonly recording: Recording;
  readonly parts: PsmrParts;
  /** One word: threads that are through with everything. */
  readonly through: SharedArrayBuffer;
}

/** From thread 0: the tree that it has made and shared, for the others; and the digest when all are through. */
export type FromPsmrBody = { readonly tree: TreeDescription } | { readonly digest: string };

const TREE_BYTES_MAX = 64 * 2 ** 20;

/** A service with the keys that recorded streams suppose. */
export function filledService(keys: number, options: BtreeOptions): Btree {
  const service = new Btree(options);
  const numbers = Uint32Array.from({ length: keys }, (_, i) => 2 * i);
  const inserts = encodeCommands(new Uint8Array(keys).fill(BtreeOperation.insert), numbers, keys);
  executeInOrder(service, inserts, [...numbers.keys()]);
  return service;
}

export function executeInOrder(service: Btree, { bytes, view, offsets }: Encoded, order: readonly number[]): void {
  const run = Object.assign(emptyRun(), { bytes, view, count: order.length });
  run.offsets = Uint32Array.from(order, (command) => offsets[command]!);
  service.execute(run, new ByteWriter(32 * order.length), null);
}

export function digestOf(service: Btree): string {
  const digest = new Uint32Array(4);
  service.digest(digest);
  return digest.join(" ");
}

export function createThread(context: ThreadContext): ThreadBody {
  return new PsmrBody(context);
}

class PsmrBody implements ThreadBody, PsmrSink {
  readonly waitPoint: BarrierPoint = { words: new Int32Array(new SharedArrayBuffer(4)), index: 0, value: 0 };
  readonly #context: ThreadContext;
  readonly #data: PsmrBodyData;
  readonly #deliveries: Deliveries;
  readonly #barrier: Barrier;
  readonly #through: Int32Array;
  readonly #writer = new ByteWriter();
  #service: Btree | null = null;
  #model: PsmrThread | null = null;
  #delivered = 0;
  #executed = 0;
  #counted = false;

  constructor(context: ThreadContext) {
    const data = context.data as PsmrBodyData;
    this.#context = context;
    this.#data = data;
    this.#deliveries = new Deliveries(data.recording, data.thread + 1);
    this.#barrier = new Barrier(data.parts.memory, data.threads);
    this.#through = new Int32Array(data.through);
    if (data.thread > 0) return;
    const service = data.optimistic
      ? filledTree(data.keys, "scattered", this.#options)
      : filledService(data.keys, this.#options);
    const tree = service.share(data.threads, TREE_BYTES_MAX);
    this.#begin(service);
    context.post({ tree } satisfies FromPsmrBody);
  }

  onMessage(message: unknown): void {
    const { tree } = message as { tree: TreeDescription };
    this.#begin(Btree.attach(tree, this.#data.thread, this.#options));
  }

  /** Small steps, so that an order of steps is an order of single deliveries and single barriers. */
  step(): StepOutcome {
    const model = this.#model;
    if (model === null) return StepOutcome.idle;
    const { batches, streams, instances } = this.#deliveries;
    if (this.#executed === batches.length) return this.#finish();
    const next = this.#delivered;
    if (next < batches.length && next - this.#executed < 3) {
      this.#delivered++;
      const [stream, instance, batch] = [streams[next]!, instances[next]!, batches[next] as Batch];
      model.step({ kind: "decided", stream, instance, batch }, this);
      return StepOutcome.more;
    }
    model.step({ kind: "work", budget: 1 }, this);
    return model.waitsAt(this.waitPoint) ? StepOutcome.wait : StepOutcome.more;
  }

  executed(): void {
    this.#executed++;
  }

  replies(): ByteWriter {
    this.#writer.clear();
    return this.#writer;
  }

  arrived(): void {
    Atomics.notify(this.#barrier.words, this.#barrier.arrivalWord(this.#data.thread));
  }

  released(): void {
    Atomics.notify(this.#barrier.words, this.#barrier.releaseWord(this.#data.thread));
  }

  replied(): void {}
  readDone(): void {}
  wantWork(): void {}
  digestTaken(): void {}
  trace(): void {}
  cutTaken(): void {}

  get #options(): BtreeOptions {
    const { keys, threads, mapping, optimistic } = this.#data;
    return serviceOptions(keys, threads, mapping, optimistic ? "scattered" : "even");
  }

  #begin(service: Btree): void {
    const { parts, thread, threads, barrier, optimistic } = this.#data;
    const conservative = declaredMapping(service, threads);
    const mappings = { conservative, optimistic: optimisticMapping(service, threads) };
    this.#service = service;
    this.#model = optimistic
      ? createOptPsmrThread(parts, thread, service, mappings, { barrier })
      : createPsmrThread(parts, thread, service, conservative, { barrier });
  }

  /** Thread 0 looks at the state when all are through; the others end. */
  #finish(): StepOutcome {
    const service = this.#service as Btree;
    if (!this.#counted) {
      this.#counted = true;
      service.publish(false);
      Atomics.add(this.#through, 0, 1);
      Atomics.notify(this.#through, 0);
    }
    if (this.#data.thread > 0) return StepOutcome.done;
    const through = Atomics.load(this.#through, 0);
    if (through < this.#data.threads) {
      Object.assign(this.waitPoint, { words: this.#through, index: 0, value: through });
      return StepOutcome.wait;
    }
    this.#context.post({ digest: digestOf(service) } satisfies FromPsmrBody);
    return StepOutcome.done;
  }
}
