/**
 * A cluster as a client sees it, scripted: replicas with beliefs about who leads, one ordered state behind them, sessions
 * executed exactly as the block format says. Faults are switched by the test. Consensus itself is assumed.
 */
import { ByteWriter } from "#src/base/index.js";
import {
  beginReply,
  BLOCK_HEADER_BYTES,
  blockCommands,
  BlockKind,
  blockKind,
  blockSequence,
  blockSession,
  blockStream,
  checkBlock,
  endReply,
  FrameKind,
  type ReplicaId,
  ReplyStatus,
} from "#src/model/index.js";

export interface Frame {
  readonly kind: number;
  readonly body: Uint8Array;
}

interface Session {
  next: number;
  readonly replies: Map<number, Uint8Array>;
}

/** Executes one command (its bytes, length field included) and appends one reply. */
export type Execute = (command: Uint8Array, readOnly: boolean, replies: ByteWriter) => void;

/** What makes a cluster one of the streams of a replicated service with groups. */
export interface FakeStream {
  readonly stream: number;
  /** Whether the stream takes a block of these commands (the whole block). */
  admits(block: Uint8Array): boolean;
}

/**
 * The streams of a cluster with so many groups: each is a cluster of its own, with its own leader and faults. Sessions are
 * opened and closed in stream 0, for all.
 */
export function fakeStreams(
  replicas: readonly ReplicaId[],
  groups: number,
  execute: (stream: number) => Execute,
  admits: (stream: number, block: Uint8Array) => boolean = () => true,
): FakeCluster[] {
  const streams = Array.from({ length: groups + 1 }, (_, stream) => {
    const rules: FakeStream = { stream, admits: (block) => stream === 0 || admits(stream, block) };
    return new FakeCluster(replicas, replicas[stream % replicas.length] as ReplicaId, execute(stream), rules);
  });
  streams[0]?.others.push(...streams.slice(1));
  return streams;
}

export class FakeCluster {
  /** Of stream 0: the other streams, which hear of its sessions. */
  readonly others: FakeCluster[] = [];
  /** Blocks that came with the number of another stream, or ask of a stream what only stream 0 does. */
  astray = 0;
  misrouted = 0;
  readonly #rules: FakeStream;
  readonly replicas: readonly ReplicaId[];
  /** The replica that can order; 0 while there is none. */
  leader: ReplicaId;
  /** What each replica believes. */
  readonly believes = new Map<ReplicaId, ReplicaId>();
  /** Replicas that take frames and say nothing. */
  readonly silent = new Set<ReplicaId>();
  /** The next blocks are refused although the leader leads. */
  refuseNext = 0;
  /** Commands of a block of reads answered at once, at most: what is left is another block's. */
  readCommandsMax = Infinity;
  /** The next reads are answered `retry`, as by a replica whose queue of reads is full. */
  retryReadsNext = 0;
  readonly sessions = new Map<number, Session>();
  /** First bytes seen of every block, by name; a retransmission that differs is recorded in `altered`. */
  readonly seen = new Map<string, string>();
  readonly altered: string[] = [];
  malformed = 0;
  closed = 0;
  opened = 0;
  readonly received: { replica: ReplicaId; kind: number; sequence: number; session: number }[] = [];
  #position = 4096;
  readonly #execute: Execute;

  constructor(
    replicas: readonly ReplicaId[],
    leader: ReplicaId,
    execute: Execute,
    rules: FakeStream = { stream: 0, admits: () => true },
  ) {
    this.#rules = rules;
    this.replicas = replicas;
    this.leader = leader;
    this.#execute = execute;
    for (const replica of replicas) this.believes.set(replica, leader);
  }

  /** Makes `leader` lead; the other replicas hear of it by `tell`. */
  elect(leader: ReplicaId): void {
    this.leader = leader;
    if (leader !== 0) this.believes.set(leader, leader);
  }

  tell(replica: ReplicaId, leader: ReplicaId): void {
    this.believes.set(replica, leader);
  }

