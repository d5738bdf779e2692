// Hot file: arguments, values and results of user-defined services pass here. Watched by bench/define.mjs.
import { type ByteWriter, decodeUtf8, encodeUtf8, latin1 } from "../../base/index.js";
import { ValueError } from "./errors.js";

/**
 * Values as MessagePack (https://msgpack.org), so that what is read is what was written, of the same type:
 *
 * | value | format |
 * |---|---|
 * | null, booleans, strings, arrays, `Uint8Array` | the format's own |
 * | number | the shortest integer format up to 32 bits, otherwise float 64, also for -0 |
 * | bigint | int 64 or uint 64, whatever its size |
 * | object without a class | map with text keys in their order; properties that are `undefined` are left out |
 * | undefined | extension type 0 of one zero byte |
 *
 * The same value always gives the same bytes, so bytes can be compared and hashed. Everything else (functions, symbols,
 * instances of classes, among them Date, Map and Set) has no bytes: `ValueError`. Text is UTF-8; lone surrogates become
 * U+FFFD. Other writers' narrower floats and wider integers are understood; an integer of 64 bits is read as a bigint.
 */

/** Arrays and objects inside each other, at most. It also bounds the stack that a hostile value takes. */
export const VALUE_DEPTH_MAX = 64;

/** Longest text that is written byte by byte; beyond it the encoder of the engine is faster. */
const LOOPED_CHARACTERS_MAX = 64;

/** Appends a value. Throws `ValueError` for one that has no bytes; what was appended of it is then to be cut off. */
export function writeValue(writer: ByteWriter, value: unknown, depth = 0): void {
  switch (typeof value) {
    case "number":
      writeNumber(writer, value);
      return;
    case "string":
      writeText(writer, value);
      return;
    case "boolean":
      writer.u8(value ? 0xc3 : 0xc2);
      return;
    case "undefined":
      writer.u8(0xd4);
      writer.u16(0);
      return;
    case "bigint":
      writeBigint(writer, value);
      return;
    case "object":
      writeObject(writer, value, depth);
      return;
    default:
      throw new ValueError(`a ${typeof value} can't be stored or sent`);
  }
}

function writeNumber(writer: ByteWriter, value: number): void {
  if (value >= -0x8000_0000 && value <= 0xffff_ffff && Math.floor(value) === value && !Object.is(value, -0)) {
    if (value >= -32 && value < 128) return writer.u8(value);
    const at = writer.skip(value >= -128 && value < 256 ? 2 : value >= -0x8000 && value < 0x1_0000 ? 3 : 5);
    const { view } = writer;
    const width = writer.length - at;
    view.setUint8(at, (value < 0 ? 0xd0 : 0xcc) + (width === 2 ? 0 : width === 3 ? 1 : 2));
    if (width === 2) view.setUint8(at + 1, value);
    else if (width === 3) view.setUint16(at + 1, value);
    else view.setUint32(at + 1, value);
    return;
  }
  const at = writer.skip(9);
  writer.view.setUint8(at, 0xcb);
  // Engines may differ in the bits of a NaN that a computation made.
  writer.view.setFloat64(at + 1, Number.isNaN(value) ? NaN : value);
  if (Number.isNaN(value)) writer.view.setUint32(at + 1, 0x7ff80000);
}

function writeBigint(writer: ByteWriter, value: bigint): void {
  if (BigInt.asIntN(64, value) !== value && BigInt.asUintN(64, value) !== value) {
    throw new ValueError(`the integer ${value} has more than 64 bits`);
  }
  const at = writer.skip(9);
  const signed = BigInt.asIntN(64, value) === value;
  writer.view.setUint8(at, signed ? 0xd3 : 0xcf);
  writer.view.setBigUint64(at + 1, BigInt.asUintN(64, value));
}

function writeText(writer: ByteWriter, text: string): void {
  const count = text.length;
  if (count <= LOOPED_CHARACTERS_MAX && isAscii(text)) {
    writeLength(writer, count, 0xa0, 32, 0xd9);
    writer.latin1(text);
    return;
  }
  const bytes = encodeUtf8(text);
  writeLength(writer, bytes.length, 0xa0, 32, 0xd9);
  writer.copy(bytes, 0, bytes.length);
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}

/** A length in the shortest format: in the first byte below `shortMax`, else behind `wide` (8 bits, if there) + 0, 1, 2. */
function writeLength(writer: ByteWriter, length: number, short: number, shortMax: number, wide: number): void {
  if (length < shortMax) return writer.u8(short | length);
  // Arrays and maps have no format with a length of 8 bits: theirs is the base of the two that follow.
  const hasByte = wide === 0xd9 || wide === 0xc4;
  if (hasByte && length < 0x100) {
    writer.u8(wide);
    writer.u8(length);
    return;
  }
  const next = hasByte ? wide + 1 : wide;
  const at = writer.skip(length < 0x1_0000 ? 3 : 5);
  const { view } = writer;
  if (length < 0x1_0000) {
    view.setUint8(at, next);
    view.setUint16(at + 1, length);
  } else {
    view.setUint8(at, next + 1);
    view.setUint32(at + 1, length);
  }
}

