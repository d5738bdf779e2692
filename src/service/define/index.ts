/**
 * define: user-defined services. `defineService` turns tables and commands written by the user into plain data;
 * `definedService` makes of it a service like any other: commands and replies as MessagePack on the wire, tables in an
 * ordered store with undo, digest and checkpoints, access only to the keys that a command declares, and nothing left of a
 * command that throws.
 */
export {
  commandNumber,
  DEFINED_COMMAND_HEADER_BYTES,
  DEFINED_REPLY_HEADER_BYTES,
  DefinedReply,
  TABLE_KEY_BYTES_MAX,
  TABLE_VALUE_BYTES_MAX,
} from "./command.js";
export * from "./definition.js";
export { DeterminismError, ServiceError, UndeclaredKeyError, ValueError } from "./errors.js";
export { ValueReader, VALUE_DEPTH_MAX, writeValue } from "./message-pack.js";
export { sharedDefinedService } from "./partitioned.js";
export { definedService, errorOfReply, type UserCode } from "./service.js";
