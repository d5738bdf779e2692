/** Frame: what experiments have in common: how they are asked for, what they bring, how a check is made of conditions. */
export { type Check, checkOf, type Clause, figure, rate } from "./check.js";
export {
  type ClusterCase,
  type ClusterFigures,
  type Curve,
  type Experiment,
  type ExperimentRun,
  type Findings,
  type Mode,
  MODES,
  type Plot,
  type Result,
  type Row,
} from "./experiment.js";
export { describeMachine, type Machine } from "./machine.js";
export { runExperiment } from "./run.js";
