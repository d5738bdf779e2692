/** The load of a simulated world: clients that draw commands, and record what they were told as a history. */
export { SimClient, type SimClientInit } from "./client.js";
export { type CommandSource, commandSource, decodeReply, encodeCommand, type SimCommand } from "./command.js";
