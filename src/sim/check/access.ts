import { assert } from "../../base/index.js";

/** Where one access stands: who, in which of its epochs, and whether it wrote. */
export interface Access {
  readonly thread: number;
  readonly epoch: number;
  readonly write: boolean;
}

/** Two accesses to one node, of which one writes, that no barrier orders. */
export interface Overlap {
  readonly node: number;
  readonly first: Access;
  readonly second: Access;
}

export interface AccessCheckerOptions {
  /** Nodes whose last accesses are remembered; the one that was first touched longest ago is forgotten for the next. */
  readonly nodesMax?: number;
}

/** Overlaps kept; a broken run would report one with every access. */
const OVERLAPS_MAX = 100;
const NODES_MAX = 1_000_000;
/** Barriers that somebody may still leave. Threads that meet pass few at a time. */
const BARRIERS_MAX = 4096;
/** Groups are bits of a mask, and g_all has a thread too. */
const THREADS_MAX = 32;

/** What a node remembers: its last write, and the last read of each thread since. Epochs count from 1; 0 is none. */
interface NodeState {
  writer: number;
  written: number;
  readonly read: number[];
}

/**
 * Whether threads that share memory without locks ever touch the same of it at once.
 *
 * In a simulation threads take turns, so nothing really happens at once and no wrong value need ever show. What can be told
 * is whether anything *kept* two accesses apart: only barriers do. Each thread counts epochs, one more with each barrier it
 * arrives at, and knows how far it is behind the epochs of the others: what it learns when it leaves a barrier is what those
 * had done who had arrived there. Two accesses to one node by different threads, one of them a write, *overlap* if the
 * later one's thread does not know of the earlier one's epoch. A thread that leaves before all have arrived knows nothing of
 * the missing ones, so a barrier that is released early shows as soon as memory is shared behind it.
 *
 * Pure and deterministic; an access costs one look into a map. Threads are numbered from 0, nodes and barriers by whole numbers.
 */
export class AccessChecker {
  readonly #nodesMax: number;
  /** By thread: through which epoch of each thread everything is known to be over. The own entry is the present epoch. */
  readonly #known: readonly number[][];
  /** By barrier: what those who have arrived had known. */
  readonly #barriers = new Map<number, number[]>();
  readonly #nodes = new Map<number, NodeState>();
  readonly #overlaps: Overlap[] = [];
  /** Accesses so far. */
  accesses = 0;
  /** Nodes forgotten for want of room: above 0 some overlaps may have gone unseen. */
  forgotten = 0;

  constructor(threads: number, options: AccessCheckerOptions = {}) {
    assert(threads >= 1 && threads <= THREADS_MAX, `there are 1 to ${THREADS_MAX} threads, got ${threads}`);
    this.#nodesMax = options.nodesMax ?? NODES_MAX;
    this.#known = Array.from({ length: threads }, (_, thread) =>
      Array.from({ length: threads }, (_, other) => (other === thread ? 1 : 0)),
    );
  }

  get threads(): number {
    return this.#known.length;
  }

  /** What was found so far, oldest first; at most 100. */
  overlaps(): readonly Overlap[] {
    return this.#overlaps;
  }

  /** The present epoch of a thread. */
  epoch(thread: number): number {
    return this.#of(thread)[thread] as number;
  }

  /** A thread reads or writes a node. */
  access(thread: number, node: number, write: boolean): void {
    this.accesses++;
    const known = this.#of(thread);
    const epoch = known[thread] as number;
    const state = this.#nodes.get(node) ?? this.#remember(node);
    if (state.written > (known[state.writer] as number)) {
      this.#report(node, { thread: state.writer, epoch: state.written, write: true }, { thread, epoch, write });
    }
    if (!write) {
      state.read[thread] = epoch;
      return;
    }
    for (let other = 0; other < known.length; other++) {
      const read = state.read[other] as number;
      if (other !== thread && read > (known[other] as number)) {
        this.#report(node, { thread: other, epoch: read, write: false }, { thread, epoch, write });
      }
      // Whoever comes after this write comes after those reads, or overlaps with the write.
      state.read[other] = 0;
    }
    state.writer = thread;
    state.written = epoch;
  }

  /** A thread has come to a barrier: all it has done so far is over for whoever leaves there after this. */
  arrive(thread: number, barrier: number): void {
    const known = this.#of(thread);
    let met = this.#barriers.get(barrier);
    if (met === undefined) {
      met = known.map(() => 0);
      this.#barriers.set(barrier, met);
      if (this.#barriers.size > BARRIERS_MAX) {
        for (const oldest of this.#barriers.keys()) {
          this.#barriers.delete(oldest);
          break;
        }
      }
    }
    join(met, known);
    known[thread] = (known[thread] as number) + 1;
  }

  /** A thread goes on behind a barrier at which it, or the one that releases it, has arrived. */
  leave(thread: number, barrier: number): void {
    const met = this.#barriers.get(barrier);
    assert(met !== undefined, `thread ${thread} leaves barrier ${barrier}, at which nobody has arrived`);
    join(this.#of(thread), met, thread);
  }

  /** A barrier that these threads pass together. */
  meet(threads: readonly number[], barrier: number): void {
    for (const thread of threads) this.arrive(thread, barrier);
    for (const thread of threads) this.leave(thread, barrier);
  }

  #of(thread: number): number[] {
    const known = this.#known[thread];
    assert(known !== undefined, `there are ${this.#known.length} threads, got ${thread}`);
    return known;
  }

  #remember(node: number): NodeState {
    const state = { writer: 0, written: 0, read: this.#known.map(() => 0) };
    this.#nodes.set(node, state);
    if (this.#nodes.size > this.#nodesMax) {
      for (const oldest of this.#nodes.keys()) {
        this.#nodes.delete(oldest);
        this.forgotten++;
        break;
      }
    }
    return state;
  }

  #report(node: number, first: Access, second: Access): void {
    if (this.#overlaps.length < OVERLAPS_MAX) this.#overlaps.push({ node, first, second });
  }
}

/** Two accesses in words, for a violation. */
export function describeOverlap({ node, first, second }: Overlap): string {
  return `node ${node}: ${describe(first)} and ${describe(second)}, with no barrier of both between them`;
}

function describe({ thread, epoch, write }: Access): string {
  return `thread ${thread} ${write ? "writes" : "reads"} it in its epoch ${epoch}`;
}

/** The greater of both, entry by entry; `except` keeps its own. */
function join(into: number[], from: readonly number[], except = -1): void {
  for (let i = 0; i < into.length; i++) {
    if (i !== except && (from[i] as number) > (into[i] as number)) into[i] = from[i] as number;
  }
}
