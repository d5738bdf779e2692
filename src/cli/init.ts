import { type ClusterConfig, ExitCode, type ReplicaId } from "../model/index.js";
import {
  addressOf,
  assertProtected,
  clusterFileSecurity,
  createReplicaDirectory,
  loadClusterFile,
} from "../runtime/index.js";
import { decidedOf } from "./cluster-status.js";
import { ExitError } from "./exit.js";
import type { InitFlags } from "./init-command.js";

/** Makes the directory of one replica. Exit code 1 if the cluster is not new and `--rejoin` is not given. */
export async function runInit(id: ReplicaId, flags: InitFlags): Promise<number> {
  const config = await loadClusterFile(flags.cluster);
  addressOf(config, id);
  if (flags.insecureNetwork !== true) assertProtected(config);
  const rejoins = flags.rejoin === true;
  if (!rejoins) await assertNew(id, config, flags);
  await createReplicaDirectory(id, flags.cluster, flags.data, rejoins);
  const how = rejoins ? "It will learn from the others what it may have forgotten before it votes." : "";
  process.stdout.write(
    `replica ${id} of cluster ${config.clusterId} is made in ${flags.data}. ${how}\n`.replace(/ \n/, "\n"),
  );
  return ExitCode.ok;
}

/**
 * Refuses to make a voter that remembers nothing in a cluster where it may have voted (DESIGN safety rule 1). Those that do
 * not answer can't be asked: what the operator says counts.
 */
async function assertNew(id: ReplicaId, config: ClusterConfig, flags: InitFlags): Promise<void> {
  const others = config.replicas.filter((replica) => replica.id !== id);
  const decided = await decidedOf(others, clusterFileSecurity(flags.cluster, config));
  const instances = Math.max(0, ...decided.map((each) => each ?? 0));
  if (instances === 0) return;
  throw new ExitError(
    ExitCode.failed,
    `the cluster has decided ${instances} instances already, on which replica ${id} may have voted: make it with --rejoin`,
  );
}
