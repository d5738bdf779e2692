import { ByteQueue, ByteWriter, hashBytes } from "../../base/index.js";
import { CheckpointDamagedError, type SnapshotSink, type SnapshotSource } from "../../model/index.js";
import { WatchTable, WATCHED_BYTES_MAX, WATCHED_KEYS_MAX } from "./watch-table.js";

/**
 * A snapshot of the service, little-endian: `u32 magic`, `u32 format`, `u32 bytes of the watches`, `u32` hash of them, the
 * watches (see `WatchTable.write`), and the snapshot of the entries.
 */
const MAGIC = 0x53564b53;
const FORMAT = 2;
const HEADER_BYTES = 16;
const HASH_SEED = 0x3a7c;
/** A watch has a key at least, so there are no more watches than keys: 12 bytes for each, and 4 for each key. */
const WATCHES_BYTES_MAX = 12 + WATCHED_BYTES_MAX + 16 * WATCHED_KEYS_MAX;

export class KvSource implements SnapshotSource {
  #watches: Uint8Array;
  readonly #entries: SnapshotSource;
  #at = 0;

  /** The watches are copied here and now; they are few, or bounded at least. */
  constructor(watches: WatchTable, entries: SnapshotSource) {
    const writer = new ByteWriter(256, HEADER_BYTES + WATCHES_BYTES_MAX);
    writer.skip(HEADER_BYTES);
    watches.write(writer);
    const { view, bytes, length } = writer;
    view.setUint32(0, MAGIC, true);
    view.setUint32(4, FORMAT, true);
    view.setUint32(8, length - HEADER_BYTES, true);
    view.setUint32(12, hashBytes(bytes, HEADER_BYTES, length, HASH_SEED), true);
    this.#watches = writer.toBytes();
    this.#entries = entries;
  }

  next(writer: ByteWriter, bytesTarget: number): boolean {
    const stop = writer.length + bytesTarget;
    const watches = this.#watches;
    // What was written before it may have used up the target.
    const end = Math.min(watches.length, this.#at + Math.max(0, bytesTarget));
    writer.copy(watches, this.#at, end);
    this.#at = end;
    if (end < watches.length || writer.length >= stop) return true;
    return this.#entries.next(writer, stop - writer.length);
  }

  close(): void {
    this.#watches = new Uint8Array(0);
    this.#at = 0;
    this.#entries.close();
  }
}

/** Rebuilds the watches, and passes the rest to the sink of the entries. */
export class KvSink implements SnapshotSink {
  readonly #entries: SnapshotSink;
  readonly #install: (watches: WatchTable) => void;
  readonly #input = new ByteQueue();
  #watches: WatchTable | null = null;

  constructor(entries: SnapshotSink, install: (watches: WatchTable) => void) {
    this.#entries = entries;
    this.#install = install;
  }

  write(bytes: Uint8Array, start: number, end: number): void {
    if (this.#watches !== null) return this.#entries.write(bytes, start, end);
    const input = this.#input;
    input.push(bytes, start, end);
    if (!input.has(HEADER_BYTES)) return;
    const { view, at } = input;
    if (view.getUint32(at, true) !== MAGIC) throw damaged("it does not begin as a store's snapshot");
    const format = view.getUint32(at + 4, true);
    if (format !== FORMAT) throw damaged(`its format is ${format}, this version reads ${FORMAT}`);
    const length = view.getUint32(at + 8, true);
    if (length > WATCHES_BYTES_MAX) throw damaged(`its watches have ${length} bytes`);
    if (!input.has(HEADER_BYTES + length)) return;
    const hash = view.getUint32(at + 12, true);
    // The queue may have moved its bytes to make room.
    const from = input.at + HEADER_BYTES;
    if (hashBytes(input.bytes, from, from + length, HASH_SEED) !== hash)
      throw damaged("the hash of its watches is wrong");
    this.#watches = WatchTable.read(input.bytes, input.view, from, from + length);
    input.at = from + length;
    if (input.size > 0) this.#entries.write(input.bytes, input.at, input.at + input.size);
  }

  finish(): void {
    const watches = this.#watches;
    if (watches === null) throw damaged("it ends before the entries");
    this.#entries.finish();
    this.#install(watches);
  }
}

function damaged(reason: string): CheckpointDamagedError {
  return new CheckpointDamagedError(`the snapshot of the store is damaged: ${reason}`);
}
