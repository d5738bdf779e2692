// Hot file: every command of the service runs here. Nothing may be allocated per command, nothing may throw for bad input,
// and nothing may wait. Watched by bench/btree.mjs.
import { assert, type ByteWriter, mix32 } from "../../base/index.js";
import {
  type Digest,
  READ_REPLIES_BYTES_TARGET,
  REPLIES_BYTES_MAX,
  type Run,
  type SharedServiceRoot,
  type SnapshotSink,
  type SnapshotSource,
  type UndoLog,
} from "../../model/index.js";
import { ReplyKind, replyError } from "../command/index.js";
import { SHARED_TREE_BYTES_MAX, type TreeDescription, WordSink, WordSource, WordTree } from "../tree/index.js";
import { BTREE_COMMAND_BYTES, BtreeOperation, RANGE_PAIRS_MAX } from "./command.js";

// Constants of this module are part of the compiled code, see ../tree/word-node.ts.
const { delete: DELETE, insert: INSERT, range: RANGE, read: READ, update: UPDATE } = BtreeOperation;
const { bulk: BULK, nil: NIL, ok: OK, pairs: PAIRS } = ReplyKind;

const MALFORMED = "ERR malformed command";
const READ_ONLY = "ERR a command that writes was sent as an unordered read";
const WRONG_PAIRS = `ERR a range brings 1 to ${RANGE_PAIRS_MAX} pairs`;
const REPLIES_TOO_LONG = `ERR the replies of one block exceed ${REPLIES_BYTES_MAX} bytes; ask for fewer pairs at once`;

/** Commands whose keys are looked for together: enough that their cache misses overlap, few enough that none is evicted. */
const GROUP = 32;
/** Operation that stands for a command which is none. */
const NONE = 0;
const COMMAND_BYTES_MIN = 16;
const OPERATIONS_MAX = 6;
/** The exact length of each operation in bytes, as a typed array since it is looked up for every command. */
const LENGTHS = Uint8Array.from(BTREE_COMMAND_BYTES);
/** ok, nil, and a bulk of 8 bytes are 8 or 16 bytes long. */
const SHORT_REPLY_BYTES = 16;
const PAIRS_HEADER_BYTES = 12;
const PAIR_BYTES = 16;

export interface BtreeOptions {
  /**
   * Where the key space is cut, ascending: keys below the first bound belong to group 0, those from bound i on to group
   * i + 1. Each bound is low word and high word of a key. At most 30 bounds, since a group mask has 31 bits. All replicas
   * and clients have the same.
   */
  readonly bounds?: readonly (readonly [low: number, high: number])[];
  /**
   * Instead of bounds: so many groups, to which keys belong by a hash, 31 at most. A range then concerns all groups. Popular
   * keys that lie near each other are spread; `safetyCheck` fails whatever may change the structure, since no leaf belongs to
   * one group alone.
   */
  readonly hashedGroups?: number;
  /**
   * Whether the leaves of several commands are looked for together, which is what makes runs fast; `true` by default. The lab
   * compares execution models without it, since what a command costs then does not depend on how many come at once.
   */
  readonly groupDescent?: boolean;
}

const BOUNDS_MAX = 30;

/** The B+-tree as a replicated service; see `./command.ts` for its operations. */
export class Btree implements SharedServiceRoot {
  readonly name = "btree";
  #tree = new WordTree();
  readonly #bounds: Uint32Array;
  readonly #hashed: number;
  readonly #groups: number;
  /** Commands whose leaves are looked for together. */
  readonly #together: number;
  // The commands of the present group.
  readonly #operations = new Uint8Array(GROUP);
  readonly #lows = new Uint32Array(GROUP);
  readonly #highs = new Uint32Array(GROUP);
  readonly #leaves = new Uint32Array(GROUP);
  readonly #cells = new Uint8Array(GROUP);
  // The leaves with keys below and from the bounds of thread `#edgesOf` on, 0 where there is no bound: all other leaves with keys of the
  // thread are wholly its own. They are those of the structure of this number, -1 for none.
  #below = 0;
  #above = 0;
  #edgesOf = 0;
  #edgesStructure = -1;

