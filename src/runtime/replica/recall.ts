import type { BatchArena, Instance, ProtocolCodec } from "../../model/index.js";
import type { EventLog, LogStorage } from "../../platform/index.js";

export interface RecallInit {
  readonly log: LogStorage;
  readonly codec: ProtocolCodec<unknown, unknown>;
  readonly arena: BatchArena;
  readonly events: EventLog;
}

/**
 * Reads back from the log what memory no longer holds, for peers that are behind. What can't be read is left out and told: that
 * is the protocol's to deal with, since a copy elsewhere may do.
 */
export function recall(
  init: RecallInit,
  from: Instance,
  through: Instance,
  done: (records: readonly unknown[]) => void,
): void {
  const { arena, codec } = init;
  const records: unknown[] = [];
  const visit = (bytes: Uint8Array, view: DataView, start: number, end: number): void => {
    const record = codec.decodeRecord(bytes, view, start, end, arena, from - 1);
    if (record === null) return;
    const instance = codec.recordInstance(record);
    if (instance >= from && instance <= through) records.push(record);
    else codec.forget(record, arena);
  };
  init.log.revisit?.(from, through, visit, (error) => {
    if (error !== null) {
      init.events.warn("the log can't be read back", { from, through, error: error.message });
      // Of an instance whose newest record is missing an older one may have been seen.
      for (const record of records.splice(0)) codec.forget(record, arena);
    }
    done(records);
  });
}
