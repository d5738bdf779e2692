import type { ReplicaReading } from "../../runtime/index.js";

/** A replica that has executed this many instances less than it knows to be decided is not ready. */
export const LAG_INSTANCES_MAX = 1024;

export interface Readiness {
  readonly ready: boolean;
  /** For people: why not, or how it stands. */
  readonly reason: string;
}

/** Whether a replica should be sent clients: it takes part, knows a leader, and has executed nearly all that is decided. */
export function readiness(reading: ReplicaReading | null): Readiness {
  if (reading === null) return { ready: false, reason: "the replica's thread does not answer" };
  const { status, recovered } = reading;
  if (!recovered || status.role === "recovering") return { ready: false, reason: "the replica is recovering" };
  if (status.leader === 0) return { ready: false, reason: "no leader is known" };
  const lag = status.decided - status.executed;
  if (lag > LAG_INSTANCES_MAX) {
    return { ready: false, reason: `${lag} decided instances are not executed, at most ${LAG_INSTANCES_MAX} may be` };
  }
  return { ready: true, reason: `${status.role}, r${status.leader} leads` };
}
