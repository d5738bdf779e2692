/**
 * Lab: the experiments of the papers, each with its expected shape, its plot and its verdict. `frame/` is what experiments
 * have in common, `report/` draws them; `streams/` makes recorded streams and `replay/` executes them with real threads, `study/`
 * compares what comes of that, and `delivery/` is agreement in virtual time; `psmr/`, `opt-psmr/` and `multi-ring/` are the
 * experiments.
 */
import type { Experiment } from "./frame/index.js";
import { multiRingMerge } from "./multi-ring/index.js";
import { optPsmrExperiments } from "./opt-psmr/index.js";
import { psmrExperiments } from "./psmr/index.js";

export {
  type Check,
  type ClusterCase,
  type ClusterFigures,
  type Experiment,
  type ExperimentRun,
  type Findings,
  type Mode,
  MODES,
  type Result,
  type Row,
  runExperiment,
} from "./frame/index.js";
export { renderReport } from "./report/index.js";

/** All experiments, by name. */
export const experiments: readonly Experiment[] = [...psmrExperiments, ...optPsmrExperiments, multiRingMerge];
