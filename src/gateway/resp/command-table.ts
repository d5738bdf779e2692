import { ExpireFlag, KvOperation, RenameFlag, SetFlag, SetManyFlag, TimeFlag } from "../../service/kv/index.js";
import {
  auth,
  client,
  commandContainer,
  config,
  echo,
  hello,
  info,
  type LocalCommand,
  ping,
  quit,
  reset,
  select,
  unwatch,
} from "./local-command.js";
import {
  type Planner,
  planClear,
  planExpire,
  planGetExpire,
  planRange,
  planRangeDelete,
  planScan,
  planSet,
  planSetExpiring,
} from "./option.js";
import { type Request, upperCase } from "./request.js";

/** How the arguments of a request become those of a command of the store. */
export const Mapping = {
  /** Not a command of the store: answered here. */
  local: 0,
  /** As they are. */
  same: 1,
  /** Key and value as they are; with options as the row's planner says. */
  set: 2,
  /** As they are, and 1 behind them. */
  plusOne: 3,
  /** As they are, and -1 behind them. */
  minusOne: 4,
  /** Key, and the number with the opposite sign. */
  negated: 5,
  /** Keys and values in pairs. */
  pairs: 6,
  /** As the row's planner says. */
  planned: 7,
  /** MULTI and what belongs to it: the gateway itself executes these, and they are not queued. */
  transaction: 8,
} as const;
export type Mapping = (typeof Mapping)[keyof typeof Mapping];

/** One command, as COMMAND shows it and as it is executed. */
export interface CommandRow {
  /** In small letters. */
  readonly name: string;
  /** Arguments with the name; negative: at least so many. */
  readonly arity: number;
  /** Redis's flags, in Redis's order. */
  readonly flags: readonly string[];
  readonly keyFirst: number;
  /** Negative: from the end. */
  readonly keyLast: number;
  readonly keyStep: number;
  readonly group: "string" | "generic" | "server" | "connection" | "transactions";
  readonly since: string;
  readonly summary: string;
  readonly mapping: Mapping;
  readonly operation: number;
  readonly operationFlags: number;
  /** It never changes the store. */
  readonly read: boolean;
  readonly plan: Planner | null;
  readonly run: LocalCommand | null;
  /** Why a request whose arity fits is refused at once, even inside MULTI, or null. */
  readonly objection: ((request: Request) => string | null) | null;
  /** Inside MULTI it is queued, like most; the others are executed at once. */
  readonly queues: boolean;
  readonly upperName: Uint8Array;
}

type Keys = readonly [first: number, last: number, step: number];
const NO_KEYS: Keys = [0, 0, 0];
const ONE_KEY: Keys = [1, 1, 1];
const ALL_KEYS: Keys = [1, -1, 1];

function row(
  name: string,
  arity: number,
  flags: string,
  [keyFirst, keyLast, keyStep]: Keys,
  group: CommandRow["group"],
  since: string,
  summary: string,
  execution: Execution,
): CommandRow {
  const words = flags === "" ? [] : flags.split(" ");
  return Object.freeze({
    name,
    arity,
    flags: Object.freeze(words),
    keyFirst,
    keyLast,
    keyStep,
    group,
    since,
    summary,
    mapping: execution.mapping,
    operation: execution.operation,
    operationFlags: execution.operationFlags,
    read: words.includes("readonly"),
    plan: execution.plan,
    run: execution.run,
    objection: execution.run?.objection ?? null,
    queues: execution.mapping !== Mapping.transaction && execution.run !== quit && execution.run !== reset,
    upperName: Uint8Array.from(name.toUpperCase(), (character) => character.charCodeAt(0)),
  });
}

type Execution = Pick<CommandRow, "mapping" | "operation" | "operationFlags" | "plan" | "run">;

const store = (operation: KvOperation, mapping: Mapping = Mapping.same, operationFlags = 0): Execution => ({
  mapping,
  operation,
  operationFlags,
  plan: null,
  run: null,
});
const planned = (operation: KvOperation, plan: Planner, operationFlags = 0): Execution => ({
  mapping: Mapping.planned,
  operation,
  operationFlags,
  plan,
  run: null,
});
const local = (run: LocalCommand): Execution => ({
  mapping: Mapping.local,
  operation: 0,
  operationFlags: 0,
  plan: null,
  run,
});
const transactional = (operation: number): Execution => store(operation as KvOperation, Mapping.transaction);

