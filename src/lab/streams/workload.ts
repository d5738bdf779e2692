import { assert, ByteWriter, MiB, mix32, Prng } from "../../base/index.js";
import { ZipfianRanks } from "../../runtime/index.js";
import { BTREE_COMMAND_BYTES, BtreeOperation, type BtreeOptions } from "../../service/index.js";

/** How the keys of independent commands are chosen. `zipf`: exponent 0.99, key 0 the most popular, its neighbours next. */
export type Skew = "uniform" | "zipf";

/**
 * Where the keys of the tree lie. `even`: at even numbers below twice as many, evenly over the key space in their order; inserts
 * and deletes concern the odd numbers between them, and the tree stays as it is but for some. `scattered`: anywhere, without
 * order; inserts add keys anywhere and deletes remove any, as clients do that select keys uniformly, so that leaves fill and
 * empty at random. How often opt-PSMR's check fails depends on that.
 */
export type KeySpace = "even" | "scattered";

export interface WorkloadOptions {
  readonly seed: number;
  readonly commands: number;
  /** Keys in the tree. */
  readonly keys: number;
  /** Share of dependent commands, 0 to 1: inserts and deletes, half each. */
  readonly dependent: number;
  readonly skew: Skew;
  /** `even` by default, with reads and updates, half each, as independent commands; if scattered these are reads of uniform keys. */
  readonly space?: KeySpace;
}

/** A sequence of commands on the `btree` service, as columns. */
export interface Workload {
  readonly options: WorkloadOptions;
  readonly operations: Uint8Array;
  /** Numbers of keys, see `keyWord`. */
  readonly keys: Uint32Array;
}

/** Keys inserted and not yet deleted, at most: the tree keeps its size to within so many. */
const INSERTED_MAX = 4096;

/**
 * Draws a workload. Inserts add a key that is not there and deletes remove the one inserted longest ago, so that each does
 * its work and the tree keeps its size.
 */
export function drawWorkload(options: WorkloadOptions): Workload {
  return options.space === "scattered" ? drawScattered(options) : drawEven(options);
}

function drawEven(options: WorkloadOptions): Workload {
  const { commands, keys, dependent, skew } = options;
  const prng = new Prng(options.seed);
  const ranks = skew === "zipf" ? new ZipfianRanks(prng.fork("ranks"), keys) : null;
  const operations = new Uint8Array(commands);
  const numbers = new Uint32Array(commands);
  const inserted: number[] = [];
  let oldest = 0;
  const next = walkKeys(keys, prng.below(keys));
  for (let i = 0; i < commands; i++) {
    if (!prng.chance(dependent)) {
      operations[i] = prng.chance(0.5) ? BtreeOperation.read : BtreeOperation.update;
      numbers[i] = 2 * (ranks === null ? prng.below(keys) : ranks.next());
      continue;
    }
    const there = inserted.length - oldest;
    const insert = there === 0 || (there < INSERTED_MAX && prng.chance(0.5));
    operations[i] = insert ? BtreeOperation.insert : BtreeOperation.delete;
    if (insert) {
      const number = 2 * next() + 1;
      inserted.push(number);
      numbers[i] = number;
    } else {
      numbers[i] = inserted[oldest++] as number;
    }
  }
  return { options, operations, keys: numbers };
}

/** Numbers of keys that are inserted begin below this, as the seed has it: two workloads hardly insert the same ones. */
const INSERTED_FIRST_MAX = 2 ** 31;

/** Keys with numbers below `keys` are there at the beginning; an insert takes the next of those behind, and a delete any that is there. */
function drawScattered(options: WorkloadOptions): Workload {
  const { commands, keys, dependent, skew } = options;
  assert(skew === "uniform", "scattered keys are selected uniformly");
  const prng = new Prng(options.seed);
  const operations = new Uint8Array(commands);
  const numbers = new Uint32Array(commands);
  const there = new Uint32Array(keys + commands);
  for (let i = 0; i < keys; i++) there[i] = i;
  let count = keys;
  let next = keys + prng.below(INSERTED_FIRST_MAX);
  for (let i = 0; i < commands; i++) {
    const any = prng.below(count);
    operations[i] = BtreeOperation.read;
    numbers[i] = there[any] as number;
    if (!prng.chance(dependent)) continue;
    // The last key is never deleted, so that there is always one to select.
    if (count === 1 || prng.chance(0.5)) {
      operations[i] = BtreeOperation.insert;
      numbers[i] = next;
      there[count++] = next++;
    } else {
      operations[i] = BtreeOperation.delete;
      there[any] = there[--count] as number;
    }
  }
  return { options, operations, keys: numbers };
}

