/**
 * platform: the ports through which a replica or client meets the world (`port.ts`), and their siblings: real, in memory,
 * simulated. Nothing above this layer touches sockets, files, clocks or timers.
 */
export * from "./authentication/index.js";
export * from "./port.js";
export * from "./scheduler/index.js";
export * from "./sim-kernel/index.js";
export * from "./storage/index.js";
export * from "./transport/index.js";
export * from "./worker/index.js";
