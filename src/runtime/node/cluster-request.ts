import { type ClusterConfig, type Durability, isOptimistic } from "../../model/index.js";

/** Port of the first replica's RESP listener unless told otherwise. */
export const RESP_PORT_DEFAULT = 7379;

/** What a cluster is asked to be. An absent field takes what the directory records, or the default in a new one. */
export interface ClusterRequest {
  readonly service?: string;
  readonly replicas?: number;
  readonly groups?: number;
  readonly ordering?: string;
  readonly execution?: string;
  /** By default "quorum"; "ordered" with several groups, which have no others. */
  readonly reads?: ClusterConfig["reads"];
  /** How several groups are merged. */
  readonly merge?: ClusterConfig["merge"];
  /** Where the threads of several groups meet. */
  readonly barrier?: ClusterConfig["barrier"];
  /** Who sends a command of opt-PSMR again that failed its check. */
  readonly resubmit?: ClusterConfig["resubmit"];
  /** Where opt-PSMR cuts the keys of `btree`; equal parts by default. */
  readonly bounds?: ClusterConfig["bounds"];
  readonly durability?: Durability;
  /** RESP port of replica 1, the others following; 0 takes free ports. */
  readonly port?: number;
}

/** What only clusters with several groups have, the last two those of opt-PSMR alone. */
type OfGroups = "merge" | "barrier" | "resubmit" | "bounds";

/** A request that says everything. `merge` and `barrier` are there if there are several groups, `resubmit` if these are opt-PSMR's. */
export type CompleteRequest = Required<Omit<ClusterRequest, OfGroups>> & Pick<ClusterRequest, OfGroups>;

export const CLUSTER_DEFAULTS = Object.freeze({
  service: "kv",
  replicas: 3,
  groups: 1,
  ordering: "multi-paxos",
  execution: "pipelined",
  reads: "quorum",
  durability: "fsync",
  port: RESP_PORT_DEFAULT,
} as const satisfies CompleteRequest);

/** What differs from that, and what there is besides, with several groups. */
export const GROUPS_DEFAULTS = Object.freeze({
  reads: "ordered",
  merge: "points",
  barrier: "run",
} as const satisfies ClusterRequest);

/** Who sends failed commands again in a cluster with several groups of opt-PSMR. */
export const RESUBMIT_DEFAULT = "replicas";

/** The defaults of a cluster with so many groups, by this ordering. */
export function defaultsFor(groups: number, ordering: string = CLUSTER_DEFAULTS.ordering): CompleteRequest {
  // What is not replicated has one replica.
  const defaults = ordering === "none" ? { ...CLUSTER_DEFAULTS, ordering, replicas: 1 } : CLUSTER_DEFAULTS;
  return groups > 1 ? { ...defaults, groups, ...GROUPS_DEFAULTS } : defaults;
}

/** The request with defaults for what it does not say: an absent or undefined field hides none. */
export function completed(request: ClusterRequest): CompleteRequest {
  const given = Object.fromEntries(Object.entries(request).filter(([, value]) => value !== undefined));
  const groups = request.groups ?? CLUSTER_DEFAULTS.groups;
  const optimism = isOptimistic({ execution: request.execution ?? "", groups }) ? { resubmit: RESUBMIT_DEFAULT } : {};
  return { ...defaultsFor(groups, request.ordering), ...optimism, ...(given as ClusterRequest) } as CompleteRequest;
}

/** What a cluster's configuration takes over from a request as it is. */
export function requestedShape(
  wanted: CompleteRequest,
): Pick<ClusterConfig, "service" | "ordering" | "execution" | "reads" | "groups" | "durability" | OfGroups> {
  const { service, ordering, execution, reads, groups, durability } = wanted;
  const { merge, barrier, resubmit, bounds } = wanted;
  // A single group has no use for them; bounds for one are a mistake that is not to be passed over.
  const ofGroups = {
    ...(groups === 1 ? {} : { merge, barrier }),
    ...(groups === 1 || resubmit === undefined ? {} : { resubmit }),
    ...(bounds === undefined ? {} : { bounds }),
  };
  return { service, ordering, execution, reads, groups, ...ofGroups, durability };
}
