/** One replica's execution as tests drive it: batches written down as lists of blocks, every effect recorded. */

import { ByteWriter } from "#src/base/index.js";
import {
  type Batch,
  BatchArena,
  beginBlock,
  BlockKind,
  checkBatch,
  checkBlock,
  checkReply,
  endBlock,
  type ExecutionModel,
  type ExecutionSink,
  type Instance,
  type Position,
  replyCount,
  replyKind,
  replyLength,
  replySequence,
  replySession,
  replyStatus,
  ReplyStatus,
  REPLY_HEADER_BYTES,
  type SessionId,
  type Span,
} from "#src/model/index.js";
import { type Command, digestOf, readReply, type Reply, writeCommand } from "../service/kv-command.js";

export interface Block {
  readonly kind?: BlockKind;
  readonly session?: SessionId;
  readonly sequence?: number;
  readonly acknowledged?: number;
  readonly stream?: number;
  readonly commands?: readonly Command[];
  /** 16 bytes of the blocks that carry a nonce. */
  readonly nonce?: Uint8Array;
}

/** A reply block, decoded. `raw` is all of it. */
export interface Answer {
  readonly session: SessionId;
  readonly status: string;
  readonly kind: number;
  readonly sequence: number;
  readonly replies: Reply[];
  readonly raw: string;
}

const statusNames = Object.fromEntries(Object.entries(ReplyStatus).map(([name, status]) => [status, name]));

export function writeBlock(writer: ByteWriter, block: Block): void {
  const { kind = BlockKind.commands, session = 0, sequence = 1, acknowledged = 0, stream = 0, commands = [] } = block;
  const at = beginBlock(writer, kind, session, sequence, acknowledged, stream);
  for (const command of commands) writeCommand(writer, command);
  if (block.nonce !== undefined) writer.copy(block.nonce, 0, 16);
  endBlock(writer, at, commands.length);
}

export function readBlock(commands: readonly Command[], ticket: number, session: SessionId = 0): Span {
  const writer = new ByteWriter();
  writer.u32(1);
  writeBlock(writer, { kind: BlockKind.read, session, sequence: ticket, commands });
  if (checkBlock(writer.view, 4, writer.length) < 0) throw new Error("the read block is malformed");
  return { bytes: writer.bytes, view: writer.view, start: 4, end: writer.length };
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

export class Replica implements ExecutionSink {
  readonly model: ExecutionModel;
  readonly arena = new BatchArena();
  /** Answers to ordered blocks, by log position, in order. */
  readonly answers: { readonly position: Position; readonly answer: Answer }[] = [];
  readonly reads: { readonly route: number; readonly answer: Answer; readonly executed: Instance }[] = [];
  readonly executedThrough: Instance[] = [];
  readonly digests: { readonly nonce: string; readonly position: Position; readonly hex: string }[] = [];
  readonly traces: (readonly [code: number, a: number, b: number, c: number])[] = [];
  workWanted = 0;
  decidedThrough = 0;
  readonly #writer = new ByteWriter(64, 256 * 1024 * 1024);

  constructor(model: ExecutionModel) {
    this.model = model;
  }

  batch(time: number, blocks: readonly Block[]): Batch {
    const writer = new ByteWriter();
    for (const block of blocks) writeBlock(writer, block);
    const commands = blocks.reduce((sum, block) => sum + (block.commands?.length ?? 0), 0);
    const batch = this.arena.build(writer.bytes, 0, writer.length, blocks.length, commands, time);
    if (checkBatch(batch.view, batch.start, batch.end) < 0) throw new Error("the batch is malformed");
    return batch;
  }

  /** Decides the next instance; does not step `work`. */
  decide(time: number, blocks: readonly Block[]): Instance {
    const instance = ++this.decidedThrough;
    this.model.step({ kind: "decided", stream: 0, instance, batch: this.batch(time, blocks) }, this);
    return instance;
  }

  /** Steps `work` as a host does until no more is wanted. */
  settle(budget = 1000): void {
    while (this.workWanted > 0) {
      this.workWanted = 0;
      this.model.step({ kind: "work", budget }, this);
    }
  }

  /** Decides an instance, lets it execute and returns the answers to its blocks. */
  run(time: number, blocks: readonly Block[]): Answer[] {
    const before = this.answers.length;
    this.decide(time, blocks);
    this.settle();
    return this.answers.slice(before).map(({ answer }) => answer);
  }

  /** Opens a session and returns its id. */
  open(time: number): SessionId {
    const [answer] = this.run(time, [{ kind: BlockKind.openSession, nonce: new Uint8Array(16) }]);
    if (answer?.status !== "ok") throw new Error("the session did not open");
    return answer.session;
  }

  read(after: Instance, route: number, block: Span): void {
    this.model.step({ kind: "read", after, route, block }, this);
  }

  get digest(): string {
    return digestOf(this.model);
  }

  executed(_stream: number, through: Instance): void {
    this.executedThrough.push(through);
  }

  replies(): ByteWriter {
    return this.#writer;
  }

  replied(session: SessionId, position: Position, at: number): void {
    const answer = this.#take(at);
    if (answer.session !== session) throw new Error(`an answer to session ${answer.session} was sent to ${session}`);
    this.answers.push({ position, answer });
  }

  readDone(route: number, at: number): void {
    this.reads.push({ route, answer: this.#take(at), executed: this.model.inspect().executed });
  }

  wantWork(): void {
    this.workWanted++;
  }

  digestTaken(nonceHigh: number, nonceLow: number, position: Position, digest: Uint32Array): void {
    this.digests.push({ nonce: `${nonceHigh}/${nonceLow}`, position, hex: hex(new Uint8Array(digest.slice().buffer)) });
  }

  trace(code: number, a: number, b: number, c: number): void {
    this.traces.push([code, a, b, c]);
  }

  /** Takes the one reply block at `[at, length)` out of the writer, which may be emptied between blocks. */
  #take(at: number): Answer {
    const { bytes, view, length } = this.#writer;
    if (checkReply(view, at, length) !== length - at) throw new Error("a reply block is malformed");
    const replies: Reply[] = [];
    let offset = at + REPLY_HEADER_BYTES;
    for (let left = replyCount(view, at); left > 0; left--) {
      replies.push(readReply(bytes, view, offset));
      offset += view.getUint32(offset, true);
    }
    const answer: Answer = {
      session: replySession(view, at),
      status: statusNames[replyStatus(view, at)] as string,
      kind: replyKind(view, at),
      sequence: replySequence(view, at),
      replies,
      raw: hex(bytes.slice(at, at + replyLength(view, at))),
    };
    // Hosts flush and reuse writers at will; half of the time this one starts anew.
    if (this.answers.length % 2 === 0) this.#writer.clear();
    return answer;
  }
}