  /** Throws `AssertionError` for bounds that do not ascend or are too many. */
  constructor(options: BtreeOptions = {}) {
    const bounds = options.bounds ?? [];
    assert(bounds.length <= BOUNDS_MAX, `at most ${BOUNDS_MAX} bounds, got ${bounds.length}`);
    this.#bounds = Uint32Array.from(bounds.flat());
    this.#together = options.groupDescent === false ? 1 : GROUP;
    this.#hashed = options.hashedGroups ?? 0;
    this.#groups = this.#hashed === 0 ? bounds.length + 1 : this.#hashed;
    assert(this.#hashed === 0 || bounds.length === 0, "keys belong to groups by bounds or by a hash, not by both");
    assert(this.#hashed >= 0 && this.#hashed <= BOUNDS_MAX + 1, `1 to ${BOUNDS_MAX + 1} groups, got ${this.#hashed}`);
    let before = 0;
    let beforeHigh = 0;
    for (const [low, high] of bounds) {
      assert(high > beforeHigh || (high === beforeHigh && low > before), "bounds ascend, and the first is above 0");
      before = low;
      beforeHigh = high;
    }
  }

  /** Lets `threads` threads share the tree, by default one for each group; this service is the view of thread 0. See `WordTree.share`. */
  share(threads = this.#groups, bytesMax = SHARED_TREE_BYTES_MAX): TreeDescription {
    return this.#tree.share(threads, bytesMax);
  }

  /** The view of another thread, with the same options. */
  static attach(description: TreeDescription, thread: number, options: BtreeOptions = {}): Btree {
    const service = new Btree(options);
    service.#tree = WordTree.attach(description, thread);
    return service;
  }

  /**
   * A service over the same tree in the same thread, with other options: the lab compares mappings without filling a tree for
   * each. One of the two is used at a time, and neither restores a snapshot.
   */
  regrouped(options: BtreeOptions): Btree {
    const service = new Btree(options);
    service.#tree = this.#tree;
    return service;
  }

  /** The tree is whole: one snapshot has all of it. */
  readonly partitioned = false;

  publish(alone: boolean): void {
    this.#tree.publish(alone);
  }

  adopt(): void {
    this.#tree.adopt();
  }

  /** Nothing depends on the time alone. */
  advance(): void {}

  due(): number {
    return Infinity;
  }

  execute(run: Run, replies: ByteWriter, undo: UndoLog | null): void {
    const start = replies.length;
    const together = this.#together;
    for (let first = 0; first < run.count; first += together) {
      const count = Math.min(together, run.count - first);
      this.#decode(run, first, count);
      this.#tree.locate(this.#lows, this.#highs, this.#leaves, this.#cells, count);
      const done = this.#executeGroup(run, first, count, start, replies, undo, false);
      if (done === count) continue;
      run.answered = first + done;
      return;
    }
  }

  /**
   * The same with the safety check in front of each insert and delete, on the leaf that its descent has found (`safetyCheck` says which
   * pass). Nothing has to be taken back. For a tree with bounds.
   */
  attempt(run: Run, first: number, thread: number, replies: ByteWriter): number {
    assert(this.#hashed <= 1, "keys belong to groups by bounds where commands are attempted");
    const together = this.#together;
    this.#findEdges(thread);
    for (let begin = first; begin < run.count; begin += together) {
      const count = Math.min(together, run.count - begin);
      this.#decode(run, begin, count);
      this.#tree.locate(this.#lows, this.#highs, this.#leaves, this.#cells, count);
      const done = this.#executeGroup(run, begin, count, run.repliesAt, replies, null, true);
      if (done < count) return begin + done;
    }
    return run.count;
  }

  rollback(undo: UndoLog, mark: number): void {
    this.#tree.rollback(undo, mark);
  }

  isRead(view: DataView, at: number): boolean {
    const operation = operationAt(view, at);
    return operation === READ || operation === RANGE;
  }

  /**
   * The groups that a command concerns: one for a key, all that a range meets. What changes the structure of the tree
   * concerns everybody: inserts and deletes, which may, are for all groups (CC-G), and for that of their key alone (OC-G)
   * under the optimistic assumption that `safetyCheck` then looks into.
   */
  groups(run: Run, mode: 0 | 1, masks: Uint32Array): void {
    const { view, offsets } = run;
    const everybody = maskThrough(this.#groups - 1);
    for (let i = 0; i < run.count; i++) {
      const at = offsets[i] as number;
      const operation = operationAt(view, at);
      const group = operation === NONE ? 0 : this.#groupOf(view.getUint32(at + 8, true), view.getUint32(at + 12, true));
      masks[i] = 1 << group;
      if (operation === RANGE) {
        if (this.#hashed > 0) {
          masks[i] = everybody;
          continue;
        }
        const last = this.#groupOf(view.getUint32(at + 16, true), view.getUint32(at + 20, true));
        if (last > group) masks[i] = maskThrough(last) & -(1 << group);
      } else if (mode === 0 && (operation === INSERT || operation === DELETE)) {
        masks[i] = everybody;
      }
    }
  }

  /**
   * An insert or delete passes if all keys of its leaf belong to this thread and the leaf neither overflows nor underflows
   * (opt-PSMR, section V-B). It reads inner nodes, which no command in parallel mode writes, and a leaf only once it is known
   * that no other thread writes it. What does not change the structure passes: it comes to the thread of its key.
   */
  safetyCheck(run: Run, thread: number, pass: Uint8Array): void {
    const { view, offsets } = run;
    const tree = this.#tree;
    for (let i = 0; i < run.count; i++) {
      const at = offsets[i] as number;
      const operation = operationAt(view, at);
      pass[i] = 1;
      if (operation !== INSERT && operation !== DELETE) continue;
      const low = view.getUint32(at + 8, true);
      const high = view.getUint32(at + 12, true);
      const leaf = tree.leafRange(low, high);
      pass[i] = 0;
      if (!this.#isWithin(thread)) continue;
      const fails = operation === INSERT ? tree.wouldOverflow(leaf, low, high) : tree.wouldUnderflow(leaf, low, high);
      if (!fails) pass[i] = 1;
    }
  }

  /** Keys as doubles: those that round to the same number seem to conflict. What is no command conflicts with none. */
  conflicts(run: Run, low: Float64Array, high: Float64Array, writes: Uint8Array): void {
    const { view, offsets } = run;
    for (let i = 0; i < run.count; i++) {
      const at = offsets[i] as number;
      const operation = operationAt(view, at);
      low[i] = operation === NONE ? Infinity : keyAt(view, at + 8);
      high[i] = operation === NONE ? -Infinity : keyAt(view, at + (operation === RANGE ? 16 : 8));
      writes[i] = operation === NONE || this.isRead(view, at) ? 0 : 1;
    }
  }

  digest(into: Digest): void {
    this.#tree.digest(into);
  }

  snapshot(): SnapshotSource {
    return new WordSource(this.#tree);
  }

  /** Only before threads share the tree: their views would keep the former one. */
  restore(): SnapshotSink {
    assert(!this.#tree.isShared, "a tree is restored before threads share it");
    return new WordSink((tree) => {
      this.#tree = tree;
      this.#edgesStructure = -1;
    });
  }

  /** Changes whenever the bounds of leaves do, so that what was true of a leaf may not be any more. */
  get structure(): number {
    return this.#tree.structure;
  }

  /** The number of the leaf that a key belongs to, for those who watch which thread writes what. */
  leafOf(low: number, high: number): number {
    return this.#tree.leafOf(low, high);
  }

  size(): { readonly entries: number; readonly bytes: number } {
    return { entries: this.#tree.entries, bytes: this.#tree.bytes };
  }

  /** Reads operations and keys of `count` commands into the columns of the group. */
  #decode(run: Run, first: number, count: number): void {
    const { view, offsets } = run;
    const operations = this.#operations;
    const lows = this.#lows;
    const highs = this.#highs;
    for (let i = 0; i < count; i++) {
      const at = offsets[first + i] as number;
      const operation = operationAt(view, at);
      operations[i] = operation;
      lows[i] = operation === NONE ? 0 : view.getUint32(at + 8, true);
      highs[i] = operation === NONE ? 0 : view.getUint32(at + 12, true);
    }
  }

  /**
   * Executes the commands decoded and returns how many it has answered; `start` is where the replies of the run begin. With `checked` it
   * stops in front of the first that fails its safety check.
   */
  #executeGroup(
    run: Run,
    first: number,
    count: number,
    start: number,
    replies: ByteWriter,
    undo: UndoLog | null,
    checked: boolean,
  ): number {
    const tree = this.#tree;
    const { view: commands, offsets, readOnly } = run;
    const { structure, moves } = tree;
    replies.reserve(GROUP * SHORT_REPLY_BYTES);
    for (let i = 0; i < count; i++) {
      // Signed, since numbers from 2^31 on are boxed when a call is not inlined.
      const low = (this.#lows[i] as number) | 0;
      const high = (this.#highs[i] as number) | 0;
      const leaf = tree.structure === structure ? (this.#leaves[i] as number) : tree.leafOf(low, high);
      const cell = tree.moves === moves ? (this.#cells[i] as number) : tree.cellOf(leaf, low, high);
      const at = offsets[first + i] as number;
      const operation = this.#operations[i] as number;
      let done: boolean;
      switch (operation) {
        case READ:
          if (tree.read(leaf, cell, low, high)) this.#replyValue(replies);
          else replyShort(replies, NIL);
          continue;
        case UPDATE:
        case INSERT: {
          if (readOnly) break;
          if (checked && operation === INSERT) {
            if (this.#isEdge(leaf) || tree.wouldOverflow(leaf, low, high)) return i;
          }
          const valueLow = commands.getInt32(at + 16, true);
          const valueHigh = commands.getInt32(at + 20, true);
          if (operation === UPDATE) {
            done = tree.update(leaf, cell, low, high, valueLow, valueHigh, undo);
          } else done = tree.insert(leaf, cell, low, high, valueLow, valueHigh, undo);
          replyShort(replies, done ? OK : NIL);
          continue;
        }
        case DELETE:
          if (readOnly) break;
          if (checked && (this.#isEdge(leaf) || tree.wouldUnderflow(leaf, low, high))) return i;
          done = tree.remove(leaf, cell, low, high, undo);
          replyShort(replies, done ? OK : NIL);
          continue;
        case RANGE: {
          // In a read-only run the first command may bring as much as any; the others are put off when there is much already.
          const last = readOnly && first + i > 0;
          const end = start + (last ? READ_REPLIES_BYTES_TARGET : REPLIES_BYTES_MAX);
          if (!this.#range(commands, at, low, high, replies, end)) {
            if (last) return i;
            replyError(replies, REPLIES_TOO_LONG);
          }
          replies.reserve(GROUP * SHORT_REPLY_BYTES);
          continue;
        }
        default:
          replyError(replies, MALFORMED);
          replies.reserve(GROUP * SHORT_REPLY_BYTES);
          continue;
      }
      replyError(replies, READ_ONLY);
      replies.reserve(GROUP * SHORT_REPLY_BYTES);
    }
    return count;
  }

  /** Replies the value that was read. The room is there. */
  #replyValue(replies: ByteWriter): void {
    const { view, length } = replies;
    const { value } = this.#tree;
    view.setUint32(length, SHORT_REPLY_BYTES, true);
    view.setUint32(length + 4, BULK, true);
    view.setUint32(length + 8, value[0] as number, true);
    view.setUint32(length + 12, value[1] as number, true);
    replies.length = length + SHORT_REPLY_BYTES;
  }

  /** Replies the pairs of a range; false, and nothing is replied, if the replies would end behind `end`. */
  #range(commands: DataView, at: number, low: number, high: number, replies: ByteWriter, end: number): boolean {
    const pairsMax = commands.getUint32(at + 24, true);
    if (pairsMax < 1 || pairsMax > RANGE_PAIRS_MAX) {
      replyError(replies, WRONG_PAIRS);
      return true;
    }
    const reply = replies.length;
    const room = Math.floor((end - reply - PAIRS_HEADER_BYTES) / PAIR_BYTES);
    replies.skip(PAIRS_HEADER_BYTES);
    const lastLow = commands.getUint32(at + 16, true);
    const lastHigh = commands.getUint32(at + 20, true);
    // One more than there is room for tells whether the room suffices.
    const pairs = this.#tree.writePairs(
      low,
      high,
      lastLow,
      lastHigh,
      Math.max(0, Math.min(pairsMax, room + 1)),
      replies,
    );
    if (pairs > room) {
      replies.length = reply;
      return false;
    }
    const { view } = replies;
    view.setUint32(reply, replies.length - reply, true);
    view.setUint32(reply + 4, PAIRS, true);
    view.setUint32(reply + 8, pairs, true);
    return true;
  }

  /** The group that a key belongs to. */
  #groupOf(low: number, high: number): number {
    if (this.#hashed > 0) return mix32(low ^ mix32(high)) % this.#hashed;
    const bounds = this.#bounds;
    let group = 0;
    while (2 * group < bounds.length) {
      const boundHigh = bounds[2 * group + 1] as number;
      if (high < boundHigh || (high === boundHigh && low < (bounds[2 * group] as number))) break;
      group++;
    }
    return group;
  }

  /**
   * Finds the two leaves with keys of a thread that may have keys of others as well: that of the last key below its first one, and that of
   * the first key behind its last. A leaf holds an interval of keys, so that any other one with a key of the thread has none but its keys.
   * They are found by inner nodes alone, and anew only where the structure has changed.
   */
  #findEdges(thread: number): void {
    const tree = this.#tree;
    if (this.#edgesStructure === tree.structure && this.#edgesOf === thread) return;
    const bounds = this.#bounds;
    assert(thread >= 0 && thread < this.#groups, `thread ${thread} of ${this.#groups}`);
    this.#below = 0;
    this.#above = 0;
    if (thread > 0) {
      const low = bounds[2 * thread - 2] as number;
      const high = bounds[2 * thread - 1] as number;
      this.#below = tree.leafOf((low - 1) | 0, (low === 0 ? high - 1 : high) | 0);
    }
    if (thread < this.#groups - 1) {
      this.#above = tree.leafOf((bounds[2 * thread] as number) | 0, (bounds[2 * thread + 1] as number) | 0);
    }
    this.#edgesOf = thread;
    this.#edgesStructure = tree.structure;
  }

  #isEdge(leaf: number): boolean {
    return leaf === this.#below || leaf === this.#above;
  }

  /** Whether all keys of the leaf whose range the tree has found belong to a thread. */
  #isWithin(thread: number): boolean {
    const tree = this.#tree;
    const bounds = this.#bounds;
    if (this.#hashed > 1) return false;
    if (thread > 0) {
      const boundHigh = bounds[2 * thread - 1] as number;
      if (
        tree.lowerHigh < boundHigh ||
        (tree.lowerHigh === boundHigh && tree.lowerLow < (bounds[2 * thread - 2] as number))
      ) {
        return false;
      }
    }
    if (thread >= this.#groups - 1) return true;
    if (!tree.bounded) return false;
    const boundHigh = bounds[2 * thread + 1] as number;
    return (
      tree.upperHigh < boundHigh || (tree.upperHigh === boundHigh && tree.upperLow <= (bounds[2 * thread] as number))
    );
  }
}

/** The operation of the command at `at`, `NONE` unless its length and reserved bytes are as they must be. */
function operationAt(view: DataView, at: number): number {
  const length = view.getUint32(at, true);
  if (length < COMMAND_BYTES_MIN) return NONE;
  const operation = view.getUint32(at + 4, true);
  return operation < OPERATIONS_MAX && LENGTHS[operation] === length ? operation : NONE;
}

/** The mask of groups 0 to `last`, which is 30 at most. */
function maskThrough(last: number): number {
  return 0x7fffffff >>> (BOUNDS_MAX - last);
}

function keyAt(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * 4294967296 + view.getUint32(at, true);
}

/** Replies ok or nil. The room is there. */
function replyShort(replies: ByteWriter, kind: ReplyKind): void {
  const { view, length } = replies;
  view.setUint32(length, 8, true);
  view.setUint32(length + 4, kind, true);
  replies.length = length + 8;
}
