import type { ByteWriter } from "../../base/index.js";
import { type PsmrView, Waiting } from "../../execution/index.js";
import {
  ANY_GROUP,
  emptyRun,
  type GroupMapping,
  maskOfAll,
  type Run,
  type SharedService,
  type SharedServiceRoot,
  type UndoLog,
} from "../../model/index.js";
import { BtreeOperation, kvMapping } from "../../service/index.js";
import type { AccessChecker } from "../check/index.js";
import { PassingView } from "./passing-service.js";
import { WorldViolation } from "./violation.js";

/** A service over a tree whose leaves several threads write in parallel, as long as nobody changes where they begin and end. */
export interface Leaves {
  /** Changes whenever the bounds of leaves do. */
  readonly structure: number;
  /** The number of the leaf of a key, low word and high word. */
  leafOf(low: number, high: number): number;
}

/** Says which nodes of the shared state a command reads or writes; `leaves` of where it was attempted in parallel mode, else null. */
export type Touches = (
  run: Run,
  index: number,
  touch: (node: number, write: boolean) => void,
  leaves: Leaves | null,
) => void;

/** The node that stands for the structure of the tree, which every command reads; keys follow, and leaves are below 0. */
const STRUCTURE = 0;
/** A range is looked at in so many places at most. */
const RANGE_NODES_MAX = 4096;

/**
 * What commands of `btree` touch: keys, whose low words tell them apart; the structure that all of them go through; and in parallel
 * mode leaves, since those that insert and delete there move what the others look for.
 */
function btreeTouches(keysMax: number): Touches {
  return ({ view, offsets }, index, touch, leaves) => {
    const at = offsets[index] as number;
    const operation = view.getUint32(at + 4, true);
    const key = view.getUint32(at + 8, true);
    const moves = operation === BtreeOperation.insert || operation === BtreeOperation.delete;
    touch(STRUCTURE, moves && leaves === null);
    if (leaves !== null) touch(-1 - leaves.leafOf(key, 0), moves);
    if (operation !== BtreeOperation.range) return touch(1 + key, operation !== BtreeOperation.read);
    const last = Math.min(keysMax, view.getUint32(at + 16, true), key + RANGE_NODES_MAX);
    for (let other = key; other <= last; other++) touch(1 + other, false);
  };
}

/** What commands touch of a service that is cut into partitions: those of the groups that they concern, each as a whole. */
export function partitionTouches(mapping: GroupMapping): Touches {
  const { groups } = mapping;
  const one = { ...emptyRun(), offsets: new Uint32Array(1), count: 1 };
  const masks = new Uint32Array(1);
  return ({ bytes, view, offsets }, index, touch) => {
    one.bytes = bytes;
    one.view = view;
    one.offsets[0] = offsets[index] as number;
    mapping.masks(one, masks);
    if (masks[0] === ANY_GROUP) return;
    for (let group = 0; group < groups; group++) if (((masks[0] as number) & (1 << group)) !== 0) touch(group, true);
  };
}

/** Those of a service that is built in, for so many groups and keys below a number. */
export function touchesOf(service: string, groups: number, keysMax: number): Touches {
  return service === "kv" ? partitionTouches(kvMapping(groups)) : btreeTouches(keysMax);
}

/**
 * The view that one thread has of a shared service, told on to the checker of overlapping accesses: what its commands touch, and
 * what barriers tell threads of each other. Each barrier is two meetings: all with the executor, and the executor with all.
 */
export class WatchedView extends PassingView {
  readonly #thread: number;
  readonly #everybody: number;
  readonly #checker: AccessChecker;
  readonly #touches: Touches;
  /** Null for a service whose state is no tree. */
  readonly #leaves: Leaves | null;
  #view: (() => PsmrView) | null = null;
  #executing = false;
  /** At a barrier at which all threads wait. */
  #alone = false;

  constructor(inner: SharedService | SharedServiceRoot, thread: number, checker: AccessChecker, touches: Touches) {
    super(inner);
    this.#thread = thread;
    this.#everybody = maskOfAll(checker.threads);
    this.#checker = checker;
    this.#touches = touches;
    this.#leaves = isLeaves(inner) ? inner : null;
  }

  /** The model of the thread, which says at which barrier it is. */
  watch(view: () => PsmrView): void {
    this.#view = view;
  }

  override publish(alone: boolean, threads: number): void {
    const at = this.#view?.();
    if (at !== undefined) this.#checker.arrive(this.#thread, 2 * at.barrier + (this.#executing ? 1 : 0));
    this.#executing = false;
    this.#alone = false;
    super.publish(alone, threads);
  }

  override adopt(threads: number): void {
    const at = this.#view?.();
    this.#executing = at?.waiting === Waiting.arrivals;
    this.#alone = this.#executing && at?.gamma === this.#everybody;
    if (at !== undefined) this.#checker.leave(this.#thread, 2 * at.barrier + (this.#executing ? 0 : 1));
    super.adopt(threads);
  }

  override execute(run: Run, replies: ByteWriter, undo: UndoLog | null): void {
    this.#touch(run, 0, run.count, null);
    // With one group all commands are in its stream, and its thread is alone at any time.
    if (this.#alone || this.#everybody === 1) super.execute(run, replies, undo);
    else this.#inPlace(() => super.execute(run, replies, undo));
  }

  protected override attempted(run: Run, first: number, thread: number, replies: ByteWriter): number {
    let through = first;
    this.#inPlace(() => {
      through = super.attempted(run, first, thread, replies);
    });
    // A partition is one node: a command that passed has touched that of its thread, whatever others it might have touched.
    if (this.#leaves !== null) this.#touch(run, first, through, this.#leaves);
    else if (through > first) this.#checker.access(this.#thread, this.#thread, true);
    return through;
  }

  #touch(run: Run, first: number, end: number, leaves: Leaves | null): void {
    const touch = (node: number, write: boolean): void => this.#checker.access(this.#thread, node, write);
    for (let i = first; i < end; i++) this.#touches(run, i, touch, leaves);
  }

  /** While other threads execute, nobody changes where leaves begin and end (O2 of opt-PSMR). Throws `WorldViolation`. */
  #inPlace(execute: () => void): void {
    const before = this.#leaves?.structure;
    execute();
    const after = this.#leaves?.structure;
    if (before === after) return;
    const what = `thread ${this.#thread} changes the structure of the tree from ${before} to ${after}`;
    throw new WorldViolation("structure", `${what} while other threads execute`);
  }
}

function isLeaves(service: object): service is Leaves {
  return "leafOf" in service && "structure" in service;
}
