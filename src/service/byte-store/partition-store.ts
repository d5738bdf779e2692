import { assert } from "../../base/index.js";
import type { SnapshotSink, SnapshotSource, UndoLog } from "../../model/index.js";
import { Contents } from "./contents.js";
import type { StoreLimits } from "./limits.js";
import { partitionOf } from "./partition.js";
import { PartitionControl, PartitionMemory } from "./partition-memory.js";
import { SavedEntries, SharedSource } from "./shared-snapshot.js";
import type { SharedPages } from "./shared-pages.js";
import { StoreSink } from "./snapshot.js";
import { ByteStore } from "./store.js";

/** One of the two sets of entries that a partition has room for, as a thread sees it. */
interface EntrySet {
  readonly memory: PartitionMemory;
  readonly contents: Contents;
  readonly saved: SavedEntries;
}

export interface PartitionInit {
  readonly pages: SharedPages;
  /** The control of all partitions. */
  readonly control: SharedArrayBuffer;
  readonly partition: number;
  readonly partitions: number;
  readonly keyPrefixBytes: number;
  readonly limits: StoreLimits;
  /** Whether the partition is yet to be made. */
  readonly fresh: boolean;
}

/**
 * One partition of a store that is cut into several, as one thread sees it. Threads work on it in turn, never two at once: who
 * has had its turn publishes, and who comes to it adopts, with a barrier in between. What lies in chunks needs no more than that;
 * what stands beside them, such as roots and counts, is copied to a block of control and from it.
 *
 * There are two sets of entries. When the store is cleared while a snapshot is being taken, the present set stays for the
 * snapshot alone, and the other becomes the present one.
 *
 * Nothing can be taken back here, and there is one snapshot at a time.
 */
export class PartitionStore extends ByteStore {
  readonly #init: PartitionInit;
  readonly #control: PartitionControl;
  #current: number;
  readonly #sets: (EntrySet | null)[] = [null, null];
  /** The set of the snapshot that this view takes. */
  #taking: EntrySet | null = null;

  constructor(init: PartitionInit) {
    const control = new PartitionControl(init.control, init.partition);
    const set = makeSet(init, control, control.current, init.fresh);
    super(init.limits, set.contents);
    this.#init = init;
    this.#control = control;
    this.#current = control.current;
    this.#sets[this.#current] = set;
    if (init.fresh) this.publish();
    else this.adopt();
  }

  /** Entries and bytes as they were published last; close to what they are. */
  get publishedCount(): number {
    return this.#control.count;
  }

  get publishedSize(): number {
    return this.#control.size;
  }

  /** The others can adopt what was changed here. */
  publish(): void {
    this.#save(this.#present);
    this.#control.tell(this.count, this.size);
  }

  /** Takes over what the others have published. */
  adopt(): void {
    const current = this.#control.current;
    if (current !== this.#current) {
      // The set that was cleared under a snapshot has got its last changes, and is from now on the snapshot's alone.
      if (this.#taking !== null) load(this.#taking);
      this.#current = current;
      this.#sets[current] ??= makeSet(this.#init, this.#control, current, false);
      this.contents = this.#present.contents;
    }
    load(this.#present);
  }

  override clear(undo: UndoLog | null): void {
    assert(undo === null, "nothing is taken back in a store that threads share");
    const present = this.#present;
    if (present.contents.count === 0) return;
    if (present.saved.open) {
      assert(this.#control.kept < 0, "there is one snapshot at a time");
      this.#save(present);
      this.#control.kept = this.#current;
      this.#current = 1 - this.#current;
      this.#control.current = this.#current;
    } else present.memory.dropAll();
    const fresh = makeSet(this.#init, this.#control, this.#current, true);
    this.#sets[this.#current] = fresh;
    this.contents = fresh.contents;
  }

  override snapshot(): SnapshotSource {
    const set = this.#present;
    assert(!set.saved.open && this.#control.kept < 0, "there is one snapshot at a time");
    this.#taking = set;
    return new SharedSource(set.contents, set.saved, () => {
      this.#taking = null;
      if (set === this.#present) return;
      set.memory.dropAll();
      this.#control.kept = -1;
    });
  }

  /** Only into a store that has no entries. One that a damaged snapshot was written to is not usable any more. */
  override restore(): SnapshotSink {
    const { contents } = this;
    const { keyPrefixBytes, limits, partition, partitions } = this.#init;
    assert(contents.count === 0, "a partition is restored before anything is in it");
    const belongs = (bytes: Uint8Array, start: number, end: number): boolean =>
      partitionOf(bytes, start + keyPrefixBytes, end, partitions) === partition;
    return new StoreSink(limits, contents, () => {}, belongs);
  }

  get #present(): EntrySet {
    return this.#sets[this.#current] as EntrySet;
  }

  #save({ memory, contents, saved }: EntrySet): void {
    memory.roots.begin();
    contents.save(memory.roots);
    saved.save(memory.roots);
  }
}

function makeSet(init: PartitionInit, control: PartitionControl, set: number, fresh: boolean): EntrySet {
  const memory = new PartitionMemory(init.pages, control.words, set, fresh);
  const contents = new Contents(memory);
  return { memory, contents, saved: new SavedEntries(contents) };
}

function load({ memory, contents, saved }: EntrySet): void {
  memory.roots.begin();
  contents.load(memory.roots, memory);
  saved.load(memory.roots);
}
