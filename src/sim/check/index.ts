/**
 * Checkers: they decide whether what a cluster did was right. `checkHistory` looks at what clients saw, `ClusterChecker` at
 * what replicas did. Simulator, real-process tests and `synod check` use the same two.
 */
export { type Access, AccessChecker, type AccessCheckerOptions, describeOverlap, type Overlap } from "./access.js";
export { describeOverfull, type OverfullQueue, QueueBounds, type QueuePeak } from "./queue-bounds.js";
export { createKeyedReference, createReference, hasReference } from "./references.js";
export {
  type Answer,
  type Departure,
  type ExecutedBlock,
  WitnessChecker,
  type WitnessCounts,
  witnessDefaults,
  type WitnessInvariant,
  type WitnessOptions,
  type WitnessViolation,
} from "./witness.js";
export { ClusterChecker, type ClusterCheckerOptions, type Invariant, type InvariantViolation } from "./cluster.js";
export {
  formatHistoryLine,
  HISTORY_LINE_BYTES_MAX,
  HISTORY_OPERATIONS_MAX,
  HistoryBuilder,
  HistoryError,
  type HistoryEvent,
  HistoryRecorder,
  operationEvents,
  type Operation,
  type Outcome,
  parseHistoryLine,
  type Process,
  readHistory,
} from "./history.js";
export {
  BEFORE_PROCESS,
  checkDefaults,
  checkHistory,
  type CheckOptions,
  type Verdict,
  type Violation,
} from "./linearizability.js";
export { MergedChecker, type MergedCounts, type MergedInvariant, type MergedViolation } from "./merged-order.js";
export { checkRegisters, type RegisterFault, type RegisterFaultKind, type RegisterVerdict } from "./register-order.js";
export { DECIDED_HASH_SEED, StreamsChecker, type StreamsViolation, type ThreadLife } from "./streams.js";
export type { ThreadEffect, ThreadExecution } from "./thread-execution.js";
