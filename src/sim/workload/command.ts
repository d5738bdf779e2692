import { assert, type ByteWriter, latin1, type Prng } from "../../base/index.js";
import {
  beginCommand,
  CounterOperation,
  endCommand,
  KvOperation,
  REPLY_VALUE_HEADER_BYTES,
  ReplyKind,
  replyValueKind,
  replyValueLength,
  SetFlag,
  writeArgumentLatin1,
} from "../../service/index.js";
import type { WorkloadScenario } from "../scenario/index.js";

/** One command of the workload: as the history names it, and as the service reads it. */
export interface SimCommand {
  readonly op: string;
  readonly args: readonly (string | number)[];
  readonly read: boolean;
  readonly operation: number;
  readonly flags: number;
  /** The arguments of the command, where they differ from those of the history. */
  readonly encoded: readonly string[];
}

/** Draws commands. Written values are unique, so that a read names the write it saw. */
export interface CommandSource {
  next(prng: Prng, client: string): SimCommand;
  /** The outcome of a command is unknown. */
  onUnknown(command: SimCommand): void;
  /** Reads of everything there is, for the end of a run. */
  finalReads(): SimCommand[];
}

export function commandSource(service: string, scenario: WorkloadScenario): CommandSource {
  if (service === "counter") return new CounterCommands(scenario);
  assert(service === "kv", `the simulator has no workload for the service ${service}`);
  return new KvCommands(scenario);
}

function command(op: string, args: readonly (string | number)[], operation: number, flags = 0): SimCommand {
  return { op, args, read: false, operation, flags, encoded: args.map(String) };
}

function read(op: string, args: readonly string[], operation: number): SimCommand {
  return { op, args, read: true, operation, flags: 0, encoded: args };
}

/** Writes of unknown outcome after which a key is left alone. */
const UNKNOWN_WRITES_MAX = 6;

class CounterCommands implements CommandSource {
  readonly #scenario: WorkloadScenario;

  constructor(scenario: WorkloadScenario) {
    this.#scenario = scenario;
  }

  next(prng: Prng): SimCommand {
    if (prng.chance(this.#scenario.reads)) return read("get", [], CounterOperation.get);
    // Equal steps: commands of unknown outcome are then all alike, and there are not as many histories as subsets of them.
    return command("add", [1], CounterOperation.add);
  }

  onUnknown(): void {}

  finalReads(): SimCommand[] {
    return [read("get", [], CounterOperation.get)];
  }
}

/**
 * Half of the keys hold texts and half hold numbers; rarely a command meets the wrong kind.
 *
 * A write of unknown outcome may take effect at any later time, and each one doubles the histories that a checker has to
 * consider. So a key that has met a few of them is replaced by a new one, `t1` by `t1'`.
 */
class KvCommands implements CommandSource {
  readonly #scenario: WorkloadScenario;
  readonly #texts: string[];
  readonly #numbers: string[];
  readonly #retired: string[] = [];
  readonly #unknown = new Map<string, number>();
  /** Reads of several keys tie the keys' histories together, which makes checking costly: only where few are open at once. */
  readonly #joint: boolean;
  #values = 0;

  constructor(scenario: WorkloadScenario) {
    this.#scenario = scenario;
    this.#joint = scenario.keys >= 4 && scenario.clients * scenario.lanes * scenario.blockCommandsMax <= 6;
    const half = Math.max(1, Math.floor(scenario.keys / 2));
    this.#texts = Array.from({ length: half }, (_, index) => `t${index + 1}`);
    this.#numbers = Array.from({ length: half }, (_, index) => `n${index + 1}`);
  }

  next(prng: Prng, client: string): SimCommand {
    if (prng.chance(this.#scenario.reads)) return this.#read(prng);
    const text = prng.pick(this.#texts);
    const number = prng.chance(0.02) ? text : prng.pick(this.#numbers);
    switch (prng.below(10)) {
      case 0:
      case 1:
        return command("set", [text, this.#value(prng, client)], KvOperation.set);
      case 2:
        return command("getset", [text, this.#value(prng, client)], KvOperation.set, SetFlag.returnOld);
      case 3: {
        const flags = SetFlag.onlyNew | SetFlag.integerReply;
        return command("setnx", [text, this.#value(prng, client)], KvOperation.set, flags);
      }
      case 4:
        return command("del", [prng.chance(0.7) ? text : number], KvOperation.delete);
      case 5:
        return command("append", [text, `+${client}.${++this.#values}`], KvOperation.append);
      case 6:
        return { ...command("decr", [number], KvOperation.increment), encoded: [number, "-1"] };
      default:
        return { ...command("incr", [number], KvOperation.increment), encoded: [number, "1"] };
    }
  }

  #read(prng: Prng): SimCommand {
    if (prng.chance(0.05) && this.#joint) {
      return read("mget", [this.#texts[0] as string, this.#texts[1] as string], KvOperation.getMany);
    }
    return read("get", [prng.pick(prng.chance(0.5) ? this.#texts : this.#numbers)], KvOperation.get);
  }

  #value(prng: Prng, client: string): string {
    const value = `${client}.${++this.#values}`;
    const bytes = prng.below(this.#scenario.valueBytesMax + 1);
    return value.padEnd(bytes, ".");
  }

  onUnknown({ read: reads, args }: SimCommand): void {
    const key = String(args[0]);
    const count = (this.#unknown.get(key) ?? 0) + (reads ? 0 : 1);
    this.#unknown.set(key, count);
    if (count < UNKNOWN_WRITES_MAX) return;
    for (const keys of [this.#texts, this.#numbers]) {
      const index = keys.indexOf(key);
      if (index < 0) continue;
      this.#retired.push(key);
      keys[index] = `${key}'`;
    }
  }

  finalReads(): SimCommand[] {
    return [...this.#retired, ...this.#texts, ...this.#numbers].map((key) => read("get", [key], KvOperation.get));
  }
}

export function encodeCommand(writer: ByteWriter, { operation, flags, encoded }: SimCommand): void {
  const at = beginCommand(writer, operation, flags, encoded.length);
  for (const argument of encoded) writeArgumentLatin1(writer, argument);
  endCommand(writer, at);
}

/** The reply value at `at` as a history holds it. */
export function decodeReply(bytes: Uint8Array, view: DataView, at: number): unknown {
  const start = at + REPLY_VALUE_HEADER_BYTES;
  const end = at + replyValueLength(view, at);
  switch (replyValueKind(view, at)) {
    case ReplyKind.nil:
      return null;
    case ReplyKind.ok:
      return "OK";
    case ReplyKind.integer:
      return Number(latin1(bytes, start, end));
    case ReplyKind.bulk:
      return latin1(bytes, start, end);
    case ReplyKind.error:
      return { error: latin1(bytes, start, end) };
    default: {
      const values: unknown[] = [];
      for (let next = start + 4; next < end; next += replyValueLength(view, next)) {
        values.push(decodeReply(bytes, view, next));
      }
      return values;
    }
  }
}
