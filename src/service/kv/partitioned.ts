import { assert } from "../../base/index.js";
import {
  type Digest,
  type GroupMapping,
  maskOfAll,
  type Run,
  type SharedServiceRoot,
  type SnapshotSink,
  type SnapshotSource,
  type UndoLog,
} from "../../model/index.js";
import { PartitionedStore, PartitionStore, type StoreMemory, storeMemoryOf } from "../byte-store/index.js";
import { kvMapping } from "./mapping.js";
import { Kv } from "./service.js";
import { KvSink, KvSource } from "./snapshot.js";
import { WatchMarks, WatchRegister } from "./watch-marks.js";
import type { Watching } from "./watch-table.js";

/** What a thread needs for its view: plain data that can be posted to it. */
export interface KvDescription {
  readonly groups: number;
  readonly store: StoreMemory;
  readonly watches: SharedArrayBuffer;
}

/**
 * The store as several threads share it: cut into partitions, one for each group, of which every thread has a view. Between barriers
 * a thread works on its own partition as if there were no others; at a barrier the thread that executes has turns on all that take
 * part, and sees them as one store.
 *
 * What differs from the store in one piece: a full partition refuses commands though others have room; a cursor of SCAN counts
 * partitions as well; each partition removes what has expired by the time of its own thread; nothing can be taken back.
 *
 * The watches are the first thread's, since everything about them concerns all groups; the other threads mark watched keys that
 * they change (`WatchMarks`).
 */
export class PartitionedKv extends Kv implements SharedServiceRoot {
  readonly partitioned = true;
  readonly #description: KvDescription;
  readonly #thread: number;
  readonly #everybody: number;
  readonly #stores: readonly PartitionStore[];
  readonly #own: PartitionStore;
  /** The partitions that take part in what executes now, as one store. */
  readonly #joined: PartitionedStore;
  readonly #marks: WatchMarks;
  readonly #register: WatchRegister | null;
  readonly #mapping: GroupMapping;

  private constructor(description: KvDescription, thread: number, fresh: boolean) {
    const { groups, store, watches } = description;
    assert(thread >= 0 && thread < groups, `thread ${thread} of ${groups}`);
    const stores = storeMemoryOf(store).map((init) => new PartitionStore({ ...init, fresh }));
    super(stores[thread] as PartitionStore);
    this.#description = description;
    this.#thread = thread;
    this.#everybody = maskOfAll(groups);
    this.#stores = stores;
    this.#own = stores[thread] as PartitionStore;
    this.#joined = new PartitionedStore(stores);
    this.#marks = new WatchMarks(watches, thread, groups);
    this.#register = thread === 0 ? new WatchRegister(this.#marks, this.x.table) : null;
    this.#mapping = kvMapping(groups);
    this.x.watches = this.#watching;
    this.#marks.adopt();
  }

  /** The first thread's view of a new store. */
  static create(groups: number, store: StoreMemory): PartitionedKv {
    const watches = new SharedArrayBuffer(WatchMarks.bytesFor(groups));
    return new PartitionedKv({ groups, store, watches }, 0, true);
  }

  /** The view of another thread. */
  static attach(description: KvDescription, thread: number): PartitionedKv {
    return new PartitionedKv(description, thread, false);
  }

  share(): KvDescription {
    this.publish(true, this.#everybody);
    return this.#description;
  }

  publish(_alone: boolean, threads: number): void {
    for (let left = threads; left !== 0; left &= left - 1) this.#store(left).publish();
    this.x.store = this.#own;
    this.x.watches = this.#watching;
    this.#marks.adopt();
  }

  adopt(threads: number): void {
    for (let left = threads; left !== 0; left &= left - 1) this.#store(left).adopt();
    this.#marks.adopt();
    if ((threads & (threads - 1)) !== 0) {
      this.#joined.use(threads);
      this.x.store = this.#joined;
    }
    if (threads !== this.#everybody || this.#register === null) return;
    this.#register.collect();
    this.x.watches = this.x.table;
  }

  /** What has expired in the partition of this thread, also at a barrier: the others see to theirs. */
  override advance(time: number, undo: UndoLog | null): void {
    const { store } = this.x;
    this.x.store = this.#own;
    super.advance(time, undo);
    this.x.store = store;
  }

  override due(): number {
    const entry = this.#own.firstToExpire();
    return entry === 0 ? Infinity : this.#own.expiry(entry);
  }

  override groups(run: Run, _mode: 0 | 1, masks: Uint32Array): void {
    this.#mapping.masks(run, masks);
  }

  override digest(into: Digest): void {
    assert(this.#thread === 0, "the first thread takes digests, at a barrier over all");
    this.#joined.use(this.#everybody);
    this.#joined.readDigest(into);
    this.x.table.mixInto(into);
  }

  /** The partition of this thread, and in the first one the watches. */
  override snapshot(): SnapshotSource {
    return new KvSource(this.x.table, this.#own.snapshot());
  }

  /** The same. Before this view executes anything. */
  override restore(): SnapshotSink {
    return new KvSink(this.#own.restore(), (watches) => {
      this.x.table = watches;
      this.#register?.follow(watches);
      this.publish(false, 1 << this.#thread);
    });
  }

  /** The partitions of other threads as these have published them. */
  override size(): { readonly entries: number; readonly bytes: number } {
    let entries = 0;
    let bytes = 0;
    for (const store of this.#stores) {
      entries += store === this.#own ? store.count : store.publishedCount;
      bytes += store === this.#own ? store.size : store.publishedSize;
    }
    return { entries, bytes };
  }

  /** Checks every invariant of the partitions; for tests, at a barrier over all threads. Throws `AssertionError`. */
  check(): void {
    for (const store of this.#stores) store.check();
  }

  /** Who is told of changes between barriers over all threads. A thread that is the only one has all watches at any time. */
  get #watching(): Watching {
    return this.#everybody === 1 ? this.x.table : this.#marks;
  }

  /** The view of the partition of the lowest bit. */
  #store(mask: number): PartitionStore {
    return this.#stores[31 - Math.clz32(mask & -mask)] as PartitionStore;
  }
}
