/**
 * none: no replication. One server orders what it is sent and makes it durable, and that is all: the baseline of the papers, behind the
 * interface of the protocols.
 */
import type { ProtocolModule } from "../../model/index.js";
import { type NoneConfig, noneConfig } from "./config.js";
import { Unreplicated } from "./none.js";
import { type NoneRecord, noneCodec } from "./record.js";

export { type NoneConfig, noneConfig, noneDefaults } from "./config.js";
export type { NoneRecord } from "./record.js";

export const none: ProtocolModule<never, never, NoneRecord> = {
  name: "none",
  codec: noneCodec,
  create: (init, config) => new Unreplicated(init, noneConfig(config as Partial<NoneConfig> | undefined)),
};