  receive(replica: ReplicaId, kind: number, body: Uint8Array): Frame[] {
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    if (checkBlock(view, 0, body.length) !== body.length) {
      this.malformed++;
      return [];
    }
    const block = blockKind(view, 0);
    if ((block === BlockKind.read) !== (kind === FrameKind.read)) this.malformed++;
    const session = blockSession(view, 0);
    const sequence = blockSequence(view, 0);
    this.received.push({ replica, kind: block, sequence, session });
    const hex = Buffer.from(body).toString("hex");
    const name = block === BlockKind.openSession ? `open ${hex}` : `${block} ${session} ${sequence}`;
    const first = this.seen.get(name);
    if (first === undefined) this.seen.set(name, hex);
    else if (first !== hex) this.altered.push(name);
    if (this.silent.has(replica)) return [];
    if (this.leader !== replica) {
      // A deposed leader that still believes in itself takes blocks and can order none.
      return this.believes.get(replica) === replica ? [] : [this.redirect(this.believes.get(replica) ?? 0)];
    }
    if (this.refuseNext > 0) {
      this.refuseNext--;
      return [this.redirect(replica)];
    }
    const reply = this.#order(body, view, block, session, sequence);
    return reply === null ? [] : [{ kind: FrameKind.reply, body: reply }];
  }

  redirect(leader: ReplicaId): Frame {
    const writer = new ByteWriter(4);
    writer.u32(leader);
    return { kind: FrameKind.redirect, body: writer.toBytes() };
  }

  welcome(replica: ReplicaId, addresses = "[]"): Frame {
    const writer = new ByteWriter(64);
    writer.u32(replica);
    writer.u32(this.believes.get(replica) ?? 0);
    writer.latin1(addresses);
    return { kind: FrameKind.welcome, body: writer.toBytes() };
  }

  /** Forgets all sessions, as if they had idled too long. */
  expireSessions(): void {
    this.sessions.clear();
  }

  #order(body: Uint8Array, view: DataView, block: number, session: number, sequence: number): Uint8Array | null {
    const writer = new ByteWriter(256);
    const { stream } = this.#rules;
    const control = block === BlockKind.openSession || block === BlockKind.closeSession;
    if (blockStream(view, 0) !== stream || (control && stream !== 0)) {
      this.astray++;
      return null;
    }
    if (block === BlockKind.openSession) {
      this.opened++;
      const id = this.#position++;
      for (const each of [this, ...this.others]) each.sessions.set(id, { next: 1, replies: new Map() });
      const at = beginReply(writer, id, sequence, ReplyStatus.ok, BlockKind.openSession);
      writer.copy(body, BLOCK_HEADER_BYTES, body.length);
      endReply(writer, at, 0);
      return writer.toBytes();
    }
    if (block === BlockKind.closeSession) {
      this.closed++;
      for (const each of [this, ...this.others]) each.sessions.delete(session);
      return null;
    }
    if (block === BlockKind.read) {
      if (this.retryReadsNext > 0) {
        this.retryReadsNext--;
        return this.#status(writer, session, sequence, ReplyStatus.retry, BlockKind.read);
      }
      this.#replies(writer, body, view, session, sequence, BlockKind.read);
      return writer.toBytes();
    }
    const entry = this.sessions.get(session);
    if (entry === undefined) return this.#status(writer, session, sequence, ReplyStatus.sessionExpired);
    if (sequence > entry.next) return this.#status(writer, session, entry.next, ReplyStatus.retry);
    if (sequence < entry.next) {
      return entry.replies.get(sequence) ?? this.#status(writer, session, sequence, ReplyStatus.stale);
    }
    if (!this.#rules.admits(body)) {
      this.misrouted++;
      return this.#status(writer, session, sequence, ReplyStatus.misrouted);
    }
    this.#replies(writer, body, view, session, sequence, BlockKind.commands);
    entry.next += blockCommands(view, 0);
    const reply = writer.toBytes();
    entry.replies.set(sequence, reply);
    return reply;
  }

  #status(
    writer: ByteWriter,
    session: number,
    sequence: number,
    status: ReplyStatus,
    kind: BlockKind = BlockKind.commands,
  ): Uint8Array {
    endReply(writer, beginReply(writer, session, sequence, status, kind), 0);
    return writer.toBytes();
  }

  #replies(
    writer: ByteWriter,
    body: Uint8Array,
    view: DataView,
    session: number,
    sequence: number,
    kind: BlockKind,
  ): void {
    const commands = blockCommands(view, 0);
    const count = kind === BlockKind.read ? Math.min(commands, this.readCommandsMax) : commands;
    const status = count < commands ? ReplyStatus.split : ReplyStatus.ok;
    const at = beginReply(writer, session, sequence, status, kind);
    let offset = BLOCK_HEADER_BYTES;
    for (let i = 0; i < count; i++) {
      const length = view.getUint32(offset, true);
      this.#execute(body.subarray(offset, offset + length), kind === BlockKind.read, writer);
      offset += length;
    }
    endReply(writer, at, count);
  }
}
