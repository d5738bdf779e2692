import {
  type Batch,
  BATCH_BYTES_MAX,
  BATCH_HEADER_BYTES,
  type ExecutionModel,
  type ExecutionSink,
  type Instance,
  type QueueVisitor,
  type ReplicaId,
  type Service,
} from "../../model/index.js";
import type { CheckpointInfo, ReplicaPlatform } from "../../platform/index.js";
import type { ReplicaOptions } from "./api.js";
import { Checkpointing } from "./checkpointing.js";
import type { ReplicaMetrics } from "./metrics.js";
import { restoreCheckpoint } from "./recovery.js";
import type { StateHost, StateKeeping } from "./state-keeping.js";
import { StateTransfer } from "./state-transfer.js";

/** Commands executed at once while a fetched state waits. */
const WORK_COMMANDS = 2048;

export interface WholeStateInit {
  readonly self: ReplicaId;
  readonly platform: ReplicaPlatform;
  readonly options: ReplicaOptions;
  readonly execution: ExecutionModel;
  /** Takes the effects of `execution`. */
  readonly sink: ExecutionSink;
  readonly service: Service;
  readonly host: StateHost;
  readonly metrics?: ReplicaMetrics | undefined;
}

/** The state of a replica with one group: behind one instance of its stream. */
export class WholeState implements StateKeeping {
  readonly #init: WholeStateInit;
  readonly #checkpointing: Checkpointing;
  readonly #transfer: StateTransfer;
  latest: CheckpointInfo | null = null;
  /** Bytes of decided batches that the newest checkpoint, or the one under way, does not cover. */
  #bytesSince = 0;
  #instanceAt: Instance = 0;
  logBytesMax: number;
  #pendingFetch: { from: ReplicaId; through: Instance } | null = null;
  /** A fetched checkpoint is being put in place; what is decided meanwhile waits in `#held`. */
  installing = false;
  #held: { readonly instance: Instance; readonly batch: Batch }[] = [];
  #closed = false;

