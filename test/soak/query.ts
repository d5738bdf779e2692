/** Asks one replica about itself. */
import { withQuery } from "#src/cli/cluster-status.js";
import type { ReplicaStatus } from "#src/runtime/index.js";

export async function queryReplica(clientAddress: string): Promise<ReplicaStatus> {
  return withQuery(
    [clientAddress],
    async (query) => (await query.status(0, { want: "status" }, 3000)) as ReplicaStatus,
  );
}
