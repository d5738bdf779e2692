/**
 * node: a cluster as directories and processes of Node: its directory and what it records, and a replica in a worker
 * thread on the real platform (TCP, files, the machine's clocks).
 */
export * from "./cluster-directory.js";
export { assertPortsFree, firstTakenAddress, freePorts, type HostPort } from "./free-port.js";
export type { ReplicaReport } from "./replica-report.js";
export * from "./replica-store.js";
export * from "./run-replica.js";
export * from "./security.js";
export { type ClusterReplica, type RunningCluster, startCluster, type StartClusterOptions } from "./start-cluster.js";
export * from "./supervisor.js";
export * from "./thread-message.js";
