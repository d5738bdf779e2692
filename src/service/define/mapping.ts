// The groups of every command are asked for by clients, and again by the threads of every replica. Watched by bench/define.mjs.
import { assert } from "../../base/index.js";
import { ANY_GROUP, type GroupMapping, MAPPED_GROUPS_MAX, maskOfAll, type Run } from "../../model/index.js";
import { partitionOf } from "../byte-store/index.js";
import { DEFINED_COMMAND_HEADER_BYTES, TABLE_KEY_BYTES_MAX } from "./command.js";
import type { DefinedCommand, ServiceDefinition } from "./definition.js";
import { ValueReader } from "./message-pack.js";
import { declaredKeys, likelyKeys, type UserCode } from "./service.js";
import { encodeKey } from "./store.js";

/**
 * The groups of commands of a definition, when each group has a partition of the tables: those of the keys that a command declares for
 * its argument, whatever tables they are of; all if it declares all. A command without keys may run in any one group, and so may one
 * that is answered by an error whatever the state is.
 *
 * The optimistic one goes by the keys that a command declares to be likely, where it does; where these are none that can be, by all keys
 * declared, since the command has the same result either way.
 *
 * `keys` and `likely` are the user's: each is a function of the argument alone, or client and replicas disagree, and the replicas refuse the command.
 */
export class DefinedMapping implements GroupMapping {
  readonly groups: number;
  readonly #all: number;
  readonly #userCode: UserCode;
  readonly #optimistic: boolean;
  readonly #commands: ReadonlyMap<number, DefinedCommand>;
  readonly #reader = new ValueReader();
  readonly #key = new Uint8Array(TABLE_KEY_BYTES_MAX);

  constructor(definition: ServiceDefinition, groups: number, userCode: UserCode, optimistic = false) {
    assert(
      Number.isInteger(groups) && groups >= 1 && groups <= MAPPED_GROUPS_MAX,
      `1 to ${MAPPED_GROUPS_MAX} groups, got ${groups}`,
    );
    this.groups = groups;
    this.#all = maskOfAll(groups);
    this.#userCode = userCode;
    this.#optimistic = optimistic;
    this.#commands = new Map(definition.commands.map((command) => [command.number, command]));
  }

  masks(run: Run, masks: Uint32Array): void {
    for (let i = 0; i < run.count; i++) {
      const named = this.#of(run, run.offsets[i] as number);
      masks[i] = named === 0 ? ANY_GROUP : named;
    }
  }

  #of({ bytes, view }: Run, at: number): number {
    const length = view.getUint32(at, true);
    if (length < DEFINED_COMMAND_HEADER_BYTES) return 0;
    const command = this.#commands.get(view.getUint32(at + 4, true));
    if (command === undefined) return 0;
    const likely = this.#optimistic ? command.likely : undefined;
    if (command.keys === null && likely === undefined) return this.#all;
    const start = at + DEFINED_COMMAND_HEADER_BYTES;
    let keys: readonly string[] | null;
    const userCode = this.#userCode;
    try {
      const argument = start === at + length ? undefined : this.#reader.read(bytes, view, start, at + length);
      userCode.running = command.label;
      keys = declaredKeys(command, argument);
      if (likely !== undefined) keys = this.#likely(likely, argument) ?? keys;
    } catch {
      return 0;
    } finally {
      userCode.running = null;
      userCode.violation = null;
    }
    if (keys === null) return this.#all;
    let named = 0;
    for (const key of keys) {
      const end = encodeKey(key, this.#key, 0);
      named |= 1 << partitionOf(this.#key, 0, end, this.groups);
    }
    return named;
  }

  /** The likely keys; null if the user's code brings none that can be. */
  #likely(likely: (args: unknown) => unknown, argument: unknown): readonly string[] | null {
    try {
      return likelyKeys(likely, argument);
    } catch {
      return null;
    }
  }
}
