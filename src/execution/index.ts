/** Execution: the models that run decided batches against a service, sequentially, pipelined, in parallel or speculatively. */
export * from "./barrier/index.js";
export * from "./opt-psmr/index.js";
export * from "./pipelined/index.js";
export * from "./psmr/index.js";
export * from "./replicated-state/index.js";
export * from "./sequential/index.js";
