// Hot file: the search behind every verdict. Nothing may be allocated per step, and nothing may recurse: histories of one
// key have hundreds of thousands of operations.
import { assert, Prng } from "../../base/index.js";
import { ConfigurationTable } from "./configuration-table.js";
import type { Model } from "./model.js";

/** One operation as the search sees it. */
export interface Item {
  /** Index of the operation in the partition. */
  readonly operation: number;
  readonly action: number;
  readonly invoked: number;
  /** `Infinity` for an operation that may take effect at any time after its invocation, or never. */
  readonly completed: number;
  /** Number of the process. */
  readonly process: number;
}

/** A part of a history over one model, made ready for searching: see `programOf`. */
export interface Program {
  readonly model: Model;
  readonly initial: number;
  /** `required` operations that must take effect, by time of invocation, then those that may, by time of invocation. */
  readonly items: readonly Item[];
  readonly required: number;
}

/**
 * Sorts a part of a history for the search, and leaves out optional operations that can't matter: those that change nothing
 * and, unless `everyState` is asked for, those that lead to a state which nothing finds.
 */
export function programOf(model: Model, initial: number, items: readonly Item[], everyState = false): Program {
  const byInvocation = (a: Item, b: Item): number => a.invoked - b.invoked;
  const required = items.filter((item) => item.completed !== Infinity).sort(byInvocation);
  let optional = items.filter((item) => item.completed === Infinity && !model.facts(item.action).readOnly);
  const all = [...required, ...optional];
  if (!everyState && optional.length > 0 && all.every(({ action }) => judged(model, action))) {
    // Nothing finds the state such an operation leads to, and what comes next fits any other state as well.
    const wanted = new Set(all.map(({ action }) => model.facts(action).exact));
    optional = optional.filter(({ action }) => wanted.has(model.facts(action).assigns));
  }
  optional.sort(byInvocation);
  return { model, initial, items: [...required, ...optional], required: required.length };
}

/** True for an action that is possible in any state or in exactly one, and leads to one state if it changes anything. */
export function judged(model: Model, action: number): boolean {
  const facts = model.facts(action);
  return facts.blind || (facts.exact >= 0 && (facts.readOnly || facts.assigns >= 0));
}

/** What a search may use up. `steps` counts down over several searches; one step is one look at one operation. */
export interface SearchBudget {
  steps: number;
  /** Configurations remembered by one search; 16 to 64 bytes each. */
  readonly configurationsMax: number;
}

export interface SearchResult {
  readonly outcome: "found" | "exhausted" | "steps" | "memory";
  /** With `found`: operations (as in `Item.operation`) in an order in which they may have taken effect. */
  readonly order: readonly number[];
  /** Otherwise: how many of the required operations, in order of completion, some branch of the search got past. */
  readonly passed: number;
}

const Frame = { branch: 0, forced: 1, committed: 2, eligible: 4 } as const;

/**
 * Looks for an order of the operations that the model allows and that keeps to real time: an operation that completed
 * before another was invoked comes first, and so does the earlier of two operations of one process. (Operations that touch
 * at one instant of the clock count as concurrent, unless one process did both.)
 *
 * The search is that of Wing and Gong with Lowe's memory of configurations: at each point, any operation that was invoked
 * before the first completion of a remaining one may take effect next; a configuration that failed once is not tried again.
 * Five observations keep it close to linear on histories of real systems. None loses an order where there is one:
 *
 * 1. An operation that changes nothing and fits the present state takes effect at once; trying it later can't be better.
 * 2. A state that remaining operations must find, and that none can bring back, may not be left before they had it.
 * 3. From a state that no remaining operation must find, a blind write whose state is done with right after it, its reads
 *    included, can go first: if any order exists, moving the write there gives another. Then no alternative is tried.
 * 4. Of concurrent operations that mean the same, the first to complete goes first.
 * 5. A state that one operation alone leads to is not entered while an operation that does not find it must still come
 *    before one that does. An operation of unknown outcome is of no use once nothing remaining finds its state.
 */
export class Search {
  readonly #program: Program;
  readonly #model: Model;
  readonly #budget: SearchBudget;
  readonly #count: number;
  readonly #required: number;

