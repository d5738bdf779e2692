/**
 * The kernel of the deterministic world: a virtual clock, one queue of events, and processes whose pending callbacks die
 * with them. Everything simulated (network, disk, timers) schedules here, so one seed gives one history.
 */
export { SimKernel } from "./kernel.js";
export { SimProcess } from "./process.js";
export { SimWallClock } from "./wall-clock.js";
