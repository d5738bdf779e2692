import { ByteWriter, latin1, type Prng } from "../../base/index.js";
import { KvOperation, SetFlag } from "../../service/index.js";
import type { WorkloadScenario } from "../scenario/index.js";
import { ArgumentCommand } from "./argument-command.js";
import { type CommandSource, KeyNames, type SimCommand } from "./command.js";

/** Lifetimes of expiring values in ms: from gone at once to beyond the end of the run. */
const LIFETIMES_MS = [1, 40, 300, 2000, 60_000];
/** Commands in flight at most for reads and writes of several keys, which tie the keys' histories together. */
const JOINT_COMMANDS_MAX = 6;

/** Some keys hold texts, some numbers and some values that expire; rarely a command meets the wrong kind. */
export class KvCommands implements CommandSource {
  readonly #scenario: WorkloadScenario;
  readonly #texts: KeyNames;
  readonly #numbers: KeyNames;
  readonly #expiring: KeyNames;
  /** Reads and writes of several keys make checking costly: only where few are open at once. */
  readonly #joint: boolean;
  #values = 0;

  constructor(scenario: WorkloadScenario) {
    this.#scenario = scenario;
    this.#joint =
      scenario.keys >= 4 && scenario.clients * scenario.lanes * scenario.blockCommandsMax <= JOINT_COMMANDS_MAX;
    const half = Math.max(1, Math.floor(scenario.keys / 2));
    this.#texts = new KeyNames("t", half);
    this.#numbers = new KeyNames("n", half);
    this.#expiring = new KeyNames("x", Math.max(1, Math.floor(scenario.keys / 4)));
  }

