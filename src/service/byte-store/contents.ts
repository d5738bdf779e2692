// Hot file: every command that changes something passes here. No allocation. Watched by bench/byte-store.mjs.
import { assert, mix32 } from "../../base/index.js";
import type { Digest } from "../../model/index.js";
import { HandleTree, type NodeMemory } from "../tree/index.js";
import { ByteSums } from "./byte-sums.js";
import { ChunkKind, type ChunkMemory, ChunkOwner, ownMemory, type Roots } from "./chunk-memory.js";
import { Entries } from "./entries.js";
import * as layout from "./entry-layout.js";
import { EntryDigest } from "./entry-digest.js";
import { ExpiryIndex } from "./expiry-index.js";
import { HashIndex, READ_AHEAD_MAX } from "./hash-index.js";
import { KeyTails } from "./key-tails.js";
import type { PartitionMemory } from "./partition-memory.js";
import { copyBytes, type Region } from "./region.js";

// Constants of this module are part of the compiled code, see `entry-layout.ts`.
const { DATA_BYTES, EXPIRY_PLACE, INLINE_BYTES_MAX, KEY_LENGTH, LINES_MASK, LINES_SHIFT, LINE_SHIFT, VALUE_LENGTH } =
  layout;

/** Longest key in bytes. */
export const ENTRY_KEY_BYTES_MAX = 64 * 1024;
/** Longest value in bytes. */
export const ENTRY_VALUE_BYTES_MAX = 1024 * 1024;

/** Below so many entries reading ahead costs more than it brings. */
const READ_AHEAD_COUNT_MIN = 8_000;

/** What must know of a change before it happens: a snapshot that has not come to that entry yet. */
export interface Witness {
  /** An entry is about to change or to be removed. */
  onChange(entry: number): void;
  /** An entry has been added. */
  onAdd(entry: number): void;
}

/**
 * A set of entries with everything that is kept up to date along with it: hash index, order of keys, order of expiries, digest.
 * Knows nothing of undo; a store that is cleared gets a new set. Over memory that is not fresh the entries are there: `load`
 * comes first.
 */
export class Contents extends ChunkOwner {
  readonly entries = new Entries(this.memory);
  readonly #hashes = new HashIndex(this.entries, this.memory);
  readonly #expiries = new ExpiryIndex(this.entries, this.memory);
  readonly #tails = new KeyTails(this.entries);
  readonly #order = new HandleTree(this.#tails, this.memory === ownMemory ? null : nodesIn(this.memory));
  readonly #digest = new EntryDigest();
  readonly #sums = new ByteSums();
  /** The entry found last, whose key's sums these are, so that a change of it need not hash its key again; 0 for none. */
  #found = 0;
  #foundFirst = 0;
  #foundSecond = 0;
  readonly #hashesAhead = new Int32Array(READ_AHEAD_MAX);
  /** Snapshots that are being taken. */
  readonly witnesses: Witness[] = [];
  count = 0;
  /** Bytes of all keys and values. */
  size = 0;

  /** Says what stands beside the chunks, to `load` of another thread's view of the same entries. */
  save(roots: Roots): void {
    roots.put(this.count);
    // Whole and exact: below 2^53.
    roots.put(this.size % 2 ** 31);
    roots.put(Math.floor(this.size / 2 ** 31));
    this.entries.save(roots);
    this.#hashes.save(roots);
    this.#expiries.save(roots);
    this.#order.save(roots);
    this.#digest.save(roots);
  }

  /** Takes over what another thread has changed and said. */
  load(roots: Roots, memory: PartitionMemory): void {
    const chunks = memory.changed() ? memory : null;
    this.count = roots.get();
    this.size = roots.get();
    const upper = roots.get();
    if (upper > 0) this.size += upper * 2 ** 31;
    this.entries.load(roots, chunks);
    this.#hashes.load(roots, chunks);
    this.#expiries.load(roots, chunks);
    this.#order.load(roots);
    this.#digest.load(roots);
    if (chunks !== null) {
      const nodes = this.#order.arena.chunks;
      nodes.length = chunks.refresh(ChunkKind.nodes, (index, region) => {
        if (region !== null) nodes[index] = nodeWords(region);
      });
    }
    this.#found = 0;
  }

