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
  emptyRun,
  type ExecutionEvent,
  type ExecutionModel,
  type ExecutionSink,
  type Instance,
  type Service,
  type SessionId,
  TraceCode,
} from "../../model/index.js";
import type { Disguise } from "../world/index.js";
import { aroundExecution, PassingExecution } from "./passing-execution.js";

/** Agreed time in ms for which the bug remembers a block. The retransmissions of a calm cluster come sooner. */
const REMEMBERED_MS = 300;

/** A block that comes a second time after a while, as after a change of leader, executes a second time. */
export const duplicatesExecuted = (): Disguise => aroundExecution((inner, service) => new Repeating(inner, service));

/** A block, by its session and first sequence number. */
interface Skipped {
  readonly session: SessionId;
  readonly first: number;
}

/** Listens for what the model skips as a duplicate, and executes it behind the model's back, at the same place everywhere. */
class Repeating extends PassingExecution {
  readonly #service: Service;
  readonly #batches = new Map<Instance, Batch>();
  readonly #skipped: Skipped[] = [];
  readonly #executedAt = new Map<string, number>();
  readonly #replies = new ByteWriter();

  constructor(inner: ExecutionModel, service: Service) {
    super(inner);
    this.#service = service;
  }

  override step(event: ExecutionEvent, out: ExecutionSink): void {
    if (event.kind === "decided") this.#batches.set(event.instance, event.batch);
    super.step(event, out);
  }

  override executed(stream: number, through: Instance): void {
    this.#batches.delete(through);
    this.out.executed(stream, through);
  }

  override trace(code: TraceCode, a: number, b: number, c: number): void {
    this.out.trace(code, a, b, c);
    if (code === TraceCode.commandsExecuted) this.#executedAt.set(`${a}:${b}`, this.inner.inspect().time);
    if (code === TraceCode.commandsSkipped && b < c && this.#isForgotten(a, b))
      this.#skipped.push({ session: a, first: b });
    if (code !== TraceCode.executed) return;
    const batch = this.#batches.get(a);
    for (const skipped of this.#skipped.splice(0)) if (batch !== undefined) this.#repeat(batch, skipped);
  }

  #isForgotten(session: SessionId, first: number): boolean {
    return this.inner.inspect().time - (this.#executedAt.get(`${session}:${first}`) ?? Infinity) > REMEMBERED_MS;
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
