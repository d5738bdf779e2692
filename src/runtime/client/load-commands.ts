// Hot file: every command of a load is written here and every reply checked. No allocation per command.
import { ByteWriter, mix32 } from "../../base/index.js";
import { ConfigError } from "../../model/index.js";
import {
  beginCommand,
  endCommand,
  KvOperation,
  RangeFlag,
  REPLY_VALUE_HEADER_BYTES,
  ReplyKind,
  SetFlag,
  VALUE_BYTES_MAX,
  writeArgumentLatin1,
} from "../../service/index.js";
import { insertedBy, insertedCount, isInserted, type LoadKey } from "./load-keys.js";
import { SCAN_LENGTH_MAX } from "./load-workload.js";

/**
 * What a load must get for its answers: to anything that changes a key, to anything that reads one, while it preloads, and where
 * both are in one block.
 */
export const Expected = { done: 0, found: 1, loaded: 2, either: 3 } as const;
export type Expected = (typeof Expected)[keyof typeof Expected];

/** Whether the value of a key is what a load must get. */
export function takesFound(expected: Expected): boolean {
  return expected === Expected.found || expected === Expected.either;
}

/** The commands of one service that a load consists of. */
export interface LoadCommands {
  /** About how long an update is: what bounds the number of commands in a block. */
  readonly updateBytes: number;
  /** Whether the service has range scans. */
  readonly scans: boolean;
  /** Writes a key whether or not it is there. */
  load(writer: ByteWriter, key: LoadKey): void;
  update(writer: ByteWriter, key: LoadKey): void;
  insert(writer: ByteWriter, key: LoadKey): void;
  delete(writer: ByteWriter, key: LoadKey): void;
  read(writer: ByteWriter, key: LoadKey): void;
  /** The first `pairs` pairs from `key`, a loaded one, on; 1 to `SCAN_LENGTH_MAX` of them. */
  scan(writer: ByteWriter, key: LoadKey, pairs: number): void;
  /** How many of the `count` replies from `at` on are not what a command on a key that is there must get. */
  unexpected(view: DataView, at: number, count: number, expected: Expected): number;
}

export interface LoadCommandsInit {
  /** Number of loaded keys. */
  readonly keys: number;
  readonly valueSize: number;
  /** 32 random bits that tell the keys which this load inserts from those of any other. */
  readonly unique: number;
}

/** Digits of a key: 8 bytes with the letter before them, as long as seven digits do. */
const DIGITS = 7;
/** Hexadecimal digits of an inserted key: of the load, of the client, of the client's insertion. */
const LOAD_DIGITS = 8;
const CLIENT_DIGITS = 4;
const COUNT_DIGITS = 8;

/**
 * Commands on the `kv` service. Loaded keys are 8 bytes up to ten million of them (`k0001234`); an inserted key starts with
 * one of those, so that insertions fall all over the range. Values have `valueSize` bytes.
 */
export function kvLoadCommands({ keys, valueSize, unique }: LoadCommandsInit): LoadCommands {
  if (!Number.isInteger(valueSize) || valueSize < 1 || valueSize > VALUE_BYTES_MAX) {
    throw new ConfigError(`the value size is 1 to ${VALUE_BYTES_MAX} bytes, got ${valueSize}`);
  }
  return new KvLoadCommands(keys, valueSize, unique);
}

/** A command with gaps for digits. */
interface Template {
  readonly bytes: Uint8Array;
  /** The bytes of a short command as words, the last one filled up with zeros; empty for a long one. */
  readonly words: Uint32Array;
  /** Where the digits of the key's number end. */
  readonly numberEnd: number;
}

class KvLoadCommands implements LoadCommands {
  readonly updateBytes: number;
  readonly scans = true;
  readonly #keys: number;
  readonly #unique: number;
  readonly #digits: number;
  readonly #valueDigits: number;
  readonly #set: Template;
  readonly #get: Template;
  readonly #setInserted: Template;
  readonly #insert: Template;
  readonly #getInserted: Template;
  readonly #delete: Template;
  readonly #deleteInserted: Template;
  /** By the number of pairs. */
  readonly #scans: readonly Template[];
  #writes = 0;

