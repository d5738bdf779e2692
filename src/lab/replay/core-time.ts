import { readFileSync } from "node:fs";

/** What this thread has had of the cores since it began, in ns. */
export interface CoreTime {
  /** Had one. */
  readonly ranNs: number;
  /** Was ready to run and had none. */
  readonly waitedNs: number;
}

/**
 * Both are 0 where the system does not tell. Reading them costs some tens of µs: it is for the edges of what is measured.
 */
export function coreTime(): CoreTime {
  try {
    const [ran, waited] = readFileSync("/proc/thread-self/schedstat", "latin1").split(" ");
    return { ranNs: Number(ran ?? 0), waitedNs: Number(waited ?? 0) };
  } catch {
    return { ranNs: 0, waitedNs: 0 };
  }
}