  constructor(init: WholeStateInit) {
    this.#init = init;
    const { platform, options, execution, host } = init;
    this.logBytesMax = options.logBytesMax;
    this.#checkpointing = new Checkpointing({
      store: platform.checkpoints,
      execution,
      sliceBytes: options.checkpointSliceBytes,
      metrics: init.metrics,
      pressed: () => this.#pressed,
      // The room for proposals grows with what is written.
      advanced: () => host.requestTurn(),
      done: (error, through, digest, bytes) => this.#onCheckpointed(error, through, digest, bytes),
    });
    this.#transfer = new StateTransfer({
      peers: platform.peers,
      store: platform.checkpoints,
      latest: () => this.latest,
      now: () => host.now(),
      done: (error, from, info) => this.#onFetched(error, from, info),
    });
  }

  get through(): Instance {
    return this.#checkpointing.through;
  }

  recover(done: (error: Error | null, through: Instance) => void): void {
    const { platform, execution } = this.#init;
    platform.checkpoints.open((error, latest) => {
      if (error !== null) return done(error, 0);
      this.latest = latest;
      const through = latest?.through ?? 0;
      this.#checkpointing.through = through;
      this.#instanceAt = through;
      if (latest === null) return done(null, 0);
      restoreCheckpoint(platform.checkpoints, through, execution.restore(through), (damage) => done(damage, through));
    });
  }

  started(): void {
    const { options, self, host } = this.#init;
    // Replicas take their checkpoints at different times: the first interval is shorter by the replica's number. And what the
    // log holds already counts: replicas that start again and again before an interval is over would otherwise fill their
    // logs, and a full log takes nothing that could make a checkpoint due.
    this.#bytesSince += Math.floor((options.checkpointBytes * (self % 8)) / 16) + host.view().logBytes;
  }

  decided(instance: Instance, batch: Batch): void {
    this.#bytesSince += batch.end - batch.start;
    if (this.installing) this.#held.push({ instance, batch });
    else this.#execute(instance, batch);
  }

  boundLog(): number {
    const { logBytesMax, largeLogBytesMax } = this.#init.options;
    const wanted = Math.max(logBytesMax, Math.min(this.#init.service.size().bytes, largeLogBytesMax));
    this.logBytesMax = Math.max(wanted, Math.min(this.logBytesMax, this.#init.host.view().logBytes));
    return this.logBytesMax;
  }

  /**
   * The last quarter of the log is given out as the checkpoint under way gets on, so that clients are slowed while it is
   * written rather than stopped until it is done.
   */
  get logFillMax(): number {
    if (!this.#checkpointing.busy) return 1;
    const { bytes } = this.#init.service.size();
    const done = bytes > 0 ? Math.min(1, this.#checkpointing.written / bytes) : 1;
    return 0.75 + 0.25 * done;
  }

  consider(): void {
    const { execution, options, host } = this.#init;
    const { executed } = execution.inspect();
    if (this.#checkpointing.busy || this.#transfer.fetching || this.installing || this.#pendingFetch !== null) return;
    if (executed <= this.#checkpointing.through) return;
    if (host.backupWanted() > this.#checkpointing.through) return this.#startCheckpoint(executed);
    // A peer that is served a state should find the log above it; but a slow one must not fill this replica's log, which
    // would stop the cluster. What is being served can still be read to its end.
    if (this.#transfer.serving && !this.#pressed) return;
    // Writing a large state more often than the log has grown by its size would cost more than it frees. A log that is half
    // full can't wait for that: what fills it may stand in memory that is partly unused, or be undecided.
    const enough = this.#pressed
      ? this.logBytesMax / 16
      : Math.max(options.checkpointBytes, Math.min(this.#checkpointing.bytes, this.logBytesMax / 3));
    const due = this.#bytesSince >= enough || executed - this.#instanceAt >= options.checkpointInstances;
    if (due) this.#startCheckpoint(executed);
  }

  fetch(from: ReplicaId, through: Instance): void {
    this.#pendingFetch = { from, through };
    this.#fetchPending();
  }

  onFrame(from: ReplicaId, kind: number, bytes: Uint8Array, view: DataView, start: number, end: number): boolean {
    return this.#transfer.onFrame(from, kind, bytes, view, start, end);
  }

  onPeerGone(peer: ReplicaId): void {
    this.#transfer.onPeerGone(peer);
  }

  onTick(): void {
    this.#transfer.onTick();
  }

  queues(visit: QueueVisitor): void {
    // What is decided while a state is put in place stands in the log's memory, and that comes in chunks.
    const slack = Math.max(this.#init.options.arenaChunkBytes, BATCH_BYTES_MAX);
    visit("decisions held back", this.#held.length, Math.ceil((2 * this.logBytesMax + slack) / BATCH_HEADER_BYTES));
  }

  close(): void {
    this.#closed = true;
    this.#transfer.close();
  }

  /** More than half of the log's memory is taken. */
  get #pressed(): boolean {
    return this.#init.host.view().logFill > 0.5;
  }

  #execute(instance: Instance, batch: Batch): void {
    this.#init.execution.step({ kind: "decided", stream: 0, instance, batch }, this.#init.sink);
  }

  #startCheckpoint(executed: Instance): void {
    // What is decided and not yet executed is left to the next one.
    this.#bytesSince = this.#init.execution.inspect().queuedBytes;
    this.#instanceAt = executed;
    this.#checkpointing.start();
  }

  #onCheckpointed(error: Error | null, through: Instance, digest: string, bytes: number): void {
    if (this.#closed) return;
    if (error !== null) return this.#init.host.fatal(error);
    this.latest = { through, digest, bytes };
    this.#init.host.checkpointed(this.latest, through);
    this.#fetchPending();
  }

  #fetchPending(): void {
    const pending = this.#pendingFetch;
    if (pending === null || this.#checkpointing.busy) return;
    this.#pendingFetch = null;
    const { events, peers } = this.#init.platform;
    events.info("fetching state", { from: pending.from, through: pending.through });
    this.#transfer.fetch(pending.from, pending.through);
    peers.flush();
  }

  #onFetched(error: Error | null, from: ReplicaId, info: CheckpointInfo | null): void {
    if (this.#closed) return;
    const { platform, execution, sink, host } = this.#init;
    if (error !== null || info === null) {
      platform.events.warn("state transfer failed", { from, error: error?.message ?? "" });
      return host.fetchFailed(from);
    }
    this.latest = info;
    // What was decided before still executes first: the log may have overtaken the checkpoint.
    while (execution.inspect().queuedBatches > 0) execution.step({ kind: "work", budget: WORK_COMMANDS }, sink);
    if (execution.inspect().executed >= info.through) return this.#installed(info, from);
    this.installing = true;
    restoreCheckpoint(
      platform.checkpoints,
      info.through,
      execution.restore(info.through),
      (failure) => {
        if (failure !== null) return host.fatal(failure);
        this.installing = false;
        this.#installed(info, from);
      },
      () => this.#closed,
    );
  }

  #installed(info: CheckpointInfo, from: ReplicaId): void {
    const { execution, host } = this.#init;
    const { executed } = execution.inspect();
    this.#checkpointing.through = info.through;
    this.#checkpointing.bytes = info.bytes;
    this.#instanceAt = executed;
    // What was held back was traced when it was decided; only its execution was put off.
    const held = this.#held;
    this.#held = [];
    host.replaced(info, from);
    for (const { instance, batch } of held) if (instance > executed) this.#execute(instance, batch);
    host.installed(info.through);
  }
}
