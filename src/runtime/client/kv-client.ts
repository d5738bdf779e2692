import { type ByteWriter, decodeUtf8, encodeUtf8 } from "../../base/index.js";
import { CommandError } from "../../model/index.js";
import {
  ARGUMENTS_MAX,
  beginCommand,
  endCommand,
  KEY_BYTES_MAX,
  KvOperation,
  REPLY_VALUE_HEADER_BYTES,
  ReplyKind,
  replyValueKind,
  replyValueLength,
  SetFlag,
  VALUE_BYTES_MAX,
  writeArgument,
} from "../../service/index.js";
import type { Calls, DecodeReply } from "./calls.js";

/** A key or value: text is its UTF-8 bytes. */
export type KvBytes = string | Uint8Array;

export interface KvSetOptions {
  /** Only if the key does not exist. */
  readonly onlyNew?: boolean;
  /** Only if the key exists. */
  readonly onlyOld?: boolean;
}

/**
 * The `kv` store, every call linearizable (see `Calls` for how calls fail). Calls take effect in the order made; with groups,
 * calls on different keys that do not wait for each other's answers take effect in any order. Keys have at most 64 KiB,
 * values 1 MiB, one command 16384 arguments; what exceeds that rejects with `CommandError` and is not sent. Values come back
 * as text read as UTF-8; the `…Bytes` methods give the bytes.
 */
export class KvClient {
  readonly #calls: Calls;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /** The value, or null if the key does not exist. */
  get(key: KvBytes): Promise<string | null> {
    return this.#call(KvOperation.get, 0, [key], true, textOrNull);
  }

  getBytes(key: KvBytes): Promise<Uint8Array | null> {
    return this.#call(KvOperation.get, 0, [key], true, bytesOrNull);
  }

  /** True if the value was written, which only `onlyNew` and `onlyOld` can prevent. */
  set(key: KvBytes, value: KvBytes, options?: KvSetOptions & { readonly returnOld?: false }): Promise<boolean>;
  /** With `returnOld`: the value before, or null if there was none, whether or not the new one was written. */
  set(key: KvBytes, value: KvBytes, options: KvSetOptions & { readonly returnOld: true }): Promise<string | null>;
  set(
    key: KvBytes,
    value: KvBytes,
    options: KvSetOptions & { readonly returnOld: "bytes" },
  ): Promise<Uint8Array | null>;
  set(
    key: KvBytes,
    value: KvBytes,
    options: KvSetOptions & { readonly returnOld?: boolean | "bytes" } = {},
  ): Promise<boolean | string | Uint8Array | null> {
    const { onlyNew = false, onlyOld = false, returnOld = false } = options;
    if (onlyNew && onlyOld) return Promise.reject(new CommandError("ERR onlyNew and onlyOld exclude each other"));
    const flags =
      (onlyNew ? SetFlag.onlyNew : 0) | (onlyOld ? SetFlag.onlyOld : 0) | (returnOld === false ? 0 : SetFlag.returnOld);
    const decode = returnOld === false ? written : returnOld === "bytes" ? bytesOrNull : textOrNull;
    return this.#call<boolean | string | Uint8Array | null>(KvOperation.set, flags, [key, value], false, decode, true);
  }

  /** How many of the keys existed and are gone. */
  delete(...keys: readonly KvBytes[]): Promise<number> {
    if (keys.length === 0) return Promise.resolve(0);
    return this.#call(KvOperation.delete, 0, keys, false, integer);
  }

  /** How many of the keys exist; a repeated key counts each time. */
  exists(...keys: readonly KvBytes[]): Promise<number> {
    if (keys.length === 0) return Promise.resolve(0);
    return this.#call(KvOperation.exists, 0, keys, true, integer);
  }

  /** Adds to a decimal 64-bit integer (0 if the key does not exist) and resolves with the sum. */
  incrementBy(key: KvBytes, delta: number | bigint = 1): Promise<bigint> {
    if (typeof delta === "number" && !Number.isSafeInteger(delta)) {
      return Promise.reject(new CommandError(`ERR an increment is a whole number, got ${delta}`));
    }
    return this.#call(KvOperation.increment, 0, [key, delta.toString()], false, bigInteger);
  }

  /** The values of all keys at one moment, null for those that do not exist. */
  getMany(keys: readonly KvBytes[]): Promise<(string | null)[]> {
    if (keys.length === 0) return Promise.resolve([]);
    return this.#call(KvOperation.getMany, 0, keys, true, texts);
  }

  getManyBytes(keys: readonly KvBytes[]): Promise<(Uint8Array | null)[]> {
    if (keys.length === 0) return Promise.resolve([]);
    return this.#call(KvOperation.getMany, 0, keys, true, manyBytes);
  }

  /** Writes all pairs at one moment. */
  setMany(entries: Iterable<readonly [KvBytes, KvBytes]>): Promise<void> {
    const parts: KvBytes[] = [];
    for (const [key, value] of entries) parts.push(key, value);
    if (parts.length === 0) return Promise.resolve();
    return this.#call(KvOperation.setMany, 0, parts, false, nothing, true);
  }

  /** Appends to the value, or creates it, and resolves with its new length in bytes. */
  append(key: KvBytes, value: KvBytes): Promise<number> {
    return this.#call(KvOperation.append, 0, [key, value], false, integer, true);
  }

