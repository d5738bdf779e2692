// Hot file: as long as anything is watched, every write passes here. No allocation.
import { assert, hashBytes, hashLong } from "../../base/index.js";
import { WATCHED_KEYS_MAX, type Watching, type WatchTable } from "./watch-table.js";

/** A power of two. */
const BUCKETS = 16_384;
/** Each key that is watched has a slot, from 1 on. */
const SLOTS = WATCHED_KEYS_MAX + 1;
const SEED = 0x3f84d1;
const SECOND_SEED = 0x6a09e6;

/** Words of the memory that all threads share: how many keys are watched, then a line of the cache for each thread. */
const KEYS = 0;
const LINE_WORDS = 32;

/**
 * Which keys are watched, for the threads that change them. The table of the watches is the first thread's, which changes it when all
 * others wait; here is what the others see of it: a hash of 64 bits for each watched key, and a mark for each that has changed,
 * which the first thread looks at when it comes to the table next. A key that has the hash of another breaks the watches of both,
 * on all replicas alike.
 */
export class WatchMarks implements Watching {
  /** Keys that are watched, as of the last `adopt`. */
  keys = 0;
  readonly #thread: number;
  readonly #words: Int32Array;
  readonly #heads: Int32Array;
  readonly #next: Int32Array;
  readonly #first: Int32Array;
  readonly #second: Int32Array;
  readonly #changed: Uint8Array;

  constructor(memory: SharedArrayBuffer, thread: number, threads: number) {
    this.#thread = thread;
    const words = LINE_WORDS * (1 + threads);
    let at = 0;
    const column = (length: number): Int32Array => {
      at += 4 * length;
      return new Int32Array(memory, at - 4 * length, length);
    };
    this.#words = column(words);
    this.#heads = column(BUCKETS);
    this.#next = column(SLOTS);
    this.#first = column(SLOTS);
    this.#second = column(SLOTS);
    this.#changed = new Uint8Array(memory, at, SLOTS);
  }

  /** Bytes of memory for so many threads; what is not used of it is never written. */
  static bytesFor(threads: number): number {
    return 4 * (LINE_WORDS * (1 + threads) + BUCKETS + 3 * SLOTS) + SLOTS;
  }

  adopt(): void {
    this.keys = this.#words[KEYS] as number;
  }

  touch(bytes: Uint8Array, start: number, end: number): void {
    const first = hashBytes(bytes, start, end, SEED) | 0;
    let slot = this.#heads[first & (BUCKETS - 1)] as number;
    if (slot === 0) return;
    const second = hashLong(bytes, start, end, SECOND_SEED) | 0;
    for (; slot !== 0; slot = this.#next[slot] as number) {
      if (this.#first[slot] !== first || this.#second[slot] !== second) continue;
      this.#changed[slot] = 1;
      this.#words[LINE_WORDS * (1 + this.#thread)] = 1;
    }
  }

  /** The first thread: whether any thread has marked a key since it last asked. */
  takeNews(): boolean {
    let news = false;
    for (let at = LINE_WORDS; at < this.#words.length; at += LINE_WORDS) {
      if (this.#words[at] !== 0) news = true;
      this.#words[at] = 0;
    }
    return news;
  }

  /** Whether the key of a slot is marked; it is no longer. */
  takeMark(slot: number): boolean {
    const changed = this.#changed[slot] === 1;
    this.#changed[slot] = 0;
    return changed;
  }

  /** Links a free slot to a key. */
  link(slot: number, bytes: Uint8Array): void {
    const first = hashBytes(bytes, 0, bytes.length, SEED) | 0;
    const bucket = first & (BUCKETS - 1);
    this.#first[slot] = first;
    this.#second[slot] = hashLong(bytes, 0, bytes.length, SECOND_SEED) | 0;
    this.#changed[slot] = 0;
    this.#next[slot] = this.#heads[bucket] as number;
    this.#heads[bucket] = slot;
    this.#words[KEYS] = (this.#words[KEYS] as number) + 1;
  }

  unlink(slot: number): void {
    const bucket = (this.#first[slot] as number) & (BUCKETS - 1);
    const next = this.#next[slot] as number;
    let before = this.#heads[bucket] as number;
    if (before === slot) this.#heads[bucket] = next;
    else {
      while (this.#next[before] !== slot) {
        assert(before !== 0, "a watched key is not in its list");
        before = this.#next[before] as number;
      }
      this.#next[before] = next;
    }
    this.#words[KEYS] = (this.#words[KEYS] as number) - 1;
  }
}

/** The first thread's side: gives the keys of its table slots, and breaks the watches of those that were marked. */
export class WatchRegister {
  readonly #marks: WatchMarks;
  readonly #slots = new Map<string, number>();
  readonly #free: number[] = [];
  #unused = 1;
  #table: WatchTable;

  constructor(marks: WatchMarks, table: WatchTable) {
    this.#marks = marks;
    this.#table = table;
    this.follow(table);
  }

  /** From now on this is the table. */
  follow(table: WatchTable): void {
    this.#table.follow(null);
    for (const key of this.#slots.keys()) this.#forget(key);
    this.#table = table;
    table.follow({ watched: (key) => this.#note(key), forgotten: (key) => this.#forget(key) });
  }

  /** Breaks the watches of keys that other threads have changed. */
  collect(): void {
    if (!this.#marks.takeNews()) return;
    for (const [key, slot] of this.#slots) {
      if (this.#marks.takeMark(slot)) this.#table.touchKey(key, null);
    }
  }

  #note(key: string): void {
    const slot = this.#free.pop() ?? this.#unused++;
    this.#slots.set(key, slot);
    this.#marks.link(slot, bytesOf(key));
  }

  #forget(key: string): void {
    const slot = this.#slots.get(key);
    assert(slot !== undefined, "a key is forgotten that nobody watched");
    this.#slots.delete(key);
    this.#marks.unlink(slot);
    this.#free.push(slot);
  }
}

function bytesOf(key: string): Uint8Array {
  const bytes = new Uint8Array(key.length);
  for (let i = 0; i < key.length; i++) bytes[i] = key.charCodeAt(i);
  return bytes;
}
