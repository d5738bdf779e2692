/**
 * Streams: commands drawn from a seed, mapped to groups by the service's own C-G, cut into batches and put at positions of the
 * merge: everything that is decided before threads begin to execute.
 */
export { filledTree } from "./fill.js";
export {
  type Copies,
  copiesOf,
  failRate,
  foreseeFailures,
  NO_COPIES,
  type Optimism,
  walkOptimism,
} from "./optimism.js";
export {
  type BarrierKind,
  busiestShare,
  commandsBetween,
  countedWindows,
  DROPPED_SHARE,
  EVERYBODY,
  type Mapped,
  type Plan,
  planStreams,
} from "./plan.js";
export { NO_WINDOW, type Recording, recordStreams, type Streams, TABLE_WORDS } from "./recording.js";
export {
  drawWorkload,
  type Encoded,
  encodeCommands,
  isDependent,
  type KeySpace,
  keyWord,
  type Mapping,
  serviceOptions,
  type Skew,
  takenBack,
  walkKeys,
  type Workload,
  type WorkloadOptions,
} from "./workload.js";
