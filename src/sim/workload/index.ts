/** The load of a simulated world: clients that draw commands, and record what they were told as a history. */
export { SimClient, type SimClientInit } from "./client.js";
export type { CommandSource, SimCommand } from "./command.js";
export { btreeBounds } from "./bounded-btree-commands.js";
export { commandSource } from "./command-source.js";
export type { LoadClient } from "./load.js";
export { RespClients, type RespClientsInit } from "./resp-clients.js";
export { DeterminismFinding, ServiceCommands, shownCall } from "./service-commands.js";
export { UnrecordedCommands } from "./unrecorded.js";
export { WideKvCommands } from "./wide-kv-commands.js";
export { connectStreams } from "./streams-client.js";
