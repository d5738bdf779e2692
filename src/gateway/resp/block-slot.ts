// Hot file: one byte is written here per command. Nothing may allocate per command. Watched by bench/resp.mjs.
import { ByteWriter, KiB } from "../../base/index.js";
import { BLOCK_BYTES_MAX, type ClientFailure } from "../../model/index.js";
import type { Connection } from "./connection.js";

/** How an entry of a block is answered: bits. */
export const Entry = {
  /** A command of the block, answered in RESP2. */
  command: 0,
  /** The answer is to be in RESP3. */
  resp3: 1,
  /** The command changes nothing. */
  read: 2,
  /** No command: the reply was made here and waits in `locals`. */
  local: 4,
  /** Behind this reply the connection ends. */
  last: 8,
  /** A WATCH: the reply is the id of the watch, and the client is told OK. */
  watch: 16,
  /** A command of the gateway's own: nobody is told of its reply. */
  silent: 32,
  /** An EXEC. */
  exec: 64,
  /** An EXEC some of whose commands are not of the store: these are executed when it is answered. */
  mixedExec: 128,
} as const;

/** Entries whose reply is more than written to the client. */
export const ENTRY_SPECIAL = Entry.watch | Entry.silent | Entry.exec | Entry.mixedExec;

/** Stages of a block. */
export const Stage = { building: 0, waiting: 1, submitted: 2, done: 3 } as const;
export type Stage = (typeof Stage)[keyof typeof Stage];

const NO_BYTES = new ByteWriter(0);
/** Bytes of waiting local replies are bounded by the connections' limits; this only catches broken bookkeeping. */
const LOCAL_BYTES_MAX = 256 * 1024 * KiB;

/**
 * A block and who gets its replies: entries in the order of the block's commands, with local replies of the same
 * connections in between, as runs of one connection each. Slots are pooled; `token` names the slot to the block client.
 */
export class BlockSlot {
  readonly token: number;
  /** The stream that its block goes through: 0 for the only one, or g_all; i for g_i. */
  readonly stream: number;
  read = false;
  stage: Stage = Stage.building;
  /** The commands; given back to the pool at `submit`, which copies them. */
  writer: ByteWriter = NO_BYTES;
  commands = 0;
  /** Values that the commands may return (see `valuesReturned`). */
  values = 0;
  /** Bytes of replies expected when it was submitted. */
  replyBytes = 0;
  /** Monotonic ms when the first command came in. */
  bornAtMs = 0;

  entries = 0;
  shapes = new Uint8Array(64);
  runs = 0;
  readonly runConnections: (Connection | null)[] = [];
  runEntries = new Uint32Array(16);
  /** Per local entry, in order: u32 length and that many bytes. */
  readonly locals = new ByteWriter(256, LOCAL_BYTES_MAX);
  /** The next entry begins a run even if it is of the connection of the last one. */
  #runClosed = true;

  // How far it is answered, when its replies come in parts: commands, runs, entries before the present run, entries, and
  // bytes of `locals`.
  answered = 0;
  runAt = 0;
  runStart = 0;
  entryAt = 0;
  localAt = 0;
  /** Monotonic ms when the last part came. */
  partAtMs = 0;

  /** A reply block that came before those of older ordered blocks. */
  replies: Uint8Array | null = null;
  failure: ClientFailure | null = null;

  constructor(token: number, stream: number) {
    this.token = token;
    this.stream = stream;
  }

  open(read: boolean, writer: ByteWriter): void {
    this.read = read;
    this.stage = Stage.building;
    this.writer = writer;
  }

  append(connection: Connection, shape: number): void {
    if (this.entries === this.shapes.length) this.shapes = grown(this.shapes, new Uint8Array(this.entries * 2));
    this.shapes[this.entries++] = shape;
    if (this.#runClosed || this.runConnections[this.runs - 1] !== connection) {
      if (this.runs === this.runEntries.length) {
        this.runEntries = grown(this.runEntries, new Uint32Array(this.runs * 2));
      }
      this.runConnections[this.runs] = connection;
      this.runEntries[this.runs++] = 1;
      this.#runClosed = false;
    } else {
      this.runEntries[this.runs - 1] = (this.runEntries[this.runs - 1] as number) + 1;
    }
  }

  /** Ends the present run, so that what follows can be cut off again by `truncate`. */
  closeRun(): void {
    this.#runClosed = true;
  }

