// Hot file: every command passes here. Nothing may allocate per command. Watched by bench/resp.mjs.
import { assert, Ring } from "../../base/index.js";
import {
  type ClientFailure,
  READ_REPLIES_BYTES_TARGET,
  REPLIES_BYTES_MAX,
  ReplyStatus,
  replyStatus,
  type Span,
} from "../../model/index.js";
import type { BlockClient } from "../../runtime/index.js";
import { VALUE_BYTES_MAX } from "../../service/kv/index.js";
import { BlockMark, BlockSlot, Stage, WriterStock } from "./block-slot.js";
import type { RespLimits } from "./config.js";
import type { Connection } from "./connection.js";

/** Bytes of a value and what stands around it in a reply. */
const valueBytes = (value: number): number => value + 32;
/** Bytes of a reply without a value. */
const SHORT_REPLY_BYTES = 16;
/** Values returned by one ordered block at most once long values are known: all of them may be of the greatest length. */
const LONG_VALUES_MAX = Math.floor(REPLIES_BYTES_MAX / valueBytes(VALUE_BYTES_MAX));
/** Before that. */
const SHORT_VALUES_MAX = 8192;
/** A value longer than this is long: so many shorter ones fit in the replies to one block. */
const SHORT_VALUE_BYTES = REPLIES_BYTES_MAX / SHORT_VALUES_MAX - valueBytes(0);

/** Blocks of reads whose rest waits to be asked for, at most. */
const PARTED_MAX = 16;

/** What becomes of the rest of a block of reads: its clients have to read first, it is asked for, nobody wants it. */
export const Next = { wait: 0, part: 1, none: 2 } as const;
export type Next = (typeof Next)[keyof typeof Next];

/** Gives the replies of a block, or the next part of them, to its connections. `replies` null: the block fails by `failure`. */
export type AnswerBlock = (slot: BlockSlot, replies: Span | null, failure: ClientFailure | null) => void;

/**
 * The blocks of a gateway: one of ordered commands and one of reads are being built; what the cluster does not take yet
 * waits in one queue; what it took is unanswered. Answers of ordered blocks are passed on in the order of the blocks.
 *
 * It decides for each command which block it joins (DESIGN, safety rule 4). A connection's commands take effect in the
 * order sent because
 * 1. a command that writes joins the ordered block, and only when no read of its connection is unanswered elsewhere;
 * 2. a read joins the ordered block when its connection has unanswered ordered commands;
 * 3. otherwise it joins the block of reads, and only when no read of its connection is unanswered in an older such block,
 *    since blocks of reads are not ordered among each other;
 * 4. reads which this input already put into the block of reads move to the ordered one when a write follows them.
 *
 * A service answers an error where the values in the replies to one ordered block exceed `REPLIES_BYTES_MAX`; many
 * connections share a block, so none of them could help it. Hence an ordered block returns 8192 values at most, and 15
 * once a value longer than 2 KiB was written or returned here: then it can't be exceeded, however long the values are. A
 * command that returns more values is alone in its block. Only the very first long values that another gateway has written
 * can meet the error. Reads need no such bound: what does not fit is asked for again (`askOn`).
 *
 * Blocks are submitted while the replies expected to those unanswered stay within the limits, or are of one block alone:
 * a link loses what it has no room for, and another try at an ordered block only finds what the cluster remembers of a
 * session's replies. What ordered blocks return is expected to be as long as the longest value known; of reads, which lose
 * nothing but time, the replies of late are the measure.
 */
export class BlockStream {
  /** See `BlockSlot.stream`. */
  readonly #stream: number;
  readonly #limits: RespLimits;
  readonly #now: () => number;
  readonly #answer: AnswerBlock;
  #client: BlockClient | null = null;

  readonly #slots: BlockSlot[] = [];
  readonly #free: BlockSlot[] = [];
  readonly #writers = new WriterStock();
  #writes: BlockSlot | null = null;
  #reads: BlockSlot | null = null;
  /** Complete blocks which the cluster has not taken yet, in order. */
  readonly #waiting: Ring<BlockSlot>;
  #waitingBytes = 0;
  /** Ordered blocks without their answers passed on, in order; the one being built is not among them. */
  readonly #ordered: Ring<BlockSlot>;

