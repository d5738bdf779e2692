/** Replay: one replica that executes recorded streams with real threads, as fast as it can. `harness.ts` drives the threads. */
export { type Case, type Foreseen, type Measured, ReplayHarness } from "./harness.js";
export type { System, Waiting } from "./task.js";
export { Deliveries } from "./replayer.js";
