import type { FaultName } from "./fault-name.js";

/** One stroke of the nemesis. */
export interface Strike {
  /** Virtual time in ms. */
  readonly atMs: number;
  readonly fault: FaultName;
  /** Seed of everything that is drawn for it: whom it hits, and for how long. A u32. */
  readonly draw: number;
}