  get expiring(): number {
    return this.#expiries.count;
  }

  /** Bytes of memory set aside. */
  get reserved(): number {
    return this.entries.reserved + this.#hashes.reserved + this.#expiries.reserved + this.#order.bytes;
  }

  expiry(entry: number): number {
    return this.#expiries.expiry(entry);
  }

  firstToExpire(): number {
    return this.#expiries.first();
  }

  find(key: Region, start: number, end: number): number {
    const hash = this.#hashKey(key, start, end);
    this.#foundFirst = this.#sums.first;
    this.#foundSecond = this.#sums.second;
    this.#found = this.#hashes.find(hash, key.view, start, end);
    return this.#found;
  }

  readAhead(keys: Region, spans: Uint32Array, count: number): void {
    if (this.count < READ_AHEAD_COUNT_MIN) return;
    const most = Math.min(count, READ_AHEAD_MAX);
    const hashes = this.#hashesAhead;
    for (let i = 0; i < most; i++) hashes[i] = this.#hashKey(keys, spans[2 * i] as number, spans[2 * i + 1] as number);
    this.#hashes.readAhead(hashes, most);
  }

  /** The key must not be there. */
  add(
    key: Region,
    keyStart: number,
    keyEnd: number,
    value: Region,
    valueStart: number,
    valueEnd: number,
    expiry: number,
  ): number {
    const keyLength = keyEnd - keyStart;
    const valueLength = valueEnd - valueStart;
    assert(keyLength >= 0 && keyLength <= ENTRY_KEY_BYTES_MAX, "the key is longer than keys may be");
    assert(valueLength >= 0 && valueLength <= ENTRY_VALUE_BYTES_MAX, "the value is longer than values may be");
    const { entries } = this;
    const sums = this.#sums;
    const hash = this.#hashKey(key, keyStart, keyEnd);
    this.#digest.key(sums.first, sums.second, keyLength);
    sums.of(value.view, valueStart, valueEnd, 0);
    this.#digest.add(sums.first, sums.second, valueLength, expiry);
    const entry = entries.create(hash, key, keyStart, keyEnd, value, valueStart, valueEnd);
    if (entries.inBlock(entry)) entries.keepSums(entry, sums.first, sums.second);
    this.#hashes.insert(entry);
    this.#tails.search(key, keyStart, keyEnd);
    this.#order.insert(entry);
    if (expiry !== 0) this.#expiries.set(entry, expiry);
    this.count++;
    this.size += keyLength + valueLength;
    if (this.witnesses.length > 0) for (const witness of this.witnesses) witness.onAdd(entry);
    return entry;
  }

  replace(entry: number, value: Region, start: number, end: number, expiry: number): void {
    const { entries } = this;
    const length = end - start;
    assert(length >= 0 && length <= ENTRY_VALUE_BYTES_MAX, "the value is longer than values may be");
    this.#foldOut(entry);
    const sums = this.#sums;
    sums.of(value.view, start, end, 0);
    this.#digest.add(sums.first, sums.second, length, expiry);
    // As after `foldOut`, but what follows must not cost a command that only overwrites a few bytes in the line.
    const line = entries.lines[entry >>> LINES_SHIFT] as Region;
    const at = (entry & LINES_MASK) << LINE_SHIFT;
    const before = line.words[at + VALUE_LENGTH] as number;
    const keyLength = line.words[at + KEY_LENGTH] as number;
    this.size += length - before;
    if (keyLength + before <= INLINE_BYTES_MAX && keyLength + length <= INLINE_BYTES_MAX) {
      copyBytes(line, at * 4 + DATA_BYTES + keyLength, value, start, end);
      line.words[at + VALUE_LENGTH] = length;
    } else {
      entries.setValue(entry, value, start, end);
      if (entries.inBlock(entry)) entries.keepSums(entry, sums.first, sums.second);
    }
    if (expiry !== 0 || line.words[at + EXPIRY_PLACE] !== 0) this.#expiries.set(entry, expiry);
  }

