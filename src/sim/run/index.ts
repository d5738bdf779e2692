/** Runs of the simulator: one seed from its creation to the verdict, and many of them on several threads. */
export { type LongRunArguments, type LongRunResult, runLong } from "./long-run.js";
export { replayCommand } from "./replay.js";
export { runSeed, type SeedResult } from "./run-seed.js";
export { runSeeds, type SeedRun } from "./seed-pool.js";
