/**
 * Operations of the `kv` service, in the shared command format (see ../command). Keys and values are byte strings.
 *
 * | operation | arguments | flags | reply |
 * |---|---|---|---|
 * | get | key | – | bulk or nil |
 * | set | key, value | onlyNew, onlyOld, returnOld, integerReply | ok, nil when not set; old value or nil with returnOld; 1/0 with integerReply |
 * | delete | key… | – | integer: how many existed |
 * | exists | key… | – | integer: how many exist, repeated keys counted each time |
 * | increment | key, decimal 64-bit delta | – | integer, or error "ERR value is not an integer or out of range" / "ERR increment or decrement would overflow" |
 * | getMany | key… | – | array of bulk or nil, read atomically |
 * | setMany | key, value, … | – | ok, written atomically |
 * | append | key, value | – | integer: new length |
 * | length | key | – | integer: length of the value, 0 if absent |
 * | count | – | – | integer: number of keys |
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
} as const;
export type KvOperation = (typeof KvOperation)[keyof typeof KvOperation];

/** Flags of `set`. */
export const SetFlag = { onlyNew: 1, onlyOld: 2, returnOld: 4, integerReply: 8 } as const;

/** Longest key in bytes. */
export const KEY_BYTES_MAX = 64 * 1024;
/** Longest value in bytes. */
export const VALUE_BYTES_MAX = 1024 * 1024;
/** Most arguments of one command. */
export const ARGUMENTS_MAX = 16_384;