  /** Columns by item. */
  readonly #action: Int32Array;
  readonly #invoked: Float64Array;
  readonly #completed: Float64Array;
  /** Place in the order of completion; optional items come behind in order of invocation. */
  readonly #rank: Int32Array;
  /** The item of the same process that completed at the very instant this one was invoked; -1 if there is none. */
  readonly #tiedAfter: Int32Array;
  readonly #hasTied: Uint8Array;
  /** For optional items: the one with the same action that was invoked before; -1 if there is none. */
  readonly #sameBefore: Int32Array;
  readonly #done: Uint8Array;
  readonly #lanes: Int32Array;

  /** Columns by action. */
  readonly #readOnly: Uint8Array;
  readonly #blind: Uint8Array;
  readonly #exact: Int32Array;
  readonly #assigns: Int32Array;

  /** Doubly linked events of the remaining required items: i is the invocation of item i, required + i its completion. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #head: number;

  /** By state: remaining required items that are possible in it alone; remaining items that lead to it. */
  readonly #consumers: Int32Array;
  readonly #producers: Int32Array;
  /**
   * By state that one item alone leads to: when the last required item that finds it was invoked; `-Infinity` for others.
   * That item remains as long as any does that completed before: it can't have taken effect ahead of it.
   */
  readonly #lastFound: Float64Array;
  /** Remaining items possible in several states but not all, and those whose effect depends on the state. */
  #partial = 0;
  #wild = 0;

  readonly #frameItem: Int32Array;
  readonly #frameState: Int32Array;
  readonly #frameFlags: Uint8Array;
  readonly #framePrevious: Int32Array;
  #depth = 0;
  #lastBranch = -1;
  #remaining: number;
  #a = 0;
  #b = 0;
  #c = 0;
  #passed = 0;
  #collecting = false;

  /** Per action: the least rank among the candidates of the present scan. */
  readonly #scanOf: Int32Array;
  readonly #scanRank: Int32Array;
  #scan = 0;
  /** The remaining required item that completes first, at the present scan; -1 if none remains. */
  #first = -1;
  readonly #candidates: Int32Array;

