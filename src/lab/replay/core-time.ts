import { readFileSync } from "node:fs";

/**
 * How long this thread has been ready to run without getting a core, in ns since it began; 0 where the system does not tell.
 * Reading it costs some tens of µs: it is for the edges of what is measured.
 */
export function waitedForCoreNs(): number {
  try {
    const [, waited] = readFileSync("/proc/thread-self/schedstat", "latin1").split(" ");
    return Number(waited ?? 0);
  } catch {
    return 0;
  }
}
