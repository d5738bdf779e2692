import type { ReplicaId, SharedServiceModule } from "../../model/index.js";
import type { ReplicaPlatform, SimProcess } from "../../platform/index.js";
import type { createBlockClient, MemberParts, MemberSiblings, ReplicaSiblings } from "../../runtime/index.js";
import type { connectStreams } from "../workload/index.js";

/** Puts something else in the place of a replica's parts: how a bug is planted without a trace of it in the product. */
export interface Disguise {
  siblings?(real: ReplicaSiblings, replica: ReplicaId): ReplicaSiblings;
  platform?(real: ReplicaPlatform, replica: ReplicaId): ReplicaPlatform;
  /** What replicas with several groups and their clients run in place of what the configuration names: a service of a user's. */
  shared?: SharedServiceModule;
  /** The sessions of clients, and those of gateways. */
  client?: typeof createBlockClient;
  gateway?: typeof createBlockClient;
  /** The members of replicas with several groups. */
  members?: MemberDisguise;
}

/** A member as those who put something else in the place of its parts see it. */
export interface MemberPlace {
  readonly replica: ReplicaId;
  readonly member: number;
  /** The number of this life of the replica, from 1 on. */
  readonly life: number;
  readonly process: SimProcess;
  readonly parts: MemberParts;
}

/** What is put in the place of parts of a member. */
export interface MemberDisguise {
  siblings?(real: MemberSiblings, place: MemberPlace): MemberSiblings;
  platform?(real: ReplicaPlatform, replica: ReplicaId, member: number): ReplicaPlatform;
  /** The service of all members of a replica, or of the clients (replica 0), whose mapping alone counts. */
  service?(real: SharedServiceModule, replica: ReplicaId): SharedServiceModule;
  /** The sessions of clients. */
  client?: typeof connectStreams;
}
