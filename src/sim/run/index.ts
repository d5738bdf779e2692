/** Runs of the simulator: one seed from creation to verdict. */
export { runSeed, type SeedResult } from "./run-seed.js";
