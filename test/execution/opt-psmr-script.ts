/** Streams of opt-PSMR written down block by block, for tests of single rules: what is ordered executes at once. */

import { ByteWriter, Prng } from "#src/base/index.js";
import {
  BatchArena,
  beginBlock,
  BlockKind,
  checkReply,
  endBlock,
  FAILED_REPLY_BYTES,
  markStrict,
  positionOf,
  REPLY_HEADER_BYTES,
  replyCount,
  replyKind,
  replySequence,
  ReplyStatus,
  replyStatus,
} from "#src/model/index.js";
import { type Command, readReplies, type Reply, writeCommand } from "../service/btree-command.js";
import { type Delivery, makeBatch, optionsFor } from "./psmr-plan.js";
import { PsmrReplica, type ReplicaOptions } from "./psmr-replica.js";

/** An answer as a test reads it: its status, the number it names, and its replies. */
export interface Answer {
  readonly status: string;
  readonly sequence: number;
  readonly late: boolean;
  readonly replies: (Reply | "failed")[];
}

export const insert = (key: number, value: number): Command => ({
  operation: "insert",
  key: BigInt(key),
  value: BigInt(value),
});
export const update = (key: number, value: number): Command => ({
  operation: "update",
  key: BigInt(key),
  value: BigInt(value),
});
export const read = (key: number): Command => ({ operation: "read", key: BigInt(key) });

const statusNames = Object.fromEntries(Object.entries(ReplyStatus).map(([name, status]) => [status, name]));

function decode(hex: string): Answer {
  const bytes = new Uint8Array(Buffer.from(hex, "hex"));
  const view = new DataView(bytes.buffer);
  if (checkReply(view, 0, bytes.length) !== bytes.length) throw new Error("an answer is malformed");
  const replies: (Reply | "failed")[] = [];
  let at = REPLY_HEADER_BYTES;
  for (let left = replyCount(view, 0); left > 0; left--) {
    const length = view.getUint32(at, true);
    const writer = new ByteWriter();
    writer.copy(bytes, at, at + length);
    if (length === FAILED_REPLY_BYTES) replies.push("failed");
    else replies.push(...readReplies(writer, 0));
    at += length;
  }
  const late = replyKind(view, 0) === BlockKind.conservative;
  return { status: statusNames[replyStatus(view, 0)] ?? "?", sequence: replySequence(view, 0), late, replies };
}

/** Threads over an empty tree with keys below 100 for each: whatever inserts fails, since the one leaf is nobody's alone. */
export class Script {
  readonly replica: PsmrReplica;
  readonly #arena = new BatchArena();
  readonly #merged: Delivery[][];
  readonly #instances: number[];
  readonly #prng = new Prng(1);
  #time = 1000;
  readonly sessions: readonly number[];

  constructor(threads: number, options: ReplicaOptions = { optimistic: "replicas" }, sessions = 2) {
    this.#merged = Array.from({ length: threads }, () => []);
    this.#instances = Array.from({ length: threads + 1 }, () => 0);
    this.sessions = Array.from({ length: sessions }, (_, i) => positionOf(1, i));
    const keys = 100 * threads;
    this.replica = new PsmrReplica(
      {
        threads,
        keys,
        options: optionsFor(threads, keys, false),
        merged: this.#merged,
        sessions: this.sessions,
      },
      options,
    );
    this.order(0, ...this.sessions.map(() => this.control(BlockKind.openSession, 0)));
  }

  /** Orders a batch, lets all threads execute what they can, and returns the answers to each of its blocks. */
  order(stream: number, ...blocks: readonly Uint8Array[]): Answer[][] {
    const instance = (this.#instances[stream] as number) + 1;
    this.#instances[stream] = instance;
    const delivery = { stream, instance, batch: makeBatch(this.#arena, blocks, (this.#time += 1)) };
    for (const [thread, deliveries] of this.#merged.entries()) {
      if (stream === 0 || stream === thread + 1) deliveries.push(delivery);
    }
    this.replica.run(this.#prng);
    const complaint = this.replica.complaint();
    if (complaint !== null) throw new Error(complaint);
    return blocks.map((_, i) =>
      (this.replica.answers.get(`${stream}/${instance}/${i}`) ?? "")
        .split(" ")
        .filter((hex) => hex !== "")
        .map(decode),
    );
  }

  /** The first answer to a batch of one block. */
  one(stream: number, block: Uint8Array): Answer {
    const [answers = []] = this.order(stream, block);
    if (answers[0] === undefined) throw new Error("a block was not answered");
    return answers[0];
  }

  /** Copies that threads have asked for since the last call. */
  copies(): Uint8Array[] {
    return this.replica.copies.splice(0);
  }

  block(
    stream: number,
    first: number,
    commands: readonly Command[],
    options: { readonly session?: number; readonly acknowledged?: number; readonly strict?: boolean } = {},
  ): Uint8Array {
    const { session = 0, acknowledged = 0, strict = false } = options;
    const writer = new ByteWriter();
    const id = this.sessions[session] ?? 999_999;
    const at = beginBlock(writer, BlockKind.commands, id, first, acknowledged, stream);
    if (strict) markStrict(writer.view, at);
    return finish(writer, at, commands);
  }

  /** A conservative block for what failed in a group. */
  copy(stream: number, first: number, commands: readonly Command[], session = 0): Uint8Array {
    const writer = new ByteWriter();
    const at = beginBlock(writer, BlockKind.conservative, this.sessions[session] ?? 999_999, first, 0, stream);
    return finish(writer, at, commands);
  }

  control(kind: BlockKind, session: number): Uint8Array {
    const writer = new ByteWriter();
    const at = beginBlock(writer, kind, session, 1, 0);
    if (kind !== BlockKind.closeSession) for (let i = 0; i < 4; i++) writer.u32(this.#prng.u32());
    endBlock(writer, at, 0);
    return writer.toBytes();
  }
}

function finish(writer: ByteWriter, at: number, commands: readonly Command[]): Uint8Array {
  for (const command of commands) writeCommand(writer, command);
  endBlock(writer, at, commands.length);
  return writer.toBytes();
}