  next(prng: Prng, client: string): SimCommand {
    if (prng.chance(this.#scenario.reads)) return this.#read(prng);
    const text = this.#texts.pick(prng);
    const number = prng.chance(0.02) ? text : this.#numbers.pick(prng);
    switch (prng.below(13)) {
      case 0:
      case 1:
        return new ArgumentCommand("set", [text, this.#value(prng, client)], KvOperation.set);
      case 2: {
        const args = [text, this.#value(prng, client)];
        return new ArgumentCommand("getset", args, KvOperation.set, { flags: SetFlag.returnOld });
      }
      case 3: {
        const flags = SetFlag.onlyNew | SetFlag.integerReply;
        return new ArgumentCommand("setnx", [text, this.#value(prng, client)], KvOperation.set, { flags });
      }
      case 4:
        return new ArgumentCommand("del", [prng.chance(0.7) ? text : number], KvOperation.delete);
      case 5:
        return new ArgumentCommand("append", [text, `+${client}.${++this.#values}`], KvOperation.append);
      case 6:
        return new ArgumentCommand("decr", [number], KvOperation.increment, { encoded: [number, "-1"] });
      case 7:
        return this.#expire(prng, client);
      case 8:
        return new WatchedSet(text, this.#value(prng, client));
      case 9:
        return this.#joint ? this.#transaction(prng, client) : readKey(text);
      default:
        return new ArgumentCommand("incr", [number], KvOperation.increment, { encoded: [number, "1"] });
    }
  }

  #read(prng: Prng): SimCommand {
    if (prng.chance(0.08) && this.#joint) {
      const [first, second] = this.#texts.current;
      if (prng.chance(0.5)) return new RangeOfTexts(this.#texts.current);
      return new ArgumentCommand("mget", [first as string, second as string], KvOperation.getMany, { read: true });
    }
    return readKey(prng.pick([this.#texts, this.#numbers, this.#expiring]).pick(prng));
  }

  /** Values that expire are only ever written whole, so that the history knows by its value which one went. */
  #expire(prng: Prng, client: string): SimCommand {
    const key = this.#expiring.pick(prng);
    if (prng.chance(0.2)) {
      return new ArgumentCommand("get", [key], KvOperation.getExpire, { flags: SetFlag.persist });
    }
    // That it may vanish multiplies the histories to be considered, as an unknown outcome does.
    this.#expiring.noteUnknown(key);
    return new ExpiringSet(key, this.#value(prng, client), prng.pick(LIFETIMES_MS));
  }

  #transaction(prng: Prng, client: string): SimCommand {
    const [first, second] = this.#texts.current as [string, string];
    const number = this.#numbers.pick(prng);
    return new TransactionCommand([
      new ArgumentCommand("getset", [first, this.#value(prng, client)], KvOperation.set, { flags: SetFlag.returnOld }),
      readKey(second),
      new ArgumentCommand("del", [number], KvOperation.delete),
    ]);
  }

  #value(prng: Prng, client: string): string {
    const value = `${client}.${++this.#values}`;
    const bytes = prng.below(this.#scenario.valueBytesMax + 1);
    return value.padEnd(bytes, ".");
  }

  onUnknown({ read, args }: SimCommand): void {
    if (read) return;
    const keys = args.map((arg) => String(Array.isArray(arg) ? arg[1] : arg));
    for (const names of [this.#texts, this.#numbers, this.#expiring]) for (const key of keys) names.noteUnknown(key);
  }

  finalReads(): SimCommand[] {
    return [...this.#texts.all, ...this.#numbers.all, ...this.#expiring.all].map(readKey);
  }
}

function readKey(key: string): ArgumentCommand {
  return new ArgumentCommand("get", [key], KvOperation.get, { read: true });
}

/** A value that may be gone at any later time, and only by itself. */
class ExpiringSet extends ArgumentCommand {
  readonly mayFollow: { readonly op: string; readonly args: readonly string[] };

  constructor(key: string, value: string, lifetimeMs: number) {
    const encoded = [key, value, String(lifetimeMs)];
    super("set", [key, value], KvOperation.set, { flags: SetFlag.expires, encoded });
    this.mayFollow = { op: "expired", args: [key, value] };
  }
}

/** All texts by one range over the keys, whose names begin with the same letter. */
class RangeOfTexts extends ArgumentCommand {
  constructor(keys: readonly string[]) {
    // The keys as they are now: the list changes when one of them is given up for a new name, and so would what is asked.
    super("mget", [...keys], KvOperation.range, { read: true, encoded: ["t", "t~"] });
  }

  override decode(bytes: Uint8Array, view: DataView, at: number): unknown {
    const pairs = super.decode(bytes, view, at) as string[];
    return this.args.map((key) => {
      const index = pairs.indexOf(key as string);
      return index >= 0 && index % 2 === 0 ? pairs[index + 1] : null;
    });
  }
}

/** Several commands at one moment. */
class TransactionCommand extends ArgumentCommand {
  constructor(commands: readonly ArgumentCommand[], watch = "") {
    super(
      "exec",
      commands.map(({ op, args }) => [op, ...args]),
      KvOperation.transaction,
      { encoded: [watch, ...commands.map(textOf)] },
    );
  }
}

/**
 * Watches a key, reads it, and sets it if nothing has changed it since: three commands one after the other, of which the
 * history holds the read, and the last as a compare-and-set, whose value is unique.
 */
class WatchedSet extends ArgumentCommand {
  readonly #key: string;
  readonly #value: string;

  constructor(key: string, value: string) {
    super(null, [key], KvOperation.watch, { encoded: ["", key] });
    this.#key = key;
    this.#value = value;
  }

  followUp(watched: unknown): SimCommand {
    return new WatchedRead(this.#key, this.#value, Number(watched));
  }
}

class WatchedRead extends ArgumentCommand {
  readonly #value: string;
  readonly #watch: number;

  constructor(key: string, value: string, watch: number) {
    super("get", [key], KvOperation.get);
    this.#value = value;
    this.#watch = watch;
  }

  followUp(found: unknown): SimCommand {
    const [key] = this.args as [string];
    return new CompareAndSet(key, found as string | null, this.#value, this.#watch);
  }
}

class CompareAndSet extends ArgumentCommand {
  constructor(key: string, before: string | null, after: string, watch: number) {
    const writer = new ByteWriter(8);
    writer.f64(watch);
    const set = new ArgumentCommand("set", [key, after], KvOperation.set);
    const encoded = [latin1(writer.bytes, 0, writer.length), textOf(set)];
    super("cas", [key, before, after], KvOperation.transaction, { encoded });
  }

  override decode(bytes: Uint8Array, view: DataView, at: number): unknown {
    return super.decode(bytes, view, at) === null ? 0 : 1;
  }
}

/** The bytes of a command as the text of an argument. */
function textOf(command: SimCommand): string {
  const writer = new ByteWriter(64);
  command.encode(writer);
  return latin1(writer.bytes, 0, writer.length);
}
