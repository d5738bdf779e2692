import { ByteWriter } from "../../base/index.js";
import { COMMAND_BYTES_MAX } from "../../model/index.js";
import { beginCommand, COMMAND_HEADER_BYTES, endCommand, writeArgumentLatin1 } from "../../service/command/index.js";
import { ARGUMENTS_MAX, KvOperation } from "../../service/kv/index.js";
import type { CommandRow } from "./command-table.js";
import { errorLine } from "./encoding.js";
import type { Request } from "./request.js";
import { longestArgument, storeObjection, valuesReturned, writeStoreCommand } from "./store-command.js";

/** Length and bytes of the id in front of the commands. */
const ID_ARGUMENT_BYTES = 12;
/** What the commands of a transaction may take together with what stands around them. */
const QUEUE_BYTES_MAX = COMMAND_BYTES_MAX - COMMAND_HEADER_BYTES - ID_ARGUMENT_BYTES;

/** A command that is executed here when the transaction is. */
export interface QueuedLocal {
  readonly run: NonNullable<CommandRow["run"]>;
  readonly request: Request;
}

/**
 * What a connection has queued between MULTI and EXEC. Commands of the store stand here as they will stand in the one
 * command that executes them all; the others are kept and executed when its reply has come, between the replies it brings.
 */
export class Transaction {
  /** The commands of the store as arguments of the operation `transaction`. */
  readonly #queue = new ByteWriter(256, QUEUE_BYTES_MAX + COMMAND_BYTES_MAX);
  #commands = 0;
  /** Those that are not of the store, by their place. */
  #locals: Map<number, QueuedLocal> | null = null;
  #localBytes = 0;
  /** Commands of both kinds. */
  count = 0;
  /** A command could not be queued: EXEC will refuse. */
  aborted = false;
  /** Values that the commands may return. */
  values = 0;
  /** Bytes of the longest argument. */
  longest = 0;

  /** Bytes held. */
  get bytes(): number {
    return this.#queue.length + this.#localBytes;
  }

  get hasLocals(): boolean {
    return this.#locals !== null;
  }

  localAt(place: number): QueuedLocal | undefined {
    return this.#locals?.get(place);
  }

  /** Queues a request; the text of an error reply when there is no room for it. */
  add(row: CommandRow, request: Request): string | null {
    if (this.count === ARGUMENTS_MAX - 1) return `ERR a transaction has at most ${ARGUMENTS_MAX - 1} commands`;
    const added = row.run === null ? this.#addCommand(row, request) : this.#addLocal(row.run, request);
    if (!added) return `ERR the commands of a transaction exceed ${QUEUE_BYTES_MAX} bytes`;
    this.count++;
    return null;
  }

  #addCommand(row: CommandRow, request: Request): boolean {
    const queue = this.#queue;
    const at = queue.skip(4);
    const objection = storeObjection(row, request);
    if (objection === null) {
      writeStoreCommand(queue, row, request);
    } else {
      // What Redis notices only when it executes a command has to come out as that command's reply.
      const command = beginCommand(queue, KvOperation.fail, 0, 1);
      writeArgumentLatin1(queue, errorLine(objection));
      endCommand(queue, command);
    }
    if (queue.length + this.#localBytes > QUEUE_BYTES_MAX) {
      queue.length = at;
      return false;
    }
    queue.view.setUint32(at, queue.length - at - 4, true);
    this.#commands++;
    this.values += objection === null ? valuesReturned(row, request) : 0;
    this.longest = Math.max(this.longest, longestArgument(request));
    return true;
  }

  #addLocal(run: QueuedLocal["run"], request: Request): boolean {
    const { spans, count } = request;
    const start = spans[0] as number;
    const end = spans[2 * count - 1] as number;
    if (this.bytes + end - start > QUEUE_BYTES_MAX) return false;
    this.#localBytes += end - start;
    const moved = spans.slice(0, 2 * count).map((offset) => offset - start);
    this.#locals ??= new Map();
    this.#locals.set(this.count, { run, request: { bytes: request.bytes.slice(start, end), spans: moved, count } });
    return true;
  }

  /** Appends the command that executes the transaction if the watch, 0 for none, holds. */
  write(writer: ByteWriter, watch: number): void {
    const at = beginCommand(writer, KvOperation.transaction, 0, 1 + this.#commands);
    writeWatchId(writer, watch);
    writer.copy(this.#queue.bytes, 0, this.#queue.length);
    endCommand(writer, at);
  }
}

/** Appends the id of a watch, 0 for none, as an argument. */
export function writeWatchId(writer: ByteWriter, watch: number): void {
  writer.u32(watch === 0 ? 0 : 8);
  if (watch !== 0) writer.f64(watch);
}
