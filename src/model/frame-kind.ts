/**
 * Frame kinds, the u16 in every frame header. 1..63 belong to the ordering protocol of the group.
 *
 * Client bodies: `block` and `read` carry one block; `reply` one reply block; `redirect` is `u32 leader` (0: unknown);
 * `welcome` is `u32 replica, u32 leader` followed by the cluster's client addresses as UTF-8 JSON (a list of `{id, client}`,
 * with groups of `{id, client, members: [{client}…]}`, the members of the groups in their order, and with opt-PSMR the first
 * has `optimistic: {resubmit, bounds}` besides, as the cluster's configuration has them); `status` and
 * `admin` requests and their answers are UTF-8 JSON (bounded at 64 KiB). The `backup…` kinds copy a checkpoint to a client:
 * see `runtime/replica/backup-serving.ts`.
 */
export const FrameKind = {
  /** Last kind of the ordering protocols. */
  protocolMax: 63,
  /** State transfer between replicas. */
  stateRequest: 64,
  stateChunk: 65,
  stateRefuse: 66,
  stateAcknowledge: 67,
  /** Comparison of states between replicas. */
  stateDigest: 68,
  /** Client to replica. */
  block: 128,
  read: 129,
  status: 130,
  admin: 131,
  backupRequest: 132,
  backupAcknowledge: 133,
  /** Replica to client. */
  reply: 144,
  redirect: 145,
  welcome: 146,
  statusReply: 147,
  adminReply: 148,
  backupOffer: 149,
  backupChunk: 150,
  backupRefuse: 151,
} as const;
