// Hot file: every reply passes here. Nothing may allocate per reply. Watched by bench/resp.mjs.
import { assert, type ByteWriter } from "../../base/index.js";
import { REPLY_VALUE_HEADER_BYTES, ReplyKind, replyValueKind, replyValueLength } from "../../service/command/index.js";

/** Version of the protocol in which a connection is answered. */
export type Protocol = 2 | 3;

const CRLF = 13 | (10 << 8);

function endLine(writer: ByteWriter): void {
  writer.u16(CRLF);
}

/** Appends a whole number in decimal. */
function decimal(writer: ByteWriter, value: number): void {
  if (value >= 0 && value < 10) {
    writer.u8(48 + value);
  } else if (value >= 10 && value < 100) {
    const tens = (value / 10) | 0;
    writer.u16((48 + tens) | ((48 + value - tens * 10) << 8));
  } else {
    writer.latin1(String(value));
  }
}

function header(writer: ByteWriter, mark: number, value: number): void {
  writer.u8(mark);
  decimal(writer, value);
  endLine(writer);
}

/** `+text`. The text has no line ends. */
export function writeSimple(writer: ByteWriter, text: string): void {
  writer.u8(43);
  writer.latin1(text);
  endLine(writer);
}

/** `-text`: the first word is the error's code. */
export function writeError(writer: ByteWriter, text: string): void {
  writer.u8(45);
  writer.latin1(errorLine(text));
  endLine(writer);
}

/** The text of an error as one line. As in Redis, line ends at its edges are cut and others become spaces. */
export function errorLine(text: string): string {
  return text.replace(/^[\r\n]+|[\r\n]+$/g, "").replace(/[\r\n]/g, " ");
}

export function writeInteger(writer: ByteWriter, value: number): void {
  header(writer, 58, value);
}

export function writeBulk(writer: ByteWriter, bytes: Uint8Array, start: number, end: number): void {
  header(writer, 36, end - start);
  writer.copy(bytes, start, end);
  endLine(writer);
}

/** A bulk string of one byte a character. */
export function writeBulkText(writer: ByteWriter, text: string): void {
  header(writer, 36, text.length);
  writer.latin1(text);
  endLine(writer);
}

/** A text meant for people: verbatim in RESP3, a bulk string in RESP2. */
export function writeVerbatim(writer: ByteWriter, protocol: Protocol, text: string): void {
  if (protocol === 2) {
    writeBulkText(writer, text);
    return;
  }
  header(writer, 61, text.length + 4);
  writer.latin1("txt:");
  writer.latin1(text);
  endLine(writer);
}

export function writeNil(writer: ByteWriter, protocol: Protocol): void {
  writer.latin1(protocol === 3 ? "_\r\n" : "$-1\r\n");
}

export function writeNilArray(writer: ByteWriter, protocol: Protocol): void {
  writer.latin1(protocol === 3 ? "_\r\n" : "*-1\r\n");
}

/** `count` replies follow. */
export function writeArrayHeader(writer: ByteWriter, count: number): void {
  header(writer, 42, count);
}

/** `count` pairs of replies follow; in RESP2 they form a flat array. */
export function writeMapHeader(writer: ByteWriter, protocol: Protocol, count: number): void {
  if (protocol === 3) header(writer, 37, count);
  else header(writer, 42, 2 * count);
}

/** `count` different replies follow; in RESP2 they form an array. */
export function writeSetHeader(writer: ByteWriter, protocol: Protocol, count: number): void {
  header(writer, protocol === 3 ? 126 : 42, count);
}

/** Bytes of the longest value in the service's reply at `at`, its header included. */
export function longestValue(view: DataView, at: number): number {
  const length = replyValueLength(view, at);
  if (replyValueKind(view, at) !== ReplyKind.array) return length;
  let longest = 0;
  let item = at + REPLY_VALUE_HEADER_BYTES + 4;
  const end = at + length;
  while (item + REPLY_VALUE_HEADER_BYTES <= end) {
    const bytes = replyValueLength(view, item);
    // A malformed array is `writeServiceReply`'s to complain of.
    if (bytes < REPLY_VALUE_HEADER_BYTES || bytes > end - item) break;
    longest = Math.max(longest, longestValue(view, item));
    item += bytes;
  }
  return longest;
}

/** Arrays of a service nest at most this deep. */
const DEPTH_MAX = 4;

/** Appends the service's reply at `at`, in its own format, as RESP. */
export function writeServiceReply(
  writer: ByteWriter,
  protocol: Protocol,
  bytes: Uint8Array,
  view: DataView,
  at: number,
  depth = 0,
): void {
  const length = replyValueLength(view, at);
  assert(length >= REPLY_VALUE_HEADER_BYTES, "a service's reply is shorter than its header");
  const start = at + REPLY_VALUE_HEADER_BYTES;
  const end = at + length;
  switch (replyValueKind(view, at)) {
    case ReplyKind.ok:
      // "+OK\r\n" as one word and one byte.
      writer.u32(0x0d4b4f2b);
      writer.u8(10);
      return;
    case ReplyKind.nil:
      writeNil(writer, protocol);
      return;
    case ReplyKind.bulk:
      writeBulk(writer, bytes, start, end);
      return;
    case ReplyKind.integer:
      writer.u8(58);
      writer.copy(bytes, start, end);
      endLine(writer);
      return;
    case ReplyKind.error:
      writer.u8(45);
      writer.copy(bytes, start, end);
      endLine(writer);
      return;
    case ReplyKind.status:
      writer.u8(43);
      writer.copy(bytes, start, end);
      endLine(writer);
      return;
    case ReplyKind.array: {
      assert(length >= REPLY_VALUE_HEADER_BYTES + 4 && depth < DEPTH_MAX, "a service's array reply is malformed");
      const count = view.getUint32(start, true);
      writeArrayHeader(writer, count);
      let item = start + 4;
      for (let i = 0; i < count; i++) {
        assert(
          item + REPLY_VALUE_HEADER_BYTES <= end && replyValueLength(view, item) <= end - item,
          "a service's array reply holds fewer replies than it says",
        );
        writeServiceReply(writer, protocol, bytes, view, item, depth + 1);
        item += replyValueLength(view, item);
      }
      return;
    }
    default:
      assert(false, "a service's reply is of an unknown kind");
  }
}
