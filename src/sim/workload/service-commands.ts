import { type ByteWriter, latin1, type Prng } from "../../base/index.js";
import { ConfigError } from "../../model/index.js";
import {
  commandNumber,
  DEFINED_COMMAND_HEADER_BYTES,
  DEFINED_REPLY_HEADER_BYTES,
  DefinedReply,
  errorOfReply,
  ValueReader,
  writeValue,
} from "../../service/index.js";
import type { SimulatedService, SimulatedCall, SimulatedOperation } from "../../runtime/index.js";
import type { CommandSource, SimCommand } from "./command.js";

/** Operations that are kept for the service's own check; beyond it the oldest are forgotten. */
const OPERATIONS_MAX = 1_000_000;

/** A command came back with the refusal of something that differs between replicas. */
export class DeterminismFinding extends Error {
  override readonly name = "DeterminismFinding";
}

/** What the module of a user-defined service says its clients do, and what it says about the outcome. */
export class ServiceCommands implements CommandSource {
  readonly #service: SimulatedService;
  readonly #operations: Operation[] = [];
  readonly #reader = new ValueReader();
  #now: () => number = () => 0;
  /** What is wrong with the load that the module describes: no run can say anything. */
  mistake: ConfigError | null = null;

  constructor(service: SimulatedService) {
    this.#service = service;
  }

  begin(now: () => number): void {
    this.#now = now;
  }

  get operations(): readonly SimulatedOperation[] {
    return this.#operations;
  }

  next(prng: Prng, client: string): SimCommand {
    const call = this.#described(() => this.#service.draw(() => prng.float(), client));
    return this.#command(call, client);
  }

  onUnknown(): void {
    // It stays as it was recorded: of unknown outcome.
  }

  finalReads(): SimCommand[] {
    const calls = this.#described(() => this.#service.final());
    return calls.map((call) => this.#command(call, "final"));
  }

  #described<T>(describe: () => T): T {
    try {
      return describe();
    } catch (error) {
      if (error instanceof ConfigError) this.mistake = error;
      throw error;
    }
  }

  /** What the service's own check objects to, null for nothing. */
  verdict(): string | null {
    return this.#service.check(this.#operations);
  }

  #command({ name, args }: SimulatedCall, client: string): SimCommand {
    const operation: Operation = {
      client,
      name,
      args,
      outcome: "unknown",
      result: undefined,
      startMs: this.#now(),
      endMs: Infinity,
    };
    if (this.#operations.length >= OPERATIONS_MAX) this.#operations.shift();
    this.#operations.push(operation);
    return {
      op: null,
      args: [],
      read: this.#service.isRead(name),
      encode: (writer) => encode(writer, name, args),
      decode: (bytes, view, at) => this.#decode(operation, bytes, view, at),
    };
  }

  #decode(operation: Operation, bytes: Uint8Array, view: DataView, at: number): null {
    const end = at + view.getUint32(at, true);
    const kind = view.getUint32(at + 4, true);
    const content = this.#reader.read(bytes, view, at + DEFINED_REPLY_HEADER_BYTES, end);
    operation.endMs = this.#now();
    if (kind === DefinedReply.result) {
      operation.outcome = "ok";
      operation.result = content;
      return null;
    }
    const error = errorOfReply(kind, content);
    operation.outcome = "error";
    operation.result = error.message;
    if (kind === DefinedReply.determinism) {
      const at = this.#service.violatedAt();
      const place = at === null ? "" : ` (at ${at})`;
      throw new DeterminismFinding(`${shownCall(operation.name, operation.args)}: ${error.message}${place}`);
    }
    return null;
  }
}

type Operation = { -readonly [F in keyof SimulatedOperation]: SimulatedOperation[F] };

function encode(writer: ByteWriter, name: string, args: unknown): void {
  const at = writer.skip(DEFINED_COMMAND_HEADER_BYTES);
  writer.view.setUint32(at + 4, commandNumber(name), true);
  if (args !== undefined) writeValue(writer, args);
  writer.view.setUint32(at, writer.length - at, true);
}

/** A call as a report shows it. */
export function shownCall(name: string, args: unknown): string {
  const text = args === undefined ? "" : shown(args);
  return `${name}(${text.length > 500 ? `${text.slice(0, 500)}…` : text})`;
}

function shown(value: unknown): string {
  return (
    JSON.stringify(value, (_key, each: unknown) => {
      if (typeof each === "bigint") return `${each}n`;
      return each instanceof Uint8Array ? latin1(each, 0, Math.min(each.length, 64)) : each;
    }) ?? "undefined"
  );
}
