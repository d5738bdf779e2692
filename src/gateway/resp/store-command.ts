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
import { KvOperation, SetFlag, VALUE_BYTES_MAX } from "../../service/kv/index.js";
import { type CommandRow, Mapping } from "./command-table.js";
import { wholeNumber } from "./local-command.js";
import { BEGINNING, Plan } from "./option.js";
import type { Request } from "./request.js";

const MINUS = 45;
const ZERO = 48;

/** What a command counts that returns any number of values: as many as a block may (see BlockStream). */
export const MANY_VALUES = 8192;

/** Of the request that `storeObjection` saw last. */
const plan = new Plan();

/**
 * Why a request whose arity fits can't be a command of the store, as the text of the error reply, or null: then
 * `valuesReturned` and `writeStoreCommand` can be called for it.
 */
export function storeObjection(row: CommandRow, request: Request): string | null {
  switch (row.mapping) {
    case Mapping.set:
    case Mapping.planned:
      if (!isPlanned(row, request)) break;
      plan.clear();
      row.plan?.(request, plan);
      if (plan.error !== null) return plan.error;
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

/** SET without options, which is most of them, is copied. */
function isPlanned(row: CommandRow, request: Request): boolean {
  return row.mapping === Mapping.planned || (row.mapping === Mapping.set && request.count > 3);
}

/** How many values the command's reply holds at most. */
export function valuesReturned(row: CommandRow, request: Request): number {
  switch (row.operation) {
    case KvOperation.get:
    case KvOperation.getDelete:
    case KvOperation.getExpire:
    case KvOperation.getRange:
    case KvOperation.incrementFloat:
    case KvOperation.randomKey:
      return 1;
    case KvOperation.getMany:
      return request.count - 1;
    case KvOperation.set: {
      const flags = isPlanned(row, request) ? plan.flags : row.operationFlags;
      return (flags & SetFlag.returnOld) !== 0 ? 1 : 0;
    }
    case KvOperation.keys:
    case KvOperation.scan:
    case KvOperation.range:
      return MANY_VALUES;
    default:
      return 0;
  }
}

/** Bytes of the longest value that the command may leave behind, as far as its arguments tell. */
export function valueBytesWritten(row: CommandRow, request: Request): number {
  const longest = longestArgument(request);
  if (row.operation !== KvOperation.setRange) return longest;
  const offset = wholeNumber(latin1(request.bytes, request.spans[4] as number, request.spans[5] as number));
  return offset > 0 && offset < VALUE_BYTES_MAX ? offset + longest : longest;
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
  const flags = row.operationFlags;
  const mapping = row.mapping;
  if (isPlanned(row, request)) return writePlanned(writer, row, request);
  if (mapping === Mapping.plusOne || mapping === Mapping.minusOne) {
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

/** Appends the request as its plan says. */
function writePlanned(writer: ByteWriter, row: CommandRow, { bytes, spans }: Request): void {
  const at = beginCommand(writer, row.operation, row.operationFlags | plan.flags, plan.count);
  for (let i = 0; i < plan.count; i++) {
    const source = plan.sources[i] as number;
    if (source < 0) writeArgumentLatin1(writer, source === BEGINNING ? "0" : "10");
    else writeArgument(writer, bytes, spans[2 * source] as number, spans[2 * source + 1] as number);
  }
  endCommand(writer, at);
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
