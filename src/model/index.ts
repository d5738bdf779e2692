/**
 * model: the vocabulary of state machine replication as types: ids, blocks and batches, events and effects, and the four
 * interfaces whose siblings make the system (Protocol, ExecutionModel, Service, ClientModel). Pure; imports base only.
 */
export * from "./batch.js";
export * from "./block.js";
export * from "./client.js";
export * from "./config.js";
export * from "./errors.js";
export * from "./execution.js";
export * from "./frame-kind.js";
export * from "./group-mapping.js";
export * from "./ids.js";
export * from "./protocol.js";
export * from "./service.js";
export * from "./trace.js";
