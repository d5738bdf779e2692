/** Simulation: whole clusters on one deterministic scheduler, where a seed replays every fault and interleaving. */
export { type Bug, bugs } from "./bugs/index.js";
export * from "./check/index.js";
export * from "./run/index.js";
export * from "./scenario/index.js";
export { WorldViolation } from "./world/index.js";
