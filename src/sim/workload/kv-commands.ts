import type { Prng } from "../../base/index.js";
import { KvOperation, SetFlag } from "../../service/index.js";
import type { WorkloadScenario } from "../scenario/index.js";
import { ArgumentCommand } from "./argument-command.js";
import { type CommandSource, KeyNames, type SimCommand } from "./command.js";

/** Half of the keys hold texts and half hold numbers; rarely a command meets the wrong kind. */
export class KvCommands implements CommandSource {
  readonly #scenario: WorkloadScenario;
  readonly #texts: KeyNames;
  readonly #numbers: KeyNames;
  /** Reads of several keys tie the keys' histories together, which makes checking costly: only where few are open at once. */
  readonly #joint: boolean;
  #values = 0;

  constructor(scenario: WorkloadScenario) {
    this.#scenario = scenario;
    this.#joint = scenario.keys >= 4 && scenario.clients * scenario.lanes * scenario.blockCommandsMax <= 6;
    const half = Math.max(1, Math.floor(scenario.keys / 2));
    this.#texts = new KeyNames("t", half);
    this.#numbers = new KeyNames("n", half);
  }

  next(prng: Prng, client: string): SimCommand {
    if (prng.chance(this.#scenario.reads)) return this.#read(prng);
    const text = this.#texts.pick(prng);
    const number = prng.chance(0.02) ? text : this.#numbers.pick(prng);
    switch (prng.below(10)) {
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
      default:
        return new ArgumentCommand("incr", [number], KvOperation.increment, { encoded: [number, "1"] });
    }
  }

  #read(prng: Prng): SimCommand {
    if (prng.chance(0.05) && this.#joint) {
      const [first, second] = this.#texts.current;
      return new ArgumentCommand("mget", [first as string, second as string], KvOperation.getMany, { read: true });
    }
    return readKey((prng.chance(0.5) ? this.#texts : this.#numbers).pick(prng));
  }

  #value(prng: Prng, client: string): string {
    const value = `${client}.${++this.#values}`;
    const bytes = prng.below(this.#scenario.valueBytesMax + 1);
    return value.padEnd(bytes, ".");
  }

  onUnknown({ read, args }: SimCommand): void {
    if (read) return;
    for (const keys of [this.#texts, this.#numbers]) keys.noteUnknown(String(args[0]));
  }

  finalReads(): SimCommand[] {
    return [...this.#texts.all, ...this.#numbers.all].map(readKey);
  }
}

function readKey(key: string): SimCommand {
  return new ArgumentCommand("get", [key], KvOperation.get, { read: true });
}
