import type { ClusterConfig, GroupMapping, Instance, SharedService, SharedServiceRoot } from "../../model/index.js";
import type { Merge, Pacing } from "../../multicast/index.js";
import type { PsmrOptions, PsmrParts, ReplicatedStateOptions, ThreadModel } from "../../execution/index.js";
import type { ReplicaInit, ReplicaSiblings } from "../replica/api.js";

/**
 * What the members of one replica share for one life of it: plain data, posted to their threads. A replica with K groups has
 * K + 1 members (docs/decisions/0010): member 0 orders g_all, member i orders g_i and executes as thread i - 1.
 */
export interface MemberParts {
  readonly groups: number;
  /** Numbers that members tell each other: positions, what is wanted of whom. */
  readonly board: SharedArrayBuffer;
  /** Rings of decided batches of g_all, from member 0 to each thread. */
  readonly decisions: readonly SharedArrayBuffer[];
  /** Rings of replies and digests of g_all, from each thread to member 0. */
  readonly answers: readonly SharedArrayBuffer[];
  /** Rings of the parts of a checkpoint, from each thread but the first to the first. */
  readonly cuts: readonly SharedArrayBuffer[];
  /** Barriers and notes of the threads. */
  readonly psmr: PsmrParts;
}

/**
 * Wakes other members. A ring may come late, twice or for nothing, and several become one, but what was written to shared
 * memory before a ring is seen by whoever handles it.
 */
export interface Bells {
  /** Has the handler of a member called, which may be the own one, not inside this call. */
  ring(member: number): void;
  /** Sets what is called when this member is rung for; what came before is made up for. */
  onRing(handler: () => void): void;
}

/** Groups of commands, as the threads of a replica ask for them. */
export interface ThreadMappings {
  /** CC-G: two commands that depend on each other have a group in common. */
  readonly conservative: GroupMapping;
  /** OC-G, which says the same where no command can fail. */
  readonly optimistic: GroupMapping;
}

/** The interchangeable parts of a member. */
export interface MemberSiblings {
  readonly ordering: ReplicaSiblings["ordering"];
  /** Of the member that executes as this thread: its model, and the merge of g_all and its own stream in front of it. */
  readonly createThread: (
    parts: PsmrParts,
    thread: number,
    service: SharedService,
    mappings: ThreadMappings,
    options: Partial<PsmrOptions>,
  ) => ThreadModel;
  readonly createMerge: (config: ClusterConfig, stream: number) => Merge;
  /** Marks and skips of the coordinator of a stream. */
  readonly createPacing: (config: ClusterConfig, stream: number) => Pacing;
}

export interface MemberInit extends Omit<ReplicaInit, "siblings"> {
  /** 0 for g_all, i for g_i. */
  readonly member: number;
  readonly parts: MemberParts;
  readonly bells: Bells;
  /** Parts to run instead of those that the configuration names: planted faults, observers, experiments. */
  readonly siblings?: Partial<MemberSiblings>;
  /**
   * Member 1 makes the first view of the service, member i > 1 a view of what was shared. Not called by member 0.
   */
  createService(): SharedService | SharedServiceRoot;
  /** Groups of commands, by default those of the registry's service of this name. */
  readonly mappings?: ThreadMappings;
  /** Limits of the replicated state: part of the state machine, the same everywhere. By default the model's. */
  readonly limits?: Partial<ReplicatedStateOptions>;
  /**
   * The newest checkpoint is a cut of g_all through this instance (0: none). All members but member 1 have to be told, member 0
   * among them, and read it with their `platform.checkpoints`; member 1 finds it.
   */
  readonly checkpointThrough?: Instance;
  /**
   * Member 1, which starts first, has restored the newest checkpoint, through this instance of g_all, and shared the service: all
   * others can start.
   */
  onShared?(description: unknown, checkpointThrough: Instance): void;
  /** Something of a newer state than this replica's was fetched and is durable: stop all members, start them anew. */
  onRestart(reason: string): void;
}
