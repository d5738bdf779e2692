import { ByteWriter } from "../../base/index.js";
import {
  type Batch,
  BATCH_HEADER_BYTES,
  batchTime,
  BLOCK_HEADER_BYTES,
  blockCommands,
  blockLength,
  blockSequence,
  blockSession,
  type Digest,
  emptyRun,
  type ExecutionEvent,
  type ExecutionModel,
  type ExecutionSink,
  type ExecutionView,
  type Instance,
  type Position,
  type Service,
  type SessionId,
  type SnapshotSink,
  type SnapshotSource,
  TraceCode,
} from "../../model/index.js";
import type { Disguise } from "../world/index.js";

/** A block that comes a second time, as after a change of leader, executes a second time. */
export const duplicatesExecuted = (): Disguise => ({
  siblings: (real) => ({
    ...real,
    createExecution: (service) => new Repeating(real.createExecution(service), service),
  }),
});

interface Skipped {
  readonly session: SessionId;
  readonly first: number;
}

/** Listens for what the model skips as a duplicate, and executes it behind the model's back, at the same place everywhere. */
class Repeating implements ExecutionModel, ExecutionSink {
  readonly #inner: ExecutionModel;
  readonly #service: Service;
  readonly #batches = new Map<Instance, Batch>();
  readonly #skipped: Skipped[] = [];
  readonly #replies = new ByteWriter();
  #out!: ExecutionSink;

  constructor(inner: ExecutionModel, service: Service) {
    this.#inner = inner;
    this.#service = service;
  }

  step(event: ExecutionEvent, out: ExecutionSink): void {
    this.#out = out;
    if (event.kind === "decided") this.#batches.set(event.instance, event.batch);
    this.#inner.step(event, this);
  }

  inspect(): ExecutionView {
    return this.#inner.inspect();
  }

  digest(into: Digest): void {
    this.#inner.digest(into);
  }

  snapshot(): SnapshotSource {
    return this.#inner.snapshot();
  }

  restore(through: Instance): SnapshotSink {
    return this.#inner.restore(through);
  }

  executed(stream: number, through: Instance): void {
    this.#batches.delete(through);
    this.#out.executed(stream, through);
  }

  replies(): ByteWriter {
    return this.#out.replies();
  }

  replied(session: SessionId, position: Position, at: number): void {
    this.#out.replied(session, position, at);
  }

  readDone(route: number, at: number): void {
    this.#out.readDone(route, at);
  }

  wantWork(): void {
    this.#out.wantWork();
  }

  digestTaken(nonceHigh: number, nonceLow: number, position: Position, digest: Digest): void {
    this.#out.digestTaken(nonceHigh, nonceLow, position, digest);
  }

  trace(code: TraceCode, a: number, b: number, c: number): void {
    this.#out.trace(code, a, b, c);
    if (code === TraceCode.commandsSkipped && b < c) this.#skipped.push({ session: a, first: b });
    if (code !== TraceCode.executed) return;
    const batch = this.#batches.get(a);
    for (const skipped of this.#skipped.splice(0)) if (batch !== undefined) this.#repeat(batch, skipped);
  }

  #repeat(batch: Batch, { session, first }: Skipped): void {
    const { view } = batch;
    for (let at = batch.start + BATCH_HEADER_BYTES; at < batch.end; at += blockLength(view, at)) {
      if (blockSession(view, at) !== session || blockSequence(view, at) !== first) continue;
      const count = blockCommands(view, at);
      const offsets = new Uint32Array(count);
      let offset = at + BLOCK_HEADER_BYTES;
      for (let i = 0; i < count; i++) {
        offsets[i] = offset;
        offset += view.getUint32(offset, true);
      }
      const run = { ...emptyRun(), bytes: batch.bytes, view, offsets, count, time: batchTime(view, batch.start) };
      this.#replies.clear();
      this.#service.execute(run, this.#replies, null);
      return;
    }
  }
}
