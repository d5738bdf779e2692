/** Random requests over every command that we share with Redis, with few keys and values, so that they meet. */
import type { Prng } from "#src/base/index.js";

/** Requests that one of the connections sends at once. */
export interface Chunk {
  readonly connection: number;
  readonly requests: readonly (readonly string[])[];
}

const KEYS = ["a", "b", "c", "d", "e", "key:1", "key:2", "", "k\r\n\0\xff", "A", "[x]", "*"];
const NUMBERS = [
  "0",
  "1",
  "-1",
  "7",
  "-0",
  "007",
  "+1",
  " 1",
  "1 ",
  "1.5",
  "999999999999999",
  "-999999999999999",
  "9007199254740993",
  "9223372036854775806",
  "9223372036854775807",
  "-9223372036854775808",
  "9223372036854775808",
  "-9223372036854775809",
  "99999999999999999999",
  "",
  "-",
  "abc",
  "-9223372036854775807",
  "1\0",
];
const FLOATS = [
  "0",
  "-0",
  "0.1",
  "0.2",
  "1.5",
  "-1.5",
  "3.0e3",
  "1e17",
  "1e-17",
  "5e-18",
  "1.23456789012345678901234567890",
  "1000.1",
  "99999999999999999999.5",
  "0x10",
  "0x1.8p3",
  "0x.1p-3",
  "1e400",
  "-1e400",
  "1e4932",
  "1e5000",
  "1e-4950",
  "1e-5000",
  "1e99999999999999999999",
  "inf",
  "-Infinity",
  "nan",
  ".5",
  "5.",
  ".",
  "e5",
  "1e",
  "+2.5",
  " 1.5",
  "1.5 ",
  "0x",
];
const PATTERNS = [
  "*",
  "**",
  "a*",
  "*a",
  "?",
  "key:?",
  "key:*",
  "[a-c]",
  "[c-a]",
  "[^a]",
  "[^a-c]*",
  "[a",
  "[]",
  "[^]",
  "\\*",
  "\\[x\\]",
  "\\",
  "a\\",
  "[\\]]",
  "[a-]",
  "*\xff",
  "[\x80-\xff]*",
  "",
  "nothing",
  "*:*1*",
  "*e*:**",
];
const OVER = ["0", "-1", "-100000"];
const TIMES = ["99999999999", "88888888888", "1", "0", "-5"];
const TIMES_MS = ["9999999999999", "8888888888888", "9007199254740991", "1", "0", "-5"];
/** SET and GETEX with a time that is over leave a key behind that each server counts until it notices. */
const LATER = [
  "99999999999",
  "0",
  "-1",
  ...NUMBERS.filter((number) => !/^[17]$/.test(number) && number !== "999999999999999"),
];
const LATER_MS = ["9999999999999", "0", "-1", "abc", "9223372036854775808"];
const WORDS = ["NX", "XX", "GET", "KEEPTTL", "EX", "PX", "EXAT", "PXAT", "PERSIST", "GT", "LT", "FOO", "", "nx", "Get"];

