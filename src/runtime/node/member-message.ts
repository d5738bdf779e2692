import type { ClusterConfig, Instance, ReplicaId } from "../../model/index.js";
import type { BellsPart, MemberParts } from "../groups/index.js";
import type { ReplicaOptions } from "../replica/api.js";
import type { MemberReading } from "./reading.js";
import type { FromReplicaThread } from "./thread-message.js";

/** What the thread of a member is started with: it opens what is its own, and makes the member when it is told to begin. */
export interface MemberThreadData {
  readonly self: ReplicaId;
  /** 1 to K; member 0 runs in the thread that starts the others. */
  readonly member: number;
  /** The cluster's directory. */
  readonly directory: string;
  readonly config: ClusterConfig;
  readonly options: Partial<ReplicaOptions>;
  readonly parts: MemberParts;
  readonly bells: BellsPart;
}

/** What a member starts from: member 1 from nothing, the others from what that one has shared. */
export interface MemberBeginning {
  readonly description: unknown;
  readonly checkpointThrough: Instance;
}

/** To the thread of a member. */
export type ToMemberThread =
  | { readonly kind: "begin"; readonly beginning: MemberBeginning | null }
  /** Hand over, close ports and log, say `stopped` and end. */
  | { readonly kind: "stop" }
  /** Read certificates and passwords anew. */
  | { readonly kind: "reload" }
  /** Say a `reading` with this serial number. */
  | { readonly kind: "read"; readonly serial: number };

/** From the thread of a member. */
export type FromMemberThread =
  | Extract<FromReplicaThread, { readonly kind: "log" | "failed" | "stopped" }>
  /** Member 1 has the state, and the others can begin. */
  | { readonly kind: "shared"; readonly beginning: MemberBeginning }
  | { readonly kind: "recovered" }
  /** All members have to begin anew. */
  | { readonly kind: "restart"; readonly reason: string }
  /** Where the member stands; null while it is being opened. */
  | { readonly kind: "reading"; readonly serial: number; readonly reading: MemberReading | null };
