import { assert, Ring } from "../../base/index.js";
import type {
  Batch,
  Digest,
  ExecutionEvent,
  ExecutionModel,
  ExecutionSink,
  ExecutionView,
  Instance,
  QueueVisitor,
  Service,
  SnapshotSink,
  SnapshotSource,
  Span,
} from "../../model/index.js";
import { ReplicatedState, type ReplicatedStateOptions, WaitingReads } from "../replicated-state/index.js";

/** The view, updated in place. */
type View = { -readonly [field in keyof ExecutionView]: ExecutionView[field] };

/**
 * Reads that cost more than this between two `work` steps wait for the next one, so that a burst of reads of long values
 * does not keep the thread from its heartbeats.
 */
const READ_COST_MAX = 2048;

export class Pipelined implements ExecutionModel {
  readonly #options: ReplicatedStateOptions;
  readonly #state: ReplicatedState;
  readonly #reads: WaitingReads;
  /** Decided batches of the instances behind `executed`, one each. */
  readonly #queue: Ring<Batch>;
  /** Cost of the reads that executed as they came, since the last `work` step. */
  #readCost = 0;
  /** The host has been asked for a `work` step that has not come yet. */
  #asked = false;
  readonly #view: View = {
    executed: 0,
    queuedBatches: 0,
    queuedBytes: 0,
    queuedReads: 0,
    commands: 0,
    ordered: 0,
    windowMax: Infinity,
    time: 0,
    due: Infinity,
    sessions: 0,
  };

  constructor(service: Service, options: ReplicatedStateOptions) {
    this.#options = options;
    this.#state = new ReplicatedState(service, options);
    this.#reads = new WaitingReads(options.waitingReadBytesMax);
    this.#queue = new Ring(options.queueBatchesMax);
  }

  step(event: ExecutionEvent, out: ExecutionSink): void {
    switch (event.kind) {
      case "decided":
        this.#decided(event.stream, event.instance, event.batch, out);
        break;
      case "read":
        this.#read(event.after, event.route, event.block, out);
        break;
      case "work":
        this.#work(event.budget, out);
        break;
      default:
        // Values that are not decided do not concern this model.
        break;
    }
  }

  inspect(): ExecutionView {
    const view = this.#view;
    view.queuedBatches = this.#queue.size;
    view.queuedReads = this.#reads.size;
    view.commands = this.#state.commands;
    view.ordered = this.#state.ordered;
    view.time = this.#state.time;
    view.due = this.#state.due;
    view.sessions = this.#state.sessions;
    return view;
  }

  answerAgain(view: DataView, start: number, out: ExecutionSink): boolean {
    return this.#state.answerAgain(view, start, out);
  }

  queues(visit: QueueVisitor): void {
    visit("batches to execute", this.#queue.size, this.#options.queueBatchesMax);
    visit("bytes of waiting reads", this.#reads.bytes, this.#options.waitingReadBytesMax);
    this.#state.queues(visit);
  }

  digest(into: Digest): void {
    this.#state.digest(into);
  }

  snapshot(): SnapshotSource {
    return this.#state.snapshot();
  }

  /** Reads that the installed state makes due execute in the next `work` step, which the host makes after an install. */
  restore(through: Instance): SnapshotSink {
    return this.#state.restore(() => {
      this.#queue.clear();
      this.#view.queuedBytes = 0;
      this.#view.executed = through;
    });
  }

  #decided(stream: number, instance: Instance, batch: Batch, out: ExecutionSink): void {
    const view = this.#view;
    const queue = this.#queue;
    assert(stream === 0, `pipelined execution has one stream, got ${stream}`);
    const expected = view.executed + queue.size + 1;
    assert(instance === expected, `instance ${instance} was decided when ${expected} was next`);
    if (queue.full) this.#executeNext(out);
    queue.push(batch);
    view.queuedBytes += batch.end - batch.start;
    this.#ask(out);
  }

  #read(after: Instance, route: number, block: Span, out: ExecutionSink): void {
    if (after <= this.#view.executed && this.#readCost < READ_COST_MAX) {
      const before = this.#state.cost;
      this.#state.read(block, route, out);
      this.#readCost += this.#state.cost - before;
    } else if (!this.#reads.offer(after, route, block)) this.#state.refuseRead(block, route, out);
    else if (after <= this.#view.executed) this.#ask(out);
  }

  /**
   * Executes reads that are due and then the next batch, until they have cost about `budget`. A batch is never cut:
   * digests and snapshots exist only between instances.
   */
  #work(budget: number, out: ExecutionSink): void {
    this.#asked = false;
    this.#readCost = 0;
    const stop = this.#state.cost + budget;
    let spent = false;
    while (!spent) {
      const read = this.#reads.take(this.#view.executed);
      if (read !== null) {
        this.#state.read(read.block, read.route, out);
        this.#reads.release(read);
      } else if (this.#queue.size > 0) {
        this.#executeNext(out);
      } else return;
      spent = this.#state.cost >= stop;
    }
    if (this.#queue.size > 0 || this.#reads.due(this.#view.executed)) this.#ask(out);
  }

  #executeNext(out: ExecutionSink): void {
    const view = this.#view;
    const batch = this.#queue.shift();
    assert(batch !== undefined, "there is no decided batch to execute");
    view.queuedBytes -= batch.end - batch.start;
    this.#state.apply(view.executed + 1, batch, out);
    view.executed++;
    out.executed(0, view.executed);
  }

  #ask(out: ExecutionSink): void {
    if (this.#asked) return;
    this.#asked = true;
    out.wantWork();
  }
}
