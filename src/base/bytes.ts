// Hot file: writers are reused for every frame, record and reply. Nothing here may allocate per command.

/** Thrown by a `ByteWriter` that would grow past its declared maximum. */
export class CapacityError extends Error {
  override readonly name = "CapacityError";
}

/**
 * A growable, reusable little-endian writer over one `Uint8Array` and one `DataView`.
 *
 * `length` is the number of bytes written. Growing replaces `bytes` and `view`, so callers read those fields again after
 * each write instead of keeping them. Throws `CapacityError` when more than `bytesMax` bytes would be held.
 */
export class ByteWriter {
  bytes: Uint8Array;
  view: DataView;
  length = 0;
  readonly #bytesMax: number;

  constructor(bytesInitial = 4096, bytesMax = 64 * 1024 * 1024) {
    this.bytes = new Uint8Array(bytesInitial);
    this.view = new DataView(this.bytes.buffer);
    this.#bytesMax = bytesMax;
  }

  /** Makes room for `count` more bytes, so that the caller may write through `bytes` and `view` directly. */
  reserve(count: number): void {
    const needed = this.length + count;
    if (needed > this.bytes.length) this.#grow(needed);
  }

  /** Reserves `count` bytes, counts them as written and returns the offset of the first. Their content is undefined. */
  skip(count: number): number {
    const at = this.length;
    if (at + count > this.bytes.length) this.#grow(at + count);
    this.length = at + count;
    return at;
  }

  u8(value: number): void {
    if (this.length + 1 > this.bytes.length) this.#grow(this.length + 1);
    this.bytes[this.length++] = value;
  }

  u16(value: number): void {
    if (this.length + 2 > this.bytes.length) this.#grow(this.length + 2);
    this.view.setUint16(this.length, value, true);
    this.length += 2;
  }

  u32(value: number): void {
    if (this.length + 4 > this.bytes.length) this.#grow(this.length + 4);
    this.view.setUint32(this.length, value, true);
    this.length += 4;
  }

  f64(value: number): void {
    if (this.length + 8 > this.bytes.length) this.#grow(this.length + 8);
    this.view.setFloat64(this.length, value, true);
    this.length += 8;
  }

  /** Appends `source[start, end)`. Short runs are copied by a loop, which is cheaper than a call into the engine. */
  copy(source: Uint8Array, start: number, end: number): void {
    const count = end - start;
    if (this.length + count > this.bytes.length) this.#grow(this.length + count);
    const bytes = this.bytes;
    let at = this.length;
    if (count <= 48) for (let i = start; i < end; i++) bytes[at++] = source[i] as number;
    else bytes.set(start === 0 && end === source.length ? source : source.subarray(start, end), at);
    this.length += count;
  }

  /** Appends one byte per character; characters above U+00FF lose their high bits. */
  latin1(text: string): void {
    const count = text.length;
    if (this.length + count > this.bytes.length) this.#grow(this.length + count);
    const bytes = this.bytes;
    let at = this.length;
    for (let i = 0; i < count; i++) bytes[at++] = text.charCodeAt(i);
    this.length = at;
  }

  /** Forgets everything written and keeps the memory. */
  clear(): void {
    this.length = 0;
  }

  /** A copy of the bytes written. */
  toBytes(): Uint8Array {
    return this.bytes.slice(0, this.length);
  }

  #grow(needed: number): void {
    if (needed > this.#bytesMax)
      throw new CapacityError(`writer needs ${needed} bytes, its maximum is ${this.#bytesMax}`);
    let capacity = this.bytes.length * 2;
    while (capacity < needed) capacity *= 2;
    const bytes = new Uint8Array(Math.min(capacity, Math.max(needed, this.#bytesMax)));
    bytes.set(this.bytes.subarray(0, this.length));
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer);
  }
}

const CHUNK = 4096;
/** Up to here one call with a list of characters is cheapest; beyond, one call into the UTF-8 decoder if all is ASCII. */
const LISTED_MAX = 40;
/** One reused list of characters per length: a call with a plain list of the exact length makes no copy of it. */
const lists: readonly number[][] = Array.from({ length: LISTED_MAX + 1 }, (_, length) =>
  Array.from({ length }, () => 0),
);

/** The bytes `[start, end)` as a flat string of one character a byte. Reversible by `ByteWriter.latin1`. */
export function latin1(bytes: Uint8Array, start: number, end: number): string {
  const count = end - start;
  if (count <= LISTED_MAX) {
    const list = lists[count] as number[];
    for (let i = 0; i < count; i++) list[i] = bytes[start + i] as number;
    return String.fromCharCode.apply(null, list);
  }
  // Some engines refuse to decode shared memory.
  if (bytes.buffer instanceof ArrayBuffer && isAscii(bytes, start, end))
    return decoder.decode(bytes.subarray(start, end));
  if (count <= CHUNK) return String.fromCharCode.apply(null, bytes.subarray(start, end) as unknown as number[]);
  const parts: string[] = [];
  for (let at = start; at < end; at += CHUNK) {
    parts.push(String.fromCharCode.apply(null, bytes.subarray(at, Math.min(end, at + CHUNK)) as unknown as number[]));
  }
  return parts.join("");
}

function isAscii(bytes: Uint8Array, start: number, end: number): boolean {
  let high = 0;
  for (let i = start; i < end; i++) high |= bytes[i] as number;
  return high < 0x80;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** UTF-8 bytes of `text`. For control messages and errors, not for the hot path. */
export function encodeUtf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** `[start, end)` read as UTF-8, malformed sequences replaced. */
export function decodeUtf8(bytes: Uint8Array, start = 0, end = bytes.length): string {
  // A view on shared memory is refused by TextDecoder in some engines, so the range is copied first.
  return decoder.decode(bytes.slice(start, end));
}