  /** Takes back everything since the marked lengths, which were read when a run was closed. */
  truncate(bytes: number, commands: number, values: number, entries: number, runs: number, locals: number): void {
    this.writer.length = bytes;
    this.commands = commands;
    this.values = values;
    this.entries = entries;
    for (let i = runs; i < this.runs; i++) this.runConnections[i] = null;
    this.runs = runs;
    this.locals.length = locals;
    this.#runClosed = true;
  }

  /** Lets go of the commands, which have been copied or will never be sent. */
  takeWriter(): ByteWriter {
    const writer = this.writer;
    this.writer = NO_BYTES;
    return writer;
  }

  /** Forgets everything, so that the slot can be used again. */
  reset(): void {
    this.commands = 0;
    this.values = 0;
    this.answered = 0;
    this.runAt = 0;
    this.runStart = 0;
    this.entryAt = 0;
    this.localAt = 0;
    this.entries = 0;
    for (let i = 0; i < this.runs; i++) this.runConnections[i] = null;
    this.runs = 0;
    this.#runClosed = true;
    this.locals.clear();
    this.replies = null;
    this.failure = null;
    this.stage = Stage.done;
  }
}

/**
 * Where a block being built ended when some input of a connection began. What the connection has added since can be moved to
 * another block: commands are written alike in all.
 */
export class BlockMark {
  /** Null: there was no block. */
  slot: BlockSlot | null = null;
  #connection: Connection | null = null;
  #bytes = 0;
  #commands = 0;
  #values = 0;
  #entries = 0;
  #runs = 0;
  #locals = 0;

  /** Marks the present end of a block, to which this connection alone is going to add before the next mark is set. */
  set(slot: BlockSlot | null, connection: Connection | null): void {
    this.slot = slot;
    if (slot === null) return;
    this.#connection = connection;
    slot.closeRun();
    this.#bytes = slot.writer.length;
    this.#commands = slot.commands;
    this.#values = slot.values;
    this.#entries = slot.entries;
    this.#runs = slot.runs;
    this.#locals = slot.locals.length;
  }

  /** Values that the commands behind the mark return at most. */
  get values(): number {
    return this.slot === null ? 0 : this.slot.values - this.#values;
  }

  /** True if these `open` commands are all of what the connection has unanswered, and stand behind the mark in a block being built. */
  covers(connection: Connection, open: number): boolean {
    const { slot } = this;
    return (
      slot !== null &&
      connection === this.#connection &&
      slot === connection.slot &&
      slot.stage === Stage.building &&
      slot.commands - this.#commands === open
    );
  }

  /** Moves what is behind the mark, all of it of the one connection, to the end of another block, which becomes its newest. */
  move(connection: Connection, into: BlockSlot): void {
    const slot = this.slot as BlockSlot;
    // A block is as old as its oldest command: one that begins with commands moved here would be as old as its former use.
    if (into.commands === 0) into.bornAtMs = slot.bornAtMs;
    into.writer.copy(slot.writer.bytes, this.#bytes, slot.writer.length);
    into.locals.copy(slot.locals.bytes, this.#locals, slot.locals.length);
    for (let i = this.#entries; i < slot.entries; i++) into.append(connection, slot.shapes[i] as number);
    into.commands += slot.commands - this.#commands;
    into.values += slot.values - this.#values;
    slot.truncate(this.#bytes, this.#commands, this.#values, this.#entries, this.#runs, this.#locals);
    connection.slot = into;
  }
}

function grown<T extends Uint8Array | Uint32Array>(from: T, into: T): T {
  into.set(from);
  return into;
}

/** Buffers larger than this are left to the garbage collector. */
const KEPT_BYTES_MAX = 512 * KiB;
const KEPT_MAX = 16;

/** The buffers of blocks being built; few at a time, however many blocks are unanswered. */
export class WriterStock {
  readonly #free: ByteWriter[] = [];

  take(): ByteWriter {
    return this.#free.pop() ?? new ByteWriter(4 * KiB, BLOCK_BYTES_MAX);
  }

  give(writer: ByteWriter): void {
    if (this.#free.length >= KEPT_MAX || writer.bytes.length > KEPT_BYTES_MAX || writer.bytes.length === 0) return;
    writer.clear();
    this.#free.push(writer);
  }
}
