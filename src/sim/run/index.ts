/** Runs of the simulator: one seed from its creation to the verdict, a written scenario, and many seeds on several threads. */
export { tuneEngine } from "./engine.js";
export { type LongRunArguments, type LongRunResult, runLong } from "./long-run.js";
export { replayCommand } from "./replay.js";
export { type FaultTally, RunTally, type Slowest } from "./run-tally.js";
export { runServiceSeed } from "./run-service-seed.js";
export { runScenario, runSeed, type SeedResult } from "./run-seed.js";
export { runSeeds, type SeedRun } from "./seed-pool.js";
export { shrinkSeed, type Shrunk } from "./shrink-seed.js";
export { shrinkOnThread, type ShrinkRequest } from "./shrink-thread.js";
