const noWords = new Int32Array(0);

/** A stretch of memory: its bytes, and a view that reads words at any offset, which costs a quarter of reading four bytes. */
export class Region {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** The same as words, if it is one of those made by `ofLength`. */
  readonly words: Int32Array;

  constructor(bytes: Uint8Array, words: Int32Array = noWords) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.words = words;
  }

  /** A region of its own in shared memory, all zeros; its length is a multiple of 4. */
  static ofLength(length: number): Region {
    const buffer = new SharedArrayBuffer(length);
    return new Region(new Uint8Array(buffer), new Int32Array(buffer));
  }
}

export const NO_REGION = new Region(new Uint8Array(0));

/** Up to here words in a loop are cheaper than a call into the engine, which needs a view of its own. */
const LOOPED_BYTES_MAX = 128;

/** Copies `source[start, end)` to `target` at `at`, also if they overlap. */
export function copyBytes(target: Region, at: number, source: Region, start: number, end: number): void {
  if (source === target) {
    target.bytes.copyWithin(at, start, end);
    return;
  }
  if (end - start > LOOPED_BYTES_MAX) {
    // Both may be views of one memory; this copies as if through a third place.
    target.bytes.set(source.bytes.subarray(start, end), at);
    return;
  }
  const from = source.view;
  const to = target.view;
  let i = start;
  let o = at;
  for (; i + 4 <= end; i += 4, o += 4) to.setInt32(o, from.getInt32(i, true), true);
  for (; i < end; i++, o++) to.setUint8(o, from.getUint8(i));
}

/** Whether `a[aStart, aStart + length)` and `b[bStart, bStart + length)` hold the same. */
export function equalBytes(a: DataView, aStart: number, b: DataView, bStart: number, length: number): boolean {
  let i = 0;
  for (; i + 4 <= length; i += 4) if (a.getInt32(aStart + i, true) !== b.getInt32(bStart + i, true)) return false;
  for (; i < length; i++) if (a.getUint8(aStart + i) !== b.getUint8(bStart + i)) return false;
  return true;
}

/** Orders two strings of bytes: below 0 if the first comes first, 0 if they are equal. One that ends sooner comes first. */
export function compareBytes(
  a: DataView,
  aStart: number,
  aLength: number,
  b: DataView,
  bStart: number,
  bLength: number,
): number {
  const shared = aLength < bLength ? aLength : bLength;
  let i = 0;
  for (; i + 4 <= shared; i += 4) {
    const left = a.getUint32(aStart + i);
    const right = b.getUint32(bStart + i);
    if (left !== right) return left < right ? -1 : 1;
  }
  for (; i < shared; i++) {
    const difference = a.getUint8(aStart + i) - b.getUint8(bStart + i);
    if (difference !== 0) return difference;
  }
  return aLength - bLength;
}

/** How many bytes two strings of bytes have in common at their beginning. */
export function commonBytes(a: DataView, aStart: number, b: DataView, bStart: number, most: number): number {
  let i = 0;
  while (i + 4 <= most && a.getInt32(aStart + i) === b.getInt32(bStart + i)) i += 4;
  while (i < most && a.getUint8(aStart + i) === b.getUint8(bStart + i)) i++;
  return i;
}

/** Four bytes as a big-endian u32, of which only the first `count` are there; the others are 0. */
export function wordAt(view: DataView, at: number, count: number): number {
  if (count >= 4) return view.getUint32(at);
  let word = 0;
  if (count >= 1) word = view.getUint8(at) << 24;
  if (count >= 2) word |= view.getUint8(at + 1) << 16;
  if (count >= 3) word |= view.getUint8(at + 2) << 8;
  return word >>> 0;
}

/**
 * The regions of the arrays that callers hand in: a view is made once for an array, not for each command. Two are kept, since
 * a key may come from the command and the value from where it was computed.
 */
export class RegionCache {
  #last = NO_REGION;
  #other = NO_REGION;

  of(bytes: Uint8Array): Region {
    if (this.#last.bytes === bytes) return this.#last;
    const other = this.#other;
    this.#other = this.#last;
    this.#last = other.bytes === bytes ? other : new Region(bytes);
    return this.#last;
  }
}
