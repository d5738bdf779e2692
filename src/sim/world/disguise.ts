import type { ReplicaId } from "../../model/index.js";
import type { ReplicaPlatform } from "../../platform/index.js";
import type { ReplicaSiblings } from "../../runtime/index.js";

/** Puts something else in the place of a replica's parts: how a bug is planted without a trace of it in the product. */
export interface Disguise {
  siblings?(real: ReplicaSiblings, replica: ReplicaId): ReplicaSiblings;
  platform?(real: ReplicaPlatform, replica: ReplicaId): ReplicaPlatform;
}
