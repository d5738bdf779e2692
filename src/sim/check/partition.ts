import type { Operation } from "./history.js";
import { type Meaning, meaningOf, NotModelledError, type Touch } from "./meaning.js";
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
  /** Why the history can't be judged at all, one sentence each. */
  readonly reasons: readonly string[];
}

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
 * no groups are returned.
 */
export function groupByKey(operations: readonly Operation[], jointOperationsMax: number): Grouping {
  const histories = new Map<string, KeyHistory>();
  const meanings: (Meaning | null)[] = [];
  const notModelled = new Set<string>();
  let counted = 0;
  for (const [index, operation] of operations.entries()) {
    let meaning: Meaning | null = null;
    if (operation.outcome !== "fail") {
      counted++;
      try {
        meaning = meaningOf(operation);
      } catch (error) {
        if (!(error instanceof NotModelledError)) throw error;
        if (notModelled.size < 10) notModelled.add(error.message);
      }
    }
    meanings.push(meaning);
    if (meaning !== null) register(histories, index, meaning);
  }
  const keys = histories.size;
  if (notModelled.size > 0) return { groups: [], operations: counted, keys, reasons: [...notModelled] };

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
    const single = members.map((history) => projection(history, operations, processes));
    const whole =
      members.length === 1
        ? (single[0] as Partition)
        : root.operations <= jointOperationsMax
          ? together(members, operations, meanings, processes)
          : null;
    groups.push({ whole, projections: members.length === 1 ? [] : single, operations: root.operations });
  }
  return { groups, operations: counted, keys, reasons: [] };
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
