// Hot file: every command of a load is written here. No allocation per command.
import { ByteWriter, encodeUtf8 } from "../../base/index.js";
import { ConfigError } from "../../model/index.js";
import {
  beginCommand,
  endCommand,
  KvOperation,
  ReplyKind,
  replyValueKind,
  VALUE_BYTES_MAX,
  writeArgument,
} from "../../service/index.js";

/** The commands of one service that a load consists of. Keys are numbers from 0. */
export interface LoadCommands {
  writeUpdate(writer: ByteWriter, key: number): void;
  writeRead(writer: ByteWriter, key: number): void;
  /** Whether the reply at `at` is what a command on an existing key must get. */
  isExpected(view: DataView, at: number, read: boolean): boolean;
}

/** Digits of a key: 8 bytes with the letter before them, as long as seven digits do. */
const DIGITS = 7;

/** `set` and `get` on the kv service. Keys are 8 bytes up to ten million of them; values have `valueSize` bytes. */
export function kvLoadCommands(keys: number, valueSize: number): LoadCommands {
  if (!Number.isInteger(valueSize) || valueSize < 1 || valueSize > VALUE_BYTES_MAX) {
    throw new ConfigError(`the value size is 1 to ${VALUE_BYTES_MAX} bytes, got ${valueSize}`);
  }
  return new KvLoadCommands(Math.max(DIGITS, String(keys - 1).length), valueSize);
}

/** Every command is a copy of a template whose digits are then filled in. */
class KvLoadCommands implements LoadCommands {
  readonly #digits: number;
  readonly #update: Uint8Array;
  readonly #read: Uint8Array;
  readonly #updateDigitsEnd: number;
  readonly #readDigitsEnd: number;
  readonly #valueDigits: number;
  #updates = 0;

  constructor(digits: number, valueSize: number) {
    this.#digits = digits;
    const key = encodeUtf8(`k${"0".repeat(digits)}`);
    const value = new Uint8Array(valueSize).fill(0x78);
    const read = new ByteWriter(64);
    const readAt = beginCommand(read, KvOperation.get, 0, 1);
    writeArgument(read, key, 0, key.length);
    this.#readDigitsEnd = read.length;
    endCommand(read, readAt);
    this.#read = read.toBytes();
    const update = new ByteWriter(valueSize + 64);
    const updateAt = beginCommand(update, KvOperation.set, 0, 2);
    writeArgument(update, key, 0, key.length);
    this.#updateDigitsEnd = update.length;
    writeArgument(update, value, 0, value.length);
    endCommand(update, updateAt);
    this.#update = update.toBytes();
    this.#valueDigits = Math.min(8, valueSize);
  }

  writeUpdate(writer: ByteWriter, key: number): void {
    const at = writer.length;
    writer.copy(this.#update, 0, this.#update.length);
    fillDigits(writer.bytes, at + this.#updateDigitsEnd, this.#digits, key);
    // Values differ, so that no update is a repetition.
    fillDigits(writer.bytes, writer.length, this.#valueDigits, this.#updates++);
  }

  writeRead(writer: ByteWriter, key: number): void {
    const at = writer.length;
    writer.copy(this.#read, 0, this.#read.length);
    fillDigits(writer.bytes, at + this.#readDigitsEnd, this.#digits, key);
  }

  isExpected(view: DataView, at: number, read: boolean): boolean {
    return replyValueKind(view, at) === (read ? ReplyKind.bulk : ReplyKind.ok);
  }
}

/** Writes the lowest `count` decimal digits of `value` so that they end at `end`. */
function fillDigits(bytes: Uint8Array, end: number, count: number, value: number): void {
  let rest = value;
  for (let i = 1; i <= count; i++) {
    const next = Math.floor(rest / 10);
    bytes[end - i] = 0x30 + rest - next * 10;
    rest = next;
  }
}
