// Hot file: every node is reached through here. Nothing allocates but growth. Watched by bench/btree.mjs.
import { assert } from "../../base/index.js";
import * as layout from "./layout.js";
import type { NodeMemory, TreeRoots } from "./node-memory.js";
import { RUN_NODES, type SharedMemory } from "./shared-memory.js";
import { MARKS_MAX } from "./tails.js";

// Constants of this module are part of the compiled code, see `word-node.ts`.
const { CHUNK_MASK, CHUNK_NODES, CHUNK_SHIFT, LANE, LINK, NODE_BYTES, NODE_SHIFT, NODE_WORDS, SIDE_SHIFT, STAMP } =
  layout;

const FIRST_NODES = 16;
/**
 * Bytes in front of the first node of a chunk: the C library of Linux places large blocks 16 bytes behind the beginning of a
 * page, and nodes are to begin with a line of the cache. Elsewhere they may lie across lines, which costs time only.
 */
const ALIGNMENT_BYTES = 48;
/** Nodes with copies that are looked through for one allocation, when copies that nobody needs any more may be among them. */
const SWEPT_PER_ALLOCATION = 4;
/** The same for each barrier over all threads. */
const SWEPT_PER_BARRIER = 64;

/**
 * The nodes of a tree, by number, in shared memory, and their content as of marks.
 *
 * Memory comes in chunks of 16 MiB, so that growing copies nothing; only the first begins small and doubles. The operating
 * system gives pages when they are first written, so a new chunk costs neither time nor memory. `chunks` may get longer, and
 * its first element be replaced, by any call of `allocate`, `preserve` or `change`: words are looked up again after those.
 *
 * Marks: whoever writes a node calls `preserve` before. A node whose stamp is below the newest mark is copied then and
 * stamped with that mark. So from a node through its links stamps descend strictly, and what a mark m saw is the first
 * version whose stamp is below m.
 *
 * Threads may share the nodes: each has an arena of its own over the same memory. Nodes of the tree are freed and taken by one thread at a
 * time, any of them, at a barrier over all; `publish` and `adopt` carry it to the others. Marks are thread 0's alone, opened at such a
 * barrier. Between barriers any thread may preserve a node in front of a write to a part of it that is that thread's alone:
 * copies come from nodes that the thread took for itself, and of two threads that copy one node the first to link its copy
 * wins. A walk of a mark may go on in one thread meanwhile; `isIntact` tells it whether what it read was what the mark saw.
 * Copies are given back when no mark is open.
 */
export class Arena {
  readonly chunks: Uint32Array[] = [];
  /** Where chunks come from, null for memory of this arena alone. */
  readonly #memory: NodeMemory | null;
  /** Nodes that the first chunk has room for. */
  #firstNodes: number;
  /** Epoch of the newest open mark, 0 without one. A node whose stamp is below it must be preserved before it is written. */
  newest = 0;
  /** Nodes in use, copies included. */
  nodes = 0;
  /** Nodes from this number on were never used. Number 0 stands for none. */
  #unused = 1;
  /**
   * The newest of the free nodes, 0 for none. What a tree frees and takes goes through here and nothing else does, so that
   * it can be undone in reverse order.
   */
  #free = 0;
  /** The same for nodes that were copies. */
  #freeCopies = 0;
  #epochs = 0;
  /** Epochs of the open marks, ascending. */
  readonly #marks: number[] = [];
  /** Nodes that have copies. */
  #copied: number[] = [];
  /** Nodes some of whose copies may not be needed any more, since a mark was closed. */
  #stale: number[] = [];
  /** Set once threads share the nodes. */
  #shared: SharedMemory | null = null;
  /** What is left of the nodes that this thread has taken for itself. */
  #run = 0;
  #runEnd = 0;
  /** No thread finds a mark open until the next barrier over all of them. */
  #quiet = false;

  /** With `memory` there are no marks, and `load` must come first unless it is fresh. */
  constructor(memory: NodeMemory | null = null) {
    this.#memory = memory;
    this.#firstNodes = memory === null ? FIRST_NODES : CHUNK_NODES;
    if (memory === null) this.chunks.push(makeChunk(FIRST_NODES));
    else if (memory.fresh) this.#addChunk();
  }

