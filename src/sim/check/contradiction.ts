import type { Partition } from "./partition.js";
import { type Item, judged, programOf, Search, type SearchBudget } from "./search.js";

/** A part of a partition that contradicts itself: no order of it exists, whatever the rest of the history was. */
export interface Contradiction {
  /** Indices of the operations, ascending. */
  readonly operations: readonly number[];
  /** Null if the part begins with the history. Otherwise all states in which it can begin; it contradicts each. */
  readonly before: readonly number[] | null;
}

/** Steps that finding the smallest part may take. The verdict stands without; the part is then larger than it need be. */
const SHRINK_STEPS_MAX = 50_000_000;
/** A part up to this size is shown from the beginning of the history on, which explains more than a state does. */
const PART_WHOLE_MAX = 16;
/** Most states that a part may begin in: when looked for by search, and when taken from the last writes. */
const BEFORE_MAX = 16;
const CONCEIVABLE_MAX = 64;
/** Most operations whose effect depends on the state that may be among the last ones before a part. */
const DEPENDENT_MAX = 4;
/** Operations are tried one by one for removal only in parts up to this size. */
const PART_ONE_BY_ONE_MAX = 2_000;

/**
 * Shrinks a partition known to have no order, greedily: its end is cut off, then its beginning and what does not matter
 * within. `passed`: how many completions the failed search got past, from which the end is guessed.
 *
 * Each step keeps the part a contradiction of the whole history, not only of itself:
 * - Without the operations invoked after some moment, and with those open at that moment made optional, a history that has
 *   an order still has one. So has what comes after a moment, from one of the states possible at that moment, if those
 *   open at that moment are optional.
 * - Reads can be left out. So can all operations that lead to or find one value, as long as every operation left over
 *   fits any state or exactly one: whatever was there before them, they don't find it.
 */
export function contradictionOf(partition: Partition, passed: number, configurationsMax: number): Contradiction {
  const shrinking = new Shrinking(partition, { steps: SHRINK_STEPS_MAX, configurationsMax });
  // Showing that a long history contradicts itself is what costs, so small parts around the likely place come first.
  const near = shrinking.size > PART_WHOLE_MAX && (shrinking.keepValuesNear(passed) || shrinking.keepTimesNear(passed));
  shrinking.cutEnd(near ? null : passed);
  shrinking.dropValues();
  if (shrinking.size > PART_WHOLE_MAX) {
    shrinking.cutBeginning();
    shrinking.dropValues();
  }
  shrinking.dropReads();
  return shrinking.contradiction;
}

class Shrinking {
  readonly #partition: Partition;
  readonly #budget: SearchBudget;
  #items: readonly Item[];
  #before: readonly number[];
  #whole = true;

  constructor(partition: Partition, budget: SearchBudget) {
    this.#partition = partition;
    this.#budget = budget;
    // Reads of unknown outcome say nothing.
    const { items, model } = partition;
    this.#items = items.filter((item) => item.completed !== Infinity || !model.facts(item.action).readOnly);
    this.#before = [partition.model.initial];
  }

  get size(): number {
    return this.#items.length;
  }

