/**
 * multi-paxos: a group ordered by Multi-Paxos with a stable coordinator. Phase 1 is executed once over all instances from
 * the coordinator's decided prefix on; then each batch takes one round of phase 2, many instances at a time. Acceptors vote
 * for an instance whatever they miss below it. Safe with f of 2f + 1 replicas down, messages lost, delayed, duplicated and
 * reordered, and with disks that forget everything that was not synced (DESIGN section 8).
 */
import type { ProtocolModule } from "../../model/index.js";
import type { MultiPaxosConfig } from "./config.js";
import { type MultiPaxosFree, type MultiPaxosHeld, type MultiPaxosRecord, multiPaxosCodec } from "./message.js";
import { MultiPaxos } from "./multi-paxos.js";

export { type MultiPaxosConfig, multiPaxosConfig, multiPaxosDefaults } from "./config.js";
export type { MultiPaxosFree, MultiPaxosHeld, MultiPaxosMessage, MultiPaxosRecord } from "./message.js";

export const multiPaxos: ProtocolModule<MultiPaxosFree, MultiPaxosHeld, MultiPaxosRecord> = {
  name: "multi-paxos",
  codec: multiPaxosCodec,
  create: (init, config) => new MultiPaxos(init, config as Partial<MultiPaxosConfig> | undefined),
};
