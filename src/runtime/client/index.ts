/**
 * Clients: the host that drives a client model over a port (`BlockClient`), and what stands on it: promises, the typed kv
 * store, `connect` over TCP, the load generator, and questions to replicas that are no commands.
 */
export { BackupRefusedError, type BackupSink, fetchBackup } from "./backup-fetch.js";
export * from "./block-client.js";
export type { Calls, DecodeReply } from "./calls.js";
export { createBlockClient, type BlockClientInit } from "./client-host.js";
export { accessOf, type ClientSecurity, type ClientTls } from "./client-access.js";
export {
  ClusterConnection,
  connect,
  connectBlockClient,
  connectCluster,
  type ConnectOptions,
  type OpenClientOptions,
  type OpenStreamsOptions,
} from "./connect.js";
export { GroupedCalls, type GroupedCallsInit } from "./grouped-calls.js";
export { createGroupsClient, type GroupsClient, type GroupsClientInit, type StreamClient } from "./groups-client.js";
export { KvClient, type KvBytes, type KvSetOptions } from "./kv-client.js";
export { LatencyHistogram } from "./latency-histogram.js";
export { ArrivalSchedule } from "./load-arrivals.js";
export { btreeLoadBounds, btreeLoadCommands } from "./load-commands-btree.js";
export { Expected, kvLoadCommands, type LoadCommands, type LoadCommandsInit } from "./load-commands.js";
export {
  createKeyChooser,
  InsertedKeys,
  insertedKey,
  type KeyChooser,
  type KeyDistribution,
  type LoadKey,
  scatter,
  zeta,
  ZipfianRanks,
} from "./load-keys.js";
export { LOAD_ARRIVALS, type LoadArrivals, loadDefaults, type LoadOptions, loadOptions } from "./load-options.js";
export { LOAD_WORKLOADS, type LoadMix, loadMix, type LoadWorkload } from "./load-workload.js";
export {
  checkLoad,
  type LatencyRanks,
  type LoadInit,
  type LoadPhase,
  type LoadProgress,
  type LoadResult,
  type OptimisticFigures,
  runLoad,
} from "./load.js";
export { createMappedClient, type MappedClientInit } from "./mapped-client.js";
export { orderedReads } from "./ordered-reads.js";
export { PromiseClient, type PromiseClientInit } from "./promise-client.js";
export { ReplicaLinks, type AddressPort, type ClientAddress, type Optimism } from "./replica-links.js";
export { StreamChoice } from "./stream-choice.js";
export { createServiceClient, type ServiceClient } from "./service-client.js";
export { type ClientPort, SHARING_CLIENTS_MAX, SharedLinks } from "./shared-links.js";
export { NoAnswerError, ReplicaQuery, type Welcome } from "./replica-query.js";
