// Hot file: every event of every simulated world passes through here, several thousand for each simulated second. An event costs
// one object and no closure. Watched by bench/sim.mjs.
import type { SimProcess } from "./process.js";

/** Something that happens at a time, in a process or, without one, in the world itself. */
export interface SimEvent {
  readonly at: number;
  readonly order: number;
  /** The process that runs it, unless it is dead by then. */
  readonly process: SimProcess | null;
  readonly run: () => void;
}

/**
 * Events by time; those of one time in the order in which they were added.
 *
 * What is added for the present instant, as the turns of the hosts are, goes to a queue beside the heap. It comes behind all
 * that the heap holds for that instant: that was added before the instant began, and is therefore older.
 */
export class EventQueue {
  /** A binary heap. Whether one event comes before another is spelt out where it is asked, since a call costs more. */
  readonly #heap: SimEvent[] = [];
  /** Those from `#taken` to `#added` are waiting. It is not shortened when it is empty, since that costs more than an event. */
  readonly #present: (SimEvent | undefined)[] = [];
  #taken = 0;
  #added = 0;
  #order = 0;

  /** `at` is not before `now`, the time of the event that was taken last. */
  add(now: number, at: number, process: SimProcess | null, run: () => void): void {
    const event = { at, order: this.#order++, process, run };
    if (at === now) this.#present[this.#added++] = event;
    else this.#push(event);
  }

  /** The next event, which stays; undefined if there is none. */
  peek(): SimEvent | undefined {
    const first = this.#heap[0];
    if (this.#taken === this.#added) return first;
    const present = this.#present[this.#taken] as SimEvent;
    return first === undefined || first.at > present.at ? present : first;
  }

  /** Takes the event that `peek` gave. */
  take(event: SimEvent): void {
    if (this.#taken === this.#added || event !== this.#present[this.#taken]) {
      this.#pop();
      return;
    }
    this.#present[this.#taken++] = undefined;
    if (this.#taken === this.#added) this.#taken = this.#added = 0;
  }

  #push(event: SimEvent): void {
    const heap = this.#heap;
    const { at } = event;
    let hole = heap.length;
    heap.push(event);
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      const above = heap[parent] as SimEvent;
      // The event is the newest, so it stays below what happens at the same time.
      if (above.at <= at) break;
      heap[hole] = above;
      hole = parent;
    }
    heap[hole] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as SimEvent;
    const size = heap.length;
    if (size === 0) return;
    const { at, order } = last;
    let hole = 0;
    for (;;) {
      let child = hole * 2 + 1;
      if (child >= size) break;
      let below = heap[child] as SimEvent;
      if (child + 1 < size) {
        const right = heap[child + 1] as SimEvent;
        if (right.at < below.at || (right.at === below.at && right.order < below.order)) {
          below = right;
          child++;
        }
      }
      if (at < below.at || (at === below.at && order < below.order)) break;
      heap[hole] = below;
      hole = child;
    }
    heap[hole] = last;
  }
}
