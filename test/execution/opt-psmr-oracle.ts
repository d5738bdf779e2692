/** What a sequential execution of opt-PSMR's batches in a given order answers: one command after the other, on one tree. */

import { ByteWriter } from "#src/base/index.js";
import {
  type Batch,
  BATCH_HEADER_BYTES,
  beginReply,
  BLOCK_HEADER_BYTES,
  blockAcknowledged,
  blockCommands,
  BlockKind,
  blockKind,
  blockLength,
  blockSequence,
  blockSession,
  blockStream,
  blockStrict,
  emptyRun,
  endReply,
  FAILED_REPLY_BYTES,
  positionOf,
  ReplyStatus,
} from "#src/model/index.js";
import { Btree, BtreeOperation, type BtreeOptions } from "#src/service/index.js";

interface Pending {
  readonly bytes: string;
  readonly low: bigint;
  readonly high: bigint;
  readonly writes: boolean;
  readonly strict: boolean;
}

interface Stream {
  last: number;
  /** The numbers of those that failed are with them. */
  replies: {
    readonly first: number;
    readonly count: number;
    readonly reply: string;
    readonly failed: readonly number[];
  }[];
  readonly pending: Map<number, Pending>;
  /** Replies to commands that failed and were executed since, as bytes. */
  readonly late: Map<number, Uint8Array>;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

export class OptOracle {
  readonly service: Btree;
  readonly #threads: number;
  /** By session, then by stream. */
  readonly #sessions = new Map<number, Map<number, Stream>>();
  readonly answers = new Map<string, string>();
  /** How often what the tests are about has happened. */
  readonly counts = { passed: 0, failed: 0, along: 0, conservative: 0, refused: 0, repeated: 0 };

  constructor(threads: number, options: BtreeOptions) {
    this.#threads = threads;
    this.service = new Btree(options);
  }

  /** In g_all what failed goes first, that of the highest stream before that of others, and all else behind. */
  batch(stream: number, instance: number, batch: Batch): void {
    const blocks: { readonly at: number; readonly i: number; readonly rank: number }[] = [];
    let at = batch.start + BATCH_HEADER_BYTES;
    for (let i = 0; i < batch.blocks; i++) {
      const failed = stream === 0 && blockKind(batch.view, at) === BlockKind.conservative;
      blocks.push({ at, i, rank: failed ? -blockStream(batch.view, at) : 0 });
      at += blockLength(batch.view, at);
    }
    blocks.sort((a, b) => a.rank - b.rank || a.i - b.i);
    for (const block of blocks) {
      const answers = this.#block(stream, batch, block.at, positionOf(instance, block.i));
      if (answers.length > 0) this.answers.set(`${stream}/${instance}/${block.i}`, answers.join(" "));
    }
  }

