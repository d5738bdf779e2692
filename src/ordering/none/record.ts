import type { ByteWriter } from "../../base/index.js";
import {
  type Batch,
  type BatchArena,
  BATCH_HEADER_BYTES,
  checkBatch,
  type Instance,
  type ProtocolCodec,
} from "../../model/index.js";

/** A batch under its number: `u8 1`, `f64 instance`, the batch. One that a checkpoint covers is read without its batch. */
export interface NoneRecord {
  readonly instance: Instance;
  readonly batch: Batch | null;
}

const KIND = 1;
const PREFIX_BYTES = 9;

export const noneCodec: ProtocolCodec<never, NoneRecord> = {
  kindOf: () => 1,
  encode: () => undefined,
  // A server that is not replicated has nobody to hear from.
  decode: () => null,

  encodeRecord(record: NoneRecord, writer: ByteWriter): void {
    const batch = record.batch as Batch;
    writer.u8(KIND);
    writer.f64(record.instance);
    writer.copy(batch.bytes, batch.start, batch.end);
  },

  decodeRecord(
    bytes: Uint8Array,
    view: DataView,
    start: number,
    end: number,
    arena: BatchArena,
    above: Instance,
  ): NoneRecord | null {
    if (end - start < PREFIX_BYTES + BATCH_HEADER_BYTES || view.getUint8(start) !== KIND) return null;
    const instance = view.getFloat64(start + 1, true);
    const at = start + PREFIX_BYTES;
    if (!Number.isSafeInteger(instance) || instance < 1 || checkBatch(view, at, end) !== end - at) return null;
    return { instance, batch: instance <= above ? null : arena.copy(bytes, view, at, end) };
  },

  forget(record: NoneRecord, arena: BatchArena): void {
    if (record.batch !== null) arena.release(record.batch);
  },

  recordInstance: (record) => record.instance,
};
