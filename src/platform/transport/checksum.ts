// Hot file: once per frame, both ways. Watched by bench/transport.mjs.
import { crc32 } from "node:zlib";

/** Below this many bytes a loop here beats the call into zlib (about 150 ns before its first byte). */
const SHORT_BYTES = 128;

/** Four tables of 256 entries: the checksum of a byte with 0, 1, 2 and 3 zero bytes behind it. */
const TABLES = makeTables();

function makeTables(): Int32Array {
  const tables = new Int32Array(1024);
  for (let byte = 0; byte < 256; byte++) {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = (value & 1) === 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    tables[byte] = value;
  }
  for (let at = 256; at < 1024; at++) {
    const shorter = tables[at - 256] as number;
    tables[at] = (shorter >>> 8) ^ (tables[shorter & 255] as number);
  }
  return tables;
}

/** CRC-32 (the one of zlib) of `bytes[start, end)` as a u32. */
export function checksum(bytes: Uint8Array, start: number, end: number): number {
  if (end - start > SHORT_BYTES) return crc32(bytes.subarray(start, end));
  let value = -1;
  let at = start;
  for (const words = end - 3; at < words; at += 4) {
    value ^=
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    value =
      (TABLES[768 + (value & 255)] as number) ^
      (TABLES[512 + ((value >>> 8) & 255)] as number) ^
      (TABLES[256 + ((value >>> 16) & 255)] as number) ^
      (TABLES[value >>> 24] as number);
  }
  for (; at < end; at++) value = (value >>> 8) ^ (TABLES[(value ^ (bytes[at] as number)) & 255] as number);
  return ~value >>> 0;
}
