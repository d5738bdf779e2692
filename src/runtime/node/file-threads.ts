import { type ClusterConfig, membersOf } from "../../model/index.js";

/**
 * Threads in which Node reads, writes and syncs files: all threads of a process share them, and how many there are is said by the
 * environment before the process begins. With fewer than members of a replica, the sync of one member's log waits for another's.
 */
export const FILE_THREADS_VARIABLE = "UV_THREADPOOL_SIZE";
/** What Node has by default. */
const FILE_THREADS_DEFAULT = 4;
/** A checkpoint and the names of hosts want one now and then. */
const FILE_THREADS_BESIDES = 2;

/** How many a replica of this cluster should have. */
export function fileThreadsWanted(config: Pick<ClusterConfig, "groups">): number {
  return Math.max(FILE_THREADS_DEFAULT, membersOf(config) + FILE_THREADS_BESIDES);
}

/** With fewer a sync of one member's log waits for another's, or for a checkpoint that is written. */
export function fileThreadsNeeded(config: Pick<ClusterConfig, "groups">): number {
  return membersOf(config) + 1;
}

/** How many a process with this environment has. */
export function fileThreadsOf(environment: Readonly<Record<string, string | undefined>>): number {
  const text = environment[FILE_THREADS_VARIABLE];
  if (text === undefined) return FILE_THREADS_DEFAULT;
  const value = Number.parseInt(text, 10);
  // As libuv reads it: what is no number is one thread.
  return Number.isFinite(value) && value > 0 ? value : 1;
}