  /** Says what this arena keeps beside its chunks, to `load` of another over the same memory. */
  save(roots: TreeRoots): void {
    roots.put(this.#free);
    roots.put(this.nodes);
    roots.put(this.#unused);
  }

  load(roots: TreeRoots): void {
    this.#free = roots.get() >>> 0;
    this.nodes = roots.get();
    this.#unused = roots.get() >>> 0;
  }

  /** Bytes of the nodes in use; of those that other threads use, as they have published it. */
  get bytes(): number {
    return (this.nodes + (this.#shared?.sumOfOthers(NODES_SUM) ?? 0)) * NODE_BYTES;
  }

  /** Moves the nodes to memory that other threads can have views of. Only without marks and former ones. */
  share(memory: SharedMemory): void {
    assert(this.#shared === null && this.newest === 0, "a tree is shared once, and while it has no mark");
    while (this.#copied.length + this.#stale.length > 0) this.#sweep();
    memory.unused = Math.ceil(this.#unused / RUN_NODES) * RUN_NODES;
    for (const [i, words] of this.chunks.entries()) {
      const shared = memory.chunk(i);
      moveChunk(words, shared);
      this.chunks[i] = shared;
    }
    this.#firstNodes = CHUNK_NODES;
    this.#shared = memory;
    this.#quiet = true;
  }

  /** Takes the nodes of another thread's tree in place of these, before there is a tree in them. `adopt` makes it complete. */
  attach(memory: SharedMemory): void {
    this.#shared = memory;
    this.chunks.length = 0;
    this.#firstNodes = CHUNK_NODES;
    this.nodes = 0;
    this.#unused = 0;
  }

  /**
   * Writes what this thread has changed to where others find it; if it ran alone, also what only then may change. A mark that thread 0 has
   * closed is closed for the others from the next barrier over all on, and for all of them there.
   */
  publish(memory: SharedMemory, alone: boolean): void {
    memory.publishSum(NODES_SUM, this.nodes);
    if (memory.thread === 0) memory.newest = this.newest;
    if (!alone) return;
    if (memory.thread !== 0) this.newest = memory.newest;
    memory.publish(FREE_WORD, this.#free);
    memory.publish(NEWEST_WORD, this.newest);
    this.#settle(this.newest);
  }

  /** Takes over what whoever ran alone last has published. */
  adopt(memory: SharedMemory): void {
    this.#free = memory.published(FREE_WORD) >>> 0;
    const newest = memory.published(NEWEST_WORD) >>> 0;
    // Thread 0 may have closed a mark since.
    if (memory.thread !== 0) this.newest = newest;
    this.#extend((memory.unused - 1) >>> CHUNK_SHIFT);
    this.#settle(newest);
  }

  /** The words of the chunk a node is in. */
  words(node: number): Uint32Array {
    return this.chunks[node >>> CHUNK_SHIFT] as Uint32Array;
  }

  /** The node's part in the digest of the shape. */
  lane(node: number): number {
    return this.words(node)[this.#sideAt(node) + LANE] as number;
  }

  setLane(node: number, lane: number): void {
    this.words(node)[this.#sideAt(node) + LANE] = lane;
  }

  /** Takes a node into use. Its content is undefined. */
  allocate(): number {
    const node = this.#free;
    if (node === 0) return this.#allocateElsewhere();
    this.#free = this.lane(node);
    this.nodes++;
    this.#stamp(node);
    return node;
  }

  /** Gives a node back. Marks keep what it holds. */
  free(node: number): void {
    this.preserve(node);
    this.setLane(node, this.#free);
    this.#free = node;
    this.nodes--;
  }

  /** Takes back the latest `free`, which was of this node. Its lane is undefined. */
  unfree(node: number): void {
    assert(this.#free === node, "nodes are taken back in the reverse order");
    this.#free = this.lane(node);
    this.nodes++;
  }

  /** Keeps the content of a node for the open marks, before it is written. */
  preserve(node: number): void {
    const stamp = this.words(node)[at(node) + STAMP] as number;
    if (stamp < this.newest) this.#copy(node);
  }

  mark(): number {
    assert(this.#memory === null, "nodes that threads work on in turn have no marks");
    assert(this.#marks.length < MARKS_MAX, `a tree has at most ${MARKS_MAX} marks at a time`);
    assert((this.#shared?.thread ?? 0) === 0, "only the first thread opens marks of a tree that threads share");
    this.newest = ++this.#epochs;
    this.#marks.push(this.newest);
    return this.newest;
  }

  /** Lets go of a mark. Its copies are given back little by little, as nodes are needed. */
  unmark(epoch: number): void {
    const index = this.#marks.indexOf(epoch);
    assert(index >= 0, "a mark is closed once");
    this.#marks.splice(index, 1);
    this.newest = this.#marks[this.#marks.length - 1] ?? 0;
    if (this.#stale.length === 0) [this.#stale, this.#copied] = [this.#copied, this.#stale];
    else {
      for (const node of this.#copied) this.#stale.push(node);
      this.#copied.length = 0;
    }
  }

  /** The node or copy with the content that a mark saw in `node`. */
  version(node: number, epoch: number): number {
    let version = node;
    for (;;) {
      const words = this.#reach(version);
      if ((words[at(version) + STAMP] as number) < epoch) return version;
      version = words[this.#sideAt(version) + LINK] as number;
      assert(version !== 0, "a mark reaches a node that it keeps no content of");
    }
  }

  /**
   * Whether the content of a version that `version` returned, which has been read since, is what the mark saw: another thread
   * may have written the node meanwhile, but has linked a copy and stamped it before.
   */
  isIntact(version: number, epoch: number): boolean {
    if (this.#shared === null) return true;
    // Written by the addition of nothing, which no processor moves in front of the reads before.
    return Atomics.add(this.words(version), at(version) + STAMP, 0) < epoch;
  }

  /** Says that a mark needs no more of a node: if it is the only one, the node is not copied for it, and a copy is freed. */
  passed(node: number, epoch: number): void {
    if (this.#marks.length !== 1 || this.#shared !== null) return;
    const words = this.words(node);
    const base = at(node);
    if ((words[base + STAMP] as number) < epoch) words[base + STAMP] = epoch;
    let copy = this.#link(node);
    if (copy !== 0) this.#setLink(node, 0);
    while (copy !== 0) copy = this.#releaseCopy(copy);
  }

  #allocateElsewhere(): number {
    if (this.#freeCopies === 0 && this.#stale.length > 0 && (this.#shared === null || this.#quiet)) this.#sweep();
    this.nodes++;
    let node = this.#freeCopies;
    if (node !== 0) this.#freeCopies = this.lane(node);
    else if (this.#shared !== null) node = this.#takeShared(this.#shared);
    else {
      node = this.#unused++;
      if (node >>> CHUNK_SHIFT === this.chunks.length) this.#addChunk();
      else if (node === this.#firstNodes && node < CHUNK_NODES) this.#growFirst();
    }
    this.#stamp(node);
    return node;
  }

  /** No mark reaches a node that was not in use when it was made, but older ones may reach its former life. */
  #stamp(node: number): void {
    const words = this.words(node);
    if ((words[at(node) + STAMP] as number) < this.newest) words[at(node) + STAMP] = this.newest;
  }

  #copy(node: number): void {
    if (this.#shared !== null) return this.#copyShared(node);
    const copy = this.#allocateElsewhere();
    const from = this.words(node);
    const into = this.words(copy);
    const source = at(node);
    into.set(from.subarray(source, source + NODE_WORDS), at(copy));
    const older = this.#link(node);
    if (older === 0) this.#copied.push(node);
    this.#setLink(copy, older);
    this.#setLink(node, copy);
    from[source + STAMP] = this.newest;
  }

  /**
   * The same when another thread may be copying the node. A link to a copy with the stamp that the node still has says that
   * it has been copied, since stamps descend; who finds that stamps the node, too, rather than wait. The link is read before
   * the stamp: the copy of a node that had been copied and written in between could not be linked in place of that link.
   */
  #copyShared(node: number): void {
    const from = this.words(node);
    const source = at(node);
    const side = this.#sideAt(node);
    const link = Atomics.load(from, side + LINK);
    const stamp = Atomics.load(from, source + STAMP);
    if (stamp >= this.newest) return;
    if (link === 0 || this.#reach(link)[at(link) + STAMP] !== stamp) {
      const copy = this.#allocateElsewhere();
      const into = this.words(copy);
      into.set(from.subarray(source, source + NODE_WORDS), at(copy));
      into[at(copy) + STAMP] = stamp;
      this.#setLink(copy, link);
      if (Atomics.compareExchange(from, side + LINK, link, copy) === link) {
        if (link === 0) this.#copied.push(node);
      } else {
        this.#setLink(copy, 0);
        this.#releaseCopy(copy);
      }
    }
    Atomics.exchange(from, source + STAMP, this.newest);
  }

  /** A node that no thread has used. */
  #takeShared(memory: SharedMemory): number {
    if (this.#run === this.#runEnd) {
      this.#run = memory.takeRun();
      this.#runEnd = this.#run + RUN_NODES;
      this.#extend(this.#run >>> CHUNK_SHIFT);
    }
    return this.#run++;
  }

  /** The words of the chunk of a node that another thread may have taken since the last barrier. */
  #reach(node: number): Uint32Array {
    if (node >>> CHUNK_SHIFT >= this.chunks.length) this.#extend(node >>> CHUNK_SHIFT);
    return this.words(node);
  }

  /** Makes views of the chunks through `chunk`. */
  #extend(chunk: number): void {
    const memory = this.#shared as SharedMemory;
    while (this.chunks.length <= chunk) this.chunks.push(memory.chunk(this.chunks.length));
  }

  /** Behind a barrier over all threads, at which `newest` was published to be the newest mark: if none is open, gives some copies back. */
  #settle(newest: number): void {
    this.#quiet = newest === 0;
    if (!this.#quiet) return;
    if (this.#stale.length === 0) [this.#stale, this.#copied] = [this.#copied, this.#stale];
    for (let i = 0; i < SWEPT_PER_BARRIER && this.#stale.length > 0; i += SWEPT_PER_ALLOCATION) this.#sweep();
  }

  /** Frees a copy and returns the next older one. */
  #releaseCopy(copy: number): number {
    const older = this.#link(copy);
    this.#setLink(copy, 0);
    this.setLane(copy, this.#freeCopies);
    this.#freeCopies = copy;
    this.nodes--;
    return older;
  }

  /** Frees those copies of a few nodes which no mark needs. */
  #sweep(): void {
    for (let i = 0; i < SWEPT_PER_ALLOCATION; i++) {
      const node = this.#stale.pop();
      if (node === undefined) return;
      let newer = node;
      let copy = this.#link(node);
      while (copy !== 0) {
        const from = this.words(copy)[at(copy) + STAMP] as number;
        if (this.#isNeeded(from, this.words(newer)[at(newer) + STAMP] as number)) {
          newer = copy;
          copy = this.#link(copy);
        } else {
          copy = this.#releaseCopy(copy);
          this.#setLink(newer, copy);
        }
      }
      if (newer !== node) this.#copied.push(node);
    }
  }

  /** Whether a mark is above the stamp of a copy and not above that of the next newer version. */
  #isNeeded(from: number, to: number): boolean {
    for (const epoch of this.#marks) if (epoch > from && epoch <= to) return true;
    return false;
  }

  #growFirst(): void {
    const words = makeChunk(2 * this.#firstNodes);
    moveChunk(this.words(0), words);
    this.chunks[0] = words;
    this.#firstNodes *= 2;
  }

  #addChunk(): void {
    const words = CHUNK_NODES * layout.CHUNK_WORDS_PER_NODE;
    this.chunks.push(this.#memory === null ? makeChunk(CHUNK_NODES) : this.#memory.take(this.chunks.length, words));
  }

  /** Index of the first side field of a node in its chunk: they stand behind the nodes. */
  #sideAt(node: number): number {
    const nodes = node < CHUNK_NODES ? this.#firstNodes : CHUNK_NODES;
    return (nodes << NODE_SHIFT) + ((node & CHUNK_MASK) << SIDE_SHIFT);
  }

  #link(node: number): number {
    return this.words(node)[this.#sideAt(node) + LINK] as number;
  }

  #setLink(node: number, copy: number): void {
    this.words(node)[this.#sideAt(node) + LINK] = copy;
  }
}

/** What an arena publishes among the words of its tree, and its sum among those of its thread. */
const FREE_WORD = 0;
const NEWEST_WORD = 1;
export const ARENA_WORDS = 2;
const NODES_SUM = 0;
export const ARENA_SUMS = 1;

const at = (node: number): number => (node & CHUNK_MASK) << NODE_SHIFT;

/** Index of the first word of a node in its chunk. */
export const nodeAt = at;

function makeChunk(nodes: number): Uint32Array {
  const words = nodes * layout.CHUNK_WORDS_PER_NODE;
  return new Uint32Array(new SharedArrayBuffer(ALIGNMENT_BYTES + 4 * words), ALIGNMENT_BYTES, words);
}

/** Copies the nodes and side fields of a chunk to one that is as long or longer. */
function moveChunk(from: Uint32Array, into: Uint32Array): void {
  const nodes = from.length / layout.CHUNK_WORDS_PER_NODE;
  into.set(from.subarray(0, nodes * NODE_WORDS));
  into.set(from.subarray(nodes * NODE_WORDS), (into.length / layout.CHUNK_WORDS_PER_NODE) * NODE_WORDS);
}