export function someRequest(prng: Prng): string[] {
  const pick = <T>(list: readonly T[]): T => prng.pick(list);
  const key = (): string => pick(KEYS);
  const text = (): string =>
    pick(["", "x", "hello", "\r\n", "\0\x01\xff", "v".repeat(prng.below(100)), "w".repeat(prng.below(3000))]);
  const number = (): string => (prng.chance(0.5) ? String(prng.below(1000) - 500) : pick(NUMBERS));
  const value = (): string => (prng.chance(0.5) ? number() : prng.chance(0.2) ? pick(FLOATS) : text());
  const some = (most: number, make: () => string): string[] => Array.from({ length: prng.below(most + 1) }, make);
  const cased = (word: string): string => (prng.chance(0.3) ? word.toLowerCase() : word);
  /** Far enough that nothing expires while a test runs, and so far apart that two servers agree on which one is later. */
  const seconds = (): number => 100_000 + 100 * prng.below(1_000_000);
  const duration = (): string =>
    prng.chance(0.7)
      ? String(seconds())
      : prng.chance(0.6)
        ? pick(OVER)
        : pick(NUMBERS.filter((one) => !/^[17]$/.test(one)));
  const expiry = (): string[] =>
    pick([
      () => [cased("EX"), duration()],
      () => [cased("PX"), `${seconds()}000`],
      () => [cased("EXAT"), pick(LATER)],
      () => [cased("PXAT"), pick(LATER_MS)],
      () => [pick(["EX", "PX", "EXAT", "PXAT"])],
    ])();
  const setOptions = (): string[] =>
    [
      prng.chance(0.4) ? [cased(pick(["NX", "XX"]))] : [],
      prng.chance(0.3) ? [cased("GET")] : [],
      prng.chance(0.5) ? expiry() : prng.chance(0.3) ? [cased("KEEPTTL")] : [],
      prng.chance(0.1) ? [pick(WORDS)] : [],
    ].flat();
  const conditions = (): string[] => some(2, () => cased(pick(["NX", "XX", "GT", "LT", "FOO"])));
  const scanOptions = (): string[] =>
    some(3, () => pick(["MATCH", "COUNT", "TYPE", "FOO"])).flatMap((option) =>
      prng.chance(0.05)
        ? [option]
        : [
            cased(option),
            option === "COUNT"
              ? pick(["1000", "100000", "0", "-1", "x", "1"])
              : option === "TYPE"
                ? pick(["string", "hash", "STRING"])
                : pick(PATTERNS),
          ],
    );
  const shapes: (() => string[])[] = [
    () => ["GET", key()],
    () => ["GET", key()],
    () => ["SET", key(), value()],
    () => ["SET", key(), value()],
    () => ["SET", key(), value(), ...setOptions()],
    () => ["SET", key(), value(), ...some(3, () => pick(WORDS))],
    () => ["SETNX", key(), value()],
    () => ["SETEX", key(), duration(), value()],
    () => [
      "PSETEX",
      key(),
      prng.chance(0.7) ? `${seconds()}000` : pick(["0", "-1", "x", "9223372036854775807"]),
      value(),
    ],
    () => ["GETSET", key(), value()],
    () => ["GETDEL", key()],
    () => [
      "GETEX",
      key(),
      ...(prng.chance(0.4) ? expiry() : prng.chance(0.5) ? ["PERSIST"] : some(2, () => pick(WORDS))),
    ],
    () => ["MGET", key(), ...some(4, key)],
    () => ["MSET", key(), value(), ...some(5, value)],
    () => ["MSETNX", key(), value(), ...some(3, () => key())],
    () => ["DEL", key(), ...some(3, key)],
    () => ["UNLINK", key(), ...some(2, key)],
    () => ["EXISTS", key(), ...some(3, key)],
    () => ["TOUCH", key(), ...some(3, key)],
    () => ["STRLEN", key()],
    () => ["APPEND", key(), value()],
    () => [
      pick(["GETRANGE", "SUBSTR"]),
      key(),
      pick(["0", "1", "-3", ...NUMBERS]),
      pick(["-1", "2", "-2", ...NUMBERS]),
    ],
    () => ["SETRANGE", key(), prng.chance(0.8) ? String(prng.below(60)) : pick(NUMBERS), text()],
    () => ["INCR", key()],
    () => ["DECR", key()],
    () => ["INCRBY", key(), number()],
    () => ["DECRBY", key(), number()],
    () => [
      "INCRBYFLOAT",
      key(),
      prng.chance(0.5) ? pick(FLOATS) : `${prng.below(100_000) - 50_000}.${prng.below(1_000_000)}`,
    ],
    () => ["SET", key(), `${prng.below(1_000_000)}.${prng.below(1_000_000)}`],
    () => ["EXPIRE", key(), duration(), ...conditions()],
    () => [
      "PEXPIRE",
      key(),
      prng.chance(0.7) ? `${seconds()}000` : pick([...OVER, "x", "9223372036854775807"]),
      ...conditions(),
    ],
    () => ["EXPIREAT", key(), prng.chance(0.8) ? pick(TIMES) : pick(NUMBERS), ...conditions()],
    () => ["PEXPIREAT", key(), prng.chance(0.8) ? pick(TIMES_MS) : pick(NUMBERS), ...conditions()],
    () => [pick(["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"]), key()],
    () => [pick(["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"]), key()],
    () => ["PERSIST", key()],
    () => ["TYPE", key()],
    () => [pick(["RENAME", "RENAMENX"]), key(), key()],
    () => ["KEYS", pick(PATTERNS)],
    () => ["SCAN", prng.chance(0.9) ? "0" : pick(["x", "1x", "99999999999999999999", "0x1"]), ...scanOptions()],
    () => ["DBSIZE"],
    () => ["RANDOMKEY"],
    ...(prng.chance(0.1)
      ? [() => [pick(["FLUSHALL", "FLUSHDB"]), ...some(2, () => pick(["async", "SYNC", "x"]))]]
      : []),
    () => ["PING", ...some(2, value)],
    () => ["ECHO", value()],
    () => ["SELECT", pick(["0", "-1", "16", "x", "99999999999"])],
    () => ["AUTH", ...some(3, () => pick(["default", "x", "y"]))],
    () => [
      "CLIENT",
      pick(["GETNAME", "SETNAME", "FOO", "NO-EVICT", "ID x"]),
      ...some(2, () => pick(["on", "off", "a b", ""])),
    ],
    () => ["HELLO", pick(["1", "4", "x", "2 ", "99999999999999999999"])],
    () => ["COMMAND", "FOO"],
    () => ["CONFIG", pick(["GET", "FOO"]), ...some(1, () => "nosuch")],
    () => ["MULTI"],
    () => ["MULTI"],
    () => ["EXEC"],
    () => ["EXEC"],
    () => ["EXEC"],
    () => ["DISCARD"],
    () => ["WATCH", key(), ...some(2, key)],
    () => ["WATCH", key()],
    () => ["UNWATCH"],
    ...(prng.chance(0.2) ? [() => ["RESET"]] : []),
    // Any number of arguments for any command: errors of arity and of names nobody has.
    () => [pick(NAMES), ...some(4, value)],
  ];
  const [name = "", ...rest] = pick(shapes)();
  return [pick([name, name.toLowerCase(), name.charAt(0) + name.slice(1).toLowerCase()]), ...rest];
}

