// Hot file: every increment passes here. Nothing is allocated for numbers of up to 15 digits. Watched by bench/kv.mjs.
/** Integers as Redis 7 reads them: canonical decimal, 64 bits, no sign but "-", no leading zero, no space. */
import { latin1 } from "../../base/index.js";

export const INT64_MAX = 2n ** 63n - 1n;
export const INT64_MIN = -(2n ** 63n);
/** Numbers of at most this many digits, and the sum of two of them, are exact as doubles. */
const DIGITS_EXACT_MAX = 15;
/** "-" and 19 digits. */
export const INTEGER_BYTES_MAX = 20;

export const NOT_AN_INTEGER = "ERR value is not an integer or out of range";
export const OVERFLOW = "ERR increment or decrement would overflow";

/** The number that `bytes[start, end)` is; NaN for anything else, also for a number of more than 15 digits. */
export function exactInteger(bytes: Uint8Array, start: number, end: number): number {
  const negative = end > start && bytes[start] === 0x2d;
  let at = negative ? start + 1 : start;
  const digits = end - at;
  if (digits < 1 || digits > DIGITS_EXACT_MAX) return NaN;
  if (bytes[at] === 0x30) return digits === 1 && !negative ? 0 : NaN;
  let value = 0;
  for (; at < end; at++) {
    const digit = (bytes[at] as number) - 0x30;
    if (digit < 0 || digit > 9) return NaN;
    value = value * 10 + digit;
  }
  return negative ? -value : value;
}

/** The number that `bytes[start, end)` is, or null. */
export function wideInteger(bytes: Uint8Array, start: number, end: number): bigint | null {
  if (end - start > INTEGER_BYTES_MAX) return null;
  const text = latin1(bytes, start, end);
  if (!/^(?:0|-?[1-9][0-9]{0,18})$/.test(text)) return null;
  const value = BigInt(text);
  return value < INT64_MIN || value > INT64_MAX ? null : value;
}

/** The number that `bytes[start, end)` is, rounded to a double if it has more than 15 digits; NaN if it is none. */
export function nearInteger(bytes: Uint8Array, start: number, end: number): number {
  const exact = exactInteger(bytes, start, end);
  if (exact === exact) return exact;
  const wide = wideInteger(bytes, start, end);
  return wide === null ? NaN : Number(wide);
}
