/**
 * opt-psmr: optimistic parallel state machine replication (PROTOCOLS section 4.5). Threads execute in parallel whatever
 * touches no more than their own part of the state if all goes well (OC-G), behind a safety check of the state. What fails
 * it is multicast again to all threads that it may concern (CC-G), and executes at a barrier: never in parallel mode (E5),
 * and once, whichever of its copies come (E6).
 *
 * The threads are those of P-SMR, over a service that can `attempt`. A thread keeps the commands of its stream that have failed
 * among its sessions (`replicated-state/attempts.ts`), and executes their copies at the barriers of g_all, since it alone has
 * these sessions. docs/decisions/0014 says why.
 */
import type { GroupMapping, SharedService } from "../../model/index.js";
import { checkPsmrOptions, type PsmrOptions, type PsmrParts, PsmrThread } from "../psmr/index.js";

/** CC-G and OC-G of a service, over as many groups as there are threads. */
export interface OptPsmrMappings {
  readonly conservative: GroupMapping;
  readonly optimistic: GroupMapping;
}

/**
 * The model of one thread, by number from 0 on, over its own view of the service; parts and options are those of P-SMR. If the
 * service has no `attempt`, nothing ever fails. Throws `ConfigError` for an option out of bounds.
 */
export function createOptPsmrThread(
  parts: PsmrParts,
  thread: number,
  service: SharedService,
  mappings: OptPsmrMappings,
  options: Partial<PsmrOptions> = {},
): PsmrThread {
  return new PsmrThread(parts, thread, service, mappings, checkPsmrOptions(options));
}
