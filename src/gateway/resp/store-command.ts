// Hot file: requests become commands of the store here. Nothing may allocate per command. Watched by bench/resp.mjs.
import { type ByteWriter, latin1 } from "../../base/index.js";
import { COMMAND_BYTES_MAX } from "../../model/index.js";
import {
  beginCommand,
  COMMAND_HEADER_BYTES,
  endCommand,
  writeArgument,
  writeArgumentLatin1,
  writeArguments,
} from "../../service/command/index.js";
import { KvOperation, SetFlag } from "../../service/kv/index.js";
import { type CommandRow, Mapping } from "./command-table.js";
import { argumentIs, type Request } from "./request.js";

const MINUS = 45;
const ZERO = 48;

/**
 * Why a request whose arity fits can't be a command of the store, as the text of the error reply, or null. Whatever is
 * null here, `writeStoreCommand` can write.
 */
export function storeObjection(row: CommandRow, request: Request): string | null {
  switch (row.mapping) {
    case Mapping.set:
      if (request.count > 3 && setFlags(request) < 0) return "ERR syntax error";
      break;
    case Mapping.pairs:
      if (request.count % 2 === 0) return `ERR wrong number of arguments for '${row.name}' command`;
      break;
    case Mapping.negated: {
      const start = request.spans[4] as number;
      const end = request.spans[5] as number;
      if (end - start === 20 && latin1(request.bytes, start, end) === "-9223372036854775808") {
        return "ERR decrement would overflow";
      }
      break;
    }
    default:
      break;
  }
  return commandBytes(request) > COMMAND_BYTES_MAX ? "ERR string exceeds maximum allowed size (1 MiB)" : null;
}

/** How many values the command's reply holds at most. */
export function valuesReturned(row: CommandRow, request: Request): number {
  switch (row.operation) {
    case KvOperation.get:
      return 1;
    case KvOperation.getMany:
      return request.count - 1;
    case KvOperation.set:
      // GETSET, and SET with GET among its options.
      return row.operationFlags === SetFlag.returnOld || (row.mapping === Mapping.set && request.count > 3) ? 1 : 0;
    default:
      return 0;
  }
}

/** Bytes of the longest argument, which is a value that is written, or a key. */
export function longestArgument(request: Request): number {
  const { spans, count } = request;
  let longest = 0;
  for (let i = 1; i < count; i++) longest = Math.max(longest, (spans[2 * i + 1] as number) - (spans[2 * i] as number));
  return longest;
}

/** Appends the request as a command to a block. */
export function writeStoreCommand(writer: ByteWriter, row: CommandRow, request: Request): void {
  const { bytes, spans } = request;
  let count = request.count;
  let added = 0;
  let flags = row.operationFlags;
  const mapping = row.mapping;
  if (mapping === Mapping.set) {
    if (count > 3) flags |= setFlags(request);
    count = 3;
  } else if (mapping === Mapping.plusOne || mapping === Mapping.minusOne) {
    added = 1;
  } else if (mapping === Mapping.negated) {
    count = 2;
    added = 1;
  }
  const at = beginCommand(writer, row.operation, flags, count - 1 + added);
  writeArguments(writer, bytes, spans, 1, count);
  if (added > 0) {
    if (mapping === Mapping.plusOne) writeArgumentLatin1(writer, "1");
    else if (mapping === Mapping.minusOne) writeArgumentLatin1(writer, "-1");
    else writeNegated(writer, bytes, spans[4] as number, spans[5] as number);
  }
  endCommand(writer, at);
}

/** At least the bytes of the command that a request becomes. */
function commandBytes(request: Request): number {
  const { spans, count } = request;
  // Arguments stand one behind the other, each with more bytes around it than the length it gets in the command, except
  // in inline requests, which are short.
  const extent = (spans[2 * count - 1] as number) - (spans[0] as number);
  if (extent + 4 * count + 2 * COMMAND_HEADER_BYTES <= COMMAND_BYTES_MAX) return 0;
  let sum = 2 * COMMAND_HEADER_BYTES;
  for (let i = 1; i < count; i++) sum += 4 + (spans[2 * i + 1] as number) - (spans[2 * i] as number);
  return sum;
}

/** Flags of SET's options, or -1 if there is one we don't have or two that exclude each other. */
function setFlags(request: Request): number {
  let flags = 0;
  for (let i = 3; i < request.count; i++) {
    if (argumentIs(request, i, "NX") && (flags & SetFlag.onlyOld) === 0) flags |= SetFlag.onlyNew;
    else if (argumentIs(request, i, "XX") && (flags & SetFlag.onlyNew) === 0) flags |= SetFlag.onlyOld;
    else if (argumentIs(request, i, "GET")) flags |= SetFlag.returnOld;
    else return -1;
  }
  return flags;
}

/**
 * Writes a decimal number with the opposite sign. Text that is no 64-bit number in Redis's eyes is written as it is, so
 * that the store refuses it; changing its sign might make it one.
 */
function writeNegated(writer: ByteWriter, bytes: Uint8Array, start: number, end: number): void {
  const negative = bytes[start] === MINUS;
  const first = negative ? start + 1 : start;
  let number = end > first && bytes[first] !== ZERO;
  for (let i = first; i < end && number; i++) number = (bytes[i] as number) >= ZERO && (bytes[i] as number) < ZERO + 10;
  if (!number || (end - first === 19 && latin1(bytes, first, end) === "9223372036854775808")) {
    writeArgument(writer, bytes, start, end);
  } else if (negative) {
    writeArgument(writer, bytes, first, end);
  } else {
    writer.u32(end - start + 1);
    writer.u8(MINUS);
    writer.copy(bytes, start, end);
  }
}
