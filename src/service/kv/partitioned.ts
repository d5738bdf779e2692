import { assert } from "../../base/index.js";
import {
  type Digest,
  type GroupMapping,
  type Run,
  type SharedServiceRoot,
  type SnapshotSink,
  type SnapshotSource,
  type UndoLog,
} from "../../model/index.js";
import { PartitionViews, type StoreMemory } from "../byte-store/index.js";
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
 * Under opt-PSMR no command of one group can fail, and there is no `attempt`: what other services have to check before they change a
 * structure concerns nobody here. An insert, a delete, and an update that makes a value longer or shorter, move entries and split and merge
 * nodes of their partition alone; what partitions share, the pages of the memory, they take in any order with the same outcome.
 *
 * The watches are the first thread's, since everything about them concerns all groups; the other threads mark watched keys that
 * they change (`WatchMarks`).
 */
export class PartitionedKv extends Kv implements SharedServiceRoot {
  readonly partitioned = true;
  readonly #description: KvDescription;
  readonly #thread: number;
  readonly #everybody: number;
  readonly #partitions: PartitionViews;
  readonly #marks: WatchMarks;
  readonly #register: WatchRegister | null;
  readonly #mapping: GroupMapping;

  private constructor(description: KvDescription, thread: number, fresh: boolean) {
    const { groups, store, watches } = description;
    assert(thread >= 0 && thread < groups, `thread ${thread} of ${groups}`);
    const partitions = new PartitionViews(store, thread, fresh);
    super(partitions.own);
    this.#description = description;
    this.#thread = thread;
    this.#everybody = partitions.everybody;
    this.#partitions = partitions;
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
    this.#partitions.publish(threads);
    this.x.store = this.#partitions.own;
    this.x.watches = this.#watching;
    this.#marks.adopt();
  }

  adopt(threads: number): void {
    this.x.store = this.#partitions.adopt(threads);
    this.#marks.adopt();
    if (threads !== this.#everybody || this.#register === null) return;
    this.#register.collect();
    this.x.watches = this.x.table;
  }

  /** What has expired in the partition of this thread, also at a barrier: the others see to theirs. */
  override advance(time: number, undo: UndoLog | null): void {
    const { store } = this.x;
    this.x.store = this.#partitions.own;
    super.advance(time, undo);
    this.x.store = store;
  }

  override due(): number {
    const { own } = this.#partitions;
    const entry = own.firstToExpire();
    return entry === 0 ? Infinity : own.expiry(entry);
  }

  override groups(run: Run, _mode: 0 | 1, masks: Uint32Array): void {
    this.#mapping.masks(run, masks);
  }

  override digest(into: Digest): void {
    assert(this.#thread === 0, "the first thread takes digests, at a barrier over all");
    this.#partitions.readDigest(into);
    this.x.table.mixInto(into);
  }

  /** The partition of this thread, and in the first one the watches. */
  override snapshot(): SnapshotSource {
    return new KvSource(this.x.table, this.#partitions.own.snapshot());
  }

  /** The same. Before this view executes anything. */
  override restore(): SnapshotSink {
    return new KvSink(this.#partitions.own.restore(), (watches) => {
      this.x.table = watches;
      this.#register?.follow(watches);
      this.publish(false, 1 << this.#thread);
    });
  }

  /** The partitions of other threads as these have published them. */
  override size(): { readonly entries: number; readonly bytes: number } {
    return this.#partitions.size();
  }

  /** Checks every invariant of the partitions; for tests, at a barrier over all threads. Throws `AssertionError`. */
  check(): void {
    this.#partitions.check();
  }

  /** Who is told of changes between barriers over all threads. A thread that is the only one has all watches at any time. */
  get #watching(): Watching {
    return this.#everybody === 1 ? this.x.table : this.#marks;
  }
}
