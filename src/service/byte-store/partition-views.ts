import { type Digest, maskOfAll } from "../../model/index.js";
import type { EntryStore } from "./entry-store.js";
import { PartitionStore } from "./partition-store.js";
import { PartitionedStore } from "./partitioned-store.js";
import { type StoreMemory, storeMemoryOf } from "./store-memory.js";

/**
 * The views that one thread has of all partitions of a store: what a service in partitions is made of. Between barriers the thread works on
 * its own partition, as if there were no others; who executes at a barrier, on those that take part, as one store.
 */
export class PartitionViews {
  readonly own: PartitionStore;
  readonly everybody: number;
  readonly #stores: readonly PartitionStore[];
  readonly #joined: PartitionedStore;

  /** `fresh`: the partitions are made now, by their first thread. */
  constructor(memory: StoreMemory, thread: number, fresh: boolean) {
    this.#stores = storeMemoryOf(memory).map((init) => new PartitionStore({ ...init, fresh }));
    this.own = this.#stores[thread] as PartitionStore;
    this.everybody = maskOfAll(memory.partitions);
    this.#joined = new PartitionedStore(this.#stores, memory.keyPrefixBytes);
  }

  /** As `SharedService.publish`. From now on the thread works on `own`. */
  publish(threads: number): void {
    for (let left = threads; left !== 0; left &= left - 1) this.#store(left).publish();
  }

  /** As `SharedService.adopt`. Returns what the thread works on from now on. */
  adopt(threads: number): EntryStore {
    for (let left = threads; left !== 0; left &= left - 1) this.#store(left).adopt();
    if ((threads & (threads - 1)) === 0) return this.own;
    this.#joined.use(threads);
    return this.#joined;
  }

  /** That of a store in one piece with all entries; where all partitions have been adopted. */
  readDigest(into: Digest): void {
    this.#joined.use(this.everybody);
    this.#joined.readDigest(into);
  }

  /** The partitions of other threads as these have published them. */
  size(): { readonly entries: number; readonly bytes: number } {
    let entries = 0;
    let bytes = 0;
    for (const store of this.#stores) {
      entries += store === this.own ? store.count : store.publishedCount;
      bytes += store === this.own ? store.size : store.publishedSize;
    }
    return { entries, bytes };
  }

  /** Checks every invariant; for tests, where all partitions have been adopted. Throws `AssertionError`. */
  check(): void {
    for (const store of this.#stores) store.check();
  }

  /** The view of the partition of the lowest bit. */
  #store(mask: number): PartitionStore {
    return this.#stores[31 - Math.clz32(mask & -mask)] as PartitionStore;
  }
}
