import type { ByteWriter } from "../../base/index.js";
import { type Digest, type SnapshotSource } from "../../model/index.js";
import { BLOCK_HEADER_BYTES, byteOf, chunkOf } from "./byte-heap.js";
import type { Roots } from "./chunk-memory.js";
import type { Contents, Witness } from "./contents.js";
import { copyBytes, type Region } from "./region.js";
import { ENTRY_HEADER_BYTES, SLICE_ENTRIES_MAX, writeEntry, writeHeader } from "./snapshot.js";

/** A block of what was saved: the heap's header, the next one's reference, then the entry as it stands in the snapshot. */
const NEXT_BYTES = 4;
const SAVED_BYTES = BLOCK_HEADER_BYTES + NEXT_BYTES;

/**
 * What was saved for a snapshot of entries that several threads work on in turn: the walk is one thread's, but any of them may change
 * an entry that the walk has not come to. So the copies are blocks of the heap that they share, in a list, and a bit beside each
 * line says whether it needs no more saving.
 */
export class SavedEntries implements Witness {
  readonly #contents: Contents;
  open = false;
  /** The entry that the walk has come to; those from `limit` on have been added since the mark. */
  at = 0;
  limit = 0;
  /** References of the first and the last block, 0 for none. */
  #first = 0;
  #last = 0;

  constructor(contents: Contents) {
    this.#contents = contents;
  }

  begin(): void {
    const { entries, witnesses } = this.#contents;
    entries.unpass();
    this.open = true;
    this.at = 1;
    this.limit = entries.limit;
    witnesses.push(this);
  }

  end(): void {
    while (this.#first !== 0) this.#drop();
    this.open = false;
    this.#contents.witnesses.length = 0;
  }

  get empty(): boolean {
    return this.#first === 0;
  }

  save(roots: Roots): void {
    roots.put(this.open ? 1 : 0);
    roots.put(this.at);
    roots.put(this.limit);
    roots.put(this.#first);
    roots.put(this.#last);
  }

  load(roots: Roots): void {
    this.open = roots.get() === 1;
    this.at = roots.get();
    this.limit = roots.get();
    this.#first = roots.get() >>> 0;
    this.#last = roots.get() >>> 0;
    const { witnesses } = this.#contents;
    witnesses.length = 0;
    if (this.open) witnesses.push(this);
  }

  onChange(entry: number): void {
    const { entries } = this.#contents;
    if (entry >= this.limit || entry < this.at || entries.hasPassed(entry)) return;
    entries.pass(entry);
    const { heap } = entries;
    const keyLength = entries.keyLength(entry);
    const valueLength = entries.valueLength(entry);
    const length = keyLength + valueLength;
    const ref = heap.allocate(SAVED_BYTES + ENTRY_HEADER_BYTES + length);
    const block = heap.chunks[chunkOf(ref)] as Region;
    const at = byteOf(ref) + SAVED_BYTES;
    block.view.setUint32(at - NEXT_BYTES, 0, true);
    block.view.setUint32(at, keyLength, true);
    block.view.setUint32(at + 4, valueLength, true);
    block.view.setFloat64(at + 8, this.#contents.expiry(entry), true);
    entries.locate(entry);
    copyBytes(block, at + ENTRY_HEADER_BYTES, entries.region, entries.at, entries.at + length);
    if (this.#last === 0) this.#first = ref;
    else {
      const last = heap.chunks[chunkOf(this.#last)] as Region;
      last.view.setUint32(byteOf(this.#last) + BLOCK_HEADER_BYTES, ref, true);
    }
    this.#last = ref;
  }

  onAdd(entry: number): void {
    if (entry < this.limit && entry >= this.at) this.#contents.entries.pass(entry);
  }

  /** Writes the oldest saved entry and forgets it. */
  writeFirst(writer: ByteWriter): void {
    const block = this.#contents.entries.heap.chunks[chunkOf(this.#first)] as Region;
    const at = byteOf(this.#first) + SAVED_BYTES;
    const length = block.view.getUint32(at, true) + block.view.getUint32(at + 4, true);
    writer.copy(block.bytes, at, at + ENTRY_HEADER_BYTES + length);
    this.#drop();
  }

  #drop(): void {
    const { heap } = this.#contents.entries;
    const ref = this.#first;
    const block = heap.chunks[chunkOf(ref)] as Region;
    this.#first = block.view.getUint32(byteOf(ref) + BLOCK_HEADER_BYTES, true);
    if (this.#first === 0) this.#last = 0;
    heap.free(ref);
  }
}

/**
 * The entries of a partition as they were when it was made, in the format of `StoreSource`. Only the thread of the partition uses it,
 * and only while it may touch the partition; what others do at barriers meanwhile they save.
 */
export class SharedSource implements SnapshotSource {
  readonly #contents: Contents;
  readonly #saved: SavedEntries;
  readonly #count: number;
  readonly #digest: Digest = new Uint32Array(4);
  readonly #closed: () => void;
  #begun = false;
  #open = true;

  /** `closed` is called once, when nothing more is read. */
  constructor(contents: Contents, saved: SavedEntries, closed: () => void) {
    this.#contents = contents;
    this.#saved = saved;
    this.#count = contents.count;
    this.#closed = closed;
    contents.readDigest(this.#digest);
    saved.begin();
  }

  next(writer: ByteWriter, bytesTarget: number): boolean {
    if (!this.#open) return false;
    const stop = writer.length + bytesTarget;
    if (!this.#begun) {
      this.#begun = true;
      writeHeader(writer, this.#count, this.#digest);
    }
    const saved = this.#saved;
    while (!saved.empty && writer.length < stop) saved.writeFirst(writer);
    const { entries } = this.#contents;
    const end = Math.min(saved.limit, saved.at + SLICE_ENTRIES_MAX);
    while (saved.at < end && writer.length < stop) {
      const entry = saved.at++;
      if (!entries.hasPassed(entry) && !entries.isFree(entry)) writeEntry(this.#contents, entry, writer);
    }
    if (saved.at < saved.limit || !saved.empty) return true;
    this.close();
    return false;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#saved.end();
    this.#closed();
  }
}
