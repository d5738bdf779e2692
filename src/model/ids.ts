/** A replica's number, 1..N, as in the cluster configuration. */
export type ReplicaId = number;
/** A consensus instance, 1, 2, 3, …; 0 means "none yet". A double below 2^53. */
export type Instance = number;
/**
 * A ballot (round, proposer) packed in one double so that ballots compare with `<`: `round * 64 + proposer`.
 * 0 is below every ballot. Packed ballots stay below 2^53.
 */
export type Ballot = number;
/** A client session: the log position (see `positionOf`) of the block that opened it; 0 means "no session". */
export type SessionId = number;
/** Where a block stands in a group's log: `instance * 4096 + index of the block in its batch`. */
export type Position = number;

/** Replica ids fit in six bits of a ballot. */
export const REPLICA_ID_MAX = 63;
/** Most blocks in one batch, so that a position names a block. */
export const BATCH_BLOCKS_MAX = 4096;

export function ballotOf(round: number, proposer: ReplicaId): Ballot {
  return round * 64 + proposer;
}

export function ballotRound(ballot: Ballot): number {
  return Math.floor(ballot / 64);
}

export function ballotProposer(ballot: Ballot): ReplicaId {
  return ballot % 64;
}

export function positionOf(instance: Instance, blockIndex: number): Position {
  return instance * BATCH_BLOCKS_MAX + blockIndex;
}

/** The instance that a position is in. */
export function instanceOf(position: Position): Instance {
  return Math.floor(position / BATCH_BLOCKS_MAX);
}

/** Smallest number of replicas of which any two sets intersect: f + 1 of 2f + 1. */
export function majority(replicas: number): number {
  return Math.floor(replicas / 2) + 1;
}