  constructor(keys: number, valueSize: number, unique: number) {
    this.#keys = keys;
    this.#unique = unique;
    this.#digits = Math.max(DIGITS, String(keys - 1).length);
    this.#valueDigits = Math.min(8, valueSize);
    const loaded = `k${"0".repeat(this.#digits)}`;
    const inserted = `${loaded}-${"0".repeat(LOAD_DIGITS + CLIENT_DIGITS + COUNT_DIGITS)}`;
    const value = "x".repeat(valueSize);
    const command = (operation: number, flags: number, ...values: string[]): Template =>
      template(this.#digits, operation, flags, values);
    this.#set = command(KvOperation.set, 0, loaded, value);
    this.#setInserted = command(KvOperation.set, 0, inserted, value);
    this.#insert = command(KvOperation.set, SetFlag.onlyNew, inserted, value);
    this.#get = command(KvOperation.get, 0, loaded);
    this.#getInserted = command(KvOperation.get, 0, inserted);
    this.#delete = command(KvOperation.delete, 0, loaded);
    this.#deleteInserted = command(KvOperation.delete, 0, inserted);
    // To the last key, which an empty bound stands for.
    this.#scans = Array.from({ length: SCAN_LENGTH_MAX + 1 }, (_, pairs) =>
      command(KvOperation.range, RangeFlag.limit, loaded, "", String(pairs)),
    );
    this.updateBytes = this.#set.bytes.length;
  }

  load(writer: ByteWriter, key: LoadKey): void {
    this.update(writer, key);
  }

  update(writer: ByteWriter, key: LoadKey): void {
    this.#write(writer, isInserted(key) ? this.#setInserted : this.#set, key);
    this.#fillValue(writer);
  }

  insert(writer: ByteWriter, key: LoadKey): void {
    this.#write(writer, this.#insert, key);
    this.#fillValue(writer);
  }

  delete(writer: ByteWriter, key: LoadKey): void {
    this.#write(writer, isInserted(key) ? this.#deleteInserted : this.#delete, key);
  }

  read(writer: ByteWriter, key: LoadKey): void {
    this.#write(writer, isInserted(key) ? this.#getInserted : this.#get, key);
  }

  scan(writer: ByteWriter, key: LoadKey, pairs: number): void {
    this.#write(writer, this.#scans[pairs] as Template, key);
  }

  unexpected(view: DataView, start: number, count: number, expected: Expected): number {
    let unexpected = 0;
    let at = start;
    for (let i = 0; i < count; i++) {
      const kind = view.getUint32(at + 4, true);
      const done = kind === ReplyKind.ok || isOne(view, at, kind);
      const found = kind === ReplyKind.bulk || (kind === ReplyKind.array && replyItems(view, at) > 0);
      if (!(done && expected !== Expected.found) && !(found && takesFound(expected))) unexpected++;
      at += view.getUint32(at, true);
    }
    return unexpected;
  }

