/**
 * The store of byte strings, from the description of its operations. Texts have one character a byte.
 */
import { latin1 } from "../../base/index.js";
import {
  ARGUMENTS_MAX,
  commandFlags,
  commandOperation,
  ExpireFlag,
  KvOperation,
  RangeFlag,
  readArguments,
  RenameFlag,
  ScanFlag,
  SetFlag,
  SetManyFlag,
  TimeFlag,
  VALUE_BYTES_MAX,
} from "../../service/index.js";
import {
  compareText,
  isError,
  lacksRoom,
  NIL,
  OK,
  type ReferenceCommand,
  type ReferenceModel,
  refusal,
  type Reply,
  SortedList,
} from "./reference.js";
import { inRange, parseInteger } from "./values.js";

interface Entry {
  readonly value: string;
  /** In ms of agreed time, from which the entry is as if it were gone; 0 for never. */
  readonly expiry: number;
}

interface Expiring {
  readonly expiry: number;
  readonly key: string;
}

/** One command, taken apart. */
interface Parts {
  readonly operation: number;
  readonly args: readonly string[];
  readonly has: (flag: number) => boolean;
}

const NOT_AN_INTEGER = "-ERR value is not an integer or out of range";
const OVERFLOW = "-ERR increment or decrement would overflow";
/** Entries removed at the beginning of an instance at most, those first whose time came first. */
const REMOVED_PER_INSTANCE_MAX = 256;
/** Keys watched in all, above which the service gives up its oldest watches. */
const WATCHED_MAX = 65_536;
const EXPIRY_MAX = BigInt(Number.MAX_SAFE_INTEGER);

const O = KvOperation;
const readList: readonly number[] = [
  O.get,
  O.exists,
  O.getMany,
  O.length,
  O.count,
  O.getRange,
  O.timeToLive,
  O.type,
  O.keys,
  O.scan,
  O.randomKey,
  O.range,
  O.rangeCount,
  O.fail,
];
const reads: ReadonlySet<number> = new Set(readList);

export class ReferenceKv implements ReferenceModel {
  /** With those that have expired and are not removed yet. */
  readonly #entries = new Map<string, Entry>();
  readonly #keys = new SortedList<string>(compareText);
  readonly #expiring = new SortedList<Expiring>((a, b) => a.expiry - b.expiry || compareText(a.key, b.key));
  /** How often each key has changed. */
  readonly #changes = new Map<string, number>();
  /** By id: each watched key, and how often it had changed. */
  readonly #watches = new Map<number, Map<string, number>>();
  #watchNext = 1;
  #now = 0;
  readonly #spans = new Uint32Array(2 * ARGUMENTS_MAX);