  /** Blocks of reads of which a part is answered and the rest not asked for yet. */
  readonly #parted: BlockSlot[] = [];
  /** Bytes of the longest value that was written or returned here: the store may be full of such. */
  #valueBytesKnown = 0;
  /** Replies expected to submitted ordered blocks and to submitted blocks of reads. */
  #orderedReplyBytes = 0;
  #readReplyBytes = 0;

  /** Bytes of a reply in recent blocks: rises at once, falls slowly. */
  #replyBytes = 0;
  /** Commands of a block, so that their replies mostly stay below what a service answers to one block. */
  #commandsMax: number;
  #blocksSent = 0;
  #commandsSent = 0;

  /** Where the block of reads ended when the present input began: what lies behind can move (rule 4). */
  readonly #mark = new BlockMark();

  constructor(stream: number, limits: RespLimits, now: () => number, answer: AnswerBlock) {
    this.#stream = stream;
    this.#limits = limits;
    this.#now = now;
    this.#answer = answer;
    this.#commandsMax = limits.blockCommands;
    this.#waiting = new Ring(limits.blocksMax);
    this.#ordered = new Ring(limits.blocksMax);
  }

  attach(client: BlockClient): void {
    this.#client = client;
  }

  /** The client is closed: nothing more is asked of it. */
  detach(): void {
    this.#client = null;
  }

  /** Begins the input of one connection. */
  mark(connection: Connection): void {
    this.#mark.set(this.#reads, connection);
  }

