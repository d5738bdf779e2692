import { assert, type ByteWriter, type Prng } from "../../base/index.js";
import {
  BTREE_COMMAND_BYTES,
  BtreeOperation,
  RANGE_PAIRS_MAX,
  REPLY_VALUE_HEADER_BYTES,
  ReplyKind,
  replyValueKind,
} from "../../service/index.js";
import type { WorkloadScenario } from "../scenario/index.js";
import { type CommandSource, KeyNames, type SimCommand } from "./command.js";

/** Keys of filling that no history records: they make leaves split, merge and borrow around the keys that it does. */
const FILLING_KEYS = 3000;
/** Share of commands on them, and of ranges among the reads. Of several groups both concern all of them. */
const SHARES = { filling: 0.35, ranges: 0.1 } as const;
const SHARES_OF_GROUPS = { filling: 0.05, ranges: 0.4 } as const;
/** Multiples of this number are the keys of the history, so that filling lies between any two of them. */
export const SPACING = 64;

/**
 * Inserts, updates, deletes, reads and ranges, named in the history as the Redis commands which they amount to. A range is
 * a read of every key of the history that lies in it.
 */
export class BtreeCommands implements CommandSource {
  readonly #scenario: WorkloadScenario;
  readonly #names: KeyNames;
  readonly #joint: boolean;
  readonly #shares: typeof SHARES | typeof SHARES_OF_GROUPS;
  #values = 0;

  constructor(scenario: WorkloadScenario, severalGroups: boolean) {
    this.#scenario = scenario;
    this.#shares = severalGroups ? SHARES_OF_GROUPS : SHARES;
    this.#names = new KeyNames("b", scenario.keys);
    this.#joint = scenario.clients * scenario.lanes * scenario.blockCommandsMax <= 6;
  }

  next(prng: Prng): SimCommand {
    if (prng.chance(this.#shares.filling)) return this.#fill(prng);
    const name = this.#names.pick(prng);
    if (prng.chance(this.#scenario.reads)) return this.#read(prng, name);
    const value = ++this.#values;
    switch (prng.below(4)) {
      case 0:
        return new BtreeCommand("setnx", [name, value], BtreeOperation.insert, value, done);
      case 1:
        return new BtreeCommand("del", [name], BtreeOperation.delete, 0, done);
      default:
        return new BtreeCommand("set", [name, value, "XX"], BtreeOperation.update, value, (view, at) =>
          done(view, at) === 1 ? "OK" : null,
        );
    }
  }

  #read(prng: Prng, name: string): SimCommand {
    if (!this.#joint || !prng.chance(this.#shares.ranges)) return readKey(name);
    const other = this.#names.pick(prng);
    const [low, high] = keyOf(name) <= keyOf(other) ? [name, other] : [other, name];
    return new RangeCommand(
      this.#names.current.filter((key) => keyOf(key) >= keyOf(low) && keyOf(key) <= keyOf(high)),
      keyOf(low),
      keyOf(high),
    );
  }

  /** A command on a key that the history knows nothing of. */
  #fill(prng: Prng): SimCommand {
    const key = prng.below(FILLING_KEYS) * SPACING + 1 + prng.below(SPACING - 1);
    const operation = prng.chance(0.6) ? BtreeOperation.insert : BtreeOperation.delete;
    return new FillCommand(key, operation);
  }

  onUnknown({ read, args }: SimCommand): void {
    if (!read) this.#names.noteUnknown(String(args[0]));
  }

  finalReads(): SimCommand[] {
    return this.#names.all.map(readKey);
  }
}

/** Names that a key may get one after the other, as those before are retired. */
export const LIVES_MAX = 71;

/** The number that a name stands for: `b3''` is the third life of key 3. */
export function keyOf(name: string): number {
  const digits = name.replaceAll("'", "");
  const slot = Number(digits.slice(1)) * LIVES_MAX + name.length - digits.length;
  assert(name.length - digits.length < LIVES_MAX && slot < FILLING_KEYS, `the key ${name} has no number of its own`);
  return slot * SPACING;
}

export function done(view: DataView, at: number): unknown {
  return replyValueKind(view, at) === ReplyKind.ok ? 1 : 0;
}

export function readKey(name: string): SimCommand {
  return new BtreeCommand("get", [name], BtreeOperation.read, 0, (view, at) =>
    replyValueKind(view, at) === ReplyKind.nil ? null : String(view.getUint32(at + REPLY_VALUE_HEADER_BYTES, true)),
  );
}

function writeCommand(writer: ByteWriter, operation: BtreeOperation, words: readonly number[]): void {
  const bytes = BTREE_COMMAND_BYTES[operation] as number;
  writer.u32(bytes);
  writer.u32(operation);
  for (let i = 0; i < (bytes - 8) / 4; i++) writer.u32(words[i] as number);
}

export class BtreeCommand implements SimCommand {
  readonly op: string;
  readonly args: readonly (string | number)[];
  readonly read: boolean;
  readonly #operation: BtreeOperation;
  readonly #value: number;
  readonly #result: (view: DataView, at: number) => unknown;

  constructor(
    op: string,
    args: readonly (string | number)[],
    operation: BtreeOperation,
    value: number,
    result: (view: DataView, at: number) => unknown,
  ) {
    this.op = op;
    this.args = args;
    this.read = operation === BtreeOperation.read;
    this.#operation = operation;
    this.#value = value;
    this.#result = result;
  }

  encode(writer: ByteWriter): void {
    writeCommand(writer, this.#operation, [keyOf(String(this.args[0])), 0, this.#value, 0]);
  }

  decode(_bytes: Uint8Array, view: DataView, at: number): unknown {
    return this.#result(view, at);
  }
}

/** Changes the shape of the tree around the keys of the history. */
export class FillCommand implements SimCommand {
  readonly op = null;
  readonly args: readonly string[] = [];
  readonly read = false;
  readonly #key: number;
  readonly #operation: BtreeOperation;

  constructor(key: number, operation: BtreeOperation) {
    this.#key = key;
    this.#operation = operation;
  }

  encode(writer: ByteWriter): void {
    writeCommand(writer, this.#operation, [this.#key, 0, this.#key, 0]);
  }

  decode(): unknown {
    return 0;
  }
}

/** Reads all keys of an interval at one moment. */
export class RangeCommand implements SimCommand {
  readonly op: string | null = "mget";
  readonly args: readonly string[];
  readonly read = true;
  readonly #low: number;
  readonly #high: number;

  constructor(names: readonly string[], low: number, high: number) {
    this.args = names;
    this.#low = low;
    this.#high = high;
  }

  encode(writer: ByteWriter): void {
    writeCommand(writer, BtreeOperation.range, [this.#low, 0, this.#high, 0, RANGE_PAIRS_MAX]);
  }

  decode(_bytes: Uint8Array, view: DataView, at: number): unknown {
    const found = new Map<number, string>();
    const count = view.getUint32(at + REPLY_VALUE_HEADER_BYTES, true);
    for (let i = 0, pair = at + REPLY_VALUE_HEADER_BYTES + 4; i < count; i++, pair += 16) {
      found.set(view.getUint32(pair, true), String(view.getUint32(pair + 8, true)));
    }
    return this.args.map((name) => found.get(keyOf(name)) ?? null);
  }
}
