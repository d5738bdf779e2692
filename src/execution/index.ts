/** Execution: the models that run decided batches against a service, sequentially, pipelined, in parallel or speculatively. */
export {};
