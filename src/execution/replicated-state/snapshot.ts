import { ByteQueue, type ByteWriter, hashLong } from "../../base/index.js";
import {
  BLOCK_COMMANDS_MAX,
  CheckpointDamagedError,
  checkReply,
  FAILED_REPLY_BYTES,
  REPLIES_BYTES_MAX,
  REPLY_HEADER_BYTES,
  type SessionId,
  type SnapshotSink,
  type SnapshotSource,
} from "../../model/index.js";
import type { ReplicatedStateOptions } from "./config.js";
import { LateReply, PendingCommand } from "./failed.js";
import { RememberedReply, Session } from "./session.js";
import { SessionTable } from "./session-table.js";

/**
 * A snapshot of the whole replicated state, little-endian:
 *
 * | bytes | what |
 * |---|---|
 * | 32 | `u32 magic`, `u32 format`, `f64 agreed time`, `u32 sessions`, `u32 0`, `f64 commands executed` |
 * | 16 | four u32: digest of the session table |
 * | 40 a session | `f64 id`, `f64 last`, `f64 active at`, `f64 active position`, `u32 replies`, `u32 failed`; least active first |
 * | 24 a reply, then its bytes | `f64 first`, `f64 position`, `u32 count`, `u32 length`; behind their session, ascending |
 * | 40 a failed command, then its reply | `f64 sequence`, `f64 low`, `f64 high`, `u32 hash`, `u32 flags`, `u32 length`, `u32 0`; behind the replies, the pending ones first, each kind ascending |
 * | rest | the snapshot of the service, or whatever else the maker of the source puts behind |
 */
const MAGIC = 0x54415453;
const FORMAT = 1;
const HEADER_BYTES = 48;
const SESSION_BYTES = 40;
const REPLY_ENTRY_BYTES = 24;
const FAILED_ENTRY_BYTES = 40;
/** Flags of a failed command. One without `LATE` is pending, and has no reply. */
const STRICT = 1;
const WRITES = 2;
const LATE = 4;
/** Values are limited by the service contract; beside them a reply has at most 128 bytes. */
const REPLY_BYTES_MAX = REPLY_HEADER_BYTES + REPLIES_BYTES_MAX + 128 * BLOCK_COMMANDS_MAX;

export class StateSource implements SnapshotSource {
  readonly #time: number;
  readonly #commands: number;
  readonly #lanes: Int32Array;
  #sessions: readonly Session[];
  readonly #rest: SnapshotSource;
  #begun = false;
  /** The next session, within it the next reply (-1: its header) and failed command, and within that the next byte. */
  #session = 0;
  #reply = -1;
  #failed = 0;
  #byte = 0;

  constructor(time: number, commands: number, table: SessionTable, rest: SnapshotSource) {
    this.#time = time;
    this.#commands = commands;
    this.#lanes = table.lanes.slice();
    this.#sessions = table.mark();
    this.#rest = rest;
  }

  next(writer: ByteWriter, bytesTarget: number): boolean {
    const stop = writer.length + bytesTarget;
    if (!this.#begun) {
      this.#begun = true;
      this.#writeHeader(writer);
    }
    while (this.#session < this.#sessions.length) {
      this.#writeSession(writer, stop);
      if (writer.length >= stop) return true;
    }
    return this.#rest.next(writer, stop - writer.length);
  }

  close(): void {
    this.#sessions = [];
    this.#rest.close();
  }

