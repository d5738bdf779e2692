import { ByteWriter, MiB, Prng } from "../../base/index.js";
import { ZipfianRanks } from "../../runtime/index.js";
import { BTREE_COMMAND_BYTES, BtreeOperation, type BtreeOptions } from "../../service/index.js";

/** How the keys of independent commands are chosen. `zipf`: exponent 0.99, key 0 the most popular, its neighbours next. */
export type Skew = "uniform" | "zipf";

export interface WorkloadOptions {
  readonly seed: number;
  readonly commands: number;
  /** Keys in the tree. They have even numbers below twice as many; inserts and deletes concern the odd ones between them. */
  readonly keys: number;
  /** Share of dependent commands, 0 to 1: inserts and deletes, half each. The others are reads and updates, half each. */
  readonly dependent: number;
  readonly skew: Skew;
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

/** The keys that a workload leaves in the tree beyond those that were there; deleting them takes it back. */
export function leftBehind({ operations, keys }: Workload): Uint32Array {
  const there = new Set<number>();
  for (let i = 0; i < operations.length; i++) {
    if (operations[i] === BtreeOperation.insert) there.add(keys[i] as number);
    else if (operations[i] === BtreeOperation.delete) there.delete(keys[i] as number);
  }
  return Uint32Array.from(there);
}

export function isDependent(operation: number): boolean {
  return operation === BtreeOperation.insert || operation === BtreeOperation.delete;
}

/** The upper word of a key; the lower one is 0. Numbers lie evenly over the key space. */
export function keyWord(number: number, keys: number): number {
  return number * Math.floor(4_294_967_296 / (2 * keys));
}

/** Which group a key belongs to: by range, neighbours together, or by hash, without pattern. */
export type Mapping = "range" | "hash";

/**
 * The service with this mapping. Leaves are never looked for together, in no system of a comparison: what a command costs then
 * depends neither on how many come at once nor on the share of dependent ones.
 */
export function serviceOptions(keys: number, groups: number, mapping: Mapping): BtreeOptions {
  if (mapping === "hash" && groups > 1) return { hashedGroups: groups, groupDescent: false };
  const bounds = Array.from(
    { length: groups - 1 },
    (_, i) => [0, keyWord(Math.ceil(((i + 1) * 2 * keys) / groups), keys)] as const,
  );
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

export function encodeCommands(operations: Uint8Array, numbers: Uint32Array, keys: number): Encoded {
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
    view.setUint32(at + 12, keyWord(numbers[i] as number, keys), true);
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
