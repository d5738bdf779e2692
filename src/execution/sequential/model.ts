import { assert } from "../../base/index.js";
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

export class Sequential implements ExecutionModel {
  readonly #options: ReplicatedStateOptions;
  readonly #state: ReplicatedState;
  readonly #reads: WaitingReads;
  readonly #view: View = {
    executed: 0,
    queuedBatches: 0,
    queuedBytes: 0,
    queuedReads: 0,
    commands: 0,
    ordered: 0,
    windowMax: 1,
    time: 0,
    due: Infinity,
    sessions: 0,
  };

  constructor(service: Service, options: ReplicatedStateOptions) {
    this.#options = options;
    this.#state = new ReplicatedState(service, options);
    this.#reads = new WaitingReads(options.waitingReadBytesMax);
  }

  step(event: ExecutionEvent, out: ExecutionSink): void {
    if (event.kind === "decided") this.#decided(event.stream, event.instance, event.batch, out);
    else if (event.kind === "read") this.#read(event.after, event.route, event.block, out);
    this.#executeReads(out);
  }

  inspect(): ExecutionView {
    const view = this.#view;
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
    visit("bytes of waiting reads", this.#reads.bytes, this.#options.waitingReadBytesMax);
    this.#state.queues(visit);
  }

  digest(into: Digest): void {
    this.#state.digest(into);
  }

  snapshot(): SnapshotSource {
    return this.#state.snapshot();
  }

  /** Reads that the installed state makes due execute in the next step of any kind. */
  restore(through: Instance): SnapshotSink {
    return this.#state.restore(() => {
      this.#view.executed = through;
    });
  }

  #decided(stream: number, instance: Instance, batch: Batch, out: ExecutionSink): void {
    const view = this.#view;
    assert(stream === 0, `sequential execution has one stream, got ${stream}`);
    assert(instance === view.executed + 1, `instance ${instance} was decided after ${view.executed}`);
    this.#state.apply(instance, batch, out);
    view.executed = instance;
    out.executed(stream, instance);
  }

  #read(after: Instance, route: number, block: Span, out: ExecutionSink): void {
    if (after <= this.#view.executed) this.#state.read(block, route, out);
    else if (!this.#reads.offer(after, route, block)) this.#state.refuseRead(block, route, out);
  }

  #executeReads(out: ExecutionSink): void {
    for (;;) {
      const read = this.#reads.take(this.#view.executed);
      if (read === null) return;
      this.#state.read(read.block, read.route, out);
      this.#reads.release(read);
    }
  }
}
