import type { ReplicaId } from "../../model/index.js";
import type { ReplicaPlatform } from "../../platform/index.js";
import type { createBlockClient, ReplicaSiblings } from "../../runtime/index.js";

/** Puts something else in the place of a replica's parts: how a bug is planted without a trace of it in the product. */
export interface Disguise {
  siblings?(real: ReplicaSiblings, replica: ReplicaId): ReplicaSiblings;
  platform?(real: ReplicaPlatform, replica: ReplicaId): ReplicaPlatform;
  /** The sessions of clients, and those of gateways. */
  client?: typeof createBlockClient;
  gateway?: typeof createBlockClient;
}
