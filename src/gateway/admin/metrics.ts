import { type ClusterConfig, groupName } from "../../model/index.js";
import type { MemberReading, ReplicaReading } from "../../runtime/index.js";
import { type Buckets, Exposition, type Labels } from "./exposition.js";
import { type MetricRow, metricTable as table } from "./metric-table.js";
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
  const { status, resp, members = [] } = reading;
  // With one group no label tells it, as ever.
  const rows: readonly Row[] =
    members.length === 0
      ? [{ labels: {}, reading }]
      : members.map((own, member) => ({ labels: { group: groupName(member) }, reading: own }));
  const each = (row: MetricRow, value: (own: MemberReading) => number | undefined): void => {
    page.metric(row);
    for (const { labels, reading: own } of rows) {
      const sample = value(own);
      if (sample !== undefined) page.sample(sample, labels);
    }
  };
  const eachBuckets = (row: MetricRow, value: (own: MemberReading) => Buckets): void => {
    page.metric(row);
    for (const { labels, reading: own } of rows) page.buckets(value(own), labels);
  };
  page.metric(table.role);
  for (const { labels, reading: own } of rows) {
    for (const role of ROLES) page.sample(own.status.role === role ? 1 : 0, { ...labels, role });
  }
  each(table.leader, (own) => own.status.leader);
  each(table.ballot, (own) => own.status.ballot);
  each(table.decided, (own) => own.status.decided);
  each(table.executed, (own) => own.status.executed);
  each(table.trimmed, (own) => own.status.trimmed);
  each(table.commands, (own) => own.status.commands);
  if (rows.some(({ reading: own }) => own.status.optimistic !== undefined)) {
    each(table.optimisticPassed, (own) => own.status.optimistic?.passed);
    each(table.optimisticFailed, (own) => own.status.optimistic?.failed);
    each(table.conservative, (own) => own.status.optimistic?.conservative);
  }
  eachBuckets(table.commit, (own) => own.commit);
  eachBuckets(table.walSync, (own) => own.logWrite);
  each(table.elected, (own) => own.elected);
  each(table.steppedDown, (own) => own.steppedDown);
  each(table.rejoined, (own) => own.rejoined);
  each(table.sessions, (own) => own.status.sessions);
  // Of several groups the first thread tells the state and writes the checkpoints, which are of all.
  const keeper = members[1] ?? reading;
  page.metric(table.entries).sample(keeper.status.entries);
  page.metric(table.stateBytes).sample(keeper.status.stateBytes);
  each(table.logBytes, (own) => own.status.logBytes);
  each(table.logMemoryBytes, (own) => own.status.logMemoryBytes);
  page.metric(table.differing).sample(status.differing.length);
  page.metric(table.checkpointInstance).sample(keeper.status.checkpoint);
  page.metric(table.checkpointBytes).sample(keeper.status.checkpointBytes);
  page.metric(table.checkpoints).sample(keeper.checkpoints);
  page.metric(table.installed).sample(keeper.statesInstalled);
  if (resp !== null) {
    page.metric(table.respConnections).sample(resp.connections);
    page.metric(table.respConnectionsTotal).sample(resp.connectionsTotal);
    page.metric(table.respRefused).sample(resp.connectionsRefused);
    page.metric(table.respCommands).sample(resp.requests);
  }
  eachBuckets(table.checkpointWork, (own) => own.checkpointWork);
  each(table.checkpointWorkMax, (own) => own.checkpointWorkMaxMs / 1000);
  eachBuckets(table.loopDelay, (own) => own.loopDelay);
  each(table.loopActive, (own) => own.loopActiveMs / 1000);
  each(table.heap, (own) => own.heapBytes);
  each(table.external, (own) => own.externalBytes);
}

/** A member of the replica, or the only one, with the labels of its samples. */
interface Row {
  readonly labels: Labels;
  readonly reading: MemberReading;
}