function writeObject(writer: ByteWriter, value: object | null, depth: number): void {
  if (value === null) return writer.u8(0xc0);
  if (depth >= VALUE_DEPTH_MAX)
    throw new ValueError(`a value has at most ${VALUE_DEPTH_MAX} levels of arrays and objects`);
  if (Array.isArray(value)) {
    writeLength(writer, value.length, 0x90, 16, 0xdc);
    for (let i = 0; i < value.length; i++) writeValue(writer, value[i], depth + 1);
    return;
  }
  if (value instanceof Uint8Array) {
    writeLength(writer, value.length, 0, 0, 0xc4);
    writer.copy(value, 0, value.length);
    return;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  // An object of another realm has another Object.prototype, which is the end of its chain all the same.
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    const name = (value.constructor as { name?: unknown } | undefined)?.name;
    throw new ValueError(`an instance of ${String(name)} can't be stored or sent; use plain objects, arrays and text`);
  }
  const entries = value as Readonly<Record<string, unknown>>;
  const keys = Object.keys(entries);
  let count = 0;
  for (const key of keys) if (entries[key] !== undefined) count++;
  writeLength(writer, count, 0x80, 16, 0xde);
  for (const key of keys) {
    const property = entries[key];
    if (property === undefined) continue;
    writeText(writer, key);
    writeValue(writer, property, depth + 1);
  }
}

/**
 * Reads values. One reader serves many: `read` names the bytes. No length is believed before so many bytes are there, so
 * what a reader allocates is bounded by what it is given.
 */
export class ValueReader {
  #bytes: Uint8Array = new Uint8Array(0);
  #view: DataView = new DataView(new ArrayBuffer(0));
  #at = 0;
  #end = 0;

  /** The one value that `bytes[at, end)` holds, as new objects. Throws `ValueError` for anything else. */
  read(bytes: Uint8Array, view: DataView, at: number, end: number): unknown {
    this.#bytes = bytes;
    this.#view = view;
    this.#at = at;
    this.#end = end;
    const value = this.#value(0);
    if (this.#at !== end) throw malformed("bytes follow the value");
    return value;
  }

  #value(depth: number): unknown {
    const format = this.#view.getUint8(this.#take(1));
    if (format < 0x80) return format;
    if (format >= 0xe0) return format - 0x100;
    if (format >= 0xa0 && format < 0xc0) return this.#text(format & 0x1f);
    if (format < 0x90) return this.#map(format & 0x0f, depth);
    if (format < 0xa0) return this.#array(format & 0x0f, depth);
    switch (format) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.#binary(this.#length(format - 0xc4));
      case 0xca:
        return this.#view.getFloat32(this.#take(4));
      case 0xcb:
        return this.#view.getFloat64(this.#take(8));
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.#length(format - 0xcc);
      case 0xcf:
        return this.#view.getBigUint64(this.#take(8));
      case 0xd0:
        return this.#view.getInt8(this.#take(1));
      case 0xd1:
        return this.#view.getInt16(this.#take(2));
      case 0xd2:
        return this.#view.getInt32(this.#take(4));
      case 0xd3:
        return this.#view.getBigInt64(this.#take(8));
      case 0xd4:
        if (this.#view.getUint16(this.#take(2)) !== 0) throw malformed("an extension that is none of ours");
        return undefined;
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#text(this.#length(format - 0xd9));
      case 0xdc:
      case 0xdd:
        return this.#array(this.#length(format - 0xdb), depth);
      case 0xde:
      case 0xdf:
        return this.#map(this.#length(format - 0xdd), depth);
      default:
        throw malformed(`the format ${format}`);
    }
  }

  /** Moves on by `count` bytes, which are there, and returns where they begin. */
  #take(count: number): number {
    const at = this.#at;
    if (count > this.#end - at) throw malformed("it ends too early");
    this.#at = at + count;
    return at;
  }

  /** An unsigned number of 8, 16 or 32 bits (`size` 0, 1, 2). */
  #length(size: number): number {
    if (size === 0) return this.#view.getUint8(this.#take(1));
    return size === 1 ? this.#view.getUint16(this.#take(2)) : this.#view.getUint32(this.#take(4));
  }

  #text(length: number): string {
    const at = this.#take(length);
    const end = at + length;
    const bytes = this.#bytes;
    let high = 0;
    for (let i = at; i < end; i++) high |= bytes[i] as number;
    return high < 0x80 ? latin1(bytes, at, end) : decodeUtf8(bytes, at, end);
  }

  #binary(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#bytes.slice(at, at + length);
  }

  #array(count: number, depth: number): unknown[] {
    this.#enter(count, depth);
    const items: unknown[] = [];
    for (let i = 0; i < count; i++) items.push(this.#value(depth + 1));
    return items;
  }

  #map(count: number, depth: number): Record<string, unknown> {
    this.#enter(2 * count, depth);
    const entries: Record<string, unknown> = {};
    for (let i = 0; i < count; i++) {
      const key = this.#value(depth + 1);
      if (typeof key !== "string") throw malformed("a key that is no text");
      const value = this.#value(depth + 1);
      // Assigned, this one key would replace the object's prototype instead.
      if (key === "__proto__") {
        Object.defineProperty(entries, key, { value, writable: true, enumerable: true, configurable: true });
      } else entries[key] = value;
    }
    return entries;
  }

  /** Every item takes at least one byte. */
  #enter(items: number, depth: number): void {
    if (items > this.#end - this.#at) throw malformed("it ends too early");
    if (depth >= VALUE_DEPTH_MAX) throw malformed(`more than ${VALUE_DEPTH_MAX} levels of arrays and objects`);
  }
}

function malformed(reason: string): ValueError {
  return new ValueError(`malformed MessagePack: ${reason}`);
}
