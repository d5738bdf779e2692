/**
 * psmr: parallel state machine replication (PROTOCOLS section 4.4). A replica has a thread for each group; threads execute
 * single-group commands in parallel, and meet at barriers for the others. `PsmrThread` is one thread; the threads of a replica
 * share `PsmrParts` and the service, of which each has a view. `../../model` has the mapping of commands to groups.
 */
import type { GroupMapping, SharedService } from "../../model/index.js";
import { checkPsmrOptions, type PsmrOptions } from "./config.js";
import { PsmrThread } from "./model.js";
import type { PsmrParts } from "./parts.js";

export { checkPsmrOptions, psmrDefaults, type PsmrOptions } from "./config.js";
export { type Cut, type PsmrSink, PsmrThread, type PsmrView, type ThreadMappings, Waiting } from "./model.js";
export { createPsmrParts, type PsmrParts } from "./parts.js";

/** What a thread's model is to those who drive it. */
export type ThreadModel = Pick<PsmrThread, keyof PsmrThread>;

/**
 * The model of one thread, by number from 0 on, over its own view of the service. Throws `ConfigError` for an option out of
 * bounds.
 */
export function createPsmrThread(
  parts: PsmrParts,
  thread: number,
  service: SharedService,
  mapping: GroupMapping,
  options: Partial<PsmrOptions> = {},
): PsmrThread {
  const mappings = { conservative: mapping, optimistic: null };
  return new PsmrThread(parts, thread, service, mappings, checkPsmrOptions(options));
}
