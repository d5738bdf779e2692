import type { ClusterConfig } from "../model/index.js";
import { SystemScheduler } from "../platform/index.js";
import {
  type ClientAddress,
  type ClientSecurity,
  connectCluster,
  type LoadCommands,
  type LoadInit,
  type LoadOptions,
  type LoadResult,
  orderedReads,
  runLoad,
} from "../runtime/index.js";

/** A cluster that load can be put on, whoever started it. */
export interface LoadTarget {
  readonly replicas: readonly ClientAddress[];
  readonly service: string;
  /** Null when only an address is known. */
  readonly config: ClusterConfig | null;
  readonly security: ClientSecurity;
}

/** Runs a load through native clients, as the cluster's groups and reads ask for. Rejects as `runLoad` does. */
export async function runLoadOn(
  target: LoadTarget,
  options: LoadOptions,
  commands: LoadCommands,
  handlers: Pick<LoadInit, "onPhase" | "onProgress"> = {},
): Promise<LoadResult> {
  const scheduler = new SystemScheduler();
  const addresses = target.replicas.map((replica) => replica.client);
  // The sessions of one process share its connections, as those of any program would.
  const connection = await connectCluster({ ...target.security, addresses, scheduler });
  const mapping = connection.mappingOf(target.service);
  const ordered = target.config?.reads === "ordered";
  return runLoad({
    scheduler,
    options,
    commands,
    mapping,
    optimistic: connection.optimistic !== null,
    readsOrdered: mapping !== undefined || ordered,
    open(clientHandlers) {
      if (mapping !== undefined) return connection.openStreams({ handlersOf: () => clientHandlers });
      const client = connection.openClient({ handlers: clientHandlers });
      return ordered ? orderedReads(client) : client;
    },
    ...handlers,
  });
}