  write(entry: number, offset: number, source: Region, start: number, end: number): void {
    const { entries } = this;
    const sums = this.#sums;
    const before = entries.valueLength(entry);
    const after = Math.max(before, offset + end - start);
    assert(
      offset >= 0 && end >= start && after <= ENTRY_VALUE_BYTES_MAX,
      "the value becomes longer than values may be",
    );
    this.#foldOut(entry);
    // The sums of the words that change are taken out and, once they have, put in again.
    const firstWord = Math.min(offset, before) >>> 2;
    const changeEnd = Math.min(before, (offset + end - start + 3) & ~3);
    this.#valueSums(entry);
    let first = sums.first;
    let second = sums.second;
    this.#sumsOfPart(entry, firstWord, changeEnd);
    first -= sums.first;
    second -= sums.second;
    entries.write(entry, offset, source, start, end);
    this.#sumsOfPart(entry, firstWord, Math.min(after, (offset + end - start + 3) & ~3));
    first = (first + sums.first) | 0;
    second = (second + sums.second) | 0;
    this.size += after - before;
    if (entries.inBlock(entry)) entries.keepSums(entry, first, second);
    this.#digest.add(first, second, after, this.#expiries.expiry(entry));
  }

  setExpiry(entry: number, expiry: number): void {
    this.#foldOut(entry);
    this.#valueSums(entry);
    this.#digest.add(this.#sums.first, this.#sums.second, this.entries.valueLength(entry), expiry);
    this.#expiries.set(entry, expiry);
  }

  remove(entry: number): void {
    const { entries } = this;
    this.#foldOut(entry);
    this.count--;
    this.size -= entries.keyLength(entry) + entries.valueLength(entry);
    if (entries.expiryPlace(entry) !== 0) this.#expiries.set(entry, 0);
    this.#tails.searchEntry(entry);
    const removed = this.#order.remove();
    assert(removed === entry, "the order of keys holds another entry under this key");
    this.#hashes.remove(entry);
    entries.release(entry);
    this.#found = 0;
  }

  first(key: Region, start: number, end: number, after: boolean): number {
    this.#tails.search(key, start, end);
    return this.#order.first(after);
  }

  last(key: Region, start: number, end: number, before: boolean): number {
    this.#tails.search(key, start, end);
    return this.#order.last(before);
  }

  next(entry: number): number {
    this.#tails.searchEntry(entry);
    return this.#order.next(entry);
  }

  previous(entry: number): number {
    this.#tails.searchEntry(entry);
    return this.#order.previous(entry);
  }

  smallest(): number {
    return this.#order.smallest();
  }

  largest(): number {
    return this.#order.largest();
  }

  /**
   * A step of the walk in the order of the hash index, which depends on the keys alone: from the cursor, a position, to the
   * first position behind `wanted` entries. Entries with one hash have one position and come in one step.
   */
  scan(cursor: number, wanted: number, into: number[]): number {
    const hashes = this.#hashes;
    let entry = hashes.firstFrom(cursor);
    let taken = 0;
    let last = -1;
    while (entry !== 0) {
      const position = hashes.positionOf(entry);
      if (taken >= wanted && position !== last) return last + 1;
      into.push(entry);
      taken++;
      last = position;
      entry = hashes.behind(entry);
    }
    return 0;
  }

  pick(random: number): number {
    if (this.count === 0) return 0;
    const entry = this.#hashes.firstFrom(random >>> 0);
    return entry !== 0 ? entry : this.#hashes.firstFrom(0);
  }

  readDigest(into: Digest): void {
    this.#digest.read(into);
  }

  hasDigest(digest: Digest): boolean {
    return this.#digest.equals(digest);
  }