  #block(stream: number, { bytes, view }: Batch, at: number, position: number): string[] {
    const kind = blockKind(view, at) as BlockKind;
    const first = blockSequence(view, at);
    const id = blockSession(view, at);
    if (kind === BlockKind.mergePoint || kind === BlockKind.skip) return [];
    if (kind === BlockKind.conservative) return stream === 0 ? this.#conservative(bytes, view, at) : [];
    if (kind !== BlockKind.commands) {
      if (stream !== 0) return [reply(id, first, ReplyStatus.misrouted, kind)];
      if (kind === BlockKind.openSession) {
        this.#sessions.set(position, new Map());
        const nonce = bytes.slice(at + BLOCK_HEADER_BYTES, at + BLOCK_HEADER_BYTES + 16);
        return [reply(position, first, ReplyStatus.ok, kind, [nonce], 0)];
      }
      if (kind === BlockKind.digest) return [reply(id, first, ReplyStatus.ok, kind)];
      const known = this.#sessions.delete(id);
      return [reply(id, first, known ? ReplyStatus.ok : ReplyStatus.sessionExpired, kind)];
    }
    const session = blockStream(view, at) === stream ? this.#find(id, stream) : undefined;
    if (session === undefined) return [reply(id, first, ReplyStatus.sessionExpired, kind)];
    const count = blockCommands(view, at);
    const end = first + count;
    const remembered = session.replies.find((known) => known.first === first && known.count === count);
    free(session, blockAcknowledged(view, at));
    if (first !== session.last + 1) {
      if (first > session.last) return [reply(id, session.last + 1, ReplyStatus.retry, kind)];
      const late = end - 1 > session.last ? [] : lateReplies(session, id, first, end);
      this.counts.repeated += late.length;
      const waiting = [...session.pending.keys()].find((sequence) => sequence >= first && sequence < end);
      if (remembered !== undefined) {
        const gone = remembered.failed.filter(
          (sequence) => !session.pending.has(sequence) && !session.late.has(sequence),
        );
        const stale = gone.map((sequence) => reply(id, sequence, ReplyStatus.stale, BlockKind.conservative));
        return [remembered.reply, ...late, ...stale];
      }
      if (waiting === undefined || end - 1 > session.last) return [reply(id, first, ReplyStatus.stale, kind), ...late];
      return [reply(id, waiting, ReplyStatus.retry, BlockKind.conservative), ...late];
    }
    const answer = this.#commands(session, stream, bytes, view, at);
    session.last += count;
    const failed = [...session.pending.keys()].filter((sequence) => sequence >= first);
    session.replies.push({ first, count, reply: answer, failed });
    return [answer];
  }

  /** Executes the next block of a session, but for what fails. */
  #commands(session: Stream, stream: number, bytes: Uint8Array, view: DataView, at: number): string {
    const first = blockSequence(view, at);
    const strict = blockStrict(view, at);
    const replies: Uint8Array[] = [];
    let failed = 0;
    for (const [i, offset] of offsetsOf(view, at).entries()) {
      const command = columnsOf(bytes, view, offset, strict);
      const along = [...session.pending.values()].some((pending) => strict || conflict(command, pending));
      const executed = stream > 0 ? (along ? null : this.#attempt(bytes, view, offset, stream - 1)) : null;
      if (stream === 0) replies.push(this.#execute(bytes, view, offset));
      else if (executed === null) {
        failed++;
        if (along) this.counts.along++;
        session.pending.set(first + i, command);
        replies.push(Uint8Array.of(FAILED_REPLY_BYTES, 0, 0, 0));
      } else replies.push(executed);
    }
    this.counts.failed += failed;
    if (stream > 0) this.counts.passed += replies.length - failed;
    const status = failed > 0 ? ReplyStatus.failed : ReplyStatus.ok;
    return reply(blockSession(view, at), first, status, BlockKind.commands, replies);
  }

  #conservative(bytes: Uint8Array, view: DataView, at: number): string[] {
    const kind = BlockKind.conservative;
    const id = blockSession(view, at);
    const first = blockSequence(view, at);
    const stream = blockStream(view, at);
    if (stream > this.#threads) return [];
    const session = this.#find(id, stream);
    if (session === undefined) return [reply(id, first, ReplyStatus.sessionExpired, kind)];
    if (first + blockCommands(view, at) - 1 > session.last)
      return [reply(id, session.last + 1, ReplyStatus.retry, kind)];
    const replies: Uint8Array[] = [];
    let refusal = reply(id, first, ReplyStatus.stale, kind);
    let begin = first;
    for (const [i, offset] of offsetsOf(view, at).entries()) {
      const sequence = first + i;
      const pending = session.pending.get(sequence);
      const late = session.late.get(sequence);
      if (pending === undefined && late === undefined) {
        if (replies.length > 0) break;
        begin = sequence + 1;
        continue;
      }
      if (pending !== undefined) {
        const earlier = [...session.pending].find(
          ([other, command]) => other < sequence && (pending.strict || conflict(pending, command)),
        );
        if (earlier !== undefined) {
          this.counts.refused++;
          refusal = reply(id, earlier[0], ReplyStatus.retry, kind);
          break;
        }
        if (columnsOf(bytes, view, offset, false).bytes !== pending.bytes) {
          refusal = reply(id, first, ReplyStatus.misrouted, kind);
          break;
        }
        session.pending.delete(sequence);
        session.late.set(sequence, this.#execute(bytes, view, offset));
        this.counts.conservative++;
      }
      replies.push(session.late.get(sequence) as Uint8Array);
    }
    return [replies.length === 0 ? refusal : reply(id, begin, ReplyStatus.ok, kind, replies)];
  }

  #find(id: number, stream: number): Stream | undefined {
    const streams = this.#sessions.get(id);
    if (streams === undefined) return undefined;
    const found = streams.get(stream) ?? { last: 0, replies: [], pending: new Map(), late: new Map() };
    streams.set(stream, found);
    return found;
  }

  #execute(bytes: Uint8Array, view: DataView, offset: number): Uint8Array {
    const writer = new ByteWriter();
    this.service.execute(runOf(bytes, view, offset), writer, null);
    return writer.toBytes();
  }

