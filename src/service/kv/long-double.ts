/**
 * The arithmetic of INCRBYFLOAT. Redis adds in the extended precision of x86 (64 bits of mantissa, 15 of exponent) and
 * prints 17 digits behind the point; what it prints is part of its contract with programs, so the same is computed here,
 * exactly, with whole numbers. Not hot: a call costs some microseconds.
 */

const MANTISSA_BITS = 64;
/** Exponent of the last bit of the smallest number. */
const EXPONENT_MIN = -16_445;
/** Numbers of 2^16384 and more are infinite. */
const BITS_MAX = 16_384;
/** Beyond this many decimal digits in front of or behind the point a number is infinite or 0, whatever its digits are. */
const DECIMAL_EXPONENT_MAX = 5000;
const FRACTION_DIGITS = 17;
/** Longest text that Redis reads as such a number. */
export const FLOAT_BYTES_MAX = 5 * 1024 - 1;

/** `mantissa` × 2^`exponent`. */
interface LongDouble {
  readonly mantissa: bigint;
  readonly exponent: number;
}

const INFINITE = { mantissa: 1n, exponent: Infinity } as const;

const bitLength = (value: bigint): number => (value === 0n ? 0 : value.toString(16).length * 4 - leadingZeros(value));

function leadingZeros(value: bigint): number {
  const first = Number.parseInt(value.toString(16).charAt(0), 16);
  return Math.clz32(first) - 28;
}

const powerOfTen = (exponent: number): bigint => BigInt(`1${"0".repeat(exponent)}`);

/** numerator / denominator to the nearest whole number, ties to the even one. Neither is negative. */
function divideToEven(numerator: bigint, denominator: bigint): bigint {
  const quotient = numerator / denominator;
  const twice = (numerator - quotient * denominator) * 2n;
  if (twice < denominator || (twice === denominator && (quotient & 1n) === 0n)) return quotient;
  return quotient + 1n;
}

/** The nearest number to ± numerator / denominator × 2^exponent, ties to even; null when it is infinite. */
function nearest(negative: boolean, numerator: bigint, denominator: bigint, exponent: number): LongDouble | null {
  if (numerator === 0n) return { mantissa: 0n, exponent: 0 };
  // The quotient gets at least 64 bits before it is rounded; which ones exactly is found below.
  let shift = MANTISSA_BITS - (bitLength(numerator) - bitLength(denominator));
  for (;;) {
    const last = Math.max(exponent - shift, EXPONENT_MIN);
    const by = exponent - last;
    const mantissa =
      by >= 0
        ? divideToEven(numerator << BigInt(by), denominator)
        : divideToEven(numerator, denominator << BigInt(-by));
    const bits = bitLength(mantissa);
    if (bits > MANTISSA_BITS && last === exponent - shift) {
      // One bit too many: rounded once more from the exact quotient, never from the rounded one.
      shift--;
      continue;
    }
    if (bits + last > BITS_MAX) return null;
    return { mantissa: negative ? -mantissa : mantissa, exponent: last };
  }
}

/** Reads what `strtold` reads, without space and to the end; null for anything else, for NaN, and for what has no room. */
function parse(text: string): LongDouble | null {
  if (text.length === 0 || text.length > FLOAT_BYTES_MAX) return null;
  const infinite = /^([+-]?)inf(?:inity)?$/i.exec(text);
  if (infinite !== null) return { ...INFINITE, mantissa: infinite[1] === "-" ? -1n : 1n };
  const hexadecimal = /^([+-]?)0x([0-9a-f]*)(?:\.([0-9a-f]*))?(?:p([+-]?[0-9]+))?$/i.exec(text);
  const decimal = hexadecimal ?? /^([+-]?)([0-9]*)(?:\.([0-9]*))?(?:e([+-]?[0-9]+))?$/i.exec(text);
  if (decimal === null) return null;
  const [, sign, whole = "", fraction = "", power = "0"] = decimal;
  if (whole.length + fraction.length === 0) return null;
  const digits = BigInt(`${hexadecimal === null ? "" : "0x"}0${whole}${fraction}`);
  if (digits === 0n) return { mantissa: 0n, exponent: 0 };
  // Exponents of any length are numbers; they are infinite as doubles at worst.
  const exponent = Number(power) - fraction.length * (hexadecimal === null ? 1 : 4);
  let number: LongDouble | null;
  if (hexadecimal !== null) {
    if (Math.abs(exponent) > 4 * DECIMAL_EXPONENT_MAX + 4 * FLOAT_BYTES_MAX) return null;
    number = nearest(sign === "-", digits, 1n, exponent);
  } else {
    const magnitude = exponent + digits.toString().length;
    if (magnitude > DECIMAL_EXPONENT_MAX || magnitude < -DECIMAL_EXPONENT_MAX) return null;
    const scale = powerOfTen(Math.abs(exponent));
    number = nearest(sign === "-", exponent < 0 ? digits : digits * scale, exponent < 0 ? scale : 1n, 0);
  }
  return number === null || number.mantissa === 0n ? null : number;
}

function print({ mantissa, exponent }: LongDouble): string {
  const magnitude = (mantissa < 0n ? -mantissa : mantissa) * powerOfTen(FRACTION_DIGITS);
  const scaled = exponent >= 0 ? magnitude << BigInt(exponent) : divideToEven(magnitude, 1n << BigInt(-exponent));
  const digits = scaled.toString().padStart(FRACTION_DIGITS + 1, "0");
  const whole = digits.slice(0, -FRACTION_DIGITS);
  const fraction = digits.slice(-FRACTION_DIGITS).replace(/0+$/, "");
  const text = fraction === "" ? whole : `${whole}.${fraction}`;
  return mantissa < 0n && text !== "0" ? `-${text}` : text;
}

export const NOT_A_FLOAT = "ERR value is not a valid float";
export const NOT_FINITE = "ERR increment would produce NaN or Infinity";

/** The sum as Redis prints it, or an error, which begins with "ERR". */
export function addFloats(text: string, delta: string): string {
  const a = parse(text);
  const b = parse(delta);
  if (a === null || b === null) return NOT_A_FLOAT;
  if (a.exponent === Infinity || b.exponent === Infinity) return NOT_FINITE;
  const exponent = Math.min(a.exponent, b.exponent);
  const sum = (a.mantissa << BigInt(a.exponent - exponent)) + (b.mantissa << BigInt(b.exponent - exponent));
  const rounded = nearest(sum < 0n, sum < 0n ? -sum : sum, 1n, exponent);
  return rounded === null ? NOT_FINITE : print(rounded);
}