  advance(timeMs: number): void {
    this.#now = Math.floor(timeMs);
    for (let i = 0; i < REMOVED_PER_INSTANCE_MAX; i++) {
      const [first] = this.#expiring.items;
      if (first === undefined || first.expiry > this.#now) return;
      this.#remove(first.key);
    }
  }

  execute({ bytes, view, at }: ReferenceCommand, readOnly: boolean, observed: Reply): Reply {
    if (lacksRoom(observed)) return observed;
    const count = readArguments(view, at, this.#spans);
    if (count < 0) return refusal(observed);
    const args: string[] = [];
    for (let i = 0; i < count; i++) {
      args.push(latin1(bytes, this.#spans[2 * i] as number, this.#spans[2 * i + 1] as number));
    }
    const operation = commandOperation(view, at);
    if (readOnly && !reads.has(operation)) return refusal(observed);
    const flags = commandFlags(view, at);
    const parts = { operation, args, has: (flag: number) => (flags & flag) !== 0 };
    return operation === O.transaction ? this.#transaction(parts, observed) : this.#command(parts, observed);
  }

  #command(parts: Parts, observed: Reply): Reply {
    const { operation, args, has } = parts;
    const [key, second] = args as [string, string];
    switch (operation) {
      case O.get:
        return bulk(this.#live(key)?.value);
      case O.set:
        return this.#set(parts);
      case O.delete: {
        const present = args.filter((name, index) => this.#live(name) !== undefined && args.indexOf(name) === index);
        for (const name of present) this.#remove(name);
        return `:${present.length}`;
      }
      case O.exists:
        return `:${args.filter((name) => this.#live(name) !== undefined).length}`;
      case O.increment:
        return this.#increment(key, second);
      case O.incrementFloat:
        return this.#incrementFloat(key, second, observed);
      case O.getMany:
        return args.map((name) => bulk(this.#live(name)?.value));
      case O.setMany: {
        const names = args.filter((_, index) => index % 2 === 0);
        const onlyNew = has(SetManyFlag.onlyNew);
        if (onlyNew && names.some((name) => this.#live(name) !== undefined)) return ":0";
        for (let i = 0; i < args.length; i += 2) this.#put(args[i] as string, args[i + 1] as string, 0);
        return onlyNew ? ":1" : OK;
      }
      case O.append: {
        const before = this.#live(key);
        const value = (before?.value ?? "") + second;
        if (value.length > VALUE_BYTES_MAX) return refusal(observed);
        this.#put(key, value, before?.expiry ?? 0);
        return `:${value.length}`;
      }
      case O.length:
        return `:${this.#live(key)?.value.length ?? 0}`;
      case O.count:
        return `:${this.#entries.size}`;
      case O.getDelete: {
        const before = this.#live(key);
        if (before !== undefined) this.#remove(key);
        return bulk(before?.value);
      }
      case O.getExpire:
        return this.#getExpire(parts);
      case O.getRange:
        return this.#getRange(key, second, args[2] as string);
      case O.setRange:
        return this.#setRange(key, second, args[2] as string, observed);
      case O.expire:
        return this.#expire(parts);
      case O.timeToLive: {
        const entry = this.#live(key);
        if (entry === undefined) return ":-2";
        if (entry.expiry === 0) return ":-1";
        const ms = has(TimeFlag.absolute) ? entry.expiry : entry.expiry - this.#now;
        return `:${has(TimeFlag.seconds) ? Math.floor((ms + 500) / 1000) : ms}`;
      }
      case O.persist: {
        const entry = this.#live(key);
        if (entry === undefined || entry.expiry === 0) return ":0";
        this.#put(key, entry.value, 0);
        return ":1";
      }
      case O.type:
        return this.#live(key) === undefined ? "=none" : "=string";
      case O.rename:
        return this.#rename(key, second, has(RenameFlag.onlyNew));
      case O.keys:
        return this.#sameKeys(this.#liveKeys(globOf(key)), observed);
      case O.scan:
        return this.#scan(parts, observed);
      case O.clear:
        for (const name of this.#entries.keys()) this.#remove(name);
        return OK;
      case O.randomKey: {
        const live = this.#liveKeys(null);
        if (live.length === 0) return NIL;
        const named = typeof observed === "string" && observed.startsWith("$") ? observed.slice(1) : null;
        return named !== null && this.#live(named) !== undefined ? observed : "$one of the keys";
      }
      case O.range:
      case O.rangeCount:
      case O.rangeDelete:
        return this.#range(parts, observed);
      case O.watch:
        return this.#watch(parts, observed);
      case O.unwatch:
        this.#watches.delete(idOf(key));
        return OK;
      default:
        // `fail` among them, which is an error by itself.
        return refusal(observed);
    }
  }

  // Values.

  #set({ args, has }: Parts): Reply {
    const [key, value] = args as [string, string];
    let expiry = 0;
    if (has(SetFlag.expires)) {
      const name = !has(SetFlag.integerReply) ? "set" : has(SetFlag.seconds) ? "setex" : "psetex";
      const wanted = this.#expiryOf(args[2] as string, has(SetFlag.seconds), has(SetFlag.absolute), true, name);
      if (typeof wanted === "string") return wanted;
      expiry = wanted;
    }
    const before = this.#live(key);
    const refused = (has(SetFlag.onlyNew) && before !== undefined) || (has(SetFlag.onlyOld) && before === undefined);
    if (has(SetFlag.keepExpiry)) expiry = before?.expiry ?? 0;
    if (!refused) this.#put(key, value, expiry);
    if (has(SetFlag.returnOld)) return bulk(before?.value);
    if (has(SetFlag.integerReply) && !has(SetFlag.expires)) return refused ? ":0" : ":1";
    return refused ? NIL : OK;
  }

  #getExpire({ args, has }: Parts): Reply {
    const [key] = args as [string];
    const entry = this.#live(key);
    if (entry === undefined) return NIL;
    if (has(SetFlag.expires)) {
      const wanted = this.#expiryOf(args[1] as string, has(SetFlag.seconds), has(SetFlag.absolute), true, "getex");
      if (typeof wanted === "string") return wanted;
      if (wanted <= this.#now) this.#remove(key);
      else this.#put(key, entry.value, wanted);
    } else if (has(SetFlag.persist) && entry.expiry !== 0) {
      this.#put(key, entry.value, 0);
    }
    return bulk(entry.value);
  }

  #increment(key: string, by: string): Reply {
    const before = this.#live(key);
    const number = parseInteger(before?.value ?? "0");
    const delta = parseInteger(by);
    if (number === null || delta === null) return NOT_AN_INTEGER;
    if (!inRange(number + delta)) return OVERFLOW;
    const sum = String(number + delta);
    this.#put(key, sum, before?.expiry ?? 0);
    return `:${sum}`;
  }

  /** Right if it is the sum to about 17 digits; which digits exactly is told by the answer. */
  #incrementFloat(key: string, by: string, observed: Reply): Reply {
    const before = this.#live(key);
    const number = decimal(before?.value ?? "0");
    const delta = decimal(by);
    if (number === null || delta === null) return refusal(observed);
    const sum = number + delta;
    const text = typeof observed === "string" && observed.startsWith("$") ? observed.slice(1) : null;
    const answered = text === null ? null : decimal(text);
    if (text === null || answered === null || far(answered, sum)) return `$a number near ${sum} / 10^${DECIMALS}`;
    this.#put(key, text, before?.expiry ?? 0);
    return observed;
  }

  #getRange(key: string, from: string, to: string): Reply {
    const first = parseInteger(from);
    const last = parseInteger(to);
    if (first === null || last === null) return NOT_AN_INTEGER;
    const value = this.#live(key)?.value ?? "";
    if (first < 0n && last < 0n && first > last) return "$";
    const length = BigInt(value.length);
    const place = (number: bigint): bigint => (number >= 0n ? number : number + length > 0n ? number + length : 0n);
    const [low, high] = [place(first), place(last) < length ? place(last) : length - 1n];
    return low > high || length === 0n ? "$" : `$${value.slice(Number(low), Number(high) + 1)}`;
  }

  #setRange(key: string, at: string, piece: string, observed: Reply): Reply {
    const offset = parseInteger(at);
    if (offset === null) return NOT_AN_INTEGER;
    if (offset < 0n) return "-ERR offset is out of range";
    const before = this.#live(key);
    const value = before?.value ?? "";
    if (piece === "") return `:${value.length}`;
    if (offset + BigInt(piece.length) > BigInt(VALUE_BYTES_MAX)) return refusal(observed);
    const start = Number(offset);
    const written = value.slice(0, start).padEnd(start, "\0") + piece + value.slice(start + piece.length);
    this.#put(key, written, before?.expiry ?? 0);
    return `:${written.length}`;
  }

  // Keys.

  #expire({ args, has }: Parts): Reply {
    const [key, number] = args as [string, string];
    const { seconds, absolute, onlyNew, onlyOld, later, earlier } = ExpireFlag;
    const name = `${has(seconds) ? "" : "p"}expire${has(absolute) ? "at" : ""}`;
    const wanted = this.#expiryOf(number, has(seconds), has(absolute), false, name);
    if (typeof wanted === "string") return wanted;
    const entry = this.#live(key);
    if (entry === undefined) return ":0";
    // A key without an expiry lives for ever.
    const present = entry.expiry === 0 ? Infinity : entry.expiry;
    const refused =
      (has(onlyNew) && present !== Infinity) ||
      (has(onlyOld) && present === Infinity) ||
      (has(later) && wanted <= present) ||
      (has(earlier) && wanted >= present);
    if (refused) return ":0";
    if (wanted <= this.#now) this.#remove(key);
    else this.#put(key, entry.value, wanted);
    return ":1";
  }

  /** The time that a number means, or the error that it is none. */
  #expiryOf(text: string, seconds: boolean, absolute: boolean, positive: boolean, name: string): number | string {
    const number = parseInteger(text);
    if (number === null) return NOT_AN_INTEGER;
    const invalid = `-ERR invalid expire time in '${name}' command`;
    if (positive && number <= 0n) return invalid;
    const ms = seconds ? number * 1000n : number;
    const time = absolute ? ms : ms + BigInt(this.#now);
    if (!inRange(ms) || (time > 0n && !inRange(time))) return invalid;
    return Number(time > EXPIRY_MAX ? EXPIRY_MAX : time < -EXPIRY_MAX ? -EXPIRY_MAX : time);
  }

  #rename(from: string, to: string, onlyNew: boolean): Reply {
    const entry = this.#live(from);
    if (entry === undefined) return "-ERR no such key";
    if (onlyNew && this.#live(to) !== undefined) return ":0";
    if (from !== to) {
      this.#put(to, entry.value, entry.expiry);
      this.#remove(from);
    }
    return onlyNew ? ":1" : OK;
  }

  /** One step of a walk, whose cursor says nothing by itself: every key it brings is there and fits, and comes once. */
  #scan({ args, has }: Parts, observed: Reply): Reply {
    const cursor = parseInteger(args[0] as string);
    const count = parseInteger(args[1] as string);
    if (cursor === null || cursor < 0n || count === null || count < 1n) return refusal(observed);
    const pattern = has(ScanFlag.pattern) ? globOf(args[2] as string) : null;
    const type = has(ScanFlag.type) ? (args[has(ScanFlag.pattern) ? 3 : 2] as string) : "string";
    const wrong = ["$a cursor", ["$keys that are there"]];
    if (isError(observed) || typeof observed === "string" || observed.length !== 2) return wrong;
    const [next, found] = observed as readonly [Reply, Reply];
    if (typeof next !== "string" || typeof found === "string" || !/^\$[0-9]+$/.test(next)) return wrong;
    if (found.length > 0 && type.toLowerCase() !== "string") return wrong;
    const names = found.map((name) => (typeof name === "string" && name.startsWith("$") ? name.slice(1) : ""));
    const right = names.every((name) => this.#live(name) !== undefined && pattern?.test(name) !== false);
    return right && new Set(names).size === names.length ? observed : wrong;
  }

  #range({ operation, args, has }: Parts, observed: Reply): Reply {
    const [from, to] = args as [string, string];
    const limit = has(RangeFlag.limit) ? parseInteger(args[2] as string) : EXPIRY_MAX;
    if (limit === null || limit < 0n) return refusal(observed);
    const keys = this.#keys.items;
    const found: string[] = [];
    for (let i = this.#keys.indexOf(from); i < keys.length && (to === "" || (keys[i] as string) <= to); i++) {
      if (this.#live(keys[i] as string) !== undefined) found.push(keys[i] as string);
    }
    if (operation === O.rangeCount) return `:${found.length}`;
    if (operation === O.range && has(RangeFlag.reverse)) found.reverse();
    const taken = found.slice(0, Number(limit));
    if (operation === O.range) return taken.flatMap((key) => [`$${key}`, bulk(this.#live(key)?.value)]);
    for (const key of taken) this.#remove(key);
    return `:${taken.length}`;
  }

  #liveKeys(pattern: RegExp | null): string[] {
    return this.#keys.items.filter((key) => this.#live(key) !== undefined && pattern?.test(key) !== false);
  }

  /** The keys in the order of the answer, if it has the same ones. */
  #sameKeys(keys: readonly string[], observed: Reply): Reply {
    const expected = keys.map((key) => `$${key}`);
    if (typeof observed === "string" || observed.length !== expected.length) return expected;
    const sorted = (observed as string[]).toSorted(compareText);
    return sorted.every((key, index) => key === expected[index]) ? observed : expected;
  }

  // Transactions.

  #watch({ args }: Parts, observed: Reply): Reply {
    const id = idOf(args[0] as string);
    if (id < 0) return refusal(observed);
    const keys = args.slice(1);
    for (const key of keys) if (this.#entries.has(key) && this.#live(key) === undefined) this.#remove(key);
    if (id !== 0 && !this.#watches.has(id)) return `:${id}`;
    const watch = this.#watches.get(id) ?? new Map<string, number>();
    const own = id === 0 ? this.#watchNext++ : id;
    this.#watches.set(own, watch);
    for (const key of keys) if (!watch.has(key)) watch.set(key, this.#changes.get(key) ?? 0);
    return `:${own}`;
  }

  #transaction({ args }: Parts, observed: Reply): Reply {
    const id = idOf(args[0] ?? "");
    if (id < 0 || args.length === 0) return refusal(observed);
    if (id !== 0 && !this.#takeWatch(id, observed)) return NIL;
    const results = typeof observed === "string" ? [] : observed;
    return args.slice(1).map((text, index) => {
      const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
      const command = { bytes, view: new DataView(bytes.buffer), at: 0 };
      return this.execute(command, false, results[index] ?? NIL);
    });
  }

  /** Whether nothing has changed what is watched, and nothing of it has expired. The watch ends. */
  #takeWatch(id: number, observed: Reply): boolean {
    const watch = this.#watches.get(id);
    // The service may have given up any watch when there were very many keys.
    let watched = 0;
    for (const keys of this.#watches.values()) watched += keys.size;
    this.#watches.delete(id);
    if (watch === undefined || (watched > WATCHED_MAX && observed === NIL)) return false;
    for (const [key, changes] of watch) {
      if ((this.#changes.get(key) ?? 0) !== changes) return false;
      if (this.#entries.has(key) && this.#live(key) === undefined) return false;
    }
    return true;
  }

  // Entries.

  #live(key: string): Entry | undefined {
    const entry = this.#entries.get(key);
    return entry === undefined || entry.expiry === 0 || entry.expiry > this.#now ? entry : undefined;
  }

  #put(key: string, value: string, expiry: number): void {
    const before = this.#entries.get(key);
    if (before === undefined) this.#keys.add(key);
    else if (before.expiry !== 0) this.#expiring.remove({ expiry: before.expiry, key });
    this.#entries.set(key, { value, expiry });
    if (expiry !== 0) this.#expiring.add({ expiry, key });
    this.#changes.set(key, (this.#changes.get(key) ?? 0) + 1);
  }

  #remove(key: string): void {
    const before = this.#entries.get(key);
    if (before === undefined) return;
    this.#entries.delete(key);
    this.#keys.remove(key);
    if (before.expiry !== 0) this.#expiring.remove({ expiry: before.expiry, key });
    this.#changes.set(key, (this.#changes.get(key) ?? 0) + 1);
  }
}

const bulk = (value: string | undefined): Reply => (value === undefined ? NIL : `$${value}`);

/** The id of a watch: eight bytes of a double, nothing for 0, -1 for what is none. */
function idOf(text: string): number {
  if (text === "") return 0;
  if (text.length !== 8) return -1;
  const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
  const id = new DataView(bytes.buffer).getFloat64(0, true);
  return Number.isSafeInteger(id) && id > 0 ? id : -1;
}

const DECIMALS = 40;

/** A decimal number times 10^40, as far as those digits reach; null for what is none. */
function decimal(text: string): bigint | null {
  const match = /^([+-]?)([0-9]*)\.?([0-9]*)(?:[eE]([+-]?[0-9]{1,2}))?$/.exec(text);
  if (match === null) return null;
  const [, sign, whole = "", fraction = "", exponent = "0"] = match;
  if (whole === "" && fraction === "") return null;
  const shift = DECIMALS - fraction.length + Number(exponent);
  const digits = BigInt(whole + fraction);
  const size = shift >= 0 ? digits * BigInt(`1${"0".repeat(shift)}`) : digits / BigInt(`1${"0".repeat(-shift)}`);
  return sign === "-" ? -size : size;
}

/** Whether a sum that was answered is not the true one, rounded to 64 bits of mantissa and 17 digits behind the point. */
function far(answered: bigint, sum: bigint): boolean {
  const difference = answered > sum ? answered - sum : sum - answered;
  const size = sum < 0n ? -sum : sum;
  return difference > size / BigInt(`1${"0".repeat(17)}`) + BigInt(`1${"0".repeat(DECIMALS - 17)}`);
}

/** A pattern of KEYS as a regular expression. */
function globOf(pattern: string): RegExp {
  const literal = (character: string): string => character.replace(/[\\^$.*+?()[\]{}|/-]/, "\\$&");
  let source = "";
  for (let i = 0; i < pattern.length; i++) {
    const character = pattern.charAt(i);
    if (character === "*") source += ".*";
    else if (character === "?") source += ".";
    else if (character === "\\" && i + 1 < pattern.length) source += literal(pattern.charAt(++i));
    else if (character === "[") {
      const close = pattern.indexOf("]", i + 1);
      const end = close < 0 ? pattern.length : close;
      const inside = pattern.slice(i + 1, end);
      const not = inside.startsWith("^");
      const members = (not ? inside.slice(1) : inside).replace(/[\\[\]^]/g, "\\$&");
      source += members === "" ? (not ? "." : "(?!)") : `[${not ? "^" : ""}${members}]`;
      i = end;
    } else source += literal(character);
  }
  return new RegExp(`^${source}$`, "s");
}
