import { ByteWriter, latin1, type Prng } from "../../base/index.js";
import { ExpireFlag, KvOperation, RangeFlag, ScanFlag, SetFlag, SetManyFlag, TimeFlag } from "../../service/index.js";
import { ArgumentCommand } from "./argument-command.js";
import type { CommandSource, SimCommand } from "./command.js";

const O = KvOperation;
const NUMBERS = ["1", "-1", "17", "-400", "9223372036854775807", "no number"];
const FLOATS = ["0.1", "-2.5", "3", "1e2", "0.333333333333"];
/** In ms or in seconds: from gone at once to long after. */
const DURATIONS = ["1", "3", "40", "500", "2000", "90000", "-5"];
const PATTERNS = ["*", "k1*", "k?0*", "k[2-4]*", "none"];
/** Ranges and walks look at so many keys at most. */
const RANGE_KEYS_MAX = 40;

/**
 * Every operation of the store over a pool of keys which all clients share, with ranges, transactions and whatever else ties
 * keys together: too much for a search for an order, and no more than usual for a witness. No history records it.
 */
export class WideKvCommands implements CommandSource {
  readonly #keys: number;
  readonly #reads: number;
  #values = 0;

  constructor(keys: number, reads: number) {
    this.#keys = keys;
    this.#reads = reads;
  }

