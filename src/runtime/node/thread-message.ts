import type { ReplicaId } from "../../model/index.js";
import type { ReplicaOptions } from "../replica/api.js";

/** What a replica's thread is started with. */
export interface ReplicaThreadData {
  readonly self: ReplicaId;
  /** The cluster's directory; the replica's own is `replica-ID` in it. */
  readonly directory: string;
  readonly options: Partial<ReplicaOptions>;
}

/** From the main thread to a replica's thread. */
export type ToReplicaThread =
  /** Hand over, close ports and log, then say `stopped`. */
  { readonly kind: "stop" };

/** From a replica's thread to the main thread. */
export type FromReplicaThread =
  | {
      readonly kind: "log";
      readonly level: "info" | "warn" | "error";
      readonly event: string;
      readonly fields: Readonly<Record<string, unknown>>;
    }
  /** The replica takes part, and its ports are open. */
  | { readonly kind: "recovered" }
  /** The replica believes that this one leads; 0 if it knows of none. */
  | { readonly kind: "leader"; readonly leader: ReplicaId }
  /** It can't go on or never began; the process ends with this exit code. */
  | { readonly kind: "failed"; readonly exitCode: number; readonly message: string; readonly stack: string }
  | { readonly kind: "stopped" };
