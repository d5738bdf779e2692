// Hot file: one slot per block, reused. No allocation per block once the slots are there, none per command ever.
import { assert, ByteWriter, KiB, MiB } from "../../base/index.js";
import { BLOCK_BYTES_MAX, type ClientFailure, ReplyStatus, replyStatus, type Span } from "../../model/index.js";
import type { BlockClient, BlockClientHandlers } from "./block-client.js";
import type { ArrivalSchedule } from "./load-arrivals.js";

/** What a block of a load holds. */
export const LoadBlockKind = {
  /** Ordered commands: updates, insertions, deletions. */
  ordered: 0,
  /** Reads or scans. */
  read: 1,
  /** Reads whose updates follow, in the same slot, when they are answered. */
  modify: 2,
  /** Commands of any kind, reads among them, all ordered. */
  mixed: 3,
} as const;
export type LoadBlockKind = (typeof LoadBlockKind)[keyof typeof LoadBlockKind];

const nothing = new Float64Array(0);
const DRAFT_BYTES = 64 * KiB;

/** A submitted block; its index among the client's slots is its token. */
export class BlockSlot {
  readonly token: number;
  kind: LoadBlockKind = LoadBlockKind.ordered;
  commands = 0;
  /** Those that are unanswered. */
  commandsLeft = 0;
  /** Some failed opt-PSMR's safety check: the others, which are so many, were answered before. */
  waits = false;
  passed = 0;
  submittedAt = 0;
  /** When each command was due, with a rate. */
  due: Float64Array = nothing;
  /** The keys of a block of modifications. */
  keys: Float64Array = nothing;
  /** The stream it goes through; 0 without groups. */
  stream = 0;
  /** First key of a preload block. */
  firstKey = 0;
  /** The client's insertions through those of this block. */
  insertedThrough = 0;
  /** With groups: the insertions that this block has a part of. Reused. */
  readonly insertions: Insertions[] = [];

  constructor(token: number) {
    this.token = token;
  }
}

/** Insertions drawn at one time, which went into several blocks. */
export interface Insertions {
  /** The client's insertions through these. */
  readonly through: number;
  /** Blocks that are under way, or being written. */
  blocks: number;
}

/** A block being written: its bytes, and what is known of each command. */
export class Draft {
  readonly writer = new ByteWriter(DRAFT_BYTES, BLOCK_BYTES_MAX + 1 * MiB);
  readonly due: Float64Array;
  /** Keys of modifications. */
  readonly keys: Float64Array;
  commands = 0;
  /** When the first of its commands was drawn. */
  since = 0;
  readonly insertions: Insertions[] = [];

  /** With room for what is known of so many commands; due times and keys are known of some only. */
  constructor(dueMax: number, keysMax: number) {
    this.due = new Float64Array(dueMax);
    this.keys = new Float64Array(keysMax);
  }

  clear(): void {
    this.writer.clear();
    this.commands = 0;
    this.insertions.length = 0;
  }
}

/** A block that found no place when its turn came; it is submitted before anything else. */
interface HeldBlock {
  readonly slot: BlockSlot;
  readonly bytes: Uint8Array;
}

/** What a client of a load tells. */
export interface LoadClientHandlers {
  /** Some of a slot's replies. */
  onPart(slot: BlockSlot, replies: Span): void;
  /** So many of a slot's commands failed a safety check; the replies to the others are here. */
  onPending(client: LoadClient, slot: BlockSlot, failed: number, replies: Span): void;
  /** The last of a slot's replies; the slot is still the caller's. */
  onReplies(client: LoadClient, slot: BlockSlot, replies: Span): void;
  onFailure(client: LoadClient, slot: BlockSlot, failure: ClientFailure): void;
  /** It may have room. */
  onRoom(client: LoadClient): void;
}

/** One client of a load: its session, or one for each stream, the blocks it has under way, the keys it has inserted. */
export class LoadClient implements BlockClientHandlers {
  readonly index: number;
  readonly #load: LoadClientHandlers;
  readonly #slots: BlockSlot[] = [];
  readonly #free: BlockSlot[] = [];
  /** At most the blocks of one turn: while any is held nothing new is written. */
  readonly #held: HeldBlock[] = [];
  #streams: readonly BlockClient[] = [];
  /** With groups, by stream: blocks under way, and the commands that wait to go with the next one. */
  readonly #openIn: number[] = [];
  drafts: readonly Draft[] = [];
  #close: (done: () => void) => void = (done) => done();
  /** Commands under way; a modification is one from its read's submission to its update's answer. */
  outstanding = 0;
  blocksOpen = 0;
  /** Blocks of modifications whose reads are answered and whose updates are not submitted. */
  readonly modifiesOwed: BlockSlot[] = [];
  /** Keys inserted and deleted: the first of the client's `inserted`. */
  inserted = 0;
  deleted = 0;
  arrivals: ArrivalSchedule | null = null;
  /** With groups: insertions under way, in the order drawn. They count as there when those before them are, too. */
  readonly insertions: Insertions[] = [];
  /** Stands in the load's list of clients that may have room. */
  listed = false;

