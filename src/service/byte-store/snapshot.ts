import { ByteQueue, ByteWriter } from "../../base/index.js";
import { CheckpointDamagedError, type Digest, type SnapshotSink, type SnapshotSource } from "../../model/index.js";
import { type Contents, ENTRY_KEY_BYTES_MAX, ENTRY_VALUE_BYTES_MAX, type Witness } from "./contents.js";
import type { StoreLimits } from "./limits.js";
import { RegionCache } from "./region.js";

/**
 * A snapshot of a store, little-endian: `u32 magic`, `u32 format`, `f64 number of entries`, four u32 of digest, then per
 * entry, in no particular order, `u32 key length`, `u32 value length`, `f64 expiry`, key, value. Nothing follows the last entry.
 */
const MAGIC = 0x53425953;
const FORMAT = 1;
const HEADER_BYTES = 32;
export const ENTRY_HEADER_BYTES = 16;
/** Entries that a slice passes by at most, whether or not it brings any. */
export const SLICE_ENTRIES_MAX = 16_384;
/** Bytes of a piece of what was saved. A longer entry gets a piece of its own. */
const PIECE_BYTES = 256 * 1024;
const PIECE_BYTES_MAX = ENTRY_HEADER_BYTES + ENTRY_KEY_BYTES_MAX + ENTRY_VALUE_BYTES_MAX;
/** Pieces that were written and are kept for what is saved next: as many as a slice or two brings out. */
const PIECES_SPARE_MAX = 8;

/**
 * The entries as they were when it was made. It walks them by number; an entry that is about to change before the walk has
 * come to it is saved first, as it will stand in the snapshot, and what was saved goes out with the next slice. So the store
 * changes in place all the while, and what is held beside it is what changed since the mark and has not been walked or
 * written: at most the whole state at the mark, in the ordinary case what changes during a few slices.
 */
export class StoreSource implements SnapshotSource, Witness {
  readonly #contents: Contents;
  readonly #count: number;
  readonly #digest: Digest = new Uint32Array(4);
  /** Entries from here on have been added since the mark. */
  readonly #limit: number;
  /** The entry that the walk has come to. */
  #at = 1;
  /** Bit per entry: saved, or added since the mark under a number that was free. */
  readonly #passed: Uint8Array;
  /** What was saved, and how much of the first piece has been written. */
  readonly #saved: ByteWriter[] = [];
  readonly #spare: ByteWriter[] = [];
  #written = 0;
  #begun = false;
  #closed = false;