  /** Checks every invariant; for tests. Throws `AssertionError`. */
  check(): void {
    this.entries.heap.check();
    this.#hashes.check();
    this.#expiries.check();
    assert(this.#order.count === this.count, "the order of keys counts entries differently");
    const digest = new EntryDigest();
    const sums = this.#sums;
    let count = 0;
    let before = 0;
    for (let entry = this.smallest(); entry !== 0; entry = this.next(entry)) {
      assert(before === 0 || this.entries.compareKeys(before, entry) < 0, "the order of keys is wrong");
      this.#keySums(entry);
      digest.key(sums.first, sums.second, this.entries.keyLength(entry));
      this.entries.locate(entry);
      const start = this.entries.at + this.entries.keyLength(entry);
      const length = this.entries.valueLength(entry);
      sums.of(this.entries.region.view, start, start + length, 0);
      digest.add(sums.first, sums.second, length, this.expiry(entry));
      before = entry;
      count++;
    }
    assert(count === this.count, `the order of keys walks ${count} entries, there are ${this.count}`);
    const lanes: Digest = new Uint32Array(4);
    digest.read(lanes);
    assert(this.hasDigest(lanes), "the digest is not that of the entries");
  }

  /** The hash of a key; leaves its sums in `#sums`. */
  #hashKey(key: Region, start: number, end: number): number {
    const sums = this.#sums;
    sums.of(key.view, start, end, 0);
    return mix32(sums.first + Math.imul(sums.second ^ (end - start), 0x9e3779b1)) | 0;
  }

  /** Takes an entry out of the digest, before it changes, and leaves its key chosen there. */
  #foldOut(entry: number): void {
    if (this.witnesses.length > 0) for (const witness of this.witnesses) witness.onChange(entry);
    const { entries } = this;
    const sums = this.#sums;
    const digest = this.#digest;
    const line = entries.lines[entry >>> LINES_SHIFT] as Region;
    const { words } = line;
    const at = (entry & LINES_MASK) << LINE_SHIFT;
    const keyLength = words[at + KEY_LENGTH] as number;
    const valueLength = words[at + VALUE_LENGTH] as number;
    const expiry = words[at + EXPIRY_PLACE] === 0 ? 0 : this.#expiries.expiry(entry);
    if (entry !== this.#found) {
      this.#keySums(entry);
      this.#foundFirst = sums.first;
      this.#foundSecond = sums.second;
      this.#found = entry;
    }
    digest.key(this.#foundFirst, this.#foundSecond, keyLength);
    if (keyLength + valueLength <= INLINE_BYTES_MAX) {
      const value = at * 4 + DATA_BYTES + keyLength;
      sums.of(line.view, value, value + valueLength, 0);
      digest.remove(sums.first, sums.second, valueLength, expiry);
    } else digest.remove(entries.firstSum(entry), entries.secondSum(entry), valueLength, expiry);
  }

  #keySums(entry: number): void {
    const { entries } = this;
    entries.locate(entry);
    this.#sums.of(entries.region.view, entries.at, entries.at + entries.keyLength(entry), 0);
  }

  #valueSums(entry: number): void {
    const { entries } = this;
    if (entries.inBlock(entry)) {
      this.#sums.first = entries.firstSum(entry);
      this.#sums.second = entries.secondSum(entry);
    } else this.#sumsOfPart(entry, 0, entries.valueLength(entry));
  }

  /** Sums of the words of the value from one on, up to a byte that ends a word or the value. */
  #sumsOfPart(entry: number, firstWord: number, end: number): void {
    const { entries } = this;
    entries.locate(entry);
    const start = entries.at + entries.keyLength(entry);
    this.#sums.of(entries.region.view, start + firstWord * 4, start + end, firstWord);
  }
}

/** Nodes begin with a line of the cache, as lines do (see `entry-layout.ts`). */
const NODES_BEGIN_BYTES = 48;

function nodesIn(memory: ChunkMemory): NodeMemory {
  return {
    fresh: memory.fresh,
    take: (index, words) => nodeWords(memory.take(ChunkKind.nodes, index, NODES_BEGIN_BYTES + 4 * words)),
  };
}

function nodeWords({ bytes }: Region): Uint32Array {
  const length = (bytes.byteLength - NODES_BEGIN_BYTES) >>> 2;
  return new Uint32Array(bytes.buffer, bytes.byteOffset + NODES_BEGIN_BYTES, length);
}
