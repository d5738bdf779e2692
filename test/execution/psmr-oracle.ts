/** What a sequential execution of batches in a given order answers: sessions per stream, one command after the other. */

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
  emptyRun,
  endReply,
  positionOf,
  ReplyStatus,
} from "#src/model/index.js";
import { Btree, BtreeOperation, type BtreeOptions } from "#src/service/index.js";

interface Stream {
  last: number;
  replies: { readonly first: number; readonly count: number; readonly reply: string }[];
}

export class Oracle {
  readonly service: Btree;
  readonly #threads: number;
  /** By session, then by stream. */
  readonly #sessions = new Map<number, Map<number, Stream>>();
  readonly answers = new Map<string, string>();

  constructor(threads: number, options: BtreeOptions) {
    this.#threads = threads;
    this.service = new Btree(options);
  }

  batch(stream: number, instance: number, batch: Batch): void {
    let at = batch.start + BATCH_HEADER_BYTES;
    for (let i = 0; i < batch.blocks; i++) {
      const answer = this.#block(stream, batch, at, positionOf(instance, i));
      if (answer !== null) this.answers.set(`${stream}/${instance}/${i}`, answer);
      at += blockLength(batch.view, at);
    }
  }

  #block(stream: number, { bytes, view }: Batch, at: number, position: number): string | null {
    const kind = blockKind(view, at) as BlockKind;
    const first = blockSequence(view, at);
    const id = blockSession(view, at);
    if (kind === BlockKind.mergePoint || kind === BlockKind.skip) return null;
    if (kind !== BlockKind.commands) {
      if (stream !== 0) return reply(id, first, ReplyStatus.misrouted, kind);
      if (kind === BlockKind.openSession) {
        this.#sessions.set(position, new Map());
        const nonce = bytes.slice(at + BLOCK_HEADER_BYTES, at + BLOCK_HEADER_BYTES + 16);
        return reply(position, first, ReplyStatus.ok, kind, nonce);
      }
      if (kind === BlockKind.digest) return reply(id, first, ReplyStatus.ok, kind);
      const known = this.#sessions.delete(id);
      return reply(id, first, known ? ReplyStatus.ok : ReplyStatus.sessionExpired, kind);
    }
    const streams = blockStream(view, at) === stream ? this.#sessions.get(id) : undefined;
    if (streams === undefined) return reply(id, first, ReplyStatus.sessionExpired, kind);
    const session = streams.get(stream) ?? { last: 0, replies: [] };
    streams.set(stream, session);
    const count = blockCommands(view, at);
    const acknowledged = blockAcknowledged(view, at);
    const remembered = session.replies.find((known) => known.first === first && known.count === count);
    const free = (): void => {
      session.replies = session.replies.filter((known) => known.first + known.count - 1 > acknowledged);
    };
    if (first !== session.last + 1) {
      free();
      if (first > session.last) return reply(id, session.last + 1, ReplyStatus.retry, kind);
      return remembered?.reply ?? reply(id, first, ReplyStatus.stale, kind);
    }
    if (stream !== 0 && this.#threads > 1 && hasInsert(view, at, count))
      return reply(id, first, ReplyStatus.misrouted, kind);
    const answer = this.#execute(bytes, view, at, id, first, count);
    session.last += count;
    free();
    session.replies.push({ first, count, reply: answer });
    return answer;
  }

  #execute(bytes: Uint8Array, view: DataView, at: number, id: number, first: number, count: number): string {
    const writer = new ByteWriter();
    beginReply(writer, id, first, ReplyStatus.ok, BlockKind.commands);
    const run = emptyRun();
    let offset = at + BLOCK_HEADER_BYTES;
    for (let i = 0; i < count; i++) {
      run.bytes = bytes;
      run.view = view;
      run.offsets[0] = offset;
      run.count = 1;
      run.answered = 1;
      this.service.execute(run, writer, null);
      offset += view.getUint32(offset, true);
    }
    endReply(writer, 0, count);
    return hex(writer);
  }
}

function reply(session: number, sequence: number, status: ReplyStatus, kind: BlockKind, payload?: Uint8Array): string {
  const writer = new ByteWriter();
  beginReply(writer, session, sequence, status, kind);
  if (payload !== undefined) writer.copy(payload, 0, payload.length);
  endReply(writer, 0, 0);
  return hex(writer);
}

function hasInsert(view: DataView, at: number, count: number): boolean {
  let offset = at + BLOCK_HEADER_BYTES;
  for (let i = 0; i < count; i++) {
    const operation = view.getUint32(offset + 4, true);
    if (operation === BtreeOperation.insert || operation === BtreeOperation.delete) return true;
    offset += view.getUint32(offset, true);
  }
  return false;
}

const hex = (writer: ByteWriter): string => Buffer.from(writer.bytes.subarray(0, writer.length)).toString("hex");
