// Hot file: what threads tell each other passes here. Nothing allocates, waits or throws per record. Watched by
// bench/ring.mjs.
import { assert, AssertionError, KiB, MiB } from "../../base/index.js";
import type { WaitPoint } from "./port.js";

/**
 * A ring of byte records in shared memory from one thread to another: one producer, one consumer, no locks.
 *
 * The header has four words, each on a cache line of its own so that the two threads do not take it from each other:
 *
 * | word | who writes it | what |
 * |---|---|---|
 * | 0 | producer | `tail`: bytes ever published, modulo 2^32 |
 * | 32 | consumer | `head`: bytes ever released, modulo 2^32 |
 * | 64 | both | 1 while the consumer sleeps for want of records |
 * | 96 | both | 1 while the producer sleeps for want of room |
 *
 * Behind it are `capacity` bytes, a power of two. A record is `u32 length` and its bytes, padded to a multiple of 8, and is
 * never cut: where it does not fit before the end, `SKIP` stands there and the record begins at the start.
 *
 * Invariant: head ≤ tail ≤ head + capacity. Whoever goes to sleep sets its flag first and then looks at the other's counter
 * once more; whoever moves a counter looks at the flag afterwards. Since these accesses are sequentially consistent, one of
 * the two sees the other, so no wake-up is lost, and taking the flag back by an exchange makes it exactly one for each time
 * that a side falls asleep.
 */
const TAIL = 0;
const HEAD = 32;
const CONSUMER_SLEEPS = 64;
const PRODUCER_SLEEPS = 96;
const HEADER_BYTES = 512;
const SKIP = 0xffffffff;
const PREFIX_BYTES = 4;

const CAPACITY_BYTES_MIN = 64;
/** Most bytes of a ring. */
export const RING_BYTES_MAX = 256 * MiB;
/** Bytes of a ring unless said otherwise. */
export const RING_BYTES = 256 * KiB;

/** The memory of a ring, to be handed to the two threads as it is. `bytes` must be a power of two. */
export function createRingMemory(bytes = RING_BYTES): SharedArrayBuffer {
  const sensible = bytes >= CAPACITY_BYTES_MIN && bytes <= RING_BYTES_MAX && (bytes & (bytes - 1)) === 0;
  assert(sensible, `a ring has a power of two from ${CAPACITY_BYTES_MIN} to ${RING_BYTES_MAX} bytes, got ${bytes}`);
  return new SharedArrayBuffer(HEADER_BYTES + bytes);
}

/** What both ends know of the memory. */
abstract class RingEnd {
  /** Offsets of records are absolute in these two, which cover the whole memory. */
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Bytes of records and their prefixes that the ring holds at most. */
  readonly capacity: number;
  /** The longest record: then one fits into an empty ring wherever its end happens to be. */
  readonly recordBytesMax: number;
  protected readonly words: Int32Array;
  /** The records as words, of which the first of each is its length. Of the byte order of the machine, which both ends share. */
  protected readonly prefixes: Uint32Array;
  protected readonly mask: number;

  constructor(memory: SharedArrayBuffer) {
    this.bytes = new Uint8Array(memory);
    this.view = new DataView(memory);
    this.words = new Int32Array(memory, 0, HEADER_BYTES / 4);
    this.prefixes = new Uint32Array(memory, HEADER_BYTES);
    this.capacity = memory.byteLength - HEADER_BYTES;
    this.mask = this.capacity - 1;
    this.recordBytesMax = this.capacity / 2 - PREFIX_BYTES;
    const sensible = this.capacity >= CAPACITY_BYTES_MIN && (this.capacity & this.mask) === 0;
    assert(sensible, `no memory of a ring: ${memory.byteLength} bytes`);
  }

  /** Goes to sleep by `flag` unless the word at `counter` has moved on from `seen`; false if it has. */
  protected sleepUnless(flag: number, counter: number, seen: number): boolean {
    Atomics.store(this.words, flag, 1);
    if (Atomics.load(this.words, counter) === seen) return true;
    Atomics.store(this.words, flag, 0);
    return false;
  }

  /** Wakes the other end if it sleeps by `flag`. */
  protected wake(flag: number): boolean {
    if (Atomics.load(this.words, flag) === 0 || Atomics.exchange(this.words, flag, 0) === 0) return false;
    Atomics.notify(this.words, flag);
    return true;
  }
}

/** The writing end. Only one thread uses it. */
export class RingProducer extends RingEnd {
  /** Where the next record goes, counted as `tail` is; what is behind the published tail is not visible yet. */
  #at: number;
  /** The head as last read: what is free may be more, never less. */
  #head: number;
  #length = 0;
  /** While the flag is set, the word for want of room. For whoever drives this thread. */
  readonly waitPoint: WaitPoint = { words: this.words, index: PRODUCER_SLEEPS, value: 1 };

