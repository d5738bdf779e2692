import { assert, ByteWriter, MiB } from "../../base/index.js";
import {
  BATCH_HEADER_BYTES,
  beginBlock,
  BlockKind,
  endBlock,
  positionOf,
  writeBatchHeader,
} from "../../model/index.js";
import { cutBlocks, type FailedCommand, type Optimism, walkOptimism } from "./optimism.js";
import { EVERYBODY, type Plan } from "./plan.js";
import type { Encoded } from "./workload.js";

/**
 * Decided streams in shared memory: batches one behind the other in the order in which they are delivered, and a table of
 * them. A thread of group i delivers those of stream 0 (g_all) and of stream i; a replica with one stream delivers all.
 */
export interface Recording {
  readonly bytes: SharedArrayBuffer;
  /** Four words a batch: stream, first byte, bytes, window. */
  readonly table: SharedArrayBuffer;
  readonly batches: number;
  readonly windows: number;
  readonly commands: number;
}

export const TABLE_WORDS = 4;

const RECORDING_BYTES_MAX = 2048 * MiB;
/** Commands of one block, so that the lengths of windows do not matter. */
const BLOCK_COMMANDS = 64;
/** Window of the batch that opens the session. */
export const NO_WINDOW = 0xffffffff;

/** One stream for all commands (`single`), as sequential and pipelined execution have it, or g_all and one for each thread. */
export type Streams = "single" | "groups";

/**
 * Writes the batches of a plan. All commands are of one session, with dense numbers in each stream. Of an optimistic plan
 * `optimism` says which commands fail: their copies are in g_all, and the session acknowledges only what has its final reply.
 */
export function recordStreams(plan: Plan, encoded: Encoded, streams: Streams, optimism?: Optimism): Recording {
  const { owner, windows } = plan;
  const recorder = new Recorder(encoded, windows);
  recorder.openSession();
  if (optimism === undefined) recordWindows(plan, recorder, streams);
  else recordOptimistic(plan, recorder, optimism);
  return recorder.recording({ windows, commands: owner.length });
}

function recordWindows({ owner, windows, windowCommands, threads }: Plan, recorder: Recorder, streams: Streams): void {
  const sequences = new Float64Array(threads + 1).fill(1);
  const members: number[] = [];
  const batch = (stream: number, window: number): void => {
    const sequence = sequences[stream] as number;
    recorder.commands(window, stream, members, sequence, Infinity);
    sequences[stream] = sequence + members.length;
  };
  for (let window = 0; window < windows; window++) {
    const first = window * windowCommands;
    const end = Math.min(first + windowCommands, owner.length);
    for (let stream = 1; streams === "groups" && stream <= threads; stream++) {
      members.length = 0;
      for (let i = first; i < end; i++) if (owner[i] === stream - 1) members.push(i);
      batch(stream, window);
    }
    members.length = 0;
    for (let i = first; i < end; i++) if (streams === "single" || owner[i] === EVERYBODY) members.push(i);
    batch(0, window);
  }
}

function recordOptimistic(plan: Plan, recorder: Recorder, optimism: Optimism): void {
  assert(!plan.owner.includes(EVERYBODY), "an optimistic plan is recorded for commands that concern one group each");
  /** By stream the numbers of those that wait for their copies, ascending. */
  const waiting = Array.from({ length: plan.threads + 1 }, (): number[] => []);
  walkOptimism(plan, optimism, {
    own(window, stream, commands, sequence) {
      const numbers = waiting[stream] as number[];
      commands.forEach((command, i) => {
        if (optimism.failed[command] === 1) numbers.push(sequence + i);
      });
      recorder.commands(window, stream, commands, sequence, numbers[0] ?? Infinity);
    },
    copies(window, copies) {
      recorder.copies(window, copies);
      for (const { stream } of copies) (waiting[stream] as number[]).shift();
    },
  });
}

/** Appends batches, and keeps the table of them. */
class Recorder {
  readonly #encoded: Encoded;
  readonly #writer: ByteWriter;
  readonly #table: number[] = [];
  readonly #session = positionOf(1, 0);

  constructor(encoded: Encoded, windows: number) {
    this.#encoded = encoded;
    this.#writer = new ByteWriter(encoded.bytes.length + windows * 256, RECORDING_BYTES_MAX);
  }

  openSession(): void {
    this.#batch(0, NO_WINDOW, () => {
      const block = beginBlock(this.#writer, BlockKind.openSession, 0, 0, 0);
      this.#writer.skip(16);
      endBlock(this.#writer, block, 0);
      return [1, 0];
    });
  }

  /** A batch of commands with consecutive numbers; the session has no final reply yet for that with the number `waiting`, nor behind it. */
  commands(window: number, stream: number, members: readonly number[], sequence: number, waiting: number): void {
    if (members.length === 0) return;
    this.#batch(stream, window, () => {
      let blocks = 0;
      for (let first = 0; first < members.length; first += BLOCK_COMMANDS) {
        const count = Math.min(BLOCK_COMMANDS, members.length - first);
        const acknowledged = Math.min(sequence + first, waiting) - 1;
        this.#block(BlockKind.commands, stream, sequence + first, acknowledged, members.slice(first, first + count));
        blocks++;
      }
      return [blocks, members.length];
    });
  }

  /** A batch of g_all with the copies of commands that have failed. */
  copies(window: number, copies: readonly FailedCommand[]): void {
    if (copies.length === 0) return;
    const blocks = cutBlocks(copies, BLOCK_COMMANDS);
    this.#batch(0, window, () => {
      for (const block of blocks) {
        const { stream, sequence } = block[0] as FailedCommand;
        const commands = block.map(({ command }) => command);
        this.#block(BlockKind.conservative, stream, sequence, 0, commands);
      }
      return [blocks.length, copies.length];
    });
  }

  recording(size: Pick<Recording, "windows" | "commands">): Recording {
    const writer = this.#writer;
    const table = this.#table;
    const bytes = new SharedArrayBuffer(writer.length);
    new Uint8Array(bytes).set(writer.bytes.subarray(0, writer.length));
    const words = new SharedArrayBuffer(4 * table.length);
    new Uint32Array(words).set(table);
    return { bytes, table: words, batches: table.length / TABLE_WORDS, ...size };
  }

  #batch(stream: number, window: number, blocks: () => [blocks: number, commands: number]): void {
    const writer = this.#writer;
    // Batches begin at multiples of 8.
    writer.skip((8 - (writer.length % 8)) % 8);
    const start = writer.skip(BATCH_HEADER_BYTES);
    const [count, commands] = blocks();
    writeBatchHeader(writer.view, start, writer.length - start, count, commands, 1 + this.#table.length);
    this.#table.push(stream, start, writer.length - start, window);
  }

  #block(kind: BlockKind, stream: number, sequence: number, acknowledged: number, commands: readonly number[]): void {
    const { bytes, offsets } = this.#encoded;
    const block = beginBlock(this.#writer, kind, this.#session, sequence, acknowledged, stream);
    for (const command of commands) {
      this.#writer.copy(bytes, offsets[command] as number, offsets[command + 1] as number);
    }
    endBlock(this.#writer, block, commands.length);
  }
}