  get contradiction(): Contradiction {
    const operations = this.#items.map((item) => item.operation).sort((a, b) => a - b);
    return { operations, before: this.#whole ? null : this.#before };
  }

  /** True only if it is certain that the items have no order from any of the states. */
  #contradicts(items: readonly Item[], before: readonly number[]): boolean {
    return before.every((state) => {
      if (this.#budget.steps <= 0) return false;
      const program = programOf(this.#partition.model, state, items);
      return new Search(program, this.#budget).run().outcome === "exhausted";
    });
  }

  /** Times of the completions, ascending. */
  #completions(): Float64Array {
    const known = this.#items.filter((item) => item.completed !== Infinity);
    return Float64Array.from(known, (item) => item.completed).sort();
  }

  /** What is known at a moment: later completions and invocations have not happened. */
  #until(end: number): Item[] {
    return this.#items
      .filter((item) => item.invoked <= end)
      .map((item) => (item.completed <= end ? item : { ...item, completed: Infinity }));
  }

  cutEnd(passed: number | null): void {
    const completions = this.#completions();
    const contradicts = (count: number): boolean => {
      return this.#contradicts(this.#until(completions[count - 1] as number), this.#before);
    };
    // Invariant: the first `high` completions contradict, the first `low` don't, as far as is known. The search never got
    // past completion `passed`, so the end is probably there; it is not certain, since the search also looks ahead.
    let low = 0;
    let high = completions.length;
    if (passed !== null && passed + 1 < high) {
      if (contradicts(passed + 1)) {
        high = passed + 1;
        if (passed > 0 && !contradicts(passed)) low = passed;
      } else {
        low = passed + 1;
      }
    }
    while (low < high - 1) {
      const middle = low + Math.floor((high - low) / 2);
      if (contradicts(middle)) high = middle;
      else low = middle;
    }
    this.#items = this.#until(completions[high - 1] as number);
  }

  /** Begins as late as possible: first roughly, at states that can't be ruled out at a glance, then at those reachable. */
  cutBeginning(): void {
    this.#cutBefore(8, (moment) => this.#conceivableStates(moment));
    this.#cutBefore(4, (moment) => this.#reachableStates(moment));
  }

  /**
   * Keeps only the values that operations invoked next to the completion number `passed` lead to or find, more of them
   * until the rest is a contradiction. False if that does not come about below half of the operations.
   */
  keepValuesNear(passed: number): boolean {
    const { model } = this.#partition;
    if (!this.#items.every((item) => judged(model, item.action))) return false;
    const items = [...this.#items].sort((a, b) => a.invoked - b.invoked);
    const moment = this.#completions()[passed] ?? Infinity;
    const after = items.findIndex((item) => item.invoked > moment);
    const middle = after < 0 ? items.length : after;
    for (let reach = 4; reach < items.length / 4 && this.#budget.steps > 0; reach *= 2) {
      const kept = this.#valuesOf(items.slice(Math.max(0, middle - reach), middle + reach));
      const dropped = this.#valuesOf(items);
      for (const value of kept) dropped.delete(value);
      const rest = this.#withoutValues(dropped);
      if (rest.length === 0 || rest.length > items.length / 2 || !this.#contradicts(rest, this.#before)) continue;
      this.#items = rest;
      return true;
    }
    return false;
  }

  /** The like with the operations between two moments, from all states conceivable at the first. */
  keepTimesNear(passed: number): boolean {
    const completions = this.#completions();
    for (let reach = 8; reach < completions.length / 4 && this.#budget.steps > 0; reach *= 2) {
      const end = completions[Math.min(completions.length - 1, passed + reach)] as number;
      const moment = completions[passed - reach];
      const before = moment === undefined ? this.#before : this.#conceivableStates(moment);
      if (before === null) continue;
      const rest = moment === undefined ? this.#until(end) : since(this.#until(end), moment);
      if (!this.#contradicts(rest, before)) continue;
      this.#items = rest;
      this.#before = before;
      this.#whole = moment === undefined;
      return true;
    }
    return false;
  }

  /** Tries moments ever farther from the end, starting `back` completions before it. */
  #cutBefore(back: number, statesAt: (moment: number) => readonly number[] | null): void {
    const completions = this.#completions();
    for (let count = back; count < completions.length && this.#budget.steps > 0; count *= 2) {
      const moment = completions[completions.length - count] as number;
      const before = statesAt(moment);
      if (before === null) continue;
      const tail = since(this.#items, moment);
      if (!this.#contradicts(tail, before)) continue;
      this.#items = tail;
      this.#before = before;
      this.#whole = false;
      return;
    }
  }

  /**
   * All values that one key can hold at a moment as far as writes alone tell: those of writes not certainly followed by
   * another, and what operations whose effect depends on the state can have made of them. Null if there are too many.
   */
  #conceivableStates(moment: number): readonly number[] | null {
    const { model, keys, counter } = this.#partition;
    if (keys.length > 1 || counter) return null;
    let lastInvoked = -Infinity;
    for (const { action, invoked, completed } of this.#items) {
      if (completed <= moment && invoked > lastInvoked && model.facts(action).assigns >= 0) lastInvoked = invoked;
    }
    const states = new Set<number>(lastInvoked === -Infinity ? this.#before : []);
    const dependent: number[] = [];
    for (const { action, invoked, completed } of this.#items) {
      const { assigns, readOnly } = model.facts(action);
      if (readOnly || invoked > moment || completed < lastInvoked) continue;
      if (assigns >= 0) states.add(assigns);
      else dependent.push(action);
    }
    if (dependent.length > DEPENDENT_MAX || states.size > CONCEIVABLE_MAX) return null;
    // Every sequence of some of the dependent operations, each used once, from each state.
    let frontier = [...states].map((state) => ({ state, used: 0 }));
    while (frontier.length > 0 && frontier.length <= CONCEIVABLE_MAX) {
      const next: { state: number; used: number }[] = [];
      for (const { state, used } of frontier) {
        for (const [index, action] of dependent.entries()) {
          const after = (used >> index) % 2 === 0 ? model.step(state, action) : -1;
          if (after >= 0) next.push({ state: after, used: used | (1 << index) });
        }
      }
      for (const { state } of next) states.add(state);
      frontier = next;
    }
    return frontier.length === 0 && states.size <= CONCEIVABLE_MAX ? [...states] : null;
  }

  /** All states that the present part can be in at a moment. Null if finding them takes too long or there are too many. */
  #reachableStates(moment: number): readonly number[] | null {
    const { model, keys, counter } = this.#partition;
    // Several possible values of one key can be shown as concurrent writes of it; other states can't.
    const statesMax = keys.length === 1 && !counter ? BEFORE_MAX : 1;
    const states = new Set<number>();
    const items = this.#until(moment);
    for (const state of this.#before) {
      // This must not use up what is left for the other steps.
      const allowed = Math.floor(this.#budget.steps / 16);
      const share: SearchBudget = { ...this.#budget, steps: allowed };
      const found = new Search(programOf(model, state, items, true), share).finalStates(statesMax);
      this.#budget.steps -= allowed - Math.max(0, share.steps);
      if (found === null) return null;
      for (const end of found) states.add(end);
      if (states.size > statesMax) return null;
    }
    return [...states];
  }

  /** Leaves out values, in ever smaller groups, together with every operation that leads to or finds one of them. */
  dropValues(): void {
    const { model } = this.#partition;
    if (!this.#items.every((item) => judged(model, item.action))) return;
    this.#dropGroups(
      () => [...this.#valuesOf(this.#items)],
      (group) => this.#withoutValues(new Set(group)),
    );
  }

  /** The values that operations lead to or find, in their order. */
  #valuesOf(items: readonly Item[]): Set<number> {
    const { model } = this.#partition;
    const values = new Set<number>();
    for (const item of items) {
      const { exact, assigns } = model.facts(item.action);
      if (exact >= 0) values.add(exact);
      if (assigns >= 0) values.add(assigns);
    }
    return values;
  }

  #withoutValues(values: Set<number>): readonly Item[] {
    const { model } = this.#partition;
    let items = this.#items;
    for (;;) {
      const kept: Item[] = [];
      const before = values.size;
      for (const item of items) {
        const { exact, assigns } = model.facts(item.action);
        if (!values.has(exact) && !values.has(assigns)) kept.push(item);
        // What is left out may not have led to a value that something left over finds.
        else if (assigns >= 0) values.add(assigns);
      }
      items = kept;
      if (values.size === before) return items;
    }
  }

  dropReads(): void {
    const { model } = this.#partition;
    this.#dropGroups(
      () => this.#items.filter((item) => model.facts(item.action).readOnly),
      (group) => {
        const dropped = new Set(group);
        return this.#items.filter((item) => !dropped.has(item));
      },
    );
    // Optional reads never matter to a search.
    this.#items = this.#items.filter((item) => item.completed !== Infinity || !model.facts(item.action).readOnly);
  }

  /** Tries to leave out groups of what `list` gives, halving their size, as long as the rest stays a contradiction. */
  #dropGroups<T>(list: () => readonly T[], without: (group: readonly T[]) => readonly Item[]): void {
    let size = Math.ceil(list().length / 2);
    while (size >= 1 && this.#budget.steps > 0) {
      let all = list();
      if (size === 1 && all.length > PART_ONE_BY_ONE_MAX) return;
      for (let at = 0; at < all.length && this.#budget.steps > 0;) {
        const items = without(all.slice(at, at + size));
        if (items.length < this.#items.length && this.#contradicts(items, this.#before)) {
          this.#items = items;
          all = list();
        } else {
          at += size;
        }
      }
      if (size === 1) return;
      size = Math.ceil(size / 2);
    }
  }
}

/** What comes after a moment: operations open at it may have taken effect already, so they need not. */
function since(items: readonly Item[], moment: number): Item[] {
  const open = items.filter((item) => item.completed > moment);
  return open.map((item) => (item.invoked > moment ? item : { ...item, completed: Infinity }));
}
