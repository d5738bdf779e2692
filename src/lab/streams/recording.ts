import { ByteWriter, MiB } from "../../base/index.js";
import {
  BATCH_HEADER_BYTES,
  beginBlock,
  BlockKind,
  endBlock,
  positionOf,
  writeBatchHeader,
} from "../../model/index.js";
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

/** Writes the batches of a plan. All commands are of one session, with dense numbers in each stream. */
export function recordStreams(plan: Plan, encoded: Encoded, streams: Streams): Recording {
  const { owner, windows, windowCommands, threads } = plan;
  const writer = new ByteWriter(encoded.bytes.length + windows * 256, RECORDING_BYTES_MAX);
  const table: number[] = [];
  const session = positionOf(1, 0);
  const sequences = new Float64Array(threads + 1).fill(1);
  const members: number[] = [];

  function batch(stream: number, window: number, blocks: () => [blocks: number, commands: number]): void {
    // Batches begin at multiples of 8.
    writer.skip((8 - (writer.length % 8)) % 8);
    const start = writer.skip(BATCH_HEADER_BYTES);
    const [count, commands] = blocks();
    writeBatchHeader(writer.view, start, writer.length - start, count, commands, 1 + table.length);
    table.push(stream, start, writer.length - start, window);
  }

  function commandsBatch(stream: number, window: number): void {
    if (members.length === 0) return;
    batch(stream, window, () => {
      let blocks = 0;
      for (let first = 0; first < members.length; first += BLOCK_COMMANDS) {
        const count = Math.min(BLOCK_COMMANDS, members.length - first);
        const sequence = sequences[stream] as number;
        const block = beginBlock(writer, BlockKind.commands, session, sequence, sequence - 1, stream);
        for (let i = first; i < first + count; i++) {
          const command = members[i] as number;
          writer.copy(encoded.bytes, encoded.offsets[command] as number, encoded.offsets[command + 1] as number);
        }
        endBlock(writer, block, count);
        sequences[stream] = sequence + count;
        blocks++;
      }
      return [blocks, members.length];
    });
  }

  batch(0, NO_WINDOW, () => {
    const block = beginBlock(writer, BlockKind.openSession, 0, 0, 0);
    writer.skip(16);
    endBlock(writer, block, 0);
    return [1, 0];
  });
  for (let window = 0; window < windows; window++) {
    const first = window * windowCommands;
    const end = Math.min(first + windowCommands, owner.length);
    for (let stream = 1; streams === "groups" && stream <= threads; stream++) {
      members.length = 0;
      for (let i = first; i < end; i++) if (owner[i] === stream - 1) members.push(i);
      commandsBatch(stream, window);
    }
    members.length = 0;
    for (let i = first; i < end; i++) if (streams === "single" || owner[i] === EVERYBODY) members.push(i);
    commandsBatch(0, window);
  }
  const bytes = new SharedArrayBuffer(writer.length);
  new Uint8Array(bytes).set(writer.bytes.subarray(0, writer.length));
  const words = new SharedArrayBuffer(4 * table.length);
  new Uint32Array(words).set(table);
  return { bytes, table: words, batches: table.length / TABLE_WORDS, windows, commands: owner.length };
}
