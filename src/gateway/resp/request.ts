// Hot file: every byte of every client passes here. Nothing may allocate per request. Watched by bench/resp.mjs.
import { latin1 } from "../../base/index.js";
import type { RespLimits } from "./config.js";

const CR = 13;
const LF = 10;
const SPACE = 32;
const QUOTE = 34;
const DOLLAR = 36;
const APOSTROPHE = 39;
const ASTERISK = 42;
const MINUS = 45;
const ZERO = 48;
const BACKSLASH = 92;

/** What `RequestParser.parse` found. */
export const ParseOutcome = {
  /** The request goes on behind the bytes there are; `progress` tells how to go on. */
  incomplete: 0,
  /** A whole request: `bytes`, `spans`, `count`, `next`. A request of no arguments has count 0 and is to be skipped. */
  request: 1,
  /** The bytes are no request: `error` is the text of the reply, and the connection has to be closed. */
  error: 2,
} as const;
export type ParseOutcome = (typeof ParseOutcome)[keyof typeof ParseOutcome];

/**
 * How far an incomplete request has been read, so that reading goes on from there when more has come. Offsets count from
 * the request's first byte. One lives in each connection.
 */
export class ParseProgress {
  /** Everything before this offset is known. */
  at = 0;
  /** Arguments that begin at or behind `at`; 0 as long as their number is unknown. */
  argumentsLeft = 0;
  /** Length that the request has at least; parsing again before that many bytes are there finds nothing new. */
  bytesNeeded = 0;

  clear(): void {
    this.at = 0;
    this.argumentsLeft = 0;
    this.bytesNeeded = 0;
  }
}

/** The arguments of one request, in place. Valid until the next request is parsed or the input goes away. */
export interface Request {
  readonly bytes: Uint8Array;
  /** Argument i is `bytes[spans[2i], spans[2i + 1])`; argument 0 is the command's name. */
  readonly spans: Uint32Array;
  readonly count: number;
}

/** Argument `index` as a string of one character a byte. For commands that are not hot. */
export function argumentText(request: Request, index: number): string {
  return latin1(request.bytes, request.spans[2 * index] as number, request.spans[2 * index + 1] as number);
}

/** True if argument `index` is `upper`, a word in capital letters, in any case. */
export function argumentIs(request: Request, index: number, upper: string): boolean {
  const start = request.spans[2 * index] as number;
  if ((request.spans[2 * index + 1] as number) - start !== upper.length) return false;
  for (let i = 0; i < upper.length; i++) {
    if (upperCase(request.bytes[start + i] as number) !== upper.charCodeAt(i)) return false;
  }
  return true;
}

/** The byte as a capital letter if it is an ASCII letter. */
export function upperCase(byte: number): number {
  return byte >= 97 && byte <= 122 ? byte - 32 : byte;
}

/**
 * Reads requests as RESP2 arrays of bulk strings, or inline: a line of words, with quotes. It holds nothing between calls
 * but the last request found, so one parser serves all connections of a gateway. As Redis, it does not look at the two
 * bytes behind a bulk string, and words its errors as Redis does.
 */
export class RequestParser implements Request {
  bytes: Uint8Array = new Uint8Array(0);
  readonly spans: Uint32Array;
  count = 0;
  /** Offset in the parsed bytes at which the next request begins. */
  next = 0;
  error = "";
  readonly #limits: RespLimits;
  /** Words of an inline request, with quotes and escapes resolved. */
  #words = new Uint8Array(0);
  /** Value of the last length line: NaN if it is no number, -1 for every negative one, Infinity for one too large. */
  #value = 0;

  constructor(limits: RespLimits) {
    this.#limits = limits;
    this.spans = new Uint32Array(2 * limits.argumentsMax);
  }

