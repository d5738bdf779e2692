/**
 * kv: a store of byte strings with the semantics of the Redis 7 string commands: what the RESP gateway and the benchmarks
 * run on. Its state is an ordered tree whose nodes are copied on write, so that checkpoints never stop it, with a digest
 * that follows each change.
 */
import type { ServiceModule } from "../../model/index.js";
import { Kv } from "./service.js";

export * from "./command.js";

/** The service for the registry. */
export const kv: ServiceModule = { name: "kv", create: () => new Kv() };
