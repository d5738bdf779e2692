/** The scenario of a seed: which siblings run, with which limits, under which faults and load. A pure function of the seed. */
export { type FaultName, faultNames, parseFaults } from "./fault-name.js";
export {
  drawScenario,
  type GroupsScenario,
  type OrderingKnobs,
  type Scenario,
  type SimArguments,
  type WorkloadScenario,
} from "./scenario.js";
export { readScenario, type ScenarioText, writeScenario } from "./scenario-text.js";
export { type Attempt, shrink, SHRINK_RUNS_MAX, type Shrinking } from "./shrink.js";
export type { Strike } from "./strike.js";
