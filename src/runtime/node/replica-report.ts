import type { ReplicaId } from "../../model/index.js";

/** What a replica that `synod up` started tells it, over the channel that Node opens between parent and child. */
export type ReplicaReport =
  /** Recovered, and a write went through its own port. */
  | { readonly kind: "ready" }
  /** The replica that it believes to lead; 0 for none. */
  | { readonly kind: "leader"; readonly leader: ReplicaId }
  /** Why it is about to end. */
  | { readonly kind: "failed"; readonly exitCode: number; readonly message: string };
