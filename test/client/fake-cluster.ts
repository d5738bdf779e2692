/**
 * A cluster as a client sees it, scripted: replicas with beliefs about who leads, one ordered state behind them, sessions
 * executed exactly as the block format says. Faults are switched by the test. Consensus itself is assumed.
 */
import { ByteWriter } from "#src/base/index.js";
import {
  beginBlock,
  beginReply,
  BLOCK_HEADER_BYTES,
  blockAcknowledged,
  blockCommands,
  BlockKind,
  blockKind,
  blockSequence,
  blockSession,
  blockStream,
  blockStrict,
  checkBlock,
  endBlock,
  endReply,
  FAILED_REPLY_BYTES,
  FrameKind,
  REPLY_HEADER_BYTES,
  type ReplicaId,
  ReplyStatus,
  stampReplyStatus,
} from "#src/model/index.js";

export interface Frame {
  readonly kind: number;
  readonly body: Uint8Array;
}

interface Session {
  next: number;
  readonly replies: Map<number, Uint8Array>;
  /** Commands that failed and are not executed, by sequence number. */
  readonly pending: Map<number, FailedCommand>;
  /** Replies to conservative copies, by sequence number; null for one that was forgotten. */
  readonly conservative: Map<number, Uint8Array | null>;
}

interface FailedCommand {
  readonly command: Uint8Array;
  readonly key: number;
  readonly strict: boolean;
}

function newSession(): Session {
  return { next: 1, replies: new Map(), pending: new Map(), conservative: new Map() };
}

/** What makes commands of streams other than 0 fail a safety check, as with opt-PSMR. */
export interface FakeOptimism {
  readonly resubmit: "replicas" | "client";
  /** Commands with equal keys conflict. */
  keyOf(command: Uint8Array): number;
  /** Whether a command fails by itself. */
  fails(command: Uint8Array): boolean;
  /** The replicas multicast a conservative block. */
  again(block: Uint8Array): void;
  /** A reply block leaves for the client of a stream, through a replica of that stream. */
  reply(stream: number, body: Uint8Array): void;
}

/** Executes one command (its bytes, length field included) and appends one reply. */
export type Execute = (command: Uint8Array, readOnly: boolean, replies: ByteWriter) => void;

