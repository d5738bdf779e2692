import type { ExperimentRun, Row } from "../frame/index.js";
import { type Bench, optimismFields, type RateRow } from "./bench.js";
import { type Costs, makespan, MEASURED_THREADS, type Priced, sequentialTime } from "./costs.js";
import { simulate } from "./simulate.js";
import {
  type BarrierKind,
  busiestShare,
  copiesOf,
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
  /** Whether opt-PSMR is beside P-SMR. */
  readonly optimistic?: boolean;
}

/**
 * Rows of the virtual time for one workload: P-SMR with each number of threads, opt-PSMR if wanted, and state machine replication
 * with one. Which commands of opt-PSMR fail comes from the tree of the bench, which is open until then.
 */
export async function simulatedRows(
  run: ExperimentRun,
  bench: Bench,
  costs: Costs,
  wanted: SimulatedCase,
): Promise<RateRow[]> {
  const { dependent = 0, skew = "uniform", threads, barriers = ["run"], mappings = ["range"] } = wanted;
  const { space } = bench;
  const { simulatedCommands: commands, keys, windowCommands } = bench.sizes;
  // Other keys than real mode has had: those would find their leaves split already.
  const workload = drawWorkload({ seed: run.seed + 1, commands, keys, dependent: dependent / 100, skew, space });
  const encoded = encodeCommands(workload.operations, workload.keys, keys, space);
  const common = { mode: "sim", dependent_percent: dependent, skew, waiting: "spin" } as const;
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
  const add = (system: "psmr" | "opt-psmr", priced: Priced, fields: Row = {}): void => {
    const { plan, barrier } = priced;
    const { throughput, busy, barriers: met } = simulate(priced);
    rows.push({
      ...common,
      system,
      threads: plan.threads,
      barrier,
      mapping: plan.mapping,
      throughput,
      commands,
      makespan_throughput: (commands * 1e9) / makespan(priced),
      busy,
      barriers: met,
      busiest_share: busiestShare(plan),
      assumed: plan.threads > MEASURED_THREADS,
      ...fields,
    });
  };
  for (const count of threads) {
    for (const mapping of mappings) {
      const plan = planStreams(workload, encoded, count, mapping, windowCommands);
      for (const barrier of barriers) add("psmr", { plan, costs, barrier });
    }
    if (wanted.optimistic !== true) continue;
    const foreseen = await bench.foresee(workload, count);
    const { plan } = foreseen;
    const fields = optimismFields(foreseen);
    const copies = copiesOf(plan, foreseen.optimism);
    for (const barrier of barriers) add("opt-psmr", { plan, costs, barrier, copies }, fields);
  }
  return rows;
}
