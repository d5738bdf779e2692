// Hot file: states are compared and stored by number; text is looked at once per distinct value.

/** Number of the value "absent". */
export const ABSENT = 0;

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

/** Thrown when interning one more value would hold more text than allowed. */
export class ValueBoundError extends Error {
  override readonly name = "ValueBoundError";
}

/** A text as the 64-bit integer that Redis reads in it (canonical decimal only), or null. */
export function parseInteger(text: string): bigint | null {
  if (text.length > 20 || !/^(?:0|-?[1-9][0-9]*)$/.test(text)) return null;
  const value = BigInt(text);
  return value >= INT64_MIN && value <= INT64_MAX ? value : null;
}

export function inRange(value: bigint): boolean {
  return value >= INT64_MIN && value <= INT64_MAX;
}

/**
 * The values that occur in one partition of a history, numbered: 0 is "absent", the others are texts. Equal numbers mean
 * equal values. Holds at most `charactersMax` characters of text, then throws `ValueBoundError`.
 */
export class ValueTable {
  readonly #numbers = new Map<string, number>();
  readonly #texts: (string | null)[] = [null];
  /** Bytes in UTF-8, and the integer a text is (undefined: not asked yet). Same index as `#texts`. */
  readonly #lengths: number[] = [0];
  readonly #integers: (bigint | null | undefined)[] = [0n];
  #charactersLeft: number;

  constructor(charactersMax: number) {
    this.#charactersLeft = charactersMax;
  }

  get size(): number {
    return this.#texts.length;
  }

  number(text: string | null): number {
    if (text === null) return ABSENT;
    let number = this.#numbers.get(text);
    if (number === undefined) {
      this.#charactersLeft -= text.length;
      if (this.#charactersLeft < 0) throw new ValueBoundError("the values of this key hold too much text");
      number = this.#texts.length;
      this.#texts.push(text);
      this.#lengths.push(-1);
      this.#integers.push(undefined);
      this.#numbers.set(text, number);
    }
    return number;
  }

  text(number: number): string | null {
    return this.#texts[number] as string | null;
  }

  /** Bytes of the value in UTF-8; 0 if absent. */
  bytes(number: number): number {
    let length = this.#lengths[number] as number;
    if (length < 0) {
      length = Buffer.byteLength(this.#texts[number] as string);
      this.#lengths[number] = length;
    }
    return length;
  }

  /** The value as an integer, 0 if absent, null if it is none. */
  integer(number: number): bigint | null {
    let integer = this.#integers[number];
    if (integer === undefined) {
      integer = parseInteger(this.#texts[number] as string);
      this.#integers[number] = integer;
    }
    return integer;
  }
}
