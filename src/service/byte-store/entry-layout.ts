/**
 * How a line lies in memory. These constants have a module to themselves, and who is in a hurry copies them to constants of its
 * own (`const { HASH } = layout`): those are part of the compiled code, whereas one that is imported, or that its own module
 * exports, is loaded from a cell and checked at each use.
 */

/** Lines of a chunk: 1 MiB. */
export const LINES_SHIFT = 14;
export const LINES_MASK = (1 << LINES_SHIFT) - 1;
export const LINE_SHIFT = 4;
export const LINE_BYTES = 64;

/**
 * Where the first line of a chunk begins, in words. A large piece of memory comes from the system on a page of its own, of which
 * the allocator keeps the first 16 bytes: so that lines begin with cache lines, the first begins 48 bytes later.
 */
export const LINE_BEGIN = 12;
export const CHUNK_BYTES = LINE_BEGIN * 4 + (LINES_MASK + 1) * LINE_BYTES;
/** Behind the lines of a chunk that threads share: a bit for each, from this word on, for snapshots (see `shared-snapshot.ts`). */
export const PASSED_BEGIN = CHUNK_BYTES / 4;
export const PASSED_BYTES = (LINES_MASK + 1) / 8;
/** The hot paths read lines themselves, since calls add up. What the words of a line hold. From `DATA` on: key and value, or the reference of the block that holds them. */
export const NEXT = LINE_BEGIN;
export const HASH = LINE_BEGIN + 1;
export const KEY_LENGTH = LINE_BEGIN + 2;
export const VALUE_LENGTH = LINE_BEGIN + 3;
export const EXPIRY_PLACE = LINE_BEGIN + 4;
export const DATA = LINE_BEGIN + 5;
export const DATA_BYTES = DATA * 4;
/** Key and value of up to so many bytes together stand in the line itself. */
export const INLINE_BYTES_MAX = LINE_BYTES - 5 * 4;