/** What makes a cluster one of the streams of a replicated service with groups. */
export interface FakeStream {
  readonly stream: number;
  /** Whether the stream takes a block of these commands (the whole block). */
  admits(block: Uint8Array): boolean;
  readonly optimism: FakeOptimism | null;
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
  optimism: FakeOptimism | null = null,
): FakeCluster[] {
  const streams = Array.from({ length: groups + 1 }, (_, stream) => {
    const rules: FakeStream = { stream, optimism, admits: (block) => stream === 0 || admits(stream, block) };
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
  /** Failed commands that were acknowledged before they were executed. */
  acknowledgedPending = 0;
  /** Conservative copies that are not what failed. */
  forged = 0;
  /** Commands that failed, and copies that were refused for an earlier one. */
  failed = 0;
  refusedForSibling = 0;
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
    rules: FakeStream = { stream: 0, optimism: null, admits: () => true },
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
    // Copies of a part of the commands are as good as copies of all.
    if (first === undefined || block === BlockKind.conservative) this.seen.set(name, hex);
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
    if (block === BlockKind.conservative) {
      if (this.#rules.stream !== 0 || this.#rules.optimism?.resubmit !== "client") this.astray++;
      else this.executeConservative(body);
      return [];
    }
    const reply = this.#order(body, view, block, session, sequence);
    if (reply === null) return [];
    return [reply, ...this.#conservativeReplies(view, block, session, sequence)].map((each) => {
      return { kind: FrameKind.reply, body: each };
    });
  }

  /** Of stream 0: a conservative block was ordered. */
  executeConservative(block: Uint8Array): void {
    const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
    this.others[blockStream(view, 0) - 1]?.executeCopies(block, view);
  }

  /** The thread of this stream's group executes a conservative block, for all others wait. */
  executeCopies(block: Uint8Array, view: DataView): void {
    const session = blockSession(view, 0);
    const sequence = blockSequence(view, 0);
    const entry = this.sessions.get(session);
    if (entry === undefined) return this.#tell(session, sequence, ReplyStatus.sessionExpired);
    if (sequence >= entry.next) return this.#tell(session, entry.next, ReplyStatus.retry);
    const writer = new ByteWriter(256);
    let offset = BLOCK_HEADER_BYTES;
    let executed = 0;
    const begun = beginReply(writer, session, sequence, ReplyStatus.ok, BlockKind.conservative);
    for (let i = 0; i < blockCommands(view, 0); i++) {
      const command = block.subarray(offset, offset + view.getUint32(offset, true));
      offset += command.length;
      const failed = entry.pending.get(sequence + i);
      if (failed === undefined) {
        const remembered = entry.conservative.get(sequence + i) ?? null;
        if (remembered === null) this.#tell(session, sequence + i, ReplyStatus.stale);
        else this.#rules.optimism?.reply(this.#rules.stream, remembered);
        break;
      }
      if (Buffer.compare(failed.command, command) !== 0) this.forged++;
      const sibling = this.#siblingOf(entry, sequence + i, failed);
      if (sibling !== 0) {
        this.refusedForSibling++;
        this.#tell(session, sibling, ReplyStatus.retry);
        break;
      }
      const one = new ByteWriter(64);
      const at = beginReply(one, session, sequence + i, ReplyStatus.ok, BlockKind.conservative);
      this.#execute(command, false, one);
      endReply(one, at, 1);
      writer.copy(one.bytes, REPLY_HEADER_BYTES, one.length);
      entry.conservative.set(sequence + i, one.toBytes());
      entry.pending.delete(sequence + i);
      executed++;
    }
    endReply(writer, begun, executed);
    if (executed > 0) this.#rules.optimism?.reply(this.#rules.stream, writer.toBytes());
  }

  /** Forgets every reply to ordered blocks and conservative copies. */
  forgetReplies(): void {
    for (const { replies, conservative } of this.sessions.values()) {
      replies.clear();
      for (const sequence of conservative.keys()) conservative.set(sequence, null);
    }
  }

  #siblingOf(entry: Session, sequence: number, { key, strict }: FailedCommand): number {
    for (const [earlier, failed] of entry.pending) {
      if (earlier < sequence && (strict || failed.key === key)) return earlier;
    }
    return 0;
  }

  #tell(session: number, sequence: number, status: ReplyStatus): void {
    const writer = new ByteWriter(64);
    const body = this.#status(writer, session, sequence, status, BlockKind.conservative);
    this.#rules.optimism?.reply(this.#rules.stream, body);
  }

  /** What a copy of a block is answered besides its own replies; what of it still waits is multicast again. */
  #conservativeReplies(view: DataView, kind: number, session: number, sequence: number): Uint8Array[] {
    const entry = this.sessions.get(session);
    const { optimism } = this.#rules;
    if (entry === undefined || optimism === null || kind !== BlockKind.commands) return [];
    const answers: Uint8Array[] = [];
    for (let i = sequence; i < sequence + blockCommands(view, 0); i++) {
      const reply = entry.conservative.get(i);
      if (reply === undefined) continue;
      answers.push(reply ?? this.#status(new ByteWriter(64), session, i, ReplyStatus.stale, BlockKind.conservative));
    }
    if (optimism.resubmit === "replicas") this.#again(view, entry, session, sequence, optimism);
    return answers;
  }

  #again(view: DataView, entry: Session, session: number, sequence: number, optimism: FakeOptimism): void {
    const end = sequence + blockCommands(view, 0);
    for (let first = sequence; first < end; first++) {
      if (!entry.pending.has(first)) continue;
      const writer = new ByteWriter(256);
      const at = beginBlock(writer, BlockKind.conservative, session, first, 0, this.#rules.stream);
      let count = 0;
      for (let failed = entry.pending.get(first); failed !== undefined; failed = entry.pending.get(first + count)) {
        if (first + count >= end) break;
        writer.copy(failed.command, 0, failed.command.length);
        count++;
      }
      endBlock(writer, at, count);
      first += count - 1;
      optimism.again(writer.toBytes());
    }
  }

  /** What the client has all replies to needs no memory. */
  #acknowledge(entry: Session, through: number): void {
    for (const sequence of entry.pending.keys()) {
      if (sequence > through) continue;
      this.acknowledgedPending++;
      entry.pending.delete(sequence);
    }
    for (const sequence of entry.conservative.keys()) if (sequence <= through) entry.conservative.delete(sequence);
    for (const sequence of entry.replies.keys()) if (sequence <= through) entry.replies.delete(sequence);
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
      for (const each of [this, ...this.others]) each.sessions.set(id, newSession());
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
    if (this.#rules.optimism !== null) this.#acknowledge(entry, blockAcknowledged(view, 0));
    if (sequence < entry.next) {
      const remembered = entry.replies.get(sequence);
      if (remembered === undefined && this.#rules.optimism !== null) {
        for (let i = sequence; i < sequence + blockCommands(view, 0); i++) {
          if (entry.pending.has(i)) return this.#status(writer, session, i, ReplyStatus.retry, BlockKind.conservative);
        }
      }
      return remembered ?? this.#status(writer, session, sequence, ReplyStatus.stale);
    }
    if (!this.#rules.admits(body)) {
      this.misrouted++;
      return this.#status(writer, session, sequence, ReplyStatus.misrouted);
    }
    this.#replies(writer, body, view, session, sequence, BlockKind.commands, entry);
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
    entry: Session | null = null,
  ): void {
    const commands = blockCommands(view, 0);
    const count = kind === BlockKind.read ? Math.min(commands, this.readCommandsMax) : commands;
    const status = count < commands ? ReplyStatus.split : ReplyStatus.ok;
    const at = beginReply(writer, session, sequence, status, kind);
    let offset = BLOCK_HEADER_BYTES;
    for (let i = 0; i < count; i++) {
      const length = view.getUint32(offset, true);
      const command = body.subarray(offset, offset + length);
      offset += length;
      if (entry !== null && this.#failsCheck(entry, sequence + i, command, view)) {
        writer.u32(FAILED_REPLY_BYTES);
        stampReplyStatus(writer.view, at, ReplyStatus.failed);
      } else this.#execute(command, kind === BlockKind.read, writer);
    }
    endReply(writer, at, count);
  }

  #failsCheck(entry: Session, sequence: number, command: Uint8Array, view: DataView): boolean {
    const { stream, optimism } = this.#rules;
    if (optimism === null || stream === 0) return false;
    const failed = { command: command.slice(), key: optimism.keyOf(command), strict: blockStrict(view, 0) };
    if (this.#siblingOf(entry, sequence, failed) === 0 && !optimism.fails(command)) return false;
    entry.pending.set(sequence, failed);
    this.failed++;
    return true;
  }
}