/** What takes the tree back to the keys that it had before a workload: deletes of those it left there, inserts of those it took away. */
export function takenBack({
  operations,
  keys,
}: Pick<Workload, "operations" | "keys">): Pick<Workload, "operations" | "keys"> {
  /** By key what takes it back to what it was, if it is not that. */
  const changed = new Map<number, number>();
  for (let i = 0; i < operations.length; i++) {
    const operation = operations[i] as number;
    if (!isDependent(operation)) continue;
    const key = keys[i] as number;
    if (changed.has(key)) changed.delete(key);
    else changed.set(key, operation === BtreeOperation.insert ? BtreeOperation.delete : BtreeOperation.insert);
  }
  return { operations: Uint8Array.from(changed.values()), keys: Uint32Array.from(changed.keys()) };
}

export function isDependent(operation: number): boolean {
  return operation === BtreeOperation.insert || operation === BtreeOperation.delete;
}

const WORDS = 2 ** 32;

/** The upper word of the key with this number, in a tree of so many keys; the lower one is 0. No two numbers have the same. */
export function keyWord(number: number, keys: number, space: KeySpace = "even"): number {
  return space === "even" ? number * Math.floor(WORDS / (2 * keys)) : mix32(number);
}

/** Which group a key belongs to: by range, neighbours together, or by hash, without pattern. */
export type Mapping = "range" | "hash";

/**
 * The service with this mapping. Leaves are never looked for together, in no system of a comparison: what a command costs then
 * depends neither on how many come at once nor on the share of dependent ones.
 */
export function serviceOptions(keys: number, groups: number, mapping: Mapping, space: KeySpace = "even"): BtreeOptions {
  if (mapping === "hash" && groups > 1) return { hashedGroups: groups, groupDescent: false };
  const bounds = Array.from({ length: groups - 1 }, (_, i): readonly [number, number] => {
    if (space === "scattered") return [0, Math.floor(((i + 1) * WORDS) / groups)];
    return [0, keyWord(Math.ceil(((i + 1) * 2 * keys) / groups), keys)];
  });
  return { bounds, groupDescent: false };
}

/** Commands as the service has them, one behind the other. */
export interface Encoded {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Where command i begins; it ends where the next one does. */
  readonly offsets: Uint32Array;
}

const ENCODED_BYTES_MAX = 1024 * MiB;

export function encodeCommands(
  operations: Uint8Array,
  numbers: Uint32Array,
  keys: number,
  space: KeySpace = "even",
): Encoded {
  const writer = new ByteWriter(24 * operations.length + 16, ENCODED_BYTES_MAX);
  const offsets = new Uint32Array(operations.length + 1);
  for (let i = 0; i < operations.length; i++) {
    const operation = operations[i] as number;
    const length = BTREE_COMMAND_BYTES[operation] as number;
    const at = writer.skip(length);
    offsets[i] = at;
    const { view } = writer;
    view.setUint32(at, length, true);
    view.setUint32(at + 4, operation, true);
    view.setUint32(at + 8, 0, true);
    view.setUint32(at + 12, keyWord(numbers[i] as number, keys, space), true);
    if (length < 24) continue;
    view.setUint32(at + 16, i, true);
    view.setUint32(at + 20, 0, true);
  }
  offsets[operations.length] = writer.length;
  return { bytes: writer.bytes, view: writer.view, offsets };
}

/** Goes through the numbers below `count`, all of them before any comes again, in an order that leaps back and forth. */
export function walkKeys(count: number, first: number): () => number {
  const stride = coprimeNear(Math.floor(count * 0.618), count);
  let at = first;
  return () => {
    at = (at + stride) % count;
    return at;
  };
}

function coprimeNear(start: number, modulus: number): number {
  for (let candidate = Math.max(1, start); ; candidate++) if (gcd(candidate, modulus) === 1) return candidate;
}

function gcd(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}