  /** Length of the value in bytes, 0 if the key does not exist. */
  length(key: KvBytes): Promise<number> {
    return this.#call(KvOperation.length, 0, [key], true, integer);
  }

  /** Number of keys. */
  count(): Promise<number> {
    return this.#call(KvOperation.count, 0, [], true, integer);
  }

  /** Fails what is unanswered with `ClosedError` and closes the connections. */
  close(): Promise<void> {
    return this.#calls.close();
  }

  /** With `pairs`, every second argument is a value; otherwise all are keys or numbers. */
  #call<T>(
    operation: KvOperation,
    flags: number,
    parts: readonly KvBytes[],
    read: boolean,
    decode: DecodeReply<T>,
    pairs = false,
  ): Promise<T> {
    const writeCommand = (writer: ByteWriter): void => write(writer, operation, flags, parts, pairs);
    return this.#calls.submit(read, writeCommand, decode);
  }
}

function write(writer: ByteWriter, operation: number, flags: number, parts: readonly KvBytes[], pairs: boolean): void {
  if (parts.length > ARGUMENTS_MAX) {
    throw new CommandError(`ERR a command has at most ${ARGUMENTS_MAX} arguments, got ${parts.length}`);
  }
  const at = beginCommand(writer, operation, flags, parts.length);
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i] as KvBytes;
    const bytes = typeof part === "string" ? encodeUtf8(part) : part;
    const isValue = pairs && i % 2 === 1;
    const bytesMax = isValue ? VALUE_BYTES_MAX : KEY_BYTES_MAX;
    if (bytes.length > bytesMax) {
      throw new CommandError(`ERR a ${isValue ? "value" : "key"} has at most ${bytesMax} bytes, got ${bytes.length}`);
    }
    writeArgument(writer, bytes, 0, bytes.length);
  }
  endCommand(writer, at);
}

// Replies.

/** The reply's kind; throws what the service answered if that is an error. */
function kindOf(bytes: Uint8Array, view: DataView, at: number, end: number): number {
  if (end - at < REPLY_VALUE_HEADER_BYTES) throw malformed();
  const kind = replyValueKind(view, at);
  if (kind === ReplyKind.error) throw new CommandError(decodeUtf8(bytes, at + REPLY_VALUE_HEADER_BYTES, end));
  return kind;
}

function malformed(): CommandError {
  return new CommandError("ERR the reply is not one this command can have");
}

const bytesOrNull: DecodeReply<Uint8Array | null> = (bytes, view, at, end) => {
  const kind = kindOf(bytes, view, at, end);
  if (kind === ReplyKind.nil) return null;
  if (kind !== ReplyKind.bulk) throw malformed();
  return bytes.slice(at + REPLY_VALUE_HEADER_BYTES, end);
};

const textOrNull: DecodeReply<string | null> = (bytes, view, at, end) => {
  const kind = kindOf(bytes, view, at, end);
  if (kind === ReplyKind.nil) return null;
  if (kind !== ReplyKind.bulk) throw malformed();
  return decodeUtf8(bytes, at + REPLY_VALUE_HEADER_BYTES, end);
};

const written: DecodeReply<boolean> = (bytes, view, at, end) => {
  const kind = kindOf(bytes, view, at, end);
  if (kind !== ReplyKind.ok && kind !== ReplyKind.nil) throw malformed();
  return kind === ReplyKind.ok;
};

const nothing: DecodeReply<void> = (bytes, view, at, end) => {
  if (kindOf(bytes, view, at, end) !== ReplyKind.ok) throw malformed();
};

const bigInteger: DecodeReply<bigint> = (bytes, view, at, end) => {
  if (kindOf(bytes, view, at, end) !== ReplyKind.integer) throw malformed();
  const digits = decodeUtf8(bytes, at + REPLY_VALUE_HEADER_BYTES, end);
  if (!/^-?\d{1,20}$/.test(digits)) throw malformed();
  return BigInt(digits);
};

const integer: DecodeReply<number> = (bytes, view, at, end) => Number(bigInteger(bytes, view, at, end));

const texts: DecodeReply<(string | null)[]> = (bytes, view, at, end) => array(bytes, view, at, end, textOrNull);
const manyBytes: DecodeReply<(Uint8Array | null)[]> = (bytes, view, at, end) =>
  array(bytes, view, at, end, bytesOrNull);

function array<T>(bytes: Uint8Array, view: DataView, at: number, end: number, decode: DecodeReply<T>): T[] {
  if (kindOf(bytes, view, at, end) !== ReplyKind.array) throw malformed();
  let next = at + REPLY_VALUE_HEADER_BYTES + 4;
  if (next > end) throw malformed();
  const count = view.getUint32(next - 4, true);
  if (count > ARGUMENTS_MAX) throw malformed();
  const items: T[] = [];
  for (let i = 0; i < count; i++) {
    if (end - next < REPLY_VALUE_HEADER_BYTES) throw malformed();
    const length = replyValueLength(view, next);
    if (length < REPLY_VALUE_HEADER_BYTES || length > end - next) throw malformed();
    items.push(decode(bytes, view, next, next + length));
    next += length;
  }
  if (next !== end) throw malformed();
  return items;
}