/** Without those whose replies depend on the server, and without those of any number of arguments, which would succeed. */
const NAMES = (
  "GET SET DEL EXISTS INCR INCRBY MGET APPEND STRLEN DBSIZE ECHO SETNX GETSET DECRBY CLIENT SELECT GETDEL TTL PERSIST TYPE " +
  "RENAME KEYS SCAN GETRANGE SETRANGE INCRBYFLOAT MULTI EXEC DISCARD WATCH UNWATCH RANDOMKEY GETEX SUBSTR TOUCH UNLINK " +
  "RENAMENX EXPIRETIME PTTL CONFIG NOSUCH"
)
  .split(" ")
  .concat(["nosuch\r\nx", "", "n\0x"]);

/** So many requests, alone and in pipelines, of some connections in turn; transactions are often closed again soon. */
export function someChunks(prng: Prng, count: number, connections = 2): Chunk[] {
  const chunks: Chunk[] = [];
  for (let made = 0; made < count;) {
    const length = prng.chance(0.6) ? 1 : 1 + prng.below(20);
    const requests = Array.from({ length }, () => someRequest(prng));
    if (prng.chance(0.1)) requests.push(["MULTI"], someRequest(prng), someRequest(prng), ["EXEC"]);
    chunks.push({ connection: prng.below(connections), requests });
    made += requests.length;
  }
  return chunks;
}
