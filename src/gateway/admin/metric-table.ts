/**
 * Every metric that a replica serves, once. `docs/metrics.md` has a row for each, held by a test, and `metrics.ts` writes
 * them. Names follow Prometheus' custom: base units, `_total` for what only grows.
 */
export interface MetricRow {
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
}

const row = (name: string, type: MetricRow["type"], help: string): MetricRow => ({ name, type, help });

export const metricTable = Object.freeze({
  up: row("synod_replica_answers", "gauge", "1 if the replica's thread answered this scrape in time, else 0"),
  build: row("synod_build_info", "gauge", "Always 1; the labels say what runs"),
  ready: row("synod_ready", "gauge", "1 if /readyz says ready, else 0"),
  role: row("synod_role", "gauge", "1 for the replica's present role, 0 for the others"),
  leader: row("synod_leader", "gauge", "Replica that this one follows; 0 if it knows of none"),
  ballot: row("synod_ballot", "gauge", "Ballot that the replica has promised"),
  decided: row("synod_decided_instance", "gauge", "Instance through which everything is known to be decided"),
  executed: row("synod_executed_instance", "gauge", "Instance through which everything is executed"),
  trimmed: row("synod_trimmed_instance", "gauge", "Instance through which the log is trimmed"),
  commands: row("synod_executed_total", "counter", "Commands executed since the process began, reads included"),
  optimisticPassed: row("synod_optimistic_passed_total", "counter", "Commands that passed their safety check"),
  optimisticFailed: row("synod_optimistic_failed_total", "counter", "Commands that failed their safety check"),
  conservative: row("synod_conservative_total", "counter", "Commands that had failed and were executed at a barrier"),
  commit: row(
    "synod_commit_latency_seconds",
    "histogram",
    "From the proposal of a batch to its decision, at the coordinator that proposed it",
  ),
  walSync: row("synod_wal_sync_seconds", "histogram", "From the start of a write to the log until it was durable"),
  elected: row("synod_elections_won_total", "counter", "Times this replica became coordinator"),
  steppedDown: row("synod_stepdowns_total", "counter", "Times this replica ceased to be coordinator"),
  rejoined: row("synod_rejoins_total", "counter", "Times this replica rejoined as a voter after it may have forgotten"),
  sessions: row("synod_sessions", "gauge", "Client sessions in the replicated state"),
  entries: row("synod_entries", "gauge", "Entries of the service, such as keys"),
  stateBytes: row("synod_state_bytes", "gauge", "Estimated bytes of the service's state in memory"),
  logBytes: row("synod_log_bytes", "gauge", "Bytes of log above the last trim, in memory or on disk alone"),
  logMemoryBytes: row("synod_log_memory_bytes", "gauge", "Bytes of memory that the log takes"),
  differing: row(
    "synod_replicas_differing",
    "gauge",
    "Other replicas found to have another state than a majority, or than this one where there is none",
  ),
  checkpointInstance: row("synod_checkpoint_instance", "gauge", "Instance that the newest durable checkpoint covers"),
  checkpointBytes: row("synod_checkpoint_bytes", "gauge", "Bytes of the newest durable checkpoint; 0 if there is none"),
  checkpoints: row("synod_checkpoints_total", "counter", "Checkpoints of its own state that became durable"),
  installed: row("synod_states_installed_total", "counter", "Checkpoints of peers that were fetched and installed"),
  respConnections: row("synod_resp_connections", "gauge", "Open connections of Redis-protocol clients"),
  respConnectionsTotal: row("synod_resp_connections_total", "counter", "Redis-protocol connections accepted"),
  respRefused: row(
    "synod_resp_connections_refused_total",
    "counter",
    "Redis-protocol connections refused, one too many",
  ),
  respCommands: row("synod_resp_commands_total", "counter", "Requests of Redis-protocol clients taken by this replica"),
  checkpointWork: row(
    "synod_checkpoint_work_seconds",
    "histogram",
    "Processor time of one piece of work for a checkpoint on the replica's thread",
  ),
  checkpointWorkMax: row("synod_checkpoint_work_max_seconds", "gauge", "The longest of these pieces so far"),
  loopDelay: row(
    "synod_event_loop_delay_seconds",
    "histogram",
    "By how much a timer of the replica's thread was late, ten times a second",
  ),
  loopActive: row("synod_event_loop_active_seconds_total", "counter", "Time the replica's thread was not waiting"),
  heap: row("synod_heap_bytes", "gauge", "JavaScript heap in use by the replica's thread"),
  external: row("synod_external_bytes", "gauge", "Memory outside of that heap which belongs to its objects"),
  resident: row("process_resident_memory_bytes", "gauge", "Resident memory of the process"),
  cpu: row("process_cpu_seconds_total", "counter", "User and system CPU time of the process"),
  started: row("process_start_time_seconds", "gauge", "Start of the process, in seconds since the epoch"),
} satisfies Record<string, MetricRow>);
