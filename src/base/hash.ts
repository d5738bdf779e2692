// Digests must be equal on every engine and architecture: only 32-bit integer arithmetic is used.

/** Finaliser of a 32-bit hash: every input bit reaches every output bit. */
export function mix32(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** FNV-1a over the characters' low bytes; for names and config, not for state. */
export function fnv1a(text: string, seed = 0x811c9dc5): number {
  let h = seed | 0;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

/** 32-bit hash of a string of any characters. */
export function hashText(text: string, seed: number): number {
  let h = seed | 0;
  for (let i = 0; i < text.length; i++) {
    h = Math.imul(h ^ text.charCodeAt(i), 0x9e3779b1);
    h = (h << 13) | (h >>> 19);
  }
  return mix32(h ^ text.length);
}

/** 32-bit hash of `bytes[start, end)`. */
export function hashBytes(bytes: Uint8Array, start: number, end: number, seed: number): number {
  let h = seed | 0;
  for (let i = start; i < end; i++) {
    h = Math.imul(h ^ (bytes[i] as number), 0x9e3779b1);
    h = (h << 13) | (h >>> 19);
  }
  return mix32(h ^ (end - start));
}

/**
 * 32-bit hash of `bytes[start, end)`, another than that of `hashBytes`: four bytes at a time, a third of its cost where there are
 * more than a few.
 */
export function hashLong(bytes: Uint8Array, start: number, end: number, seed: number): number {
  let h = seed | 0;
  let at = start;
  for (const words = end - 3; at < words; at += 4) {
    const word =
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    h = Math.imul(h ^ word, 0x9e3779b1);
    h = (h << 13) | (h >>> 19);
  }
  for (; at < end; at++) {
    h = Math.imul(h ^ (bytes[at] as number), 0x9e3779b1);
    h = (h << 13) | (h >>> 19);
  }
  return mix32(h ^ (end - start));
}

/** A running 64-bit hash in two lanes, for trace digests and chained states. Order matters. */
export class Hash64 {
  high = 0x9e3779b9;
  low = 0x7f4a7c15;

  u32(value: number): this {
    this.low = mix32(this.low ^ value);
    this.high = mix32((this.high + Math.imul(this.low, 0x9e3779b1)) | 0);
    return this;
  }

  f64(value: number): this {
    // Doubles used here are integers below 2^53 or times in ms; both halves take part.
    const low = value >>> 0;
    const high = Math.floor(value / 4294967296) | 0;
    this.u32(low);
    this.u32(high);
    return this.u32(Math.round((value - Math.floor(value)) * 1e6));
  }

  text(value: string): this {
    this.u32(value.length);
    for (let i = 0; i < value.length; i++) this.u32(value.charCodeAt(i));
    return this;
  }

  bytes(bytes: Uint8Array, start: number, end: number): this {
    this.u32(hashBytes(bytes, start, end, 1));
    return this.u32(hashBytes(bytes, start, end, 2));
  }

  /** Back to where a new one begins. */
  reset(): void {
    this.high = 0x9e3779b9;
    this.low = 0x7f4a7c15;
  }

  /** 53 bits of it as a whole number, for comparisons that need no text. */
  number(): number {
    return ((this.high >>> 11) & 0x1fffff) * 4294967296 + (this.low >>> 0);
  }

  hex(): string {
    return (this.high >>> 0).toString(16).padStart(8, "0") + (this.low >>> 0).toString(16).padStart(8, "0");
  }
}
