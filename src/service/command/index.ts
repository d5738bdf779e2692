/**
 * The command and reply format shared by the services that take argument lists (kv, counter). Bounded and checked on
 * reading; no allocation per command on the hot path.
 *
 * Command, little-endian: `u32 byte length` (these four bytes included), `u8 operation`, `u8 flags`, `u16 argument count`,
 * then per argument `u32 length` and its bytes. Nothing follows the last argument.
 *
 * Reply: `u32 byte length` (included), `u8 kind`, three zero bytes, then by kind: nil and ok nothing; integer decimal ASCII
 * digits; bulk the bytes; error the message, its first word in capitals; status a word; array `u32 count` and that many
 * replies; pairs `u32 count` and that many times 16 bytes, an 8-byte key and an 8-byte value.
 */
import type { ByteWriter } from "../../base/index.js";

// Constants of this module are part of the compiled code, unless they are exported: see ../byte-store/entry-layout.ts.
const COMMAND_HEADER = 8;
const REPLY_HEADER = 8;
export const COMMAND_HEADER_BYTES = COMMAND_HEADER;
export const REPLY_VALUE_HEADER_BYTES = REPLY_HEADER;

const kinds = { nil: 0, ok: 1, integer: 2, bulk: 3, error: 4, array: 5, pairs: 6, status: 7 } as const;
export const ReplyKind = kinds;
export type ReplyKind = (typeof ReplyKind)[keyof typeof ReplyKind];

export const commandOperation = (view: DataView, at: number): number => view.getUint8(at + 4);
export const commandFlags = (view: DataView, at: number): number => view.getUint8(at + 5);
export const commandArguments = (view: DataView, at: number): number => view.getUint16(at + 6, true);

/** Starts a command and returns its offset; `writeArgument…` follow; `endCommand` completes it. */
export function beginCommand(writer: ByteWriter, operation: number, flags: number, argumentCount: number): number {
  const at = writer.skip(COMMAND_HEADER);
  writer.view.setUint32(at + 4, operation | (flags << 8) | (argumentCount << 16), true);
  return at;
}

export function writeArgument(writer: ByteWriter, bytes: Uint8Array, start: number, end: number): void {
  writer.u32(end - start);
  writer.copy(bytes, start, end);
}

/** Appends arguments `first` to `last - 1`, of which i stands in `bytes[spans[2i], spans[2i + 1])`, in ascending order. */
export function writeArguments(
  writer: ByteWriter,
  bytes: Uint8Array,
  spans: Uint32Array,
  first: number,
  last: number,
): void {
  if (first >= last) return;
  // Room once for all of them, since this is where a gateway spends most of its time.
  writer.reserve(4 * (last - first) + (spans[2 * last - 1] as number) - (spans[2 * first] as number));
  const into = writer.bytes;
  const view = writer.view;
  let at = writer.length;
  for (let i = first; i < last; i++) {
    const start = spans[2 * i] as number;
    const end = spans[2 * i + 1] as number;
    view.setUint32(at, end - start, true);
    at += 4;
    if (end - start <= 48) {
      for (let from = start; from < end; from++) into[at++] = bytes[from] as number;
    } else {
      into.set(bytes.subarray(start, end), at);
      at += end - start;
    }
  }
  writer.length = at;
}

export function writeArgumentLatin1(writer: ByteWriter, text: string): void {
  writer.u32(text.length);
  writer.latin1(text);
}

export function endCommand(writer: ByteWriter, at: number): void {
  writer.view.setUint32(at, writer.length - at, true);
}

/**
 * Finds the arguments of the command at `at`: argument i is at `spans[2i]`, `spans[2i + 1]` (start, end). Returns their
 * count, or -1 when the command's lengths do not add up or there are more than `spans` has room for.
 */
