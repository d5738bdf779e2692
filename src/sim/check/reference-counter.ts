import { latin1 } from "../../base/index.js";
import { commandOperation, COUNTER_MAX, CounterOperation, readArguments } from "../../service/index.js";
import { type ReferenceCommand, type ReferenceModel, refusal, type Reply } from "./reference.js";
import { parseInteger } from "./values.js";

/** One number. */
export class ReferenceCounter implements ReferenceModel {
  #value = 0n;
  readonly #spans = new Uint32Array(2);

  advance(): void {}

  execute({ bytes, view, at }: ReferenceCommand, readOnly: boolean, observed: Reply): Reply {
    const operation = commandOperation(view, at);
    const count = readArguments(view, at, this.#spans);
    if (operation === CounterOperation.get && count === 0) return `:${this.#value}`;
    if (operation !== CounterOperation.add || count !== 1 || readOnly) return refusal(observed);
    const delta = parseInteger(latin1(bytes, this.#spans[0] as number, this.#spans[1] as number));
    if (delta === null) return refusal(observed);
    const sum = this.#value + delta;
    const bound = BigInt(COUNTER_MAX);
    if (sum > bound || sum < -bound) return refusal(observed);
    this.#value = sum;
    return `:${sum}`;
  }
}
