import { assert, type ByteWriter } from "../../base/index.js";
import type {
  Digest,
  GroupMapping,
  Run,
  SharedServiceModule,
  SharedServiceRoot,
  SnapshotSink,
  SnapshotSource,
} from "../../model/index.js";
import { createStoreMemory, PartitionViews, STORE_LIMITS, type StoreMemory } from "../byte-store/index.js";
import type { ServiceDefinition } from "./definition.js";
import { DefinedMapping } from "./mapping.js";
import { DefinedService, type UserCode } from "./service.js";
import { DefinedSink, DefinedSource } from "./snapshot.js";
import { TABLE_PREFIX_BYTES, TableStore } from "./store.js";

/**
 * A service of the user's whose tables several threads share, cut into partitions by key: the entries that any table has under one key are of one
 * partition. A command whose keys are of one group runs in its thread, beside those of others; one over several runs once, in the
 * executor's thread, on all their partitions; one over all keys on all of them.
 *
 * What differs from the service with tables in one piece: tables are full when a partition is.
 */
class PartitionedDefined extends DefinedService implements SharedServiceRoot {
  readonly partitioned = true;
  readonly #memory: StoreMemory;
  protected readonly thread: number;
  readonly #partitions: PartitionViews;
  readonly #mapping: GroupMapping;
  readonly #optimisticMapping: GroupMapping;

  constructor(definition: ServiceDefinition, userCode: UserCode, memory: StoreMemory, thread: number, fresh: boolean) {
    assert(thread >= 0 && thread < memory.partitions, `thread ${thread} of ${memory.partitions}`);
    const partitions = new PartitionViews(memory, thread, fresh);
    super(definition, userCode, new TableStore(partitions.own));
    this.#memory = memory;
    this.thread = thread;
    this.#partitions = partitions;
    this.store.partition(thread, memory.partitions);
    this.#mapping = new DefinedMapping(definition, memory.partitions, userCode);
    this.#optimisticMapping = new DefinedMapping(definition, memory.partitions, userCode, true);
  }

  share(): StoreMemory {
    this.publish(true, this.#partitions.everybody);
    return this.#memory;
  }

  publish(_alone: boolean, threads: number): void {
    this.#partitions.publish(threads);
    this.store.use(this.#partitions.own);
  }

  adopt(threads: number): void {
    this.store.use(this.#partitions.adopt(threads));
  }

  override groups(run: Run, mode: 0 | 1, masks: Uint32Array): void {
    (mode === 0 ? this.#mapping : this.#optimisticMapping).masks(run, masks);
  }

  override digest(into: Digest): void {
    assert(this.thread === 0, "the first thread takes digests, at a barrier over all");
    this.#partitions.readDigest(into);
  }

  /** The partition of this thread. */
  override snapshot(): SnapshotSource {
    return new DefinedSource(this.definition.tables, this.#partitions.own.snapshot());
  }

  override restore(): SnapshotSink {
    return new DefinedSink(this.name, this.definition.tables, this.#partitions.own.restore());
  }

  /** That of the partitions on which this thread may work now: what single commands do can be told by it, beside other threads. */
  digestInUse(into: Digest): void {
    this.store.readDigest(into);
  }

  override size(): { readonly entries: number; readonly bytes: number } {
    return this.#partitions.size();
  }
}

/** The same where commands declare what they are likely to touch: those that touch more are taken back. */
class OptimisticDefined extends PartitionedDefined {
  attempt(run: Run, first: number, thread: number, replies: ByteWriter): number {
    assert(thread === this.thread, `thread ${thread} attempts commands in the view of thread ${this.thread}`);
    return this.attemptFrom(run, first, replies);
  }
}

/** The service of a definition for several groups. `bytesMax` bounds the memory, which is address space. */
export function sharedDefinedService(
  definition: ServiceDefinition,
  userCode: UserCode = { running: null, violation: null },
  bytesMax?: number,
): SharedServiceModule {
  const optimistic = definition.commands.some(({ likely }) => likely !== undefined);
  const View = optimistic ? OptimisticDefined : PartitionedDefined;
  const module: SharedServiceModule = {
    name: definition.name,
    createShared: (groups) =>
      new View(definition, userCode, createStoreMemory(groups, STORE_LIMITS, bytesMax, TABLE_PREFIX_BYTES), 0, true),
    attach: (description, thread) => new View(definition, userCode, description as StoreMemory, thread, false),
    mapping: (groups) => new DefinedMapping(definition, groups, userCode),
  };
  if (!optimistic) return module;
  return { ...module, optimisticMapping: (groups) => new DefinedMapping(definition, groups, userCode, true) };
}
