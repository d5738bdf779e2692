import type { TraceCode } from "../../model/index.js";

/** A trace event of an instance that a thread executed. */
export interface ThreadEffect {
  readonly code: TraceCode;
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

/** What a thread did with an instance. */
export interface ThreadExecution {
  /** What it did to sessions. */
  readonly effects: readonly ThreadEffect[];
  /** The reply blocks to what it executed; those that repeat what was answered before are left out. */
  readonly replies: readonly Uint8Array[];
}
