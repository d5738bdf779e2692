import { assert, CapacityError, MiB } from "../../base/index.js";
import { CHUNK_NODES, CHUNK_WORDS_PER_NODE } from "./layout.js";

/**
 * What another thread needs for a view of the same tree: plain data that can be posted to it. Each thread has a number of
 * its own below `threads`; the thread that shared the tree is 0.
 */
export interface TreeDescription {
  readonly threads: number;
  readonly control: SharedArrayBuffer;
  readonly regions: readonly SharedArrayBuffer[];
}

/** Threads that may share a tree: as many as a group mask names. */
export const SHARING_THREADS_MAX = 31;
/** Default of the most bytes of a shared tree. It is address space: memory is taken when a node is first written. */
export const SHARED_TREE_BYTES_MAX = 16 * 1024 * MiB;

const CHUNK_BYTES = 4 * CHUNK_NODES * CHUNK_WORDS_PER_NODE;
/** Engines allow a growable buffer 4 GiB at most, so that a tree needs several. */
const REGION_CHUNKS = Math.floor((4 * 1024 * MiB) / CHUNK_BYTES);

/** Nodes that a thread takes at a time, so that it shares the counter rarely. A chunk holds a whole number of such runs. */
export const RUN_NODES = 64;

/**
 * Words of the control block. `unused` is the one that threads change at any time; the others are written only by the thread
 * that runs alone at a barrier over all, whichever that is. Behind them each thread has words of its own, which it writes in front
 * of barriers and others read at those over all.
 */
const UNUSED = 0;
/** The words that are published, in an order that is the tree's. */
const PUBLISHED = 16;
export const PUBLISHED_WORDS = 16;
/** Two cache lines for each thread, since processors fetch them in pairs. */
const OWN = 32;
const OWN_WORDS = 32;

/** The words of a thread: first those of which the sum over threads counts (digest, entries, nodes in use), then its newest open mark. */
export const OWN_SUMS = 8;
const OWN_NEWEST = OWN_SUMS;

/** The memory of a tree that several threads have views of. Every thread makes an object of its own over the same buffers. */
export class SharedMemory {
  readonly description: TreeDescription;
  readonly thread: number;
  readonly #control: Int32Array;

  constructor(description: TreeDescription, thread: number) {
    assert(thread >= 0 && thread < description.threads, `thread ${thread} of ${description.threads}`);
    this.description = description;
    this.thread = thread;
    this.#control = new Int32Array(description.control);
  }

  /** Reserves address space for `bytesMax` bytes of nodes. Throws `RangeError` if the process may not have that much. */
  static reserve(threads: number, bytesMax: number): SharedMemory {
    assert(threads >= 1 && threads <= SHARING_THREADS_MAX, `1 to ${SHARING_THREADS_MAX} threads, got ${threads}`);
    const chunks = Math.max(1, Math.floor(bytesMax / CHUNK_BYTES));
    const regions: SharedArrayBuffer[] = [];
    for (let first = 0; first < chunks; first += REGION_CHUNKS) {
      const maxByteLength = Math.min(REGION_CHUNKS, chunks - first) * CHUNK_BYTES;
      regions.push(new SharedArrayBuffer(0, { maxByteLength }));
    }
    const control = new SharedArrayBuffer(4 * (OWN + threads * OWN_WORDS));
    return new SharedMemory({ threads, control, regions }, 0);
  }

  /** Words of chunk `index`, which comes into being with the first call of any thread. Throws `CapacityError` beyond the maximum. */
  chunk(index: number): Uint32Array {
    const region = this.description.regions[Math.floor(index / REGION_CHUNKS)];
    const offset = (index % REGION_CHUNKS) * CHUNK_BYTES;
    const end = offset + CHUNK_BYTES;
    if (region === undefined || end > region.maxByteLength) {
      throw new CapacityError(`a shared tree needs more than ${index} chunks of ${CHUNK_BYTES} bytes, its maximum`);
    }
    while (region.byteLength < end) growShared(region, end);
    // A view of fixed length: reading through one is as fast as if the buffer could not grow.
    return new Uint32Array(region, offset, CHUNK_NODES * CHUNK_WORDS_PER_NODE);
  }

  /** Takes `RUN_NODES` nodes that nobody has used and returns the first of them. Any thread may, at any time. */
  takeRun(): number {
    return Atomics.add(this.#control, UNUSED, RUN_NODES) >>> 0;
  }

  /** Nodes below this number may be in use. */
  get unused(): number {
    return Atomics.load(this.#control, UNUSED) >>> 0;
  }

  /** Only before another thread has a view. */
  set unused(node: number) {
    Atomics.store(this.#control, UNUSED, node);
  }

  published(word: number): number {
    return this.#control[PUBLISHED + word] as number;
  }

  publish(word: number, value: number): void {
    this.#control[PUBLISHED + word] = value;
  }

  /** The newest open mark of the first thread, which alone has marks; 0 for none. */
  get newest(): number {
    return this.#control[OWN + OWN_NEWEST] as number;
  }

  set newest(epoch: number) {
    assert(this.thread === 0, "only the first thread has marks");
    this.#control[OWN + OWN_NEWEST] = epoch;
  }

  /** Publishes one of the sums of this thread. */
  publishSum(sum: number, value: number): void {
    this.#control[OWN + this.thread * OWN_WORDS + sum] = value;
  }

  /** What the other threads have published of a sum, added up modulo 2^32. */
  sumOfOthers(sum: number): number {
    let total = 0;
    for (let thread = 0; thread < this.description.threads; thread++) {
      if (thread !== this.thread) total = (total + (this.#control[OWN + thread * OWN_WORDS + sum] as number)) | 0;
    }
    return total;
  }
}

/** Several threads may grow a buffer at once; one that comes second with a smaller length is refused, and has what it wanted. */
export function growShared(region: SharedArrayBuffer, length: number): void {
  try {
    region.grow(length);
  } catch (error) {
    if (region.byteLength < length) throw error;
  }
}
