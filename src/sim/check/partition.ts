import type { Operation } from "./history.js";
import { type Meaning, meaningOf, NotModelledError, spanOf, type Touch } from "./meaning.js";
import { JointModel, KeyModel, type Model } from "./model.js";
import type { Item } from "./search.js";

/** The operations on one key, or on several keys that operations touch together, over one model. */
export interface Partition {
  readonly keys: readonly string[];
  readonly model: Model;
  /** True for a counter, or for several keys of which one is. */
  readonly counter: boolean;
  /** `items[i].operation` is i; `operations[i]` is what it came from. */
  readonly items: readonly Item[];
  readonly operations: readonly Operation[];
}

/** Keys connected by operations that touch several of them. Verdicts on groups are independent. */
export interface Group {
  /** The keys together; null for several keys with too many operations. */
  readonly whole: Partition | null;
  /**
   * Each of several keys alone, operations on several represented by what they say about this one. A contradiction in one
   * is a contradiction; the absence of any proves nothing, but is found much faster. Empty for a single key.
   */
  readonly projections: readonly Partition[];
  /** Operations, those on several keys counted once. */
  readonly operations: number;
}

export interface Grouping {
  readonly groups: readonly Group[];
  /** Operations taken into account: those that certainly did not happen are not. */
  readonly operations: number;
  readonly keys: number;
  /** Why keys are left out, one sentence each. */
  readonly reasons: readonly string[];
}

/** Reasons that are told; a history may have as many as operations. */
const REASONS_MAX = 10;
/** Keys that all operations which span keys look at together. */
const SPANNED_KEYS_MAX = 20_000_000;

interface KeyHistory {
  readonly key: string;
  counter: boolean;
  /** Parent in the forest of keys touched together. */
  parent: KeyHistory;
  /** Operations of the tree, if this is its root. */
  operations: number;
  readonly touched: { readonly index: number; readonly touch: Touch }[];
}

/**
 * Groups a history by key. Keys that one operation touches together are checked together if that is at most
 * `jointOperationsMax` operations.
 *
 * An operation that is not modelled makes everything it could have touched doubtful, so it is a reason for "unknown", and
 * the groups of those keys are left out.
 */
export function groupByKey(operations: readonly Operation[], jointOperationsMax: number): Grouping {
  const histories = new Map<string, KeyHistory>();
  const meanings: (Meaning | null)[] = [];
  const reasons = new Set<string>();
  const doubtful = new Set<string>();
  const spans: number[] = [];
  let everything = false;
  let counted = 0;
  const add = (operation: Operation, index: number, keys?: readonly string[]): void => {
    try {
      const meaning = meaningOf(operation, keys);
      meanings[index] = meaning;
      register(histories, index, meaning);
    } catch (error) {
      if (!(error instanceof NotModelledError)) throw error;
      if (reasons.size < REASONS_MAX) reasons.add(error.message);
      if (error.keys === null) everything = true;
      for (const key of error.keys ?? []) doubtful.add(key);
    }
  };
  for (const [index, operation] of operations.entries()) {
    meanings.push(null);
    if (operation.outcome === "fail") continue;
    counted++;
    if (spanOf(operation) === null) add(operation, index);
    else spans.push(index);
  }
  // Only now is it known which keys there can be.
  const named = [...new Set([...histories.keys(), ...doubtful])];
  if (spans.length * named.length > SPANNED_KEYS_MAX) {
    everything = true;
    reasons.add(`${spans.length} operations span ${named.length} keys, more than can be looked at one by one`);
  } else for (const index of spans) add(operations[index] as Operation, index, named);
  if (spans.length > 0) for (const { touched } of histories.values()) touched.sort((a, b) => a.index - b.index);
  const keys = histories.size;
  if (everything) return { groups: [], operations: counted, keys, reasons: [...reasons] };

  const trees = new Map<KeyHistory, KeyHistory[]>();
  for (const history of histories.values()) {
    const root = rootOf(history);
    const members = trees.get(root);
    if (members === undefined) trees.set(root, [history]);
    else members.push(history);
  }
  const processes = new Map<string | number, number>();
  for (const { process } of operations) if (!processes.has(process)) processes.set(process, processes.size);

  const groups: Group[] = [];
  for (const [root, members] of trees) {
    if (members.some(({ key }) => doubtful.has(key))) continue;
    const single = members.map((history) => projection(history, operations, processes));
    const whole =
      members.length === 1
        ? (single[0] as Partition)
        : root.operations <= jointOperationsMax
          ? together(members, operations, meanings, processes)
          : null;
    groups.push({ whole, projections: members.length === 1 ? [] : single, operations: root.operations });
  }
  return { groups, operations: counted, keys, reasons: [...reasons] };
}

function register(histories: Map<string, KeyHistory>, index: number, meaning: Meaning): void {
  let first: KeyHistory | null = null;
  for (const touch of meaning.touches) {
    let history = histories.get(touch.key);
    if (history === undefined) {
      history = { key: touch.key, counter: false, operations: 0, touched: [] } as unknown as KeyHistory;
      history.parent = history;
      histories.set(touch.key, history);
    }
    if (meaning.counter) history.counter = true;
    history.touched.push({ index, touch });
    const root = rootOf(history);
    if (first === null) {
      first = root;
    } else if (root !== first) {
      root.parent = first;
      first.operations += root.operations;
    }
  }
  if (first !== null) first.operations++;
}

function rootOf(history: KeyHistory): KeyHistory {
  let at = history;
  while (at.parent !== at) {
    at.parent = at.parent.parent;
    at = at.parent;
  }
  return at;
}

function together(
  members: readonly KeyHistory[],
  operations: readonly Operation[],
  meanings: readonly (Meaning | null)[],
  processes: ReadonlyMap<string | number, number>,
): Partition {
  const model = new JointModel(members);
  const touched = new Set(members.flatMap((history) => history.touched.map(({ index }) => index)));
  const indices = [...touched].sort((a, b) => a - b);
  const own = indices.map((index) => operations[index] as Operation);
  const items = indices.map((index, at) =>
    itemOf(own[at] as Operation, at, model.action(meanings[index] as Meaning), processes),
  );
  const counter = members.some((history) => history.counter);
  return { keys: members.map(({ key }) => key), model, counter, items, operations: own };
}

function projection(
  history: KeyHistory,
  operations: readonly Operation[],
  processes: ReadonlyMap<string | number, number>,
): Partition {
  const { key, counter, touched } = history;
  const model = new KeyModel(key, counter);
  const own = touched.map(({ index }) => operations[index] as Operation);
  const items = touched.map(({ touch }, at) =>
    itemOf(own[at] as Operation, at, model.part(touch.requirement, touch.effect), processes),
  );
  return { keys: [key], model, counter, items, operations: own };
}

function itemOf(
  operation: Operation,
  index: number,
  action: number,
  processes: ReadonlyMap<string | number, number>,
): Item {
  return {
    operation: index,
    action,
    invoked: operation.invokedNs,
    completed: operation.outcome === "ok" ? operation.completedNs : Infinity,
    process: processes.get(operation.process) as number,
  };
}
