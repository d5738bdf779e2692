import type { ExperimentRun } from "../frame/index.js";
import type { RateRow } from "./bench.js";
import { type Costs, makespan, MEASURED_THREADS, sequentialTime } from "./costs.js";
import { simulate } from "./simulate.js";
import type { Sizes } from "./sizes.js";
import {
  type BarrierKind,
  busiestShare,
  drawWorkload,
  encodeCommands,
  type Mapping,
  planStreams,
  type Skew,
} from "../streams/index.js";

export interface SimulatedCase {
  readonly dependent?: number;
  readonly skew?: Skew;
  /** Threads of P-SMR, and what else varies; each with each. */
  readonly threads: readonly number[];
  readonly barriers?: readonly BarrierKind[];
  readonly mappings?: readonly Mapping[];
}

/** Rows of the virtual time for one workload: P-SMR with each number of threads, and state machine replication with one. */
export function simulatedRows(run: ExperimentRun, sizes: Sizes, costs: Costs, wanted: SimulatedCase): RateRow[] {
  const { dependent = 0, skew = "uniform", threads, barriers = ["run"], mappings = ["range"] } = wanted;
  const { simulatedCommands: commands, keys, windowCommands } = sizes;
  const workload = drawWorkload({ seed: run.seed, commands, keys, dependent: dependent / 100, skew });
  const encoded = encodeCommands(workload.operations, workload.keys, keys);
  const common = { mode: "sim", dependent_percent: dependent, skew } as const;
  const rows: RateRow[] = [
    {
      ...common,
      system: "sequential",
      threads: 1,
      barrier: "run",
      mapping: "range",
      throughput: (commands * 1e9) / sequentialTime(workload.operations, costs),
      commands,
    },
  ];
  for (const count of threads) {
    for (const mapping of mappings) {
      const plan = planStreams(workload, encoded, count, mapping, windowCommands);
      for (const barrier of barriers) {
        const { throughput, busy, barriers: met } = simulate(plan, costs, barrier);
        rows.push({
          ...common,
          system: "psmr",
          threads: count,
          barrier,
          mapping,
          throughput,
          commands,
          makespan_throughput: (commands * 1e9) / makespan(plan, costs, barrier),
          busy,
          barriers: met,
          busiest_share: busiestShare(plan),
          assumed: count > MEASURED_THREADS,
        });
      }
    }
  }
  return rows;
}
