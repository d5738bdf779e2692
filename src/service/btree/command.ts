/**
 * Commands of the `btree` service: an ordered map from 8-byte keys to 8-byte values. Fixed layouts, little-endian, so that
 * a run decodes without branching on lengths. Keys are unsigned 64-bit numbers, ordered as such.
 *
 * | at | type | field |
 * |---|---|---|
 * | 0 | u32 | byte length, these four included |
 * | 4 | u8 | operation |
 * | 5 | u8, u16 | 0 |
 * | 8 | u32, u32 | key: low word, high word |
 * | 16 | u32, u32 | insert, update: value, low and high word; range: the last key of the range, included |
 * | 24 | u32 | range: most pairs wanted, 1 to `RANGE_PAIRS_MAX` |
 *
 * | operation | bytes | reply |
 * |---|---|---|
 * | insert | 24 | ok, or nil when the key is there (nothing changes) |
 * | delete | 16 | ok, or nil when it is not there |
 * | read | 16 | bulk of 8 bytes, or nil |
 * | update | 24 | ok, or nil when the key is not there (nothing changes) |
 * | range | 28 | pairs: the first ones with key ≤ k ≤ last, ascending |
 *
 * Replies have the shared reply format (see ../command); `pairs` is `u32 count` and per pair key and value, 16 bytes.
 * Anything else gets an error reply and changes nothing.
 */
export const BtreeOperation = { insert: 1, delete: 2, read: 3, update: 4, range: 5 } as const;
export type BtreeOperation = (typeof BtreeOperation)[keyof typeof BtreeOperation];

/** Bytes of a command of each operation; index is the operation. */
export const BTREE_COMMAND_BYTES: readonly number[] = [0, 24, 16, 16, 24, 28];
/** Most pairs of one range. */
export const RANGE_PAIRS_MAX = 65_536;
