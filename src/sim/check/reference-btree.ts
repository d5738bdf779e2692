import { latin1 } from "../../base/index.js";
import { BTREE_COMMAND_BYTES, BtreeOperation, RANGE_PAIRS_MAX } from "../../service/index.js";
import {
  compareText,
  type Concern,
  type KeyedReference,
  NIL,
  OK,
  type ReferenceCommand,
  refusal,
  type Reply,
  SortedList,
} from "./reference.js";

/** The ordered map of 8-byte keys and values: keys are texts of 8 characters, most significant byte first, so that they sort. */
export class ReferenceBtree implements KeyedReference {
  readonly #values = new Map<string, string>();
  readonly #keys = new SortedList<string>(compareText);

  advance(): void {}

  execute({ bytes, view, at }: ReferenceCommand, readOnly: boolean, observed: Reply): Reply {
    const operation = view.getUint32(at + 4, true);
    const length = view.getUint32(at, true);
    if (operation === 0 || length !== BTREE_COMMAND_BYTES[operation]) return refusal(observed);
    const key = reversed(latin1(bytes, at + 8, at + 16));
    const found = this.#values.get(key);
    if (operation === BtreeOperation.read) return found === undefined ? NIL : `$${found}`;
    if (operation === BtreeOperation.range) {
      const pairsMax = view.getUint32(at + 24, true);
      if (pairsMax < 1 || pairsMax > RANGE_PAIRS_MAX) return refusal(observed);
      return this.#range(key, reversed(latin1(bytes, at + 16, at + 24)), pairsMax);
    }
    if (readOnly) return refusal(observed);
    if (operation === BtreeOperation.insert ? found !== undefined : found === undefined) return NIL;
    if (operation === BtreeOperation.delete) {
      this.#values.delete(key);
      this.#keys.remove(key);
    } else {
      this.#values.set(key, latin1(bytes, at + 16, at + 24));
      this.#keys.add(key);
    }
    return OK;
  }

  concernOf({ view, at }: ReferenceCommand): Concern {
    const operation = view.getUint32(at + 4, true);
    if (operation === 0 || view.getUint32(at, true) !== BTREE_COMMAND_BYTES[operation]) {
      return { low: Infinity, high: -Infinity, writes: false };
    }
    const key = (from: number): number => view.getUint32(from + 4, true) * 4294967296 + view.getUint32(from, true);
    const range = operation === BtreeOperation.range;
    const writes = !range && operation !== BtreeOperation.read;
    return { low: key(at + 8), high: key(at + (range ? 16 : 8)), writes };
  }

  #range(first: string, last: string, pairsMax: number): Reply {
    const keys = this.#keys.items;
    const from = this.#keys.indexOf(first);
    let text = "%";
    for (let i = from; i < keys.length && i < from + pairsMax && (keys[i] as string) <= last; i++) {
      const key = keys[i] as string;
      text += reversed(key) + (this.#values.get(key) as string);
    }
    return text;
  }
}

function reversed(text: string): string {
  let turned = "";
  for (let i = text.length - 1; i >= 0; i--) turned += text.charAt(i);
  return turned;
}
