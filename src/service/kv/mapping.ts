// Hot file: the groups of every command are asked for by clients, and again by the threads of every replica. No allocation.
import { assert } from "../../base/index.js";
import { ANY_GROUP, type GroupMapping, MAPPED_GROUPS_MAX, maskOfAll, type Run } from "../../model/index.js";
import { partitionOf } from "../byte-store/index.js";
import { COMMAND_HEADER_BYTES, commandArguments, commandOperation } from "../command/index.js";
import { KvOperation } from "./command.js";
import { Keys, operations } from "./operation.js";

const ARGUMENT_HEADER_BYTES = 4;

/**
 * The groups of commands when each group has the keys of one partition of the store (`partitionOf`).
 *
 * | command | groups |
 * |---|---|
 * | names keys | those of its keys |
 * | depends on keys that it does not name; watch, unwatch | all |
 * | transaction with a watch | all |
 * | transaction without | those of its commands |
 * | answered by an error whatever the state is, or by what does not depend on it | any one |
 *
 * It looks no closer at a command than it has to: one that is malformed may be said to concern groups, since it changes nothing
 * wherever it executes.
 */
class KvMapping implements GroupMapping {
  readonly groups: number;
  readonly #all: number;

  constructor(groups: number) {
    assert(
      Number.isInteger(groups) && groups >= 1 && groups <= MAPPED_GROUPS_MAX,
      `1 to ${MAPPED_GROUPS_MAX} groups, got ${groups}`,
    );
    this.groups = groups;
    this.#all = maskOfAll(groups);
  }

  masks(run: Run, masks: Uint32Array): void {
    const { bytes, view, offsets, count } = run;
    for (let i = 0; i < count; i++) {
      const named = this.#of(bytes, view, offsets[i] as number);
      masks[i] = named === 0 ? ANY_GROUP : named;
    }
  }

  /** The groups of the command at `at`, whose first four bytes are its length; 0 for no particular one. */
  #of(bytes: Uint8Array, view: DataView, at: number): number {
    const length = view.getUint32(at, true);
    if (length < COMMAND_HEADER_BYTES) return 0;
    const number = commandOperation(view, at);
    const operation = operations[number];
    if (operation === undefined) {
      return number === KvOperation.transaction ? this.#ofTransaction(bytes, view, at, at + length) : 0;
    }
    const { keys } = operation;
    if (keys === Keys.none) return 0;
    if (keys >= Keys.behindFirst) return this.#all;
    const stop = at + length;
    const count = keys === Keys.first ? Math.min(1, commandArguments(view, at)) : commandArguments(view, at);
    let named = 0;
    let start = at + COMMAND_HEADER_BYTES + ARGUMENT_HEADER_BYTES;
    for (let i = 0; i < count && start <= stop; i++) {
      const end = start + view.getUint32(start - ARGUMENT_HEADER_BYTES, true);
      if (end > stop) break;
      if (keys !== Keys.pairs || (i & 1) === 0) named |= 1 << partitionOf(bytes, start, end, this.groups);
      start = end + ARGUMENT_HEADER_BYTES;
    }
    return named;
  }

  /** The watches belong to all groups. */
  #ofTransaction(bytes: Uint8Array, view: DataView, at: number, stop: number): number {
    const count = commandArguments(view, at);
    let named = 0;
    let start = at + COMMAND_HEADER_BYTES + ARGUMENT_HEADER_BYTES;
    for (let i = 0; i < count && start <= stop; i++) {
      const end = start + view.getUint32(start - ARGUMENT_HEADER_BYTES, true);
      if (end > stop) break;
      if (i === 0) {
        if (end > start) return this.#all;
      } else if (end - start >= COMMAND_HEADER_BYTES && view.getUint32(start, true) === end - start) {
        // A transaction does not hold transactions.
        if (commandOperation(view, start) !== KvOperation.transaction) named |= this.#of(bytes, view, start);
        if (named === this.#all) return named;
      }
      start = end + ARGUMENT_HEADER_BYTES;
    }
    return named;
  }
}

/** Which groups the commands of `kv` concern, for 1 to 31 groups. */
export function kvMapping(groups: number): GroupMapping {
  return new KvMapping(groups);
}
