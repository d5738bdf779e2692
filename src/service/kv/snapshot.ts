import { ByteQueue, latin1, type ByteWriter } from "../../base/index.js";
import { CheckpointDamagedError, type Digest, type SnapshotSink, type SnapshotSource } from "../../model/index.js";
import type { TreeCursor } from "../cow-tree/index.js";
import { KEY_BYTES_MAX, VALUE_BYTES_MAX } from "./command.js";
import { Store } from "./store.js";

/**
 * A snapshot of the store, little-endian: `u32 magic`, `u32 format`, `f64 number of entries`, four u32 of digest, then per
 * entry, in ascending order of keys, `u32 key length`, `u32 value length`, key, value. Nothing follows the last entry.
 */
const MAGIC = 0x53564b53;
const FORMAT = 1;
const HEADER_BYTES = 32;
const ENTRY_HEADER_BYTES = 8;

export class StoreSource implements SnapshotSource {
  #cursor: TreeCursor<string> | null;
  readonly #count: number;
  readonly #digest: Digest = new Uint32Array(4);
  #begun = false;

  constructor(store: Store) {
    this.#cursor = store.mark();
    this.#count = store.count;
    store.readDigest(this.#digest);
  }

  next(writer: ByteWriter, bytesTarget: number): boolean {
    const cursor = this.#cursor;
    if (cursor === null) return false;
    const stop = writer.length + bytesTarget;
    if (!this.#begun) {
      this.#begun = true;
      writer.u32(MAGIC);
      writer.u32(FORMAT);
      writer.f64(this.#count);
      for (const lane of this.#digest) writer.u32(lane);
    }
    while (cursor.next()) {
      const { key } = cursor;
      const value = cursor.value as string;
      writer.u32(key.length);
      writer.u32(value.length);
      writer.latin1(key);
      writer.latin1(value);
      if (writer.length >= stop) return true;
    }
    this.close();
    return false;
  }

  close(): void {
    this.#cursor = null;
  }
}

/** Rebuilds a store beside the old one and hands it over when it is complete and its digest is right. */
export class StoreSink implements SnapshotSink {
  readonly #input = new ByteQueue();
  readonly #store = new Store();
  readonly #digest: Digest = new Uint32Array(4);
  readonly #install: (store: Store) => void;
  #entries = -1;
  #last = "";

  constructor(install: (store: Store) => void) {
    this.#install = install;
  }

  write(bytes: Uint8Array, start: number, end: number): void {
    const input = this.#input;
    input.push(bytes, start, end);
    if (this.#entries < 0) {
      if (!input.has(HEADER_BYTES)) return;
      this.#readHeader();
    }
    while (input.has(ENTRY_HEADER_BYTES)) {
      if (this.#store.count === this.#entries) throw damaged("bytes follow the last entry");
      if (!this.#readEntry()) return;
    }
  }

  finish(): void {
    if (this.#entries < 0 || this.#store.count !== this.#entries || this.#input.size !== 0) {
      throw damaged(`it ends after ${this.#store.count} of ${Math.max(0, this.#entries)} entries`);
    }
    if (!this.#store.hasDigest(this.#digest)) throw damaged("the digest does not match the entries");
    this.#install(this.#store);
  }

  #readHeader(): void {
    const { view, at } = this.#input;
    if (view.getUint32(at, true) !== MAGIC) throw damaged("it does not begin as a store's snapshot");
    const format = view.getUint32(at + 4, true);
    if (format !== FORMAT) throw damaged(`its format is ${format}, this version reads ${FORMAT}`);
    const entries = view.getFloat64(at + 8, true);
    if (!Number.isSafeInteger(entries) || entries < 0) throw damaged(`its number of entries is ${entries}`);
    this.#entries = entries;
    for (let i = 0; i < 4; i++) this.#digest[i] = view.getUint32(at + 16 + 4 * i, true);
    this.#input.at = at + HEADER_BYTES;
  }

  /** False if the rest of the entry has not arrived. */
  #readEntry(): boolean {
    const input = this.#input;
    const keyBytes = input.view.getUint32(input.at, true);
    const valueBytes = input.view.getUint32(input.at + 4, true);
    if (keyBytes > KEY_BYTES_MAX) throw damaged(`a key has ${keyBytes} bytes, at most ${KEY_BYTES_MAX} are allowed`);
    if (valueBytes > VALUE_BYTES_MAX) {
      throw damaged(`a value has ${valueBytes} bytes, at most ${VALUE_BYTES_MAX} are allowed`);
    }
    if (!input.has(ENTRY_HEADER_BYTES + keyBytes + valueBytes)) return false;
    const middle = input.at + ENTRY_HEADER_BYTES + keyBytes;
    const key = latin1(input.bytes, middle - keyBytes, middle);
    if (this.#store.count > 0 && key <= this.#last) throw damaged("its keys do not ascend");
    this.#store.set(key, latin1(input.bytes, middle, middle + valueBytes), null);
    this.#last = key;
    input.at = middle + valueBytes;
    return true;
  }
}

function damaged(reason: string): CheckpointDamagedError {
  return new CheckpointDamagedError(`the snapshot of the store is damaged: ${reason}`);
}
