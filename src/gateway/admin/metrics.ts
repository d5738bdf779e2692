import type { ClusterConfig } from "../../model/index.js";
import type { ReplicaReading } from "../../runtime/index.js";
import { Exposition } from "./exposition.js";
import { metricTable as table } from "./metric-table.js";
import { readiness } from "./readiness.js";

/** What does not change while a replica's process runs. */
export interface ProcessFacts {
  readonly version: string;
  readonly replica: number;
  readonly config: ClusterConfig;
}

/** What the process itself measures, without the replica's thread. */
export interface ProcessReading {
  readonly residentBytes: number;
  readonly cpuSeconds: number;
  readonly startedSeconds: number;
}

const ROLES = ["leader", "candidate", "follower", "recovering"] as const;

/** The page of metrics; with a null reading, as from a stuck thread, only what the process knows without it. */
export function metricsPage(facts: ProcessFacts, own: ProcessReading, reading: ReplicaReading | null): string {
  const page = new Exposition();
  const { config } = facts;
  page.metric(table.up).sample(reading === null ? 0 : 1);
  page.metric(table.build).sample(1, {
    version: facts.version,
    cluster: config.clusterId,
    replica: String(facts.replica),
    service: config.service,
    ordering: config.ordering,
    execution: config.execution,
    durability: config.durability,
  });
  page.metric(table.ready).sample(readiness(reading).ready ? 1 : 0);
  if (reading !== null) writeReading(page, reading);
  page.metric(table.resident).sample(own.residentBytes);
  page.metric(table.cpu).sample(own.cpuSeconds);
  page.metric(table.started).sample(own.startedSeconds);
  return page.text;
}

function writeReading(page: Exposition, reading: ReplicaReading): void {
  const { status, resp } = reading;
  page.metric(table.role);
  for (const role of ROLES) page.sample(status.role === role ? 1 : 0, { role });
  page.metric(table.leader).sample(status.leader);
  page.metric(table.ballot).sample(status.ballot);
  page.metric(table.decided).sample(status.decided);
  page.metric(table.executed).sample(status.executed);
  page.metric(table.trimmed).sample(status.trimmed);
  page.metric(table.commands).sample(status.commands);
  page.metric(table.commit).buckets(reading.commit);
  page.metric(table.walSync).buckets(reading.logWrite);
  page.metric(table.elected).sample(reading.elected);
  page.metric(table.steppedDown).sample(reading.steppedDown);
  page.metric(table.rejoined).sample(reading.rejoined);
  page.metric(table.sessions).sample(status.sessions);
  page.metric(table.entries).sample(status.entries);
  page.metric(table.stateBytes).sample(status.stateBytes);
  page.metric(table.logBytes).sample(status.logBytes);
  page.metric(table.differing).sample(status.differing.length);
  page.metric(table.checkpointInstance).sample(status.checkpoint);
  page.metric(table.checkpointBytes).sample(status.checkpointBytes);
  page.metric(table.checkpoints).sample(reading.checkpoints);
  page.metric(table.installed).sample(reading.statesInstalled);
  if (resp !== null) {
    page.metric(table.respConnections).sample(resp.connections);
    page.metric(table.respConnectionsTotal).sample(resp.connectionsTotal);
    page.metric(table.respRefused).sample(resp.connectionsRefused);
    page.metric(table.respCommands).sample(resp.requests);
  }
  page.metric(table.loopDelay).buckets(reading.loopDelay);
  page.metric(table.loopActive).sample(reading.loopActiveMs / 1000);
  page.metric(table.heap).sample(reading.heapBytes);
  page.metric(table.external).sample(reading.externalBytes);
}
