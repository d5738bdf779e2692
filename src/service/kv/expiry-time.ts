/** When a key expires: what EX, PX, EXAT, PXAT and the EXPIRE commands say, made absolute by agreed time. */
import { INT64_MAX, INT64_MIN, exactInteger, wideInteger } from "./integer.js";

/** Latest expiry in ms since the epoch; later ones, up to the 2^63 that Redis takes, become this one. */
export const EXPIRY_MAX = Number.MAX_SAFE_INTEGER;

/** What `absoluteMs` returns instead of a time. */
export const Unusable = { notInteger: -Infinity, outOfRange: Infinity } as const;

/** Numbers below this can be multiplied by 1000 and added to a time exactly. */
const PLAIN_MAX = 1e12;

/**
 * The time in ms since the epoch that the number in `bytes[start, end)` means, at most `EXPIRY_MAX` in magnitude, or one of
 * `Unusable`: it is no 64-bit integer, or leaves 64 bits when it is turned into ms since the epoch.
 */
export function absoluteMs(
  bytes: Uint8Array,
  start: number,
  end: number,
  seconds: boolean,
  absolute: boolean,
  now: number,
): number {
  const exact = exactInteger(bytes, start, end);
  if (exact < PLAIN_MAX && exact > -PLAIN_MAX) return (seconds ? exact * 1000 : exact) + (absolute ? 0 : now);
  const wide = wideInteger(bytes, start, end);
  if (wide === null) return Unusable.notInteger;
  // As Redis, only what is too large is out of range behind the addition: time is positive.
  if (seconds && (wide > INT64_MAX / 1000n || wide < INT64_MIN / 1000n)) return Unusable.outOfRange;
  const sum = (seconds ? wide * 1000n : wide) + (absolute ? 0n : BigInt(now));
  if (sum > INT64_MAX) return Unusable.outOfRange;
  return Math.max(-EXPIRY_MAX, Math.min(EXPIRY_MAX, Number(sum)));
}

/** True if the number in `bytes[start, end)` is 0 or negative: a duration that SET and GETEX refuse. */
export function isBelowOne(bytes: Uint8Array, start: number, end: number): boolean {
  return bytes[start] === 0x2d || (end - start === 1 && bytes[start] === 0x30);
}
