import type { ClusterCase, ClusterFigures } from "../lab/index.js";
import { btreeLoadBounds, btreeLoadCommands, checkLoad, loadOptions } from "../runtime/index.js";
import { runLoadOn } from "./cluster-load.js";
import { cpuSeconds } from "./process-time.js";
import { ThrowawayCluster } from "./throwaway-cluster.js";

const SERVICE = "btree";

/** The clusters that an experiment asks for, one after the other; what is there when it is stopped goes away with it. */
export class LabClusters {
  #cluster: ThrowawayCluster | null = null;

  /** Starts a cluster of three replicas in memory, puts the load on it, and stops it. Rejects if a replica dies or a client can't connect. */
  async measure(wanted: ClusterCase): Promise<ClusterFigures> {
    const { groups, execution, barrier, workload, keys, clients, window, seconds } = wanted;
    const bounds = execution === "opt-psmr" ? { bounds: btreeLoadBounds(keys, groups) } : {};
    const several = groups > 1 ? { groups, barrier, ...bounds } : {};
    const cluster = new ThrowawayCluster({ service: SERVICE, execution, durability: "memory", ...several }, "error");
    this.#cluster = cluster;
    try {
      const { config, supervisor } = await cluster.start();
      const options = loadOptions({ workload, keys, clients, window, seconds });
      const commands = btreeLoadCommands({ keys, valueSize: 8, unique: 1 });
      checkLoad(options, commands);
      const pids = config.replicas.map(({ id }) => supervisor.replica(id).pid);
      const cpu = { before: NaN, after: NaN };
      const result = await runLoadOn(
        { replicas: config.replicas, service: SERVICE, config, security: {} },
        options,
        commands,
        {
          onPhase(phase) {
            if (phase === "measure") cpu.before = cpuOf(pids);
            else if (phase === "drain") cpu.after = cpuOf(pids);
          },
        },
      );
      const { throughput, latency_ms: latencyMs, errors, commands: answered, optimistic: checked } = result;
      const each = (1e6 * (cpu.after - cpu.before)) / answered;
      const figures = { throughput, latencyMs, errors, cpuSecondsPerMillion: Number.isFinite(each) ? each : null };
      if (checked === null) return figures;
      const { fail_rate: failRate, latency_ms_passed: passed, latency_ms_failed: failed } = checked;
      return { ...figures, optimistic: { failRate, passedMs: passed.p50, failedMs: failed.p50 } };
    } finally {
      await cluster.close();
      this.#cluster = null;
    }
  }

  /** Stops the cluster that is there. */
  async close(): Promise<void> {
    await this.#cluster?.close();
  }

  /** Kills it. */
  abandon(): void {
    this.#cluster?.abandon();
  }
}

/** CPU seconds of all these processes; NaN where the system does not tell. */
function cpuOf(pids: readonly (number | null)[]): number {
  return pids.reduce<number>((sum, pid) => sum + ((pid === null ? null : cpuSeconds(pid)) ?? NaN), 0);
}