  constructor(program: Program, budget: SearchBudget) {
    const { model, items, required } = program;
    const count = items.length;
    this.#program = program;
    this.#model = model;
    this.#budget = budget;
    this.#count = count;
    this.#required = required;
    this.#remaining = required;
    this.#action = Int32Array.from(items, (item) => item.action);
    this.#invoked = Float64Array.from(items, (item) => item.invoked);
    this.#completed = Float64Array.from(items, (item) => item.completed);
    this.#done = new Uint8Array(count);

    const byCompletion = new Uint32Array(required).map((_, index) => index);
    byCompletion.sort((a, b) => (this.#completed[a] as number) - (this.#completed[b] as number) || a - b);
    this.#rank = new Int32Array(count).map((_, index) => index);
    for (let rank = 0; rank < required; rank++) this.#rank[byCompletion[rank] as number] = rank;

    this.#head = 2 * required;
    this.#next = new Int32Array(2 * required + 1);
    this.#previous = new Int32Array(2 * required + 1);
    this.#link(byCompletion);

    this.#tiedAfter = new Int32Array(count).fill(-1);
    this.#hasTied = new Uint8Array(count);
    this.#findTies(items);

    const states = model.states;
    this.#consumers = new Int32Array(states);
    this.#producers = new Int32Array(states);
    let actions = 0;
    for (let i = 0; i < count; i++) actions = Math.max(actions, (this.#action[i] as number) + 1);
    this.#readOnly = new Uint8Array(actions);
    this.#blind = new Uint8Array(actions);
    this.#exact = new Int32Array(actions).fill(-1);
    this.#assigns = new Int32Array(actions).fill(-1);
    this.#scanOf = new Int32Array(actions);
    this.#scanRank = new Int32Array(actions);
    this.#candidates = new Int32Array(required);
    this.#sameBefore = new Int32Array(count).fill(-1);
    const lastSame = new Map<number, number>();
    for (let i = 0; i < count; i++) {
      const action = this.#action[i] as number;
      const facts = model.facts(action);
      this.#readOnly[action] = facts.readOnly ? 1 : 0;
      this.#blind[action] = facts.blind ? 1 : 0;
      this.#exact[action] = facts.exact;
      this.#assigns[action] = facts.assigns;
      this.#tally(i, 1);
      if (i < required) continue;
      this.#sameBefore[i] = lastSame.get(action) ?? -1;
      lastSame.set(action, i);
    }

    this.#lastFound = new Float64Array(states).fill(-Infinity);
    for (let i = 0; i < required; i++) {
      const exact = this.#exact[this.#action[i] as number] as number;
      if (exact < 0 || exact === program.initial || this.#producers[exact] !== 1) continue;
      this.#lastFound[exact] = Math.max(this.#lastFound[exact] as number, this.#invoked[i] as number);
    }

    const prng = new Prng(0x5e_a2c4);
    this.#lanes = new Int32Array(3 * count).map(() => prng.u32());
    this.#frameItem = new Int32Array(count);
    this.#frameState = new Int32Array(count);
    this.#frameFlags = new Uint8Array(count);
    this.#framePrevious = new Int32Array(count);
  }

  /** One order, or the certainty that there is none, or the bound that was hit. Call once. */
  run(): SearchResult {
    return this.#run(null);
  }

  /**
   * All states that the required operations, and any of the others, can end in. Null if a bound was hit, or if there are
   * more than `statesMax`. The program must have been made for every state. Call once.
   */
  finalStates(statesMax: number): readonly number[] | null {
    const found = new Set<number>();
    const result = this.#run((state) => {
      found.add(state);
      return found.size <= statesMax;
    });
    return result.outcome === "exhausted" ? [...found] : null;
  }

  /** With `collect`, goes on after each order found, while `collect` of its last state says so. */
  #run(collect: ((state: number) => boolean) | null): SearchResult {
    const budget = this.#budget;
    this.#collecting = collect !== null;
    const visited = new ConfigurationTable(budget.configurationsMax);
    let state = this.#program.initial;
    /** Branches of the present configuration up to this rank have been tried. */
    let tried = -1;
    for (;;) {
      if (this.#remaining === 0) {
        if (collect === null) return this.#result("found");
        if (!collect(state)) return this.#result("memory");
      }
      if (budget.steps <= 0) return this.#result("steps");
      const read = tried < 0 ? this.#fittingRead(state) : -1;
      if (read >= 0) {
        this.#push(read, state, Frame.forced);
        continue;
      }
      if (tried < 0 && collect === null) this.#commit(state);
      const item = this.#branch(state, tried);
      if (item < 0) {
        state = this.#backtrack();
        if (state < 0) return this.#result("exhausted");
        tried = this.#rank[this.#frameItem[this.#depth] as number] as number;
        continue;
      }
      const next = this.#model.step(state, this.#action[item] as number);
      this.#push(item, state, Frame.branch | (this.#eligible(item, state) ? Frame.eligible : 0));
      if (visited.add(this.#a, this.#b, this.#c, next)) {
        state = next;
        tried = -1;
      } else {
        state = this.#pop();
        tried = this.#rank[item] as number;
      }
      if (visited.full) return this.#result("memory");
    }
  }

  /** Links all events in order of time, invocations before completions at the same instant. */
  #link(byCompletion: Uint32Array): void {
    let last = this.#head;
    const append = (event: number): void => {
      this.#next[last] = event;
      this.#previous[event] = last;
      last = event;
    };
    let call = 0;
    for (const item of byCompletion) {
      const completed = this.#completed[item] as number;
      while (call < this.#required && (this.#invoked[call] as number) <= completed) append(call++);
      append(this.#required + item);
    }
    assert(call === this.#required, "an operation completes before it is invoked");
    this.#next[last] = this.#head;
    this.#previous[this.#head] = last;
  }

  #findTies(items: readonly Item[]): void {
    const lastOf = new Map<number, number>();
    const order = items.map((_, index) => index);
    // Items are sorted by invocation within both halves; a process's own operations keep their order in the partition.
    order.sort((a, b) => (items[a] as Item).operation - (items[b] as Item).operation);
    for (const index of order) {
      const { process, invoked } = items[index] as Item;
      const before = lastOf.get(process);
      if (before !== undefined && (this.#completed[before] as number) === invoked) {
        this.#tiedAfter[index] = before;
        this.#hasTied[before] = 1;
      }
      lastOf.set(process, index);
    }
  }

  /** Counts an item among those that remain, or takes it away. */
  #tally(item: number, change: 1 | -1): void {
    const action = this.#action[item] as number;
    const exact = this.#exact[action] as number;
    const assigns = this.#assigns[action] as number;
    const readOnly = this.#readOnly[action] === 1;
    const blind = this.#blind[action] === 1;
    if (item >= this.#required) {
      // An optional item need not find its state, so it doesn't count as a consumer, yet it keeps rule 3 from applying.
      if (!blind) this.#partial += change;
    } else if (exact >= 0) {
      this.#consumers[exact] = (this.#consumers[exact] as number) + change;
    } else if (!blind) {
      this.#partial += change;
    }
    if (assigns >= 0) this.#producers[assigns] = (this.#producers[assigns] as number) + change;
    else if (!readOnly) this.#wild += change;
  }

  #consumersOf(state: number): number {
    return state < this.#consumers.length ? (this.#consumers[state] as number) : 0;
  }

  /** True if the remaining operations include none that rules 2 and 3 can't judge. */
  #eligible(item: number, state: number): boolean {
    if (this.#partial > 0 || this.#wild > 0 || this.#consumersOf(state) > 0) return false;
    return this.#blind[this.#action[item] as number] === 1;
  }

  /** Rule 3: at a configuration without fitting reads, the branch that led to this state may turn out to be the only one. */
  #commit(state: number): void {
    const branch = this.#lastBranch;
    if (branch < 0 || this.#frameFlags[branch] !== Frame.eligible || this.#consumersOf(state) > 0) return;
    this.#frameFlags[branch] = Frame.committed;
  }

  /** Rule 1: a required operation that may be next, changes nothing and fits; -1 if there is none. */
  #fittingRead(state: number): number {
    const { required } = this.#program;
    let looked = 1;
    let found = -1;
    for (let event = this.#next[this.#head] as number; event < required; event = this.#next[event] as number) {
      looked++;
      const action = this.#action[event] as number;
      if (this.#readOnly[action] !== 1 || this.#model.step(state, action) < 0 || this.#waits(event)) continue;
      found = event;
      break;
    }
    this.#budget.steps -= looked;
    return found;
  }

  #waits(item: number): boolean {
    const before = this.#tiedAfter[item] as number;
    return before >= 0 && this.#done[before] === 0;
  }

  /** The possible change with the lowest rank above `tried`; -1 if there is none left. */
  #branch(state: number, tried: number): number {
    const required = this.#required;
    const scan = ++this.#scan;
    let found = 0;
    let event = this.#next[this.#head] as number;
    for (; event < required; event = this.#next[event] as number) {
      const action = this.#action[event] as number;
      if (this.#readOnly[action] === 1 || this.#waits(event)) continue;
      const rank = this.#rank[event] as number;
      if (this.#scanOf[action] !== scan) {
        this.#scanOf[action] = scan;
        this.#scanRank[action] = rank;
      } else if (rank < (this.#scanRank[action] as number)) {
        this.#scanRank[action] = rank;
      }
      this.#candidates[found++] = event;
    }
    this.#budget.steps -= found + 1;
    this.#first = event === this.#head ? -1 : event - required;
    // The events end, or the first completion among the remaining operations bounds what may be next.
    const bound = this.#first < 0 ? Infinity : (this.#completed[this.#first] as number);
    if (this.#first >= 0) this.#passed = Math.max(this.#passed, this.#rank[this.#first] as number);
    let best = -1;
    let bestRank = required;
    for (let at = 0; at < found; at++) {
      const item = this.#candidates[at] as number;
      const rank = this.#rank[item] as number;
      if (rank <= tried || rank >= bestRank) continue;
      // Rule 4. An operation that others of its process wait for is not put off.
      if (rank > (this.#scanRank[this.#action[item] as number] as number) && this.#hasTied[item] === 0) continue;
      if (!this.#possible(item, state)) continue;
      best = item;
      bestRank = rank;
    }
    return best >= 0 ? best : this.#optionalBranch(state, tried, bound);
  }

  #optionalBranch(state: number, tried: number, bound: number): number {
    const count = this.#count;
    let item = Math.max(this.#required, tried + 1);
    const first = item;
    let found = -1;
    for (; item < count && (this.#invoked[item] as number) <= bound; item++) {
      if (this.#done[item] === 1 || this.#waits(item)) continue;
      const same = this.#sameBefore[item] as number;
      if (same >= 0 && this.#done[same] === 0 && !this.#waits(same)) continue;
      if (!this.#possible(item, state)) continue;
      found = item;
      break;
    }
    this.#budget.steps -= item - first + 1;
    return found;
  }

  /** True if the model allows the item now, it is of use, and rules 2 and 5 do not speak against it. */
  #possible(item: number, state: number): boolean {
    const action = this.#action[item] as number;
    const next = this.#model.step(state, action);
    if (next < 0) return false;
    const optional = item >= this.#required;
    if (next === state) return !optional;
    const wild = this.#wild - ((this.#assigns[action] as number) < 0 ? 1 : 0);
    if (wild > 0) return true;
    const consumers = this.#consumersOf(state) - (!optional && this.#exact[action] === state ? 1 : 0);
    if (consumers > 0 && this.#producers[state] === 0) return false;
    if (next >= this.#lastFound.length) return true;
    // In search of all last states every change is of use.
    const needless = optional && !this.#collecting && this.#partial === 0 && this.#consumers[next] === 0;
    if (needless && this.#blind[action] === 1) return false;
    const first = this.#first;
    // Rule 5 is about the one item that leads to the state. Where another kind of change got there, such as an increment
    // of unknown outcome, that item remains and brings the state back.
    if (first < 0 || first === item || this.#assigns[action] !== next) return true;
    const firstAction = this.#action[first] as number;
    const exact = this.#exact[firstAction] as number;
    // Other operations, such as one that finds the key present, may come in between.
    if (exact === next || (exact < 0 && this.#blind[firstAction] === 0)) return true;
    return (this.#completed[first] as number) >= (this.#lastFound[next] as number);
  }

  #push(item: number, state: number, flags: number): void {
    const depth = this.#depth++;
    this.#frameItem[depth] = item;
    this.#frameState[depth] = state;
    this.#frameFlags[depth] = flags;
    this.#framePrevious[depth] = this.#lastBranch;
    if (flags !== Frame.forced) this.#lastBranch = depth;
    this.#done[item] = 1;
    this.#tally(item, -1);
    this.#turn(item);
    if (item >= this.#required) return;
    this.#remaining--;
    this.#unlink(item);
    this.#unlink(this.#required + item);
  }

  /** Takes back the newest frame and returns the state before it. */
  #pop(): number {
    const depth = --this.#depth;
    const item = this.#frameItem[depth] as number;
    this.#lastBranch = this.#framePrevious[depth] as number;
    this.#done[item] = 0;
    this.#tally(item, 1);
    this.#turn(item);
    if (item < this.#required) {
      this.#remaining++;
      this.#relink(this.#required + item);
      this.#relink(item);
    }
    return this.#frameState[depth] as number;
  }

  /** Takes back frames through the newest one that has alternatives; the state before it, or -1 if none has. */
  #backtrack(): number {
    while (this.#depth > 0) {
      const state = this.#pop();
      this.#budget.steps--;
      if (((this.#frameFlags[this.#depth] as number) & (Frame.forced | Frame.committed)) === 0) return state;
    }
    return -1;
  }

  #turn(item: number): void {
    this.#a ^= this.#lanes[3 * item] as number;
    this.#b ^= this.#lanes[3 * item + 1] as number;
    this.#c ^= this.#lanes[3 * item + 2] as number;
  }

  #unlink(event: number): void {
    const previous = this.#previous[event] as number;
    const next = this.#next[event] as number;
    this.#next[previous] = next;
    this.#previous[next] = previous;
  }

  #relink(event: number): void {
    this.#next[this.#previous[event] as number] = event;
    this.#previous[this.#next[event] as number] = event;
  }

  #result(outcome: SearchResult["outcome"]): SearchResult {
    const order: number[] = [];
    if (outcome === "found") {
      for (let depth = 0; depth < this.#depth; depth++) {
        order.push((this.#program.items[this.#frameItem[depth] as number] as Item).operation);
      }
    }
    return { outcome, order, passed: this.#passed };
  }
}