const O = KvOperation;
const M = Mapping;
const CONNECTION = "noscript loading stale fast no_auth allow_busy";
const TRANSACTION = "noscript loading stale fast allow_busy";
const DURATION = SetFlag.expires | SetFlag.integerReply;

/** What the gateway does for the commands of `Mapping.transaction`, in the place of an operation. */
export const Transactional = { multi: 1, exec: 2, discard: 3, watch: 4 } as const;

/** Every command there is; the documentation's table is made from it. */
export const commandRows: readonly CommandRow[] = Object.freeze([
  row("get", 2, "readonly fast", ONE_KEY, "string", "1.0.0", "The value of a key", store(O.get)),
  row("set", -3, "write denyoom", ONE_KEY, "string", "1.0.0", "Sets the value of a key", {
    ...planned(O.set, planSet),
    mapping: M.set,
  }),
  row(
    "setnx",
    3,
    "write denyoom fast",
    ONE_KEY,
    "string",
    "1.0.0",
    "Sets the value of a key unless it exists",
    store(O.set, M.same, SetFlag.onlyNew | SetFlag.integerReply),
  ),
  row(
    "getset",
    3,
    "write denyoom fast",
    ONE_KEY,
    "string",
    "1.0.0",
    "Sets the value of a key and returns the old one",
    store(O.set, M.same, SetFlag.returnOld),
  ),
  row("del", -2, "write", ALL_KEYS, "generic", "1.0.0", "Deletes keys", store(O.delete)),
  row("unlink", -2, "write fast", ALL_KEYS, "generic", "4.0.0", "Deletes keys", store(O.delete)),
  row("exists", -2, "readonly fast", ALL_KEYS, "generic", "1.0.0", "Counts which keys exist", store(O.exists)),
  row("incr", 2, "write denyoom fast", ONE_KEY, "string", "1.0.0", "Adds 1 to a number", store(O.increment, M.plusOne)),
  row(
    "decr",
    2,
    "write denyoom fast",
    ONE_KEY,
    "string",
    "1.0.0",
    "Subtracts 1 from a number",
    store(O.increment, M.minusOne),
  ),
  row("incrby", 3, "write denyoom fast", ONE_KEY, "string", "1.0.0", "Adds to a number", store(O.increment)),
  row(
    "decrby",
    3,
    "write denyoom fast",
    ONE_KEY,
    "string",
    "1.0.0",
    "Subtracts from a number",
    store(O.increment, M.negated),
  ),
  row("mget", -2, "readonly fast", ALL_KEYS, "string", "1.0.0", "The values of keys, at one moment", store(O.getMany)),
  row(
    "mset",
    -3,
    "write denyoom",
    [1, -1, 2],
    "string",
    "1.0.1",
    "Sets the values of keys, at one moment",
    store(O.setMany, M.pairs),
  ),
  row("append", 3, "write denyoom fast", ONE_KEY, "string", "2.0.0", "Appends to the value of a key", store(O.append)),
  row("strlen", 2, "readonly fast", ONE_KEY, "string", "2.2.0", "The length of the value of a key", store(O.length)),
  row("dbsize", 1, "readonly fast", NO_KEYS, "server", "1.0.0", "The number of keys", store(O.count)),
  row(
    "setex",
    4,
    "write denyoom",
    ONE_KEY,
    "string",
    "2.0.0",
    "Sets a value that expires after seconds",
    planned(O.set, planSetExpiring, DURATION | SetFlag.seconds),
  ),
  row(
    "psetex",
    4,
    "write denyoom",
    ONE_KEY,
    "string",
    "2.6.0",
    "Sets a value that expires after milliseconds",
    planned(O.set, planSetExpiring, DURATION),
  ),
  row(
    "getdel",
    2,
    "write fast",
    ONE_KEY,
    "string",
    "6.2.0",
    "The value of a key, which is deleted",
    store(O.getDelete),
  ),
  row(
    "getex",
    -2,
    "write fast",
    ONE_KEY,
    "string",
    "6.2.0",
    "The value of a key, whose expiry is changed",
    planned(O.getExpire, planGetExpire),
  ),
  row(
    "msetnx",
    -3,
    "write denyoom",
    [1, -1, 2],
    "string",
    "1.0.1",
    "Sets the values of keys if none of them exists",
    store(O.setMany, M.pairs, SetManyFlag.onlyNew),
  ),
  row("getrange", 4, "readonly", ONE_KEY, "string", "2.4.0", "A part of the value of a key", store(O.getRange)),
  row("substr", 4, "readonly", ONE_KEY, "string", "1.0.0", "A part of the value of a key", store(O.getRange)),
  row(
    "setrange",
    4,
    "write denyoom",
    ONE_KEY,
    "string",
    "2.2.0",
    "Overwrites a part of the value of a key",
    store(O.setRange),
  ),
  row(
    "incrbyfloat",
    3,
    "write denyoom fast",
    ONE_KEY,
    "string",
    "2.6.0",
    "Adds to a decimal number",
    store(O.incrementFloat),
  ),
  row("touch", -2, "readonly fast", ALL_KEYS, "generic", "3.2.1", "Counts which keys exist", store(O.exists)),
  row(
    "expire",
    -3,
    "write fast",
    ONE_KEY,
    "generic",
    "1.0.0",
    "Lets a key expire after seconds",
    planned(O.expire, planExpire, ExpireFlag.seconds),
  ),
  row(
    "pexpire",
    -3,
    "write fast",
    ONE_KEY,
    "generic",
    "2.6.0",
    "Lets a key expire after milliseconds",
    planned(O.expire, planExpire),
  ),
  row(
    "expireat",
    -3,
    "write fast",
    ONE_KEY,
    "generic",
    "1.2.0",
    "Lets a key expire at a time in seconds",
    planned(O.expire, planExpire, ExpireFlag.seconds | ExpireFlag.absolute),
  ),
  row(
    "pexpireat",
    -3,
    "write fast",
    ONE_KEY,
    "generic",
    "2.6.0",
    "Lets a key expire at a time in milliseconds",
    planned(O.expire, planExpire, ExpireFlag.absolute),
  ),
  row(
    "ttl",
    2,
    "readonly fast",
    ONE_KEY,
    "generic",
    "1.0.0",
    "Seconds until a key expires",
    store(O.timeToLive, M.same, TimeFlag.seconds),
  ),
  row("pttl", 2, "readonly fast", ONE_KEY, "generic", "2.6.0", "Milliseconds until a key expires", store(O.timeToLive)),
  row(
    "expiretime",
    2,
    "readonly fast",
    ONE_KEY,
    "generic",
    "7.0.0",
    "The time in seconds at which a key expires",
    store(O.timeToLive, M.same, TimeFlag.seconds | TimeFlag.absolute),
  ),
  row(
    "pexpiretime",
    2,
    "readonly fast",
    ONE_KEY,
    "generic",
    "7.0.0",
    "The time in milliseconds at which a key expires",
    store(O.timeToLive, M.same, TimeFlag.absolute),
  ),
  row("persist", 2, "write fast", ONE_KEY, "generic", "2.2.0", "Takes away the expiry of a key", store(O.persist)),
  row("type", 2, "readonly fast", ONE_KEY, "generic", "1.0.0", "The type of the value of a key", store(O.type)),
  row("rename", 3, "write", [1, 2, 1], "generic", "1.0.0", "Gives a key another name", store(O.rename)),
  row(
    "renamenx",
    3,
    "write fast",
    [1, 2, 1],
    "generic",
    "1.0.0",
    "Gives a key another name unless that exists",
    store(O.rename, M.same, RenameFlag.onlyNew),
  ),
  row("keys", 2, "readonly", NO_KEYS, "generic", "1.0.0", "The keys that fit a pattern, in their order", store(O.keys)),
  row(
    "scan",
    -2,
    "readonly",
    NO_KEYS,
    "generic",
    "2.8.0",
    "Walks through the keys step by step",
    planned(O.scan, planScan),
  ),
  row("randomkey", 1, "readonly", NO_KEYS, "generic", "1.0.0", "Any key", store(O.randomKey)),
  row("flushdb", -1, "write", NO_KEYS, "server", "1.0.0", "Deletes all keys", planned(O.clear, planClear)),
  row("flushall", -1, "write", NO_KEYS, "server", "1.0.0", "Deletes all keys", planned(O.clear, planClear)),
  row(
    "range",
    -3,
    "readonly",
    NO_KEYS,
    "generic",
    "Synod 0.1",
    "Keys of a range and their values, in order",
    planned(O.range, planRange),
  ),
  row(
    "rangecount",
    3,
    "readonly",
    NO_KEYS,
    "generic",
    "Synod 0.1",
    "The number of keys of a range",
    store(O.rangeCount),
  ),
  row(
    "delrange",
    -3,
    "write",
    NO_KEYS,
    "generic",
    "Synod 0.1",
    "Deletes the keys of a range",
    planned(O.rangeDelete, planRangeDelete),
  ),
  row(
    "multi",
    1,
    TRANSACTION,
    NO_KEYS,
    "transactions",
    "1.2.0",
    "Begins a transaction",
    transactional(Transactional.multi),
  ),
  row(
    "exec",
    1,
    "noscript loading stale skip_slowlog allow_busy",
    NO_KEYS,
    "transactions",
    "1.2.0",
    "Executes the commands queued since MULTI, all at one moment",
    transactional(Transactional.exec),
  ),
  row(
    "discard",
    1,
    TRANSACTION,
    NO_KEYS,
    "transactions",
    "2.0.0",
    "Forgets the commands queued since MULTI",
    transactional(Transactional.discard),
  ),
  row(
    "watch",
    -2,
    TRANSACTION,
    ALL_KEYS,
    "transactions",
    "2.2.0",
    "Lets EXEC fail if one of the keys is changed before it",
    transactional(Transactional.watch),
  ),
  row("unwatch", 1, TRANSACTION, NO_KEYS, "transactions", "2.2.0", "Forgets which keys are watched", local(unwatch)),
  row("ping", -1, "fast", NO_KEYS, "connection", "1.0.0", "Answers PONG, or its argument", local(ping)),
  row("echo", 2, "loading stale fast", NO_KEYS, "connection", "1.0.0", "Answers its argument", local(echo)),
  row("hello", -1, CONNECTION, NO_KEYS, "connection", "6.0.0", "Chooses RESP2 or RESP3", local(hello)),
  row("auth", -2, CONNECTION, NO_KEYS, "connection", "1.0.0", "Authenticates the connection", local(auth)),
  row("client", -2, "", NO_KEYS, "connection", "2.4.0", "About the connections", local(client)),
  row("command", -1, "loading stale", NO_KEYS, "server", "2.8.13", "About the commands", local(commandContainer)),
  row("info", -1, "loading stale", NO_KEYS, "server", "1.0.0", "About the server", local(info)),
  row("config", -2, "", NO_KEYS, "server", "2.0.0", "About the configuration", local(config)),
  row("select", 2, "loading stale fast", NO_KEYS, "connection", "1.0.0", "Chooses the database: 0", local(select)),
  row("quit", -1, CONNECTION, NO_KEYS, "connection", "1.0.0", "Ends the connection", local(quit)),
  row("reset", 1, CONNECTION, NO_KEYS, "connection", "6.2.0", "Makes the connection as new", local(reset)),
]);

