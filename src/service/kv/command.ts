/**
 * Operations of the `kv` service, in the shared command format (see ../command). Keys and values are byte strings. A key may
 * have an expiry, in ms since the epoch of agreed time: from then on it is as if it were gone, for every command. Unless
 * noted, replies, errors and their order are those of Redis 7.
 *
 * | operation | arguments | flags | reply |
 * |---|---|---|---|
 * | get | key | – | bulk or nil |
 * | set | key, value, and with `expires` a number | `SetFlag` | ok, nil when not set; old value or nil with returnOld; 1/0 with integerReply |
 * | delete | key… | – | integer: how many existed |
 * | exists | key… | – | integer: how many exist, repeated keys counted each time |
 * | increment | key, decimal 64-bit delta | – | integer, or error "ERR value is not an integer or out of range" / "ERR increment or decrement would overflow" |
 * | getMany | key… | – | array of bulk or nil, read atomically |
 * | setMany | key, value, … | `SetManyFlag` | ok, written atomically; 1/0 with onlyNew, which sets all or none |
 * | append | key, value | – | integer: new length |
 * | length | key | – | integer: length of the value, 0 if absent |
 * | count | – | – | integer: number of keys, with those that have expired and are not removed yet |
 * | getDelete | key | – | bulk or nil |
 * | getExpire | key, and with `expires` a number | `SetFlag.expires`, `seconds`, `absolute`, `persist` | bulk or nil |
 * | getRange | key, first, last | – | bulk: the bytes of the value from first to last; negative numbers count from its end |
 * | setRange | key, offset, value | – | integer: new length |
 * | incrementFloat | key, decimal | – | bulk: the sum |
 * | expire | key, number | `ExpireFlag` | 1, or 0 when there is no such key or the condition fails |
 * | timeToLive | key | `TimeFlag` | integer: -2 without key, -1 without expiry |
 * | persist | key | – | 1 if the key had an expiry |
 * | type | key | – | word: string or none |
 * | rename | from, to | `RenameFlag` | ok; 1/0 with onlyNew; error "ERR no such key" |
 * | keys | pattern | – | array of bulk |
 * | scan | cursor, count, and by flag pattern, type | `ScanFlag` | array of bulk (the next cursor) and array of bulk (keys) |
 * | clear | – | – | ok |
 * | randomKey | – | – | bulk or nil |
 * | range | from, to, and with `limit` a number | `RangeFlag` | array of bulk: keys with from ≤ key ≤ to and their values in turn |
 * | rangeCount | from, to | – | integer |
 * | rangeDelete | from, to, and with `limit` a number | `RangeFlag.limit` | integer: how many were deleted |
 * | watch | id or nothing, key… | – | integer: id of the watch, which is new if none was given |
 * | unwatch | id | – | ok |
 * | transaction | id or nothing, command… | – | array of the commands' replies, or nil when the watch is broken |
 * | fail | message | – | the message as an error: a command of a transaction that is wrong in itself |
 *
 * An empty `to` of a range stands for its end: the range goes on to the last key. Ids are eight bytes, a double, little-endian.
 * A command inside a transaction is a whole command, its length in front, and none of watch, unwatch and transaction.
 */
export const KvOperation = {
  get: 1,
  set: 2,
  delete: 3,
  exists: 4,
  increment: 5,
  getMany: 6,
  setMany: 7,
  append: 8,
  length: 9,
  count: 10,
  getDelete: 11,
  getExpire: 12,
  getRange: 13,
  setRange: 14,
  incrementFloat: 15,
  expire: 16,
  timeToLive: 17,
  persist: 18,
  type: 19,
  rename: 20,
  keys: 21,
  scan: 22,
  clear: 23,
  randomKey: 24,
  range: 25,
  rangeCount: 26,
  rangeDelete: 27,
  watch: 28,
  unwatch: 29,
  transaction: 30,
  fail: 31,
} as const;
export type KvOperation = (typeof KvOperation)[keyof typeof KvOperation];

/**
 * Flags of `set` and `getExpire`. `expires`: the last argument is a number, of seconds or of ms, since now or since the epoch.
 * `integerReply` with `expires` is how SETEX and PSETEX are told from SET, whose name stands in an error.
 */
export const SetFlag = {
  onlyNew: 1,
  onlyOld: 2,
  returnOld: 4,
  integerReply: 8,
  keepExpiry: 16,
  /** Of `getExpire` alone, in the place of `keepExpiry`: the expiry is taken away. */
  persist: 16,
  expires: 32,
  seconds: 64,
  absolute: 128,
} as const;

/** Flags of `setMany`. */
export const SetManyFlag = { onlyNew: 1 } as const;

/** Flags of `expire`: what the number is, and the conditions. `onlyNew` excludes the other conditions, `later` excludes `earlier`. */
export const ExpireFlag = {
  seconds: 1,
  absolute: 2,
  onlyNew: 4,
  onlyOld: 8,
  later: 16,
  earlier: 32,
} as const;

/** Flags of `timeToLive`: the unit, and whether the answer is a time rather than a duration. */
export const TimeFlag = { seconds: 1, absolute: 2 } as const;

/** Flags of `rename`. */
export const RenameFlag = { onlyNew: 1 } as const;

/** Flags of `scan`: which arguments there are. */
export const ScanFlag = { pattern: 1, type: 2 } as const;

/** Flags of `range` and `rangeDelete`. */
export const RangeFlag = { limit: 1, reverse: 2 } as const;

/** Longest key in bytes. */
export const KEY_BYTES_MAX = 64 * 1024;
/** Longest value in bytes. */
export const VALUE_BYTES_MAX = 1024 * 1024;
/** Most arguments of one command. */
export const ARGUMENTS_MAX = 16_384;
/**
 * Most keys that one command, a transaction being one, looks at on its way: what would need more is refused, since everybody
 * waits meanwhile.
 */
export const VISITED_KEYS_MAX = 200_000;
/**
 * The same for all commands of one batch together, which nothing can interrupt either: what would need more is refused. Only
 * commands count that may look at many keys, and what takes as long: each 256 bytes that `rename` moves or `setRange` adds, and
 * each 128 steps of matching patterns. Unordered reads are not refused for this: the rest of their block is answered later.
 */
export const BATCH_VISITED_KEYS_MAX = 1_000_000;
/** Bytes that count as a key, as a power of two. */
export const BYTES_VISIT_SHIFT = 8;
/** Most keys that `rangeDelete` deletes. */
export const RANGE_DELETED_MAX = 10_000;
/** Most keys that a step of `scan` asks the store for. */
export const SCAN_COUNT_MAX = 10_000;
/** Longest message of `fail` in bytes; the rest is cut off. */
export const FAIL_BYTES_MAX = 112;
