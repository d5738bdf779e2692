import type { ClusterCase, ClusterFigures, ExperimentRun, Row } from "../frame/index.js";

/** A cluster by what it is compared for. */
export type ClusterVariant = Pick<ClusterCase, "groups" | "execution" | "workload"> &
  Partial<Pick<ClusterCase, "barrier">>;

/** The load: as much as few clients on the same machine bring, over as many keys as are loaded within a second or two. */
const LOAD = { keys: 100_000, clients: 8, window: 64, seconds: 4 } as const;

/** Says in the configuration of a result why there are no rows of whole clusters, where that is so. */
export function clustersMeasured(run: ExperimentRun): string {
  if (!run.modes.has("real")) return "not measured: it needs --mode real";
  if (run.quick) return "not measured: --quick leaves no time for it";
  if (run.cluster === undefined) return "not measured: no cluster can be started from here";
  return `three replicas in memory, ${LOAD.clients} clients with ${LOAD.window} commands outstanding each, all on this machine`;
}

/**
 * Whole clusters under load, replicas and clients on this machine: with two cores and three replicas of several threads they show what a
 * user of such a machine gets, not how threads scale.
 */
export async function clusterRows(run: ExperimentRun, variants: readonly ClusterVariant[]): Promise<Row[]> {
  const rows: Row[] = [];
  if (run.cluster === undefined || run.quick || !run.modes.has("real")) return rows;
  for (const { groups, execution, workload, barrier = "run" } of variants) {
    run.progress(`a whole cluster: ${execution} with ${groups} groups, ${workload}`);
    const figures = await run.cluster({ ...LOAD, groups, execution, workload, barrier });
    rows.push({
      mode: "real",
      system: "whole cluster",
      execution,
      threads: groups,
      barrier,
      workload,
      throughput: figures.throughput,
      p50_ms: figures.latencyMs.p50,
      p99_ms: figures.latencyMs.p99,
      errors: figures.errors,
      cpu_s_per_million: figures.cpuSecondsPerMillion,
      ...optimisticFields(figures),
    });
  }
  run.finished?.(`${rows.length} whole clusters`);
  return rows;
}

function optimisticFields({ optimistic }: ClusterFigures): Row {
  if (optimistic === undefined) return {};
  const { failRate, passedMs, failedMs } = optimistic;
  return { fail_rate: failRate, passed_p50_ms: passedMs, failed_p50_ms: failedMs };
}