  /** Reads the request that begins at `start`. On `incomplete` it fills in `progress`. */
  parse(bytes: Uint8Array, start: number, end: number, progress: ParseProgress): ParseOutcome {
    if (bytes[start] !== ASTERISK) return this.#inline(bytes, start, end, start, progress);
    const at = this.#length(bytes, start + 1, end);
    if (at < 0) {
      if (end - start > this.#limits.inlineBytesMax) return this.#fail("too big mbulk count string");
      return this.#incomplete(progress, 0, 0, end - start + 1);
    }
    const count = this.#value;
    if (!(count <= this.#limits.argumentsMax)) return this.#fail("invalid multibulk length");
    if (count <= 0) {
      this.count = 0;
      this.next = at;
      return ParseOutcome.request;
    }
    return this.#arguments(bytes, start, at, count, end, progress);
  }

  /** Goes on with a request that begins at `start` and was found incomplete, without reading its arguments again. */
  resume(bytes: Uint8Array, start: number, end: number, progress: ParseProgress): ParseOutcome {
    if (progress.argumentsLeft > 0) {
      const at = start + progress.at;
      const outcome = this.#arguments(bytes, start, at, progress.argumentsLeft, end, progress);
      // The spans of the arguments found earlier are gone, so the complete request is read once more as a whole.
      if (outcome !== ParseOutcome.request) return outcome;
    } else if (bytes[start] !== ASTERISK) {
      return this.#inline(bytes, start, end, start + progress.at, progress);
    }
    return this.parse(bytes, start, end, progress);
  }

  #arguments(
    bytes: Uint8Array,
    start: number,
    from: number,
    count: number,
    end: number,
    progress: ParseProgress,
  ): ParseOutcome {
    const spans = this.spans;
    const bulkBytesMax = this.#limits.bulkBytesMax;
    const stopMax = start + this.#limits.requestBytesMax;
    let at = from;
    for (let i = 0; i < count; i++) {
      let body: number;
      const first = at + 1 < end ? (bytes[at + 1] as number) - ZERO : -1;
      if (bytes[at] === DOLLAR && first >= 0 && first <= 9 && at + 3 < end && bytes[at + 2] === CR) {
        // One digit: most keys and values of benchmarks, and most names of commands.
        this.#value = first;
        body = at + 4;
      } else {
        if (at < end && bytes[at] !== DOLLAR) {
          if (lineEnd(bytes, at, end) >= 0) return this.#unexpected(bytes[at] as number);
          body = -1;
        } else {
          body = this.#length(bytes, at + 1, end);
        }
        if (body < 0) {
          if (end - at > this.#limits.inlineBytesMax) return this.#fail("too big bulk count string");
          return this.#incomplete(progress, at - start, count - i, end - start + 1);
        }
      }
      const value = this.#value;
      const stop = body + value + 2;
      if (value > bulkBytesMax) return this.#fail(`invalid bulk length, an argument has at most ${bulkBytesMax} bytes`);
      if (stop > stopMax) {
        return this.#fail(`invalid bulk length, a request has at most ${this.#limits.requestBytesMax} bytes`);
      }
      if (!(value >= 0)) return this.#fail("invalid bulk length");
      if (stop > end) return this.#incomplete(progress, at - start, count - i, stop - start);
      spans[2 * i] = body;
      spans[2 * i + 1] = body + value;
      at = stop;
    }
    this.bytes = bytes;
    this.count = count;
    this.next = at;
    return ParseOutcome.request;
  }

  /** Reads a decimal line into `#value`; the offset behind its two end bytes, or -1 when it is not all there. */
  #length(bytes: Uint8Array, from: number, end: number): number {
    let at = from;
    let value = 0;
    while (at < end) {
      const digit = (bytes[at] as number) - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
      at++;
    }
    const digits = at - from;
    if (at >= end || bytes[at] !== CR || digits === 0 || digits > 15 || (bytes[from] === ZERO && digits > 1)) {
      return this.#oddLength(bytes, from, end);
    }
    this.#value = value;
    return at + 1 < end ? at + 2 : -1;
  }

  /** The lines which `#length` does not understand at sight: negative, very long, malformed or cut off. */
  #oddLength(bytes: Uint8Array, from: number, end: number): number {
    const stop = lineEnd(bytes, from, end);
    if (stop < 0) return -1;
    const negative = bytes[from] === MINUS;
    const first = negative ? from + 1 : from;
    let valid = stop > first && stop - first <= 19 && bytes[first] !== ZERO;
    for (let i = first; i < stop && valid; i++)
      valid = (bytes[i] as number) >= ZERO && (bytes[i] as number) < ZERO + 10;
    // Redis reads lengths as signed 64-bit numbers: what does not fit is no number.
    if (valid && stop - first === 19) {
      valid = latin1(bytes, first, stop) <= (negative ? "9223372036854775808" : "9223372036854775807");
    }
    this.#value = valid ? (negative ? -1 : Infinity) : NaN;
    return stop + 2;
  }

  #inline(bytes: Uint8Array, start: number, end: number, from: number, progress: ParseProgress): ParseOutcome {
    let at = from;
    while (at < end && bytes[at] !== LF) at++;
    if (at - start > this.#limits.inlineBytesMax) return this.#fail("too big inline request");
    if (at >= end) return this.#incomplete(progress, end - start, 0, end - start + 1);
    this.next = at + 1;
    return this.#split(bytes, start, at > start && bytes[at - 1] === CR ? at - 1 : at);
  }

  /** Splits `[start, end)` into words as a shell would: "…" with escapes, '…' without. A NUL ends the line. */
  #split(bytes: Uint8Array, start: number, end: number): ParseOutcome {
    if (this.#words.length < end - start) this.#words = new Uint8Array(this.#limits.inlineBytesMax);
    const words = this.#words;
    const spans = this.spans;
    let count = 0;
    let written = 0;
    let at = start;
    const stop = nulOr(bytes, start, end);
    for (;;) {
      while (at < stop && isSpace(bytes[at] as number)) at++;
      if (at >= stop) break;
      if (count === this.#limits.argumentsMax) return this.#fail("too big inline request");
      spans[2 * count] = written;
      let quote = 0;
      for (;;) {
        if (at >= stop) {
          if (quote !== 0) return this.#fail("unbalanced quotes in request");
          break;
        }
        const byte = bytes[at] as number;
        if (quote === 0) {
          if (endsWord(byte)) break;
          if (byte === QUOTE || byte === APOSTROPHE) quote = byte;
          else words[written++] = byte;
          at++;
        } else if (byte === quote) {
          at++;
          if (at < stop && !isSpace(bytes[at] as number)) return this.#fail("unbalanced quotes in request");
          break;
        } else if (byte !== BACKSLASH || at + 1 >= stop) {
          words[written++] = byte;
          at++;
        } else if (quote === APOSTROPHE) {
          const escaped = bytes[at + 1] === APOSTROPHE;
          words[written++] = escaped ? APOSTROPHE : byte;
          at += escaped ? 2 : 1;
        } else {
          const high = at + 3 < stop && bytes[at + 1] === 120 ? hexDigit(bytes[at + 2] as number) : -1;
          const low = high >= 0 ? hexDigit(bytes[at + 3] as number) : -1;
          words[written++] = low >= 0 ? high * 16 + low : escapedByte(bytes[at + 1] as number);
          at += low >= 0 ? 4 : 2;
        }
      }
      spans[2 * count + 1] = written;
      count++;
    }
    this.bytes = words;
    this.count = count;
    return ParseOutcome.request;
  }

  #incomplete(progress: ParseProgress, at: number, argumentsLeft: number, bytesNeeded: number): ParseOutcome {
    progress.at = at;
    progress.argumentsLeft = argumentsLeft;
    progress.bytesNeeded = bytesNeeded;
    return ParseOutcome.incomplete;
  }

  #unexpected(byte: number): ParseOutcome {
    const shown = byte === CR || byte === LF ? SPACE : byte;
    return this.#fail(`expected '$', got '${String.fromCharCode(shown)}'`);
  }

  #fail(what: string): ParseOutcome {
    this.error = `ERR Protocol error: ${what}`;
    return ParseOutcome.error;
  }
}

/** Offset of the line's CR, or -1 as long as not both of the bytes that end a line are there. */
function lineEnd(bytes: Uint8Array, from: number, end: number): number {
  let at = from;
  while (at < end && bytes[at] !== CR) at++;
  return at + 1 < end ? at : -1;
}

function nulOr(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  while (at < end && bytes[at] !== 0) at++;
  return at;
}

function isSpace(byte: number): boolean {
  return byte === SPACE || (byte >= 9 && byte <= 13);
}

/** Vertical tab and form feed separate words but, as in Redis, do not end one. */
function endsWord(byte: number): boolean {
  return byte === SPACE || byte === LF || byte === CR || byte === 9;
}

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48;
  const upper = upperCase(byte);
  return upper >= 65 && upper <= 70 ? upper - 55 : -1;
}

function escapedByte(byte: number): number {
  if (byte === 110) return LF;
  if (byte === 114) return CR;
  if (byte === 116) return 9;
  if (byte === 98) return 8;
  return byte === 97 ? 7 : byte;
}