  next(prng: Prng): SimCommand {
    return prng.chance(this.#reads) ? this.#read(prng) : this.#write(prng);
  }

  onUnknown(): void {}

  finalReads(): SimCommand[] {
    return [command(O.count, [], 0, true), command(O.range, ["", "", "1000"], RangeFlag.limit, true)];
  }

  #read(prng: Prng): ArgumentCommand {
    const key = this.#key(prng);
    switch (prng.below(16)) {
      case 0:
        return command(O.exists, [key, this.#key(prng), key], 0, true);
      case 1:
        return command(O.getMany, [key, this.#key(prng), this.#key(prng)], 0, true);
      case 2:
        return command(O.length, [key], 0, true);
      case 3:
        return command(O.getRange, [key, prng.pick(["0", "-3", "2"]), prng.pick(["-1", "4", "0", "-9"])], 0, true);
      case 4:
        return command(O.timeToLive, [key], prng.pick([0, TimeFlag.seconds, TimeFlag.absolute]), true);
      case 5:
        return command(O.type, [key], 0, true);
      case 6: {
        const flags = prng.pick([RangeFlag.limit, RangeFlag.limit | RangeFlag.reverse]);
        return command(O.range, [...this.#bounds(prng), prng.pick(["0", "3", "20"])], flags, true);
      }
      case 7:
        return command(O.range, this.#bounds(prng), prng.pick([0, RangeFlag.reverse]), true);
      case 8:
        return command(O.rangeCount, this.#bounds(prng), 0, true);
      case 9:
        return prng.chance(0.3)
          ? command(O.keys, [prng.pick(PATTERNS)], 0, true)
          : command(O.scan, [String(prng.u32()), "10", prng.pick(PATTERNS)], ScanFlag.pattern, true);
      case 10:
        return command(O.count, [], 0, true);
      case 11:
        return command(O.randomKey, [], 0, true);
      default:
        return command(O.get, [key], 0, true);
    }
  }

  #write(prng: Prng): SimCommand {
    const draw = prng.below(40);
    if (draw === 0) return new Watching(this.#key(prng), this.#key(prng), this.#value(prng), prng.chance(0.5));
    if (draw === 1) return transaction("", [this.#change(prng), this.#read(prng), this.#change(prng)]);
    // The whole store is emptied now and then; what is tested is a store that holds something.
    if (draw === 2 && prng.chance(0.01)) return command(O.clear, []);
    return this.#change(prng);
  }

  #change(prng: Prng): ArgumentCommand {
    const key = this.#key(prng);
    const other = this.#key(prng);
    const value = this.#value(prng);
    const duration = prng.pick(DURATIONS);
    const unit = prng.pick([0, 0, SetFlag.seconds]);
    switch (prng.below(24)) {
      case 0:
        return command(O.set, [key, value], prng.pick([SetFlag.onlyNew, SetFlag.onlyOld, SetFlag.keepExpiry]));
      case 1:
        return command(O.set, [key, value], SetFlag.returnOld | prng.pick([0, SetFlag.onlyNew, SetFlag.onlyOld]));
      case 2:
      case 3:
        return command(O.set, [key, value, duration], SetFlag.expires | unit);
      case 4:
        return command(O.set, [key, value, duration], SetFlag.expires | SetFlag.integerReply | unit);
      case 5:
        return command(O.delete, [key, other, key]);
      case 6:
      case 7:
        return command(O.increment, [key, prng.pick(NUMBERS)]);
      case 8:
        return command(O.incrementFloat, [key, prng.pick(FLOATS)]);
      case 9:
        return command(O.setMany, [key, value, other, "m", key, "last"], prng.pick([0, SetManyFlag.onlyNew]));
      case 10:
        return command(O.append, [key, "+"]);
      case 11:
        return command(O.getDelete, [key]);
      case 12:
        return command(O.getExpire, [key, duration], SetFlag.expires | unit);
      case 13:
        return command(O.getExpire, [key], prng.pick([0, SetFlag.persist]));
      case 14:
        return command(O.setRange, [key, prng.pick(["0", "2", "9", "-1"]), prng.pick(["", "xy"])]);
      case 15: {
        const { seconds, onlyNew, onlyOld, later, earlier } = ExpireFlag;
        return command(O.expire, [key, duration], prng.pick([0, seconds, onlyNew, onlyOld, later, earlier]));
      }
      case 16:
        return command(O.persist, [key]);
      case 17:
        return command(O.rename, [key, other], prng.pick([0, 1]));
      case 18:
        return command(O.rangeDelete, [...this.#bounds(prng), "2"], RangeFlag.limit);
      case 19:
        return command(O.set, [key, String(prng.below(1000))]);
      default:
        return command(O.set, [key, value]);
    }
  }

  #key(prng: Prng): string {
    return nameOf(prng.below(this.#keys));
  }

  #bounds(prng: Prng): [string, string] {
    const low = prng.below(this.#keys);
    return [nameOf(low), nameOf(low + prng.below(RANGE_KEYS_MAX) - 2)];
  }

  #value(prng: Prng): string {
    return `v${++this.#values}`.padEnd(prng.below(40), ".");
  }
}

const nameOf = (number: number): string => `k${String(Math.max(0, number)).padStart(5, "0")}`;

function command(operation: number, args: readonly string[], flags = 0, read = false): ArgumentCommand {
  return new ArgumentCommand(null, args, operation, { flags, read });
}

/** The bytes of a command as the text of an argument. */
function textOf(one: SimCommand): string {
  const writer = new ByteWriter(64);
  one.encode(writer);
  return latin1(writer.bytes, 0, writer.length);
}

function transaction(watch: string, commands: readonly SimCommand[]): ArgumentCommand {
  return new ArgumentCommand(null, [], O.transaction, { encoded: [watch, ...commands.map(textOf)] });
}

/** Watches two keys; its next command is the transaction that depends on them. */
class Watching extends ArgumentCommand {
  readonly #key: string;
  readonly #value: string;
  readonly #ends: boolean;

  constructor(key: string, other: string, value: string, ends: boolean) {
    super(null, [], O.watch, { encoded: ["", key, other] });
    this.#key = key;
    this.#value = value;
    this.#ends = ends;
  }

  followUp(watched: unknown): SimCommand {
    const writer = new ByteWriter(8);
    writer.f64(Number(watched));
    const id = latin1(writer.bytes, 0, writer.length);
    if (!this.#ends) return new ArgumentCommand(null, [], O.unwatch, { encoded: [id] });
    return transaction(id, [command(O.set, [this.#key, this.#value]), command(O.get, [this.#key])]);
  }
}
