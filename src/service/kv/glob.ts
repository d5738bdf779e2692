/**
 * Glob patterns over bytes, as KEYS and SCAN of Redis 7 read them: `*`, `?`, classes `[a-c]`, `[^x]`, and `\` in front of a
 * byte that means itself. A class that is not closed ends with the pattern; the bounds of a range may stand either way round.
 */

const STAR = 0x2a;
const QUESTION = 0x3f;
const OPEN = 0x5b;
const CLOSE = 0x5d;
const CARET = 0x5e;
const BACKSLASH = 0x5c;
const MINUS = 0x2d;

/** Where the class that `#classFits` looked at ends. */
let classEnd = 0;

/** Redis compares the bounds of a range as signed bytes. */
const signed = (byte: number): number => (byte << 24) >> 24;

/** Whether `byte` is in the class whose "[" stands at `at`; leaves in `classEnd` the offset behind it. */
function classFits(pattern: Uint8Array, at: number, end: number, byte: number): boolean {
  let p = at + 1;
  const not = p < end && pattern[p] === CARET;
  if (not) p++;
  let found = false;
  for (;;) {
    if (p >= end) break;
    const first = pattern[p] as number;
    if (first === BACKSLASH && p + 1 < end) {
      if (pattern[p + 1] === byte) found = true;
      p += 2;
    } else if (first === CLOSE) {
      p++;
      break;
    } else if (p + 2 < end && pattern[p + 1] === MINUS) {
      const a = signed(first);
      const b = signed(pattern[p + 2] as number);
      const c = signed(byte);
      if (c >= Math.min(a, b) && c <= Math.max(a, b)) found = true;
      p += 3;
    } else {
      if (first === byte) found = true;
      p++;
    }
  }
  classEnd = p;
  return found !== not;
}

/** Steps that `globFits` took last. */
let steps = 0;

export const globSteps = (): number => steps;

/**
 * Whether `text[textStart, textEnd)` fits `pattern[start, end)`. As in Redis the empty text fits only the empty pattern and
 * the single `*`. Takes at most (pattern × text) steps: of the stars only the last one passed is ever tried again. Where that
 * is more than `stepsMax` it gives up, and `globSteps` is more than that.
 */
export function globFits(
  pattern: Uint8Array,
  start: number,
  end: number,
  text: Uint8Array,
  textStart: number,
  textEnd: number,
  stepsMax = Infinity,
): boolean {
  steps = 0;
  if (textStart === textEnd) return start === end || (end - start === 1 && pattern[start] === STAR);
  let p = start;
  let t = textStart;
  let star = -1;
  let starText = 0;
  while (t < textEnd) {
    if (++steps > stepsMax) return false;
    let next = -1;
    if (p < end) {
      const byte = pattern[p] as number;
      if (byte === STAR) {
        star = ++p;
        starText = t;
        continue;
      }
      if (byte === QUESTION) {
        next = p + 1;
      } else if (byte === OPEN) {
        if (classFits(pattern, p, end, text[t] as number)) next = classEnd;
        steps += classEnd - p;
      } else {
        const literal = byte === BACKSLASH && p + 1 < end ? p + 1 : p;
        if (pattern[literal] === text[t]) next = literal + 1;
      }
    }
    if (next >= 0) {
      p = next;
      t++;
    } else if (star >= 0) {
      p = star;
      t = ++starText;
    } else {
      return false;
    }
  }
  while (p < end && pattern[p] === STAR) p++;
  return p === end;
}

/**
 * The bytes with which every text that fits begins, written to `into`, which is at least as long as the pattern; returns
 * their number. A walk over keys in order can begin and end with them.
 */
export function globPrefix(pattern: Uint8Array, start: number, end: number, into: Uint8Array): number {
  let length = 0;
  for (let p = start; p < end; p++) {
    let byte = pattern[p] as number;
    if (byte === STAR || byte === QUESTION || byte === OPEN) break;
    if (byte === BACKSLASH && p + 1 < end) byte = pattern[++p] as number;
    into[length++] = byte;
  }
  return length;
}
