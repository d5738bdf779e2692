/**
 * node: a cluster as directories and processes of Node: its directory and what it records, and a replica in a worker
 * thread on the real platform (TCP, files, the machine's clocks).
 */
export { assertAbsent, BackupReader, BackupWriter } from "./backup-file.js";
export { type BackupFacts } from "./backup-format.js";
export * from "./cluster-directory.js";
export {
  CLUSTER_DEFAULTS,
  type ClusterRequest,
  completed,
  type CompleteRequest,
  GROUPS_DEFAULTS,
  RESP_PORT_DEFAULT,
  RESUBMIT_DEFAULT,
} from "./cluster-request.js";
export { fileThreadsNeeded, fileThreadsOf, fileThreadsWanted } from "./file-threads.js";
export { assertPortsFree, firstTakenAddress, freePorts, type HostPort } from "./free-port.js";
export type { GatewayCounters, MemberReading, ReplicaReading } from "./reading.js";
export type { ReplicaReport } from "./replica-report.js";
export * from "./machine.js";
export * from "./replica-store.js";
export { restoreCluster, type RestoredCluster, type RestoreProgress } from "./restore-cluster.js";
export * from "./run-replica.js";
export * from "./security.js";
export { type ClusterReplica, type RunningCluster, startCluster } from "./start-cluster.js";
export type { StartClusterOptions } from "./start-options.js";
export * from "./supervisor.js";
export * from "./thread-message.js";
