/** Integers as Redis 7 reads them: canonical decimal, 64 bits, no sign but "-", no leading zero, no space. */

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;
/** Numbers of at most this many digits, and the sum of two of them, are exact as doubles. */
const DIGITS_EXACT_MAX = 15;
const CANONICAL = /^(?:0|-?[1-9][0-9]{0,18})$/;

export const NOT_AN_INTEGER = "ERR value is not an integer or out of range";
export const OVERFLOW = "ERR increment or decrement would overflow";

/** The outcome of an addition: digits, or an error that begins with "ERR". */
export function addIntegers(text: string, delta: string): string {
  const a = exactInteger(text);
  const b = exactInteger(delta);
  if (a === a && b === b) return String(a + b);
  return addLarge(text, delta);
}

/** The number a short canonical text stands for; NaN for anything else, also for long numbers. */
function exactInteger(text: string): number {
  const count = text.length;
  let i = count > 0 && text.charCodeAt(0) === 0x2d ? 1 : 0;
  const digits = count - i;
  if (digits < 1 || digits > DIGITS_EXACT_MAX) return Number.NaN;
  const negative = i === 1;
  if (text.charCodeAt(i) === 0x30) return digits === 1 && !negative ? 0 : Number.NaN;
  let value = 0;
  for (; i < count; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return Number.NaN;
    value = value * 10 + digit;
  }
  return negative ? -value : value;
}

function addLarge(text: string, delta: string): string {
  const a = largeInteger(text);
  const b = largeInteger(delta);
  if (a === null || b === null) return NOT_AN_INTEGER;
  const sum = a + b;
  return sum < INT64_MIN || sum > INT64_MAX ? OVERFLOW : sum.toString();
}

function largeInteger(text: string): bigint | null {
  if (!CANONICAL.test(text)) return null;
  const value = BigInt(text);
  return value < INT64_MIN || value > INT64_MAX ? null : value;
}
