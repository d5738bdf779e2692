import { groupName } from "../../model/index.js";
import type { ReplicaReading, ReplicaStatus } from "../../runtime/index.js";

/** A replica that has executed this many instances less than it knows to be decided is not ready. */
export const LAG_INSTANCES_MAX = 1024;

export interface Readiness {
  readonly ready: boolean;
  /** For people: why not, or how it stands. */
  readonly reason: string;
}

/** What a member lacks, or the replica if it has one group; null if nothing. */
function shortOf({ role, leader, decided, executed }: ReplicaStatus): string | null {
  if (role === "recovering") return "the replica is recovering";
  if (leader === 0) return "no leader is known";
  const lag = decided - executed;
  if (lag <= LAG_INSTANCES_MAX) return null;
  return `${lag} decided instances are not executed, at most ${LAG_INSTANCES_MAX} may be`;
}

/** Whether a replica should be sent clients: it takes part, knows a leader, and has executed nearly all that is decided. */
export function readiness(reading: ReplicaReading | null): Readiness {
  if (reading === null) return { ready: false, reason: "the replica's thread does not answer" };
  const { status, recovered, members = [] } = reading;
  if (!recovered) return { ready: false, reason: "the replica is recovering" };
  for (const [member, own] of (members.length === 0 ? [reading] : members).entries()) {
    const reason = shortOf(own.status);
    if (reason === null) continue;
    return { ready: false, reason: members.length === 0 ? reason : `${groupName(member)}: ${reason}` };
  }
  return { ready: true, reason: `${status.role}, r${status.leader} leads` };
}
