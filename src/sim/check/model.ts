// Hot file: `step` runs once for every operation the search looks at. No allocation but for states never seen before.
import type { Effect, Meaning, Requirement } from "./meaning.js";
import { ABSENT, inRange, ValueTable } from "./values.js";

/** What an action is, apart from what it does to one state: the facts that let the search decide without trying. */
export interface ActionFacts {
  /** Changes no state at all, given its result. */
  readonly readOnly: boolean;
  /** Possible in every state, and leaves the same state whatever was there. */
  readonly blind: boolean;
  /** Possible in this one state only; -1 otherwise. */
  readonly exact: number;
  /** Leaves this state whatever was there; -1 otherwise. */
  readonly assigns: number;
}

/**
 * The state machine of one partition. States and actions (what operations do, results included) are small numbers;
 * operations that mean the same are the same action.
 */
export interface Model {
  readonly initial: number;
  /** States known so far are below this number; more may appear while searching. */
  readonly states: number;
  /** The state after `action` in `state`, or -1 if the action is not possible in it. */
  step(state: number, action: number): number;
  facts(action: number): ActionFacts;
  /** The keys and what they hold in a state. */
  describe(state: number): Record<string, string | null>;
}

/** Characters of text that the values of one partition hold at most: 256 MiB of memory. */
const CHARACTERS_MAX = 128 * 1024 * 1024;

const Require = {
  any: 0,
  equals: 1,
  equalsOrAbsent: 2,
  present: 3,
  length: 4,
  notInteger: 5,
  overflows: 6,
  never: 7,
  fits: 8,
} as const;
const Do = { none: 0, assign: 1, add: 2, append: 3, maps: 4 } as const;

/** The states of one key: the numbers of its value table. Also the building block of the model for several keys. */
export class KeyModel implements Model {
  readonly initial: number;
  readonly #key: string;
  readonly #values: ValueTable;
  readonly #numbers = new Map<string, number>();
  readonly #facts: ActionFacts[] = [];
  /** Columns by action: what is required with its operand, what is done with its operand. */
  readonly #required: number[] = [];
  readonly #requiredValue: number[] = [];
  readonly #done: number[] = [];
  readonly #doneValue: number[] = [];
  readonly #delta: bigint[] = [];
  /** By action, of those alone that have one. */
  readonly #tests = new Map<number, (value: string | null) => boolean>();
  readonly #maps = new Map<number, (value: string | null) => string | null>();

  constructor(key: string, counter: boolean) {
    this.#key = key;
    this.#values = new ValueTable(CHARACTERS_MAX);
    this.initial = counter ? this.#values.number("0") : ABSENT;
  }

  get states(): number {
    return this.#values.size;
  }