  #writeHeader(writer: ByteWriter): void {
    writer.u32(MAGIC);
    writer.u32(FORMAT);
    writer.f64(this.#time);
    writer.u32(this.#sessions.length);
    writer.u32(0);
    writer.f64(this.#commands);
    for (const lane of this.#lanes) writer.u32(lane);
  }

  /** Writes the next session, or as much of what is left of it as fits before `stop`. */
  #writeSession(writer: ByteWriter, stop: number): void {
    const session = this.#sessions[this.#session] as Session;
    if (this.#reply < 0) {
      writer.f64(session.id);
      writer.f64(session.last);
      writer.f64(session.activeAt);
      writer.f64(session.activePosition);
      writer.u32(session.replies.length);
      writer.u32(session.failed);
      this.#reply = 0;
    }
    while (this.#reply < session.replies.length) {
      const reply = session.replies[this.#reply] as RememberedReply;
      if (this.#byte === 0) {
        writer.f64(reply.first);
        writer.f64(reply.position);
        writer.u32(reply.count);
        writer.u32(reply.bytes.length);
      }
      if (!this.#writeBytes(writer, reply.bytes, stop)) return;
      this.#reply++;
      if (writer.length >= stop && this.#reply < session.replies.length) return;
    }
    while (this.#failed < session.failed) {
      const command = session.pending[this.#failed];
      const late = session.late[this.#failed - session.pending.length];
      if (this.#byte === 0) writeFailed(writer, command, late);
      if (late !== undefined && !this.#writeBytes(writer, late.bytes, stop)) return;
      this.#failed++;
      if (writer.length >= stop && this.#failed < session.failed) return;
    }
    this.#failed = 0;
    this.#reply = -1;
    this.#session++;
  }

  /** Writes as much of what is left of these bytes as fits before `stop`, at least one; true if that was all. */
  #writeBytes(writer: ByteWriter, bytes: Uint8Array, stop: number): boolean {
    const room = Math.max(1, stop - writer.length);
    const end = Math.min(bytes.length, this.#byte + room);
    writer.copy(bytes, this.#byte, end);
    this.#byte = end === bytes.length ? 0 : end;
    return end === bytes.length;
  }
}

/** Writes what goes before the reply of a failed command: of a pending one if `command` is there, else of a late reply. */
function writeFailed(writer: ByteWriter, command: PendingCommand | undefined, late: LateReply | undefined): void {
  const flags = command === undefined ? LATE : (command.strict ? STRICT : 0) | (command.writes ? WRITES : 0);
  writer.f64(command?.sequence ?? late?.sequence ?? 0);
  writer.f64(command?.low ?? 0);
  writer.f64(command?.high ?? 0);
  writer.u32(command?.hash ?? 0);
  writer.u32(flags);
  writer.u32(late?.bytes.length ?? 0);
  writer.u32(0);
}

/** What a complete snapshot holds besides the service's state. */
export interface RestoredState {
  readonly time: number;
  readonly commands: number;
  readonly table: SessionTable;
}

/** Rebuilds time and sessions beside the old ones and passes the rest to another sink. */
export class StateSink implements SnapshotSink {
  readonly #options: ReplicatedStateOptions;
  readonly #rest: SnapshotSink;
  readonly #install: (state: RestoredState) => void;
  readonly #input = new ByteQueue();
  readonly #lanes = new Int32Array(4);
  #time = 0;
  #commands = 0;
  /** Number of sessions announced; -1 before the header. */
  #announced = -1;
  readonly #sessions: Session[] = [];
  readonly #ids = new Set<number>();
  /** Replies of the last session that are still to come. */
  #repliesLeft = 0;
  #replyBytes = 0;
  /** And failed commands of it; and how many there were of all sessions. */
  #failedLeft = 0;
  #failed = 0;
  #lateBytes = 0;
  #table: SessionTable | null = null;

  constructor(options: ReplicatedStateOptions, rest: SnapshotSink, install: (state: RestoredState) => void) {
    this.#options = options;
    this.#rest = rest;
    this.#install = install;
  }

  write(bytes: Uint8Array, start: number, end: number): void {
    if (this.#table !== null) return this.#rest.write(bytes, start, end);
    const input = this.#input;
    input.push(bytes, start, end);
    if (this.#announced < 0) {
      if (!input.has(HEADER_BYTES)) return;
      this.#readHeader();
    }
    while (this.#repliesLeft + this.#failedLeft > 0 || this.#sessions.length < this.#announced) {
      const read =
        this.#repliesLeft > 0 ? this.#readReply() : this.#failedLeft > 0 ? this.#readFailed() : this.#readSession();
      if (!read) return;
    }
    this.#completeSessions();
    if (input.size > 0) this.#rest.write(input.bytes, input.at, input.at + input.size);
  }

  finish(): void {
    const table = this.#table;
    if (table === null) throw damaged("it ends before the service's part");
    this.#rest.finish();
    this.#install({ time: this.#time, commands: this.#commands, table });
  }

  #readHeader(): void {
    const { view, at } = this.#input;
    if (view.getUint32(at, true) !== MAGIC) throw damaged("it does not begin as a replicated state's snapshot");
    const format = view.getUint32(at + 4, true);
    if (format !== FORMAT) throw damaged(`its format is ${format}, this version reads ${FORMAT}`);
    const time = view.getFloat64(at + 8, true);
    if (!(time >= 0 && time < 1e16)) throw damaged(`its agreed time is ${time}`);
    const sessions = view.getUint32(at + 16, true);
    if (sessions > this.#options.sessionsMax) {
      throw damaged(`it has ${sessions} sessions, at most ${this.#options.sessionsMax} are allowed`);
    }
    if (view.getUint32(at + 20, true) !== 0) throw damaged("a reserved field is not 0");
    const commands = view.getFloat64(at + 24, true);
    if (!isWhole(commands)) throw damaged(`its number of commands is ${commands}`);
    for (let i = 0; i < 4; i++) this.#lanes[i] = view.getInt32(at + 32 + 4 * i, true);
    this.#time = time;
    this.#commands = commands;
    this.#announced = sessions;
    this.#input.at = at + HEADER_BYTES;
  }

  /** False if the session's header has not arrived. */
  #readSession(): boolean {
    if (!this.#input.has(SESSION_BYTES)) return false;
    const { view, at } = this.#input;
    const id = view.getFloat64(at, true);
    const last = view.getFloat64(at + 8, true);
    const activeAt = view.getFloat64(at + 16, true);
    const activePosition = view.getFloat64(at + 24, true);
    const replies = view.getUint32(at + 32, true);
    const before = this.#sessions[this.#sessions.length - 1];
    if (!isWhole(id) || id === 0 || this.#ids.has(id)) throw damaged(`session id ${id} is not a new one`);
    if (!isWhole(last)) throw damaged(`session ${id} has executed through ${last}`);
    if (!isWhole(activePosition) || activePosition < id) throw damaged(`session ${id} was active at ${activePosition}`);
    if (before !== undefined && activePosition <= before.activePosition) throw damaged("sessions are not in order");
    if (!(activeAt >= 0 && activeAt <= this.#time)) throw damaged(`session ${id} was active at time ${activeAt}`);
    if (replies > this.#options.sessionRepliesMax) {
      throw damaged(`session ${id} has ${replies} replies, at most ${this.#options.sessionRepliesMax} are allowed`);
    }
    const failed = view.getUint32(at + 36, true);
    const { sessionFailedMax, failedMax } = this.#options;
    // As many may be pending, or one whole block, and as many again may have been executed since.
    if (failed > Math.max(sessionFailedMax, BLOCK_COMMANDS_MAX) + sessionFailedMax) {
      throw damaged(`session ${id} has ${failed} failed commands, at most ${sessionFailedMax} are allowed`);
    }
    this.#failed += failed;
    if (this.#failed > Math.max(failedMax, BLOCK_COMMANDS_MAX) + failedMax) {
      throw damaged(`it has more failed commands than ${failedMax}`);
    }
    const session = new Session(id, 0, activeAt, activePosition);
    session.last = last;
    this.#ids.add(id);
    this.#sessions.push(session);
    this.#repliesLeft = replies;
    this.#failedLeft = failed;
    this.#input.at = at + SESSION_BYTES;
    return true;
  }

  /** False if the rest of the reply has not arrived. */
  #readReply(): boolean {
    const input = this.#input;
    if (!input.has(REPLY_ENTRY_BYTES)) return false;
    const session = this.#sessions[this.#sessions.length - 1] as Session;
    const first = input.view.getFloat64(input.at, true);
    const position = input.view.getFloat64(input.at + 8, true);
    const count = input.view.getUint32(input.at + 16, true);
    const length = input.view.getUint32(input.at + 20, true);
    if (length > REPLY_BYTES_MAX || length > this.#options.replyBytesMax + REPLY_BYTES_MAX - this.#replyBytes) {
      throw damaged(`a reply has ${length} bytes`);
    }
    if (!input.has(REPLY_ENTRY_BYTES + length)) return false;
    const before = session.replies[session.replies.length - 1];
    const next = before === undefined ? 1 : before.last + 1;
    if (!isWhole(first) || first < next || count < 1 || first + count - 1 > session.last) {
      throw damaged(`session ${session.id} has a reply to ${first} and ${count - 1} more`);
    }
    if (!isWhole(position) || position <= (before?.position ?? session.id) || position > session.activePosition) {
      throw damaged(`session ${session.id} has a reply from position ${position}`);
    }
    const start = input.at + REPLY_ENTRY_BYTES;
    // An empty one is of a thread that follows: another remembers what was answered.
    if (length > 0 && checkReply(input.view, start, start + length) !== length)
      throw damaged("a reply block is malformed");
    const bytes = input.bytes.slice(start, start + length);
    session.replies.push(
      new RememberedReply(session.id, first, count, position, bytes, hashLong(bytes, 0, bytes.length, 7)),
    );
    this.#replyBytes += length;
    this.#repliesLeft--;
    input.at = start + length;
    return true;
  }

  /** False if the rest of the failed command has not arrived. */
  #readFailed(): boolean {
    const input = this.#input;
    if (!input.has(FAILED_ENTRY_BYTES)) return false;
    const { view, at } = input;
    const session = this.#sessions[this.#sessions.length - 1] as Session;
    const { id, pending, late } = session;
    const sequence = view.getFloat64(at, true);
    const flags = view.getUint32(at + 28, true);
    const length = view.getUint32(at + 32, true);
    const { sessionReplyBytesMax } = this.#options;
    if (flags > LATE || view.getUint32(at + 36, true) !== 0) throw damaged("a reserved field is not 0");
    if (length > (flags === LATE ? sessionReplyBytesMax - session.lateBytes : 0)) {
      throw damaged(`a reply to a failed command has ${length} bytes`);
    }
    if (!input.has(FAILED_ENTRY_BYTES + length)) return false;
    const isNext = isWhole(sequence) && sequence >= 1 && sequence <= session.last;
    const newest = flags === LATE ? late[late.length - 1] : pending[pending.length - 1];
    if (!isNext || (newest !== undefined && sequence <= newest.sequence) || session.pendingAt(sequence) >= 0) {
      throw damaged(`session ${id} has a failed command ${sequence}`);
    }
    if (flags === LATE) this.#readLate(session, sequence, length);
    else if (late.length > 0) throw damaged(`session ${id} has a pending command behind one that was executed`);
    else {
      if (pending.length === 0) session.pending = [];
      session.pending.push(this.#readPending(id, sequence, flags));
    }
    this.#failedLeft--;
    input.at += FAILED_ENTRY_BYTES + length;
    return true;
  }

  #readLate(session: Session, sequence: number, length: number): void {
    const { view, bytes, at } = this.#input;
    const start = at + FAILED_ENTRY_BYTES;
    if (length <= FAILED_REPLY_BYTES || view.getUint32(start, true) !== length) {
      throw damaged("a reply to a failed command is malformed");
    }
    for (let reserved = 8; reserved < 28; reserved += 4) {
      if (view.getUint32(at + reserved, true) !== 0) throw damaged("a reserved field is not 0");
    }
    const copy = bytes.slice(start, start + length);
    if (session.late.length === 0) session.late = [];
    session.late.push(new LateReply(session.id, sequence, copy, hashLong(copy, 0, length, 7)));
    session.lateBytes += length;
    this.#lateBytes += length;
    if (this.#lateBytes > this.#options.replyBytesMax) throw damaged("replies to failed commands have too many bytes");
  }

  #readPending(id: SessionId, sequence: number, flags: number): PendingCommand {
    const { view, at } = this.#input;
    const low = view.getFloat64(at + 8, true);
    const high = view.getFloat64(at + 16, true);
    if (Number.isNaN(low) || Number.isNaN(high)) throw damaged("a failed command has no conflict columns");
    const hash = view.getUint32(at + 24, true);
    return new PendingCommand(id, sequence, hash, low, high, (flags & WRITES) !== 0, (flags & STRICT) !== 0);
  }

  #completeSessions(): void {
    const table = new SessionTable(this.#options);
    table.adopt(this.#sessions);
    if (!table.lanes.every((lane, i) => lane === this.#lanes[i]))
      throw damaged("the digest does not match the sessions");
    this.#table = table;
  }
}

function isWhole(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function damaged(reason: string): CheckpointDamagedError {
  return new CheckpointDamagedError(`the snapshot of the replicated state is damaged: ${reason}`);
}