const NAME_BYTES_MAX = Math.max(...commandRows.map((one) => one.name.length));
/** A power of two, with room enough that few names meet. */
const BUCKETS = 256;

function bucketOf(name: Uint8Array, start: number, end: number): number {
  let hash = end - start;
  for (let at = start; at < end; at++) hash = Math.imul(hash, 31) + upperCase(name[at] as number);
  return (hash ^ (hash >>> 7)) & (BUCKETS - 1);
}

/** Open addressing: a row stands in the bucket of its name's hash or in the next free one. */
const buckets: (CommandRow | null)[] = Array.from({ length: BUCKETS }, () => null);
for (const one of commandRows) {
  let bucket = bucketOf(one.upperName, 0, one.upperName.length);
  while (buckets[bucket] !== null) bucket = (bucket + 1) & (BUCKETS - 1);
  buckets[bucket] = one;
}

/** The command named by `bytes[start, end)` in any case, or null. Allocates nothing. */
export function findCommand(bytes: Uint8Array, start: number, end: number): CommandRow | null {
  const length = end - start;
  if (length > NAME_BYTES_MAX) return null;
  for (let bucket = bucketOf(bytes, start, end); ; bucket = (bucket + 1) & (BUCKETS - 1)) {
    const candidate = buckets[bucket] as CommandRow | null;
    if (candidate === null) return null;
    const name = candidate.upperName;
    if (name.length !== length) continue;
    let i = 0;
    while (i < length && upperCase(bytes[start + i] as number) === name[i]) i++;
    if (i === length) return candidate;
  }
}

/** True if a request of `count` arguments, the name included, fits the row. */
export function arityFits(command: CommandRow, count: number): boolean {
  return command.arity >= 0 ? count === command.arity : count >= -command.arity;
}