  /** Adds what a meaning says about this key and returns its action. */
  part(requirement: Requirement, effect: Effect): number {
    const name = `${requirement.kind} ${operand(requirement)} ${effect.kind} ${operand(effect)}`;
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    const action = this.#facts.length;
    this.#numbers.set(name, action);
    const [required, requiredValue] = this.#requirement(requirement);
    let [done, doneValue] = this.#effect(effect);
    if (required === Require.equals && done === Do.assign && requiredValue === doneValue) {
      [done, doneValue] = [Do.none, 0];
    }
    if (requirement.kind === "fits") this.#tests.set(action, requirement.test);
    if (effect.kind === "maps") this.#maps.set(action, effect.map);
    this.#required.push(required);
    this.#requiredValue.push(requiredValue);
    this.#done.push(done);
    this.#doneValue.push(doneValue);
    this.#delta.push(effect.kind === "add" ? effect.delta : requirement.kind === "overflows" ? requirement.delta : 0n);
    this.#facts.push({
      readOnly: done === Do.none,
      blind: required === Require.any && done === Do.assign,
      exact: required === Require.equals ? requiredValue : -1,
      assigns: done === Do.assign ? doneValue : -1,
    });
    return action;
  }

  facts(action: number): ActionFacts {
    return this.#facts[action] as ActionFacts;
  }

  describe(state: number): Record<string, string | null> {
    return { [this.#key]: this.#values.text(state) };
  }

  step(state: number, action: number): number {
    const value = this.#requiredValue[action] as number;
    switch (this.#required[action]) {
      case Require.any:
        break;
      case Require.equals:
        if (state !== value) return -1;
        break;
      case Require.equalsOrAbsent:
        if (state !== value && state !== ABSENT) return -1;
        break;
      case Require.present:
        if (state === ABSENT) return -1;
        break;
      case Require.length:
        if (this.#values.bytes(state) !== value) return -1;
        break;
      case Require.notInteger:
        if (this.#values.integer(state) !== null) return -1;
        break;
      case Require.overflows: {
        const integer = this.#values.integer(state);
        if (integer === null || inRange(integer + (this.#delta[action] as bigint))) return -1;
        break;
      }
      case Require.fits:
        if (this.#tests.get(action)?.(this.#values.text(state)) !== true) return -1;
        break;
      default:
        return -1;
    }
    switch (this.#done[action]) {
      case Do.none:
        return state;
      case Do.assign:
        return this.#doneValue[action] as number;
      case Do.add: {
        const integer = this.#values.integer(state);
        if (integer === null) return -1;
        const sum = integer + (this.#delta[action] as bigint);
        return inRange(sum) ? this.#values.number(sum.toString()) : -1;
      }
      case Do.maps:
        return this.#values.number(this.#maps.get(action)?.(this.#values.text(state)) ?? null);
      default: {
        const suffix = this.#values.text(this.#doneValue[action] as number) as string;
        return this.#values.number((this.#values.text(state) ?? "") + suffix);
      }
    }
  }

  #requirement(requirement: Requirement): [number, number] {
    switch (requirement.kind) {
      case "any":
        return [Require.any, 0];
      case "equals":
        return [Require.equals, this.#values.number(requirement.value)];
      case "equals-or-absent":
        return [Require.equalsOrAbsent, this.#values.number(requirement.value)];
      case "present":
        return [Require.present, 0];
      case "length":
        return [Require.length, requirement.bytes];
      case "not-integer":
        return [Require.notInteger, 0];
      case "overflows":
        return [Require.overflows, 0];
      case "never":
        return [Require.never, 0];
      case "fits":
        return [Require.fits, 0];
    }
  }

  #effect(effect: Effect): [number, number] {
    switch (effect.kind) {
      case "none":
        return [Do.none, 0];
      case "assign":
        return [Do.assign, this.#values.number(effect.value)];
      case "add":
        return [Do.add, 0];
      case "append":
        return [Do.append, this.#values.number(effect.value)];
      case "maps":
        return [Do.maps, 0];
    }
  }
}

/** What a requirement or effect is about, as a text that tells any two apart. */
function operand(part: Requirement | Effect): string {
  if ("name" in part) return JSON.stringify(part.name);
  if ("value" in part) return JSON.stringify(part.value);
  if ("delta" in part) return part.delta.toString();
  return "bytes" in part ? String(part.bytes) : "";
}

/** An action on several keys: for each key touched its index, the key's own action, and how much it counts if present. */
interface Joint {
  readonly keys: readonly number[];
  readonly parts: readonly number[];
  readonly weights: readonly number[];
  readonly presentMin: number;
  readonly presentMax: number;
}

/** Most states of several keys that are kept; each is a small array. */
const JOINT_STATES_MAX = 2_000_000;

/** Thrown when a partition of several keys reaches more states than may be kept. */
export class StateBoundError extends Error {
  override readonly name = "StateBoundError";
}

/** Several keys that change together: a state is one value per key. */
export class JointModel implements Model {
  readonly initial: number;
  readonly #index: ReadonlyMap<string, number>;
  readonly #models: readonly KeyModel[];
  readonly #states: Int32Array[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #actions: Joint[] = [];
  readonly #actionNumbers = new Map<string, number>();
  readonly #scratch: Int32Array;

  constructor(keys: readonly { readonly key: string; readonly counter: boolean }[]) {
    this.#index = new Map(keys.map(({ key }, index) => [key, index]));
    this.#models = keys.map(({ key, counter }) => new KeyModel(key, counter));
    this.#scratch = Int32Array.from(this.#models, (model) => model.initial);
    this.initial = this.#state();
  }

  get states(): number {
    return this.#states.length;
  }

  /** Adds a meaning and returns its action. */
  action(meaning: Meaning): number {
    const { touches, presentMin, presentMax } = meaning;
    const keys = touches.map((touch) => this.#index.get(touch.key) as number);
    const parts = touches.map((touch, at) =>
      (this.#models[keys[at] as number] as KeyModel).part(touch.requirement, touch.effect),
    );
    const weights = touches.map((touch) => touch.weight);
    const name = JSON.stringify([keys, parts, weights, presentMin, String(presentMax)]);
    let action = this.#actionNumbers.get(name);
    if (action === undefined) {
      action = this.#actions.length;
      this.#actionNumbers.set(name, action);
      this.#actions.push({ keys, parts, weights, presentMin, presentMax });
    }
    return action;
  }

  facts(action: number): ActionFacts {
    const { keys, parts } = this.#actions[action] as Joint;
    const readOnly = parts.every((part, at) => (this.#models[keys[at] as number] as KeyModel).facts(part).readOnly);
    return { readOnly, blind: false, exact: -1, assigns: -1 };
  }

  describe(state: number): Record<string, string | null> {
    const values = this.#states[state] as Int32Array;
    return Object.assign({}, ...this.#models.map((model, at) => model.describe(values[at] as number))) as Record<
      string,
      string | null
    >;
  }

  step(state: number, action: number): number {
    const before = this.#states[state] as Int32Array;
    const { keys, parts, weights, presentMin, presentMax } = this.#actions[action] as Joint;
    const after = this.#scratch;
    after.set(before);
    let present = 0;
    let changed = false;
    for (let at = 0; at < keys.length; at++) {
      const key = keys[at] as number;
      const value = before[key] as number;
      if (value !== ABSENT) present += weights[at] as number;
      const next = (this.#models[key] as KeyModel).step(value, parts[at] as number);
      if (next < 0) return -1;
      if (next !== value) changed = true;
      after[key] = next;
    }
    if (present < presentMin || present > presentMax) return -1;
    return changed ? this.#state() : state;
  }

  /** The number of the state in `#scratch`. */
  #state(): number {
    const name = this.#scratch.join();
    let number = this.#numbers.get(name);
    if (number === undefined) {
      number = this.#states.length;
      if (number >= JOINT_STATES_MAX) throw new StateBoundError("the keys that change together reach too many states");
      this.#states.push(this.#scratch.slice());
      this.#numbers.set(name, number);
    }
    return number;
  }
}