  constructor(memory: SharedArrayBuffer) {
    super(memory);
    this.#at = Atomics.load(this.words, TAIL);
    this.#head = Atomics.load(this.words, HEAD);
  }

  /**
   * Begins a record of at most `length` bytes and returns the offset of its first, or -1 if there is no room for it now. The
   * record may be written until `end`. Throws `AssertionError` for one above `recordBytesMax`.
   */
  begin(length: number): number {
    if (length < 0 || length > this.recordBytesMax) tooLong(length, this.recordBytesMax);
    const padded = (PREFIX_BYTES + length + 7) & ~7;
    const offset = this.#at & this.mask;
    const skipped = offset + padded > this.capacity ? this.capacity - offset : 0;
    if (!this.#hasRoom(skipped + padded)) return -1;
    if (skipped > 0) {
      this.prefixes[offset >>> 2] = SKIP;
      this.#at = (this.#at + skipped) | 0;
    }
    this.#length = length;
    return HEADER_BYTES + (this.#at & this.mask) + PREFIX_BYTES;
  }

  /** Completes the record begun, with its first `length` bytes. It becomes visible at the next `publish`. */
  end(length: number): void {
    if (length > this.#length) tooLong(length, this.#length);
    this.prefixes[(this.#at & this.mask) >>> 2] = length;
    this.#at = (this.#at + ((PREFIX_BYTES + length + 7) & ~7)) | 0;
    this.#length = 0;
  }

  /**
   * Makes all complete records visible. True if the consumer slept: it has been notified, and a host that waits for messages
   * instead sends it one.
   */
  publish(): boolean {
    Atomics.store(this.words, TAIL, this.#at);
    return this.wake(CONSUMER_SLEEPS);
  }

  /**
   * After `begin` found no room and all records are published: declares that this end waits at `waitPoint`. False if room has
   * been made meanwhile.
   */
  sleep(): boolean {
    return this.sleepUnless(PRODUCER_SLEEPS, HEAD, this.#head);
  }

  #hasRoom(bytes: number): boolean {
    if (this.capacity - ((this.#at - this.#head) | 0) >= bytes) return true;
    this.#head = Atomics.load(this.words, HEAD);
    return this.capacity - ((this.#at - this.#head) | 0) >= bytes;
  }
}

/** The reading end. Only one thread uses it. */
export class RingConsumer extends RingEnd {
  /** The record that `next` found is at `[start, end)`; it is valid until `release`. */
  start = HEADER_BYTES;
  end = HEADER_BYTES;
  #at: number;
  /** The tail as last read. */
  #tail: number;
  /** While the flag is set, the word for want of records. For whoever drives this thread. */
  readonly waitPoint: WaitPoint = { words: this.words, index: CONSUMER_SLEEPS, value: 1 };

  constructor(memory: SharedArrayBuffer) {
    super(memory);
    this.#at = Atomics.load(this.words, HEAD);
    this.#tail = this.#at;
  }

  /** Goes to the next record; false if none is visible. */
  next(): boolean {
    if (this.#at === this.#tail) {
      this.#tail = Atomics.load(this.words, TAIL);
      if (this.#at === this.#tail) return false;
    }
    let offset = this.#at & this.mask;
    let length = this.prefixes[offset >>> 2] as number;
    if (length === SKIP) {
      this.#at = (this.#at + this.capacity - offset) | 0;
      offset = 0;
      length = this.prefixes[0] as number;
    }
    if (length > this.recordBytesMax) tooLong(length, this.recordBytesMax);
    this.start = HEADER_BYTES + offset + PREFIX_BYTES;
    this.end = this.start + length;
    this.#at = (this.#at + ((PREFIX_BYTES + length + 7) & ~7)) | 0;
    return true;
  }

  /**
   * Gives the room of all records so far back. True if the producer slept: it has been notified, and a host that waits for
   * messages instead sends it one.
   */
  release(): boolean {
    Atomics.store(this.words, HEAD, this.#at);
    return this.wake(PRODUCER_SLEEPS);
  }

  /** After `next` found nothing: declares that this end waits at `waitPoint`. False if a record has come meanwhile. */
  sleep(): boolean {
    return this.sleepUnless(CONSUMER_SLEEPS, TAIL, this.#at);
  }
}

/** Apart, so that nothing is put into words for records that are as they should be. */
function tooLong(length: number, maximum: number): never {
  throw new AssertionError(`a record of ${length} bytes where ${maximum} are the most`);
}