  #write(writer: ByteWriter, { bytes, words, numberEnd }: Template, key: LoadKey): void {
    const at = writer.length;
    if (words.length === 0) writer.copy(bytes, 0, bytes.length);
    else {
      writer.reserve(4 * words.length);
      const view = writer.view;
      for (let i = 0; i < words.length; i++) view.setUint32(at + 4 * i, words[i] as number, true);
      writer.length = at + bytes.length;
    }
    const end = at + numberEnd;
    if (!isInserted(key)) return fillDecimal(writer.view, end, this.#digits, key);
    const client = insertedBy(key);
    const count = insertedCount(key);
    const near = Math.floor((mix32(count ^ mix32(client ^ this.#unique)) / 4_294_967_296) * this.#keys);
    fillDecimal(writer.view, end, this.#digits, near);
    fillHexadecimal(writer.bytes, end + 1 + LOAD_DIGITS, LOAD_DIGITS, this.#unique);
    fillHexadecimal(writer.bytes, end + 1 + LOAD_DIGITS + CLIENT_DIGITS, CLIENT_DIGITS, client);
    fillHexadecimal(writer.bytes, end + 1 + LOAD_DIGITS + CLIENT_DIGITS + COUNT_DIGITS, COUNT_DIGITS, count);
  }

  /** Values differ, so that no update is a repetition. The value is the last thing written. */
  #fillValue(writer: ByteWriter): void {
    fillDecimal(writer.view, writer.length, this.#valueDigits, this.#writes);
    this.#writes = this.#writes === 99_999_999 ? 0 : this.#writes + 1;
  }
}

/** Number of replies in the array reply at `at`. */
const replyItems = (view: DataView, at: number): number => view.getUint32(at + REPLY_VALUE_HEADER_BYTES, true);

/** The integer 1: what a deletion of a key that is there gets. */
function isOne(view: DataView, at: number, kind: number): boolean {
  return (
    kind === ReplyKind.integer &&
    view.getUint32(at, true) === REPLY_VALUE_HEADER_BYTES + 1 &&
    view.getUint8(at + REPLY_VALUE_HEADER_BYTES) === 0x31
  );
}

/** A command is copied by words up to this length, and by the engine beyond. */
const WORDS_BYTES_MAX = 128;

function wordsOf(bytes: Uint8Array): Uint32Array {
  if (bytes.length > WORDS_BYTES_MAX) return new Uint32Array(0);
  const padded = new Uint8Array(4 * Math.ceil(bytes.length / 4));
  padded.set(bytes);
  const view = new DataView(padded.buffer);
  return Uint32Array.from({ length: padded.length / 4 }, (_, i) => view.getUint32(4 * i, true));
}

/** A command whose first argument is a key, in which the digits of its number follow the first letter. */
function template(digits: number, operation: number, flags: number, values: readonly string[]): Template {
  const room = values.reduce((sum, value) => sum + value.length, 64);
  const writer = new ByteWriter(room, room);
  const at = beginCommand(writer, operation, flags, values.length);
  const keyAt = writer.length + 4;
  for (const value of values) writeArgumentLatin1(writer, value);
  endCommand(writer, at);
  const bytes = writer.toBytes();
  return { bytes, words: wordsOf(bytes), numberEnd: keyAt + 1 + digits };
}

/** The four digits of each number below 10,000, as the word that stands for them in memory. */
const FOUR_DIGITS = Uint32Array.from({ length: 10_000 }, (_, value) => {
  const digit = (divisor: number): number => 0x30 + (Math.floor(value / divisor) % 10);
  return (digit(1000) | (digit(100) << 8) | (digit(10) << 16) | (digit(1) << 24)) >>> 0;
});

/** Writes the lowest `count` decimal digits of `value`, below 2^31, so that they end at `end`. */
function fillDecimal(view: DataView, end: number, count: number, value: number): void {
  let rest = value | 0;
  let at = end;
  let left = count;
  for (; left >= 4; left -= 4) {
    const next = (rest / 10_000) | 0;
    at -= 4;
    view.setUint32(at, FOUR_DIGITS[rest - next * 10_000] as number, true);
    rest = next;
  }
  for (; left > 0; left--) {
    const next = (rest / 10) | 0;
    view.setUint8(--at, 0x30 + rest - next * 10);
    rest = next;
  }
}

/** Writes the lowest `count` hexadecimal digits of a 32-bit `value` so that they end at `end`. */
function fillHexadecimal(bytes: Uint8Array, end: number, count: number, value: number): void {
  let rest = value;
  for (let i = 1; i <= count; i++) {
    const digit = rest & 15;
    bytes[end - i] = digit < 10 ? 0x30 + digit : 0x57 + digit;
    rest >>>= 4;
  }
}