  constructor(load: LoadClientHandlers, index: number) {
    this.#load = load;
    this.index = index;
  }

  /** Gives it its client, or with groups the clients of all streams and a draft for each, which `close` closes. */
  attach(streams: readonly BlockClient[], drafts: readonly Draft[], close: (done: () => void) => void): void {
    this.#streams = streams;
    this.drafts = drafts;
    for (let stream = 0; stream < streams.length; stream++) this.#openIn.push(0);
    this.#close = close;
  }

  /** Closes what was attached. */
  close(done: () => void): void {
    this.#close(done);
  }

  /** There is a place for a block in every stream. */
  get open(): boolean {
    const streams = this.#streams;
    for (let i = 0; i < streams.length; i++) if (!(streams[i] as BlockClient).open) return false;
    return streams.length > 0;
  }

  /**
   * Commands that may be drawn: as many as the window has room for beside what is under way or about to be. What waits for a stream
   * in which a block is under way takes no place of another stream's, and is a window at most itself.
   */
  room(window: number): number {
    let ready = this.outstanding;
    let waiting = 0;
    for (let stream = 0; stream < this.drafts.length; stream++) {
      const { commands } = this.drafts[stream] as Draft;
      if (this.isIdle(stream)) ready += commands;
      else waiting += commands;
    }
    return window - Math.max(ready, waiting);
  }

  /** Whether no block is under way in a stream. */
  isIdle(stream: number): boolean {
    return this.#openIn[stream] === 0;
  }

  get holds(): boolean {
    return this.#held.length > 0;
  }

  /** A slot for a block of `commands` commands, which are under way from now on. */
  take(kind: LoadBlockKind, commands: number, now: number): BlockSlot {
    let slot = this.#free.pop();
    if (slot === undefined) {
      slot = new BlockSlot(this.#slots.length);
      this.#slots.push(slot);
    }
    slot.kind = kind;
    slot.stream = 0;
    slot.commands = commands;
    slot.waits = false;
    slot.passed = 0;
    slot.submittedAt = now;
    this.outstanding += commands;
    return slot;
  }

  /** Submits what stands in `writer` as the slot's block, or holds it until there is a place. */
  submit(slot: BlockSlot, writer: ByteWriter): void {
    if (this.open && !this.holds) this.#send(slot, writer.bytes, writer.view, writer.length);
    else this.#held.push({ slot, bytes: writer.toBytes() });
  }

  /** Submits what is held while there are places. */
  submitHeld(): void {
    while (this.open) {
      const held = this.#held.shift();
      if (held === undefined) return;
      this.#send(held.slot, held.bytes, new DataView(held.bytes.buffer), held.bytes.length);
    }
  }

  /** Drops what was not submitted: the load is over. */
  drop(): void {
    for (const { slot } of this.#held.splice(0)) this.end(slot);
    for (const slot of this.modifiesOwed.splice(0)) this.end(slot);
    for (const draft of this.drafts) draft.clear();
  }

  /** A slot's commands are no longer under way. */
  end(slot: BlockSlot): void {
    this.outstanding -= slot.commands - slot.passed;
    this.#free.push(slot);
  }

  #send(slot: BlockSlot, bytes: Uint8Array, view: DataView, length: number): void {
    const client = this.#streams[slot.stream];
    assert(client !== undefined, "a block was submitted before its client was open");
    slot.commandsLeft = slot.commands;
    this.blocksOpen++;
    this.#openIn[slot.stream] = (this.#openIn[slot.stream] as number) + 1;
    const reads = slot.kind === LoadBlockKind.read || slot.kind === LoadBlockKind.modify;
    client.submit(slot.token, reads, slot.commands, bytes, view, 0, length);
  }

  /** Those of a slot's commands that did not fail are no longer under way, and its stream is free for the next block. */
  pass(slot: BlockSlot, passed: number): void {
    slot.waits = true;
    slot.passed = passed;
    this.outstanding -= passed;
    this.#openIn[slot.stream] = (this.#openIn[slot.stream] as number) - 1;
  }

  // What the block client tells.

  pending(token: number, commands: number, replies: Span): void {
    this.#load.onPending(this, this.#slots[token] as BlockSlot, commands, replies);
  }

  resolve(token: number, replies: Span): void {
    const slot = this.#slots[token] as BlockSlot;
    if (replyStatus(replies.view, replies.start) === ReplyStatus.split) {
      this.#load.onPart(slot, replies);
      this.#streams[slot.stream]?.more(token);
      return;
    }
    this.#leave(slot);
    this.#load.onReplies(this, slot, replies);
    this.#load.onRoom(this);
  }

  fail(token: number, failure: ClientFailure): void {
    const slot = this.#slots[token] as BlockSlot;
    this.#leave(slot);
    this.#load.onFailure(this, slot, failure);
    this.#load.onRoom(this);
  }

  opened(): void {
    this.#load.onRoom(this);
  }

  #leave(slot: BlockSlot): void {
    this.blocksOpen--;
    if (!slot.waits) this.#openIn[slot.stream] = (this.#openIn[slot.stream] as number) - 1;
  }
}
