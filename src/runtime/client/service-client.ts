import type { ByteWriter } from "../../base/index.js";
import { CommandError, ConfigError } from "../../model/index.js";
import {
  DEFINED_COMMAND_HEADER_BYTES,
  DEFINED_REPLY_HEADER_BYTES,
  DefinedReply,
  type DefinedCommand,
  errorOfReply,
  isServiceDefinition,
  type ServiceDefinition,
  ValueReader,
  writeValue,
} from "../../service/index.js";
import type { Calls, DecodeReply } from "./calls.js";

/** The argument list of a client's method: none for a command whose argument has no type. */
type Arguments<A> = unknown extends A
  ? 0 extends 1 & A
    ? [args?: A]
    : []
  : undefined extends A
    ? [args?: A]
    : [args: A];

/**
 * The client of a user-defined service: a method for each command. Every call is linearizable and takes effect exactly once
 * however often it has to be sent. Calls take effect in the order made; with groups, those do that concern the same group
 * (with opt-PSMR, the same keys) and those that wait for each other's answers (see `Calls` for how calls fail otherwise). A call rejects
 * with `ServiceError` if the command threw, with `UndeclaredKeyError`, `DeterminismError` or `ValueError` if it broke a rule of
 * services, and with `CommandError` if the replicas run a version of the service without that command.
 */
export type ServiceClient<A, R> = {
  readonly [N in keyof A & keyof R]: (...args: Arguments<A[N]>) => Promise<R[N]>;
} & {
  /** Fails what is unanswered with `ClosedError` and closes the connections. Idempotent. */
  close(): Promise<void>;
};

export function createServiceClient<A, R>(definition: ServiceDefinition<A, R>, calls: Calls): ServiceClient<A, R> {
  const reader = new ValueReader();
  const client: Record<string, unknown> = { close: () => calls.close() };
  for (const command of definition.commands) client[command.name] = methodOf(command, calls, reader);
  return Object.freeze(client) as ServiceClient<A, R>;
}

/** Throws `ConfigError` unless `defineService` made it. */
export function checkDefinition(service: unknown): asserts service is ServiceDefinition {
  if (!isServiceDefinition(service)) throw new ConfigError("service is what defineService returned");
}

function methodOf(command: DefinedCommand, calls: Calls, reader: ValueReader): (args?: unknown) => unknown {
  const decode: DecodeReply<unknown> = (bytes, view, at, end) => {
    if (end - at < DEFINED_REPLY_HEADER_BYTES) throw malformed(command);
    const kind = view.getUint8(at + 4);
    const content = reader.read(bytes, view, at + DEFINED_REPLY_HEADER_BYTES, end);
    if (kind === DefinedReply.result) return content;
    if (kind > DefinedReply.refused) throw malformed(command);
    if (kind === DefinedReply.refused) throw new CommandError(errorOfReply(kind, content).message);
    throw errorOfReply(kind, content);
  };
  return (args) => calls.submit(command.read, (writer) => writeCommand(writer, command.number, args), decode);
}

function writeCommand(writer: ByteWriter, number: number, args: unknown): void {
  const at = writer.skip(DEFINED_COMMAND_HEADER_BYTES);
  writer.view.setUint32(at + 4, number, true);
  if (args !== undefined) writeValue(writer, args);
  writer.view.setUint32(at, writer.length - at, true);
}

function malformed(command: DefinedCommand): CommandError {
  return new CommandError(`${command.label}: the reply is not one that a user-defined service gives`);
}