  constructor(contents: Contents) {
    this.#contents = contents;
    this.#count = contents.count;
    contents.readDigest(this.#digest);
    this.#limit = contents.entries.limit;
    this.#passed = new Uint8Array((this.#limit >>> 3) + 1);
    contents.witnesses.push(this);
  }

  next(writer: ByteWriter, bytesTarget: number): boolean {
    if (this.#closed) return false;
    const stop = writer.length + bytesTarget;
    if (!this.#begun) {
      this.#begun = true;
      writeHeader(writer, this.#count, this.#digest);
    }
    this.#writeSaved(writer, stop);
    const { entries } = this.#contents;
    const end = Math.min(this.#limit, this.#at + SLICE_ENTRIES_MAX);
    while (this.#at < end && writer.length < stop) {
      const entry = this.#at++;
      if (!this.#hasPassed(entry) && !entries.isFree(entry)) writeEntry(this.#contents, entry, writer);
    }
    if (this.#at < this.#limit || this.#saved.length > 0) return true;
    this.close();
    return false;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#saved.length = 0;
    this.#spare.length = 0;
    const { witnesses } = this.#contents;
    witnesses.splice(witnesses.indexOf(this), 1);
  }

  onChange(entry: number): void {
    if (entry >= this.#limit || entry < this.#at || this.#hasPassed(entry)) return;
    this.#pass(entry);
    const { entries } = this.#contents;
    writeEntry(
      this.#contents,
      entry,
      this.#room(ENTRY_HEADER_BYTES + entries.keyLength(entry) + entries.valueLength(entry)),
    );
  }

  /** The piece that the next saved entry goes to. None ever grows, which would copy what it holds. */
  #room(bytes: number): ByteWriter {
    const last = this.#saved[this.#saved.length - 1];
    if (last !== undefined && last.length + bytes <= last.bytes.length) return last;
    const spare = bytes <= PIECE_BYTES ? this.#spare.pop() : undefined;
    const piece = spare ?? new ByteWriter(Math.max(PIECE_BYTES, bytes), PIECE_BYTES_MAX);
    this.#saved.push(piece);
    return piece;
  }

  onAdd(entry: number): void {
    if (entry < this.#limit && entry >= this.#at) this.#pass(entry);
  }

  #hasPassed(entry: number): boolean {
    return ((this.#passed[entry >>> 3] as number) & (1 << (entry & 7))) !== 0;
  }

  #pass(entry: number): void {
    this.#passed[entry >>> 3] = (this.#passed[entry >>> 3] as number) | (1 << (entry & 7));
  }

  #writeSaved(writer: ByteWriter, stop: number): void {
    for (let piece = this.#saved[0]; piece !== undefined && writer.length < stop; piece = this.#saved[0]) {
      const end = Math.min(piece.length, this.#written + stop - writer.length);
      writer.copy(piece.bytes, this.#written, end);
      this.#written = end;
      if (end < piece.length) return;
      this.#saved.shift();
      this.#written = 0;
      if (piece.bytes.length === PIECE_BYTES && this.#spare.length < PIECES_SPARE_MAX) {
        piece.clear();
        this.#spare.push(piece);
      }
    }
  }
}

export function writeHeader(writer: ByteWriter, count: number, digest: Digest): void {
  writer.u32(MAGIC);
  writer.u32(FORMAT);
  writer.f64(count);
  for (const lane of digest) writer.u32(lane);
}

export function writeEntry(contents: Contents, entry: number, writer: ByteWriter): void {
  const { entries } = contents;
  const keyLength = entries.keyLength(entry);
  const valueLength = entries.valueLength(entry);
  writer.u32(keyLength);
  writer.u32(valueLength);
  writer.f64(contents.expiry(entry));
  entries.locate(entry);
  writer.copy(entries.region.bytes, entries.at, entries.at + keyLength + valueLength);
}

/** Rebuilds the entries in a set that has none yet, beside the old ones, and hands them over when they are complete and their digest is right. */
export class StoreSink implements SnapshotSink {
  readonly #input = new ByteQueue();
  readonly #regions = new RegionCache();
  readonly #contents: Contents;
  readonly #digest: Digest = new Uint32Array(4);
  readonly #limits: StoreLimits;
  readonly #install: (contents: Contents) => void;
  readonly #belongs: ((bytes: Uint8Array, start: number, end: number) => boolean) | null;
  #count = -1;

  /** `belongs` says whether a key may be among these entries, null if any may. */
  constructor(
    limits: StoreLimits,
    contents: Contents,
    install: (contents: Contents) => void,
    belongs: ((bytes: Uint8Array, start: number, end: number) => boolean) | null = null,
  ) {
    this.#limits = limits;
    this.#contents = contents;
    this.#install = install;
    this.#belongs = belongs;
  }

  write(bytes: Uint8Array, start: number, end: number): void {
    const input = this.#input;
    input.push(bytes, start, end);
    if (this.#count < 0) {
      if (!input.has(HEADER_BYTES)) return;
      this.#readHeader();
    }
    while (input.has(ENTRY_HEADER_BYTES)) {
      if (this.#contents.count === this.#count) throw damaged("bytes follow the last entry");
      if (!this.#readEntry()) return;
    }
  }

  finish(): void {
    if (this.#count < 0 || this.#contents.count !== this.#count || this.#input.size !== 0) {
      throw damaged(`it ends after ${this.#contents.count} of ${Math.max(0, this.#count)} entries`);
    }
    if (!this.#contents.hasDigest(this.#digest)) throw damaged("the digest does not match the entries");
    this.#install(this.#contents);
  }

  #readHeader(): void {
    const { view, at } = this.#input;
    if (view.getUint32(at, true) !== MAGIC) throw damaged("it does not begin as a store's snapshot");
    const format = view.getUint32(at + 4, true);
    if (format !== FORMAT) throw damaged(`its format is ${format}, this version reads ${FORMAT}`);
    const count = view.getFloat64(at + 8, true);
    if (!Number.isSafeInteger(count) || count < 0) throw damaged(`its number of entries is ${count}`);
    const { entriesMax } = this.#limits;
    if (count > entriesMax) throw damaged(`it has ${count} entries, at most ${entriesMax} are allowed`);
    this.#count = count;
    for (let i = 0; i < 4; i++) this.#digest[i] = view.getUint32(at + 16 + 4 * i, true);
    this.#input.at = at + HEADER_BYTES;
  }

  /** False if the rest of the entry has not arrived. */
  #readEntry(): boolean {
    const input = this.#input;
    const keyBytes = input.view.getUint32(input.at, true);
    const valueBytes = input.view.getUint32(input.at + 4, true);
    const expiry = input.view.getFloat64(input.at + 8, true);
    if (keyBytes > ENTRY_KEY_BYTES_MAX) {
      throw damaged(`a key has ${keyBytes} bytes, at most ${ENTRY_KEY_BYTES_MAX} are allowed`);
    }
    if (valueBytes > ENTRY_VALUE_BYTES_MAX) {
      throw damaged(`a value has ${valueBytes} bytes, at most ${ENTRY_VALUE_BYTES_MAX} are allowed`);
    }
    if (!Number.isSafeInteger(expiry) || expiry < 0 || Object.is(expiry, -0)) throw damaged(`an expiry is ${expiry}`);
    if (!input.has(ENTRY_HEADER_BYTES + keyBytes + valueBytes)) return false;
    const contents = this.#contents;
    const key = input.at + ENTRY_HEADER_BYTES;
    const value = key + keyBytes;
    const { bytesMax } = this.#limits;
    if (contents.size + keyBytes + valueBytes > bytesMax) throw damaged(`its entries exceed ${bytesMax} bytes`);
    if (this.#belongs?.(input.bytes, key, value) === false) throw damaged("a key belongs to another partition");
    const region = this.#regions.of(input.bytes);
    if (contents.find(region, key, value) !== 0) throw damaged("a key is there twice");
    contents.add(region, key, value, region, value, value + valueBytes, expiry);
    input.at = value + valueBytes;
    return true;
  }
}

function damaged(reason: string): CheckpointDamagedError {
  return new CheckpointDamagedError(`the snapshot of the store is damaged: ${reason}`);
}