  #attempt(bytes: Uint8Array, view: DataView, offset: number, thread: number): Uint8Array | null {
    const writer = new ByteWriter();
    return this.service.attempt(runOf(bytes, view, offset), 0, thread, writer) === 1 ? writer.toBytes() : null;
  }
}

function runOf(bytes: Uint8Array, view: DataView, offset: number): ReturnType<typeof emptyRun> {
  const run = emptyRun();
  run.bytes = bytes;
  run.view = view;
  run.offsets[0] = offset;
  run.count = 1;
  run.answered = 1;
  return run;
}

function free(session: Stream, acknowledged: number): void {
  session.replies = session.replies.filter((known) => known.first + known.count - 1 > acknowledged);
  for (const entries of [session.pending, session.late]) {
    for (const sequence of entries.keys()) if (sequence <= acknowledged) entries.delete(sequence);
  }
}

/** A reply block for all late replies that follow each other. */
function lateReplies(session: Stream, id: number, first: number, end: number): string[] {
  const blocks: string[] = [];
  let replies: Uint8Array[] = [];
  for (let sequence = first; sequence <= end; sequence++) {
    const late = sequence < end ? session.late.get(sequence) : undefined;
    if (late !== undefined) replies.push(late);
    else if (replies.length > 0) {
      blocks.push(reply(id, sequence - replies.length, ReplyStatus.ok, BlockKind.conservative, replies));
      replies = [];
    }
  }
  return blocks;
}

function offsetsOf(view: DataView, at: number): number[] {
  const offsets: number[] = [];
  let offset = at + BLOCK_HEADER_BYTES;
  for (let i = 0; i < blockCommands(view, at); i++) {
    offsets.push(offset);
    offset += view.getUint32(offset, true);
  }
  return offsets;
}

function columnsOf(bytes: Uint8Array, view: DataView, offset: number, strict: boolean): Pending {
  const operation = view.getUint32(offset + 4, true);
  const low = view.getBigUint64(offset + 8, true);
  return {
    bytes: hex(bytes.subarray(offset, offset + view.getUint32(offset, true))),
    low,
    high: operation === BtreeOperation.range ? view.getBigUint64(offset + 16, true) : low,
    writes: operation !== BtreeOperation.read && operation !== BtreeOperation.range,
    strict,
  };
}

function conflict(a: Pending, b: Pending): boolean {
  return (a.writes || b.writes) && a.low <= b.high && b.low <= a.high;
}

function reply(
  session: number,
  sequence: number,
  status: ReplyStatus,
  kind: BlockKind,
  replies: readonly Uint8Array[] = [],
  count = replies.length,
): string {
  const writer = new ByteWriter();
  beginReply(writer, session, sequence, status, kind);
  for (const each of replies) writer.copy(each, 0, each.length);
  endReply(writer, 0, count);
  return hex(writer.bytes.subarray(0, writer.length));
}