  /** Whether another block can be begun. When it can't, connections wait until this is true again. */
  get room(): boolean {
    return (
      this.#waitingBytes < this.#limits.waitingBytesMax &&
      (this.#free.length > 0 || this.#slots.length < this.#limits.blocksMax)
    );
  }

  /**
   * The block that the connection's next command joins; the caller writes the command and calls `placed`. Null when it
   * has to wait: for the answers of the connection's reads if there are any, else for room. The command returns at most
   * `values` values.
   */
  place(connection: Connection, read: boolean, values: number): BlockSlot | null {
    if (read && connection.orderedOpen === 0) {
      if (connection.readsOpen > 0) return connection.slot === this.#reads ? this.#reads : null;
      return this.#buildingReads(connection);
    }
    const { valuesMax } = this;
    let added = values;
    if (connection.readsOpen > 0) {
      // All its unanswered reads have to have come with the present input and to stand at the end of the block.
      if (!this.#mark.covers(connection, connection.readsOpen)) return null;
      added += this.#mark.values;
      if (added > valuesMax) return null;
    }
    let writes = this.#buildingWrites();
    if (writes !== null && added > 0 && writes.values > 0 && writes.values + added > valuesMax) {
      this.#complete(writes);
      writes = this.#buildingWrites();
    }
    if (writes !== null && connection.readsOpen > 0) {
      // Both blocks are short of full, so that what comes out holds less than two full ones, which the limits allow for.
      this.#mark.move(connection, writes);
      connection.orderedOpen = connection.readsOpen;
      connection.readsOpen = 0;
    }
    return writes;
  }

  /** Values that one ordered block of several commands may return. */
  get valuesMax(): number {
    return this.#valueBytesKnown > SHORT_VALUE_BYTES ? LONG_VALUES_MAX : SHORT_VALUES_MAX;
  }

  /** A command of the connection has been written into the block that `place` chose. */
  placed(slot: BlockSlot, connection: Connection, shape: number, values: number): void {
    slot.append(connection, shape);
    slot.values += values;
    if (slot.commands++ === 0) slot.bornAtMs = this.#now();
    connection.slot = slot;
    if (slot.read) connection.readsOpen++;
    else connection.orderedOpen++;
    if (slot.commands >= this.#commandsMax || slot.writer.length >= this.#limits.blockBytes) {
      this.#complete(slot);
    }
  }

  /** A value of so many bytes was written or returned. */
  valueSeen(bytes: number): void {
    if (bytes > this.#valueBytesKnown) this.#valueBytesKnown = bytes;
  }

  /** Bytes of the longest value seen. */
  get valueBytesKnown(): number {
    return this.#valueBytesKnown;
  }

  /** Hands over what can be: at the end of the turn, and when the client opens. */
  submit(): void {
    const client = this.#client;
    if (client === null) return;
    for (;;) {
      const slot = this.#waiting.at(0);
      if (slot === undefined || !this.#takes(client, slot)) break;
      this.#waiting.shift();
      this.#waitingBytes -= slot.writer.length;
      this.#send(client, slot);
    }
    if (this.#waiting.size > 0) return;
    const writes = this.#writes;
    if (writes !== null && writes.commands > 0 && this.#takes(client, writes)) {
      this.#writes = null;
      this.#ordered.push(writes);
      this.#send(client, writes);
    }
    const reads = this.#reads;
    if (reads !== null && reads.commands > 0 && this.#takes(client, reads)) {
      this.#reads = null;
      this.#send(client, reads);
    }
  }

  /** When the oldest command that the cluster has not taken came in; Infinity if there is none. */
  get oldestAtMs(): number {
    const waiting = this.#waiting.at(0);
    let oldest = waiting === undefined ? Infinity : waiting.bornAtMs;
    for (const slot of [this.#writes, this.#reads]) {
      if (slot !== null && slot.commands > 0) oldest = Math.min(oldest, slot.bornAtMs);
    }
    return oldest;
  }

  /** Fails what came in at or before `bornAtMs` and was not taken: certainly not applied. */
  expire(bornAtMs: number): void {
    for (;;) {
      const slot = this.#waiting.at(0);
      if (slot === undefined || slot.bornAtMs > bornAtMs) break;
      this.#waiting.shift();
      this.#waitingBytes -= slot.writer.length;
      this.#settle(slot, null, "try-again");
    }
    const writes = this.#writes;
    if (writes !== null && writes.commands > 0 && writes.bornAtMs <= bornAtMs) {
      this.#writes = null;
      this.#ordered.push(writes);
      this.#settle(writes, null, "try-again");
    }
    const reads = this.#reads;
    if (reads !== null && reads.commands > 0 && reads.bornAtMs <= bornAtMs) {
      this.#reads = null;
      this.#settle(reads, null, "try-again");
    }
  }

  /** What has gone to the cluster since the start, and bytes of complete blocks that it has not taken. */
  get counts(): { readonly blocks: number; readonly commands: number; readonly waitingBytes: number } {
    return { blocks: this.#blocksSent, commands: this.#commandsSent, waitingBytes: this.#waitingBytes };
  }

  resolve(token: number, replies: Span): void {
    const slot = this.#submitted(token);
    if (replyStatus(replies.view, replies.start) !== ReplyStatus.split) return this.#settle(slot, replies, null);
    const before = slot.answered;
    this.#answer(slot, replies, null);
    this.#learn((replies.end - replies.start) / (slot.answered - before));
    slot.partAtMs = this.#now();
    this.#parted.push(slot);
  }

  /** Whether the rest of some block waits to be asked for. */
  get parted(): boolean {
    return this.#parted.length > 0;
  }

  /**
   * Asks for the next part of the blocks of reads whose last part `next` finds to be read. Each of the others holds a place
   * among the client's blocks, so they are few: with too many `next` is told to be done with the oldest.
   */
  askOn(next: (slot: BlockSlot, hurry: boolean) => Next): void {
    const client = this.#client;
    if (client === null || this.#parted.length === 0) return;
    const slots = this.#parted.splice(0);
    slots.forEach((slot, index) => {
      const what = next(slot, slots.length - index > PARTED_MAX);
      if (what === Next.wait) this.#parted.push(slot);
      else client.more(slot.token, what === Next.part ? this.#now() + this.#limits.deadlineMs : -Infinity);
    });
  }

  fail(token: number, failure: ClientFailure): void {
    this.#settle(this.#submitted(token), null, failure);
  }

  #submitted(token: number): BlockSlot {
    const slot = this.#slots[token];
    assert(
      slot !== undefined && slot.stage === Stage.submitted,
      `the client answered block ${token}, which is not open`,
    );
    return slot;
  }

  /** Passes an answer on, unless an older ordered block is unanswered; then keeps it. */
  #settle(slot: BlockSlot, replies: Span | null, failure: ClientFailure | null): void {
    this.#writers.give(slot.takeWriter());
    slot.stage = Stage.done;
    if (slot.read) this.#readReplyBytes -= slot.replyBytes;
    else this.#orderedReplyBytes -= slot.replyBytes;
    slot.replyBytes = 0;
    if (replies !== null) this.#learn((replies.end - replies.start) / (slot.commands - slot.answered));
    if (slot.read) {
      this.#answer(slot, replies, failure);
      this.#release(slot);
      return;
    }
    if (this.#ordered.at(0) !== slot) {
      // Happens when a reply was lost or came by another way; the copy is bounded by what the client leaves open.
      slot.failure = failure;
      slot.replies = replies === null ? null : replies.bytes.slice(replies.start, replies.end);
      return;
    }
    this.#ordered.shift();
    this.#answer(slot, replies, failure);
    this.#release(slot);
    for (let next = this.#ordered.at(0); next?.stage === Stage.done; next = this.#ordered.at(0)) {
      this.#ordered.shift();
      this.#answer(next, next.replies === null ? null : spanOf(next.replies), next.failure);
      this.#release(next);
    }
  }

  /** Blocks get fewer commands while replies are long, so that blocks of reads are seldom answered in parts. */
  #learn(replyBytes: number): void {
    this.#replyBytes = Math.max(replyBytes, this.#replyBytes * 0.95);
    const fitting = Math.floor(READ_REPLIES_BYTES_TARGET / this.#replyBytes);
    this.#commandsMax = Math.max(1, Math.min(this.#limits.blockCommands, fitting));
  }

  #buildingWrites(): BlockSlot | null {
    return (this.#writes ??= this.#begin(false));
  }

  #buildingReads(connection: Connection): BlockSlot | null {
    if (this.#reads === null) {
      this.#reads = this.#begin(true);
      // The block is as old as this input, so all of it can move.
      if (this.#reads !== null) this.#mark.set(this.#reads, connection);
    }
    return this.#reads;
  }

  #begin(read: boolean): BlockSlot | null {
    if (!this.room) return null;
    let slot = this.#free.pop();
    if (slot === undefined) {
      slot = new BlockSlot(this.#slots.length, this.#stream);
      this.#slots.push(slot);
    }
    slot.open(read, this.#writers.take());
    return slot;
  }

  #release(slot: BlockSlot): void {
    slot.reset();
    this.#free.push(slot);
  }

  /** A full block leaves at once, or waits behind those that wait. */
  #complete(slot: BlockSlot): void {
    if (slot.read) {
      this.#reads = null;
    } else {
      this.#writes = null;
      this.#ordered.push(slot);
    }
    const client = this.#client;
    if (client !== null && this.#waiting.size === 0 && this.#takes(client, slot)) {
      this.#send(client, slot);
    } else {
      slot.stage = Stage.waiting;
      this.#waiting.push(slot);
      this.#waitingBytes += slot.writer.length;
    }
  }

  /** Whether the block can be submitted now: there is room for it, and for its replies unless they are the only ones. */
  #takes(client: BlockClient, slot: BlockSlot): boolean {
    if (!client.open) return false;
    const open = slot.read ? this.#readReplyBytes : this.#orderedReplyBytes;
    const max = slot.read ? this.#limits.readReplyBytesMax : this.#limits.orderedReplyBytesMax;
    return open === 0 || open + this.#expected(slot) <= max;
  }

  #expected(slot: BlockSlot): number {
    // Rounded, so that what is added up and taken off again comes to 0 exactly.
    if (slot.read) return Math.ceil(slot.commands * this.#replyBytes);
    return slot.commands * SHORT_REPLY_BYTES + slot.values * valueBytes(this.#valueBytesKnown);
  }

  #send(client: BlockClient, slot: BlockSlot): void {
    slot.stage = Stage.submitted;
    slot.replyBytes = this.#expected(slot);
    if (slot.read) this.#readReplyBytes += slot.replyBytes;
    else this.#orderedReplyBytes += slot.replyBytes;
    const { bytes, view, length } = slot.writer;
    const deadline = slot.bornAtMs + this.#limits.deadlineMs;
    this.#blocksSent++;
    this.#commandsSent += slot.commands;
    client.submit(slot.token, slot.read, slot.commands, bytes, view, 0, length, deadline);
    this.#writers.give(slot.takeWriter());
  }
}

function spanOf(bytes: Uint8Array): Span {
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset), start: 0, end: bytes.length };
}
