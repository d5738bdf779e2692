/**
 * sim: whole clusters on one deterministic scheduler, where a seed replays every fault and interleaving. The replicas are the
 * product's own: the same cores, host, log and checkpoint code, over a simulated network and simulated disks.
 *
 * A seed draws a scenario (`scenario/`): siblings, limits small enough to be met, a load, and a subset of the faults. A world
 * (`world/`) runs it: first under faults (`faults/`), with clients (`workload/`) that record what they are told; then the
 * faults end, and within a bound of virtual time every client must finish, every replica catch up, and a final read of
 * every key be answered. Checkers (`check/`) judge the history and compare the replicas while they run; witnesses at the edge
 * of each process know what was durable when it was claimed. Planted bugs (`bugs/`) show that all of this can fail.
 * `run/` runs one seed or many.
 */
export { type Bug, bugs } from "./bugs/index.js";
export * from "./check/index.js";
export * from "./run/index.js";
export * from "./scenario/index.js";
export { Nemesis } from "./faults/index.js";
export {
  type CrashPoint,
  type CrashPointCount,
  crashPointOf,
  crashPoints,
  PassingService,
  SimWorld,
  touchesOf,
  WatchedView,
  WorldViolation,
} from "./world/index.js";