export function readArguments(view: DataView, at: number, spans: Uint32Array): number {
  const length = view.getUint32(at, true);
  if (length < COMMAND_HEADER) return -1;
  const count = commandArguments(view, at);
  if (count * 2 > spans.length) return -1;
  const stop = at + length;
  let offset = at + COMMAND_HEADER;
  for (let i = 0; i < count; i++) {
    if (stop - offset < 4) return -1;
    const bytes = view.getUint32(offset, true);
    offset += 4;
    if (bytes > stop - offset) return -1;
    spans[2 * i] = offset;
    offset += bytes;
    spans[2 * i + 1] = offset;
  }
  return offset === stop ? count : -1;
}

function replyHeader(writer: ByteWriter, length: number, kind: ReplyKind): void {
  const at = writer.skip(REPLY_HEADER);
  writer.view.setUint32(at, length, true);
  writer.view.setUint32(at + 4, kind, true);
}

export function replyNil(writer: ByteWriter): void {
  replyHeader(writer, REPLY_HEADER, kinds.nil);
}

export function replyOk(writer: ByteWriter): void {
  replyHeader(writer, REPLY_HEADER, kinds.ok);
}

/** `digits`: a decimal integer, so that 64-bit values pass without loss. */
export function replyInteger(writer: ByteWriter, digits: string): void {
  replyHeader(writer, REPLY_HEADER + digits.length, kinds.integer);
  writer.latin1(digits);
}

/** A whole number of magnitude below 2^53. */
export function replyNumber(writer: ByteWriter, value: number): void {
  const at = writer.skip(REPLY_HEADER);
  writeDecimal(writer, value);
  writer.view.setUint32(at, writer.length - at, true);
  writer.view.setUint32(at + 4, kinds.integer, true);
}

/** Appends the decimal digits of a whole number of magnitude below 2^53. */
export function writeDecimal(writer: ByteWriter, value: number): void {
  let rest = value;
  if (rest < 0) {
    writer.u8(0x2d);
    rest = -rest;
  }
  if (rest < 10) return writer.u8(0x30 + rest);
  let digits = 2;
  for (let bound = 100; bound <= rest; bound *= 10) digits++;
  let at = writer.skip(digits) + digits;
  const { bytes } = writer;
  // Divisions of doubles until the rest is a 32-bit integer, whose divisions are cheap.
  for (; rest > 0x7fffffff; digits--) {
    const tenth = Math.floor(rest / 10);
    bytes[--at] = 0x30 + (rest - tenth * 10);
    rest = tenth;
  }
  for (; digits > 0; digits--) {
    const tenth = (rest / 10) | 0;
    bytes[--at] = 0x30 + (rest - tenth * 10);
    rest = tenth;
  }
}

export function replyBulk(writer: ByteWriter, bytes: Uint8Array, start: number, end: number): void {
  replyHeader(writer, REPLY_HEADER + end - start, kinds.bulk);
  writer.copy(bytes, start, end);
}

/** A short word that is no value, such as the name of a type. */
export function replyWord(writer: ByteWriter, word: string): void {
  replyHeader(writer, REPLY_HEADER + word.length, kinds.status);
  writer.latin1(word);
}

export function replyBulkLatin1(writer: ByteWriter, text: string): void {
  replyHeader(writer, REPLY_HEADER + text.length, kinds.bulk);
  writer.latin1(text);
}

export function replyError(writer: ByteWriter, message: string): void {
  replyHeader(writer, REPLY_HEADER + message.length, kinds.error);
  writer.latin1(message);
}

/** Starts an array reply and returns its offset; exactly `count` replies follow; `endArray` completes it. */
export function beginArray(writer: ByteWriter, count: number): number {
  const at = writer.skip(REPLY_HEADER + 4);
  writer.view.setUint32(at + 4, kinds.array, true);
  writer.view.setUint32(at + 8, count, true);
  return at;
}

export function endArray(writer: ByteWriter, at: number): void {
  writer.view.setUint32(at, writer.length - at, true);
}

/** Completes an array whose number of replies was not known when it began. */
export function endArrayOf(writer: ByteWriter, at: number, count: number): void {
  writer.view.setUint32(at + REPLY_HEADER, count, true);
  endArray(writer, at);
}

export const replyValueLength = (view: DataView, at: number): number => view.getUint32(at, true);
export const replyValueKind = (view: DataView, at: number): number => view.getUint8(at + 4);
