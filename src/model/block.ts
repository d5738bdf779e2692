// Hot file: block headers are read for every block on every replica. No allocation; one DataView, absolute offsets.
import type { ByteWriter } from "../base/index.js";
import type { SessionId } from "./ids.js";
import { REPLIES_BYTES_MAX } from "./service.js";

/**
 * Block: bytes of consecutive commands of one client session. Little-endian:
 *
 * | at | type | field |
 * |---|---|---|
 * | 0 | u32 | byte length of the whole block, this header included |
 * | 4 | u32 | number of commands |
 * | 8 | f64 | session id, 0 for blocks that belong to none; of reads whatever their sender likes (see `stampReader`) |
 * | 16 | f64 | sequence number of the first command (dense per session and stream, from 1) |
 * | 24 | f64 | the client has every reply through this sequence number |
 * | 32 | u8 | kind, see `BlockKind` |
 * | 33 | u8 | stream: 0 ordered commands; others are for siblings with several groups |
 * | 34 | u8 | 1 if no command may overtake an earlier one of its session that has failed (`blockStrict`), else 0 |
 * | 35 | u8 | 0 |
 * | 36 | u32 | 0 |
 * | 40 | … | commands, each `u32 byte length` (these 4 bytes included) followed by bytes the service defines |
 */
export const BLOCK_HEADER_BYTES = 40;

/** What a block asks for. Plain numbers because they are on the wire and in the log. */
export const BlockKind = {
  /** Commands of a session, in order, exactly once. */
  commands: 0,
  /** Opens a session; payload: 16 bytes nonce that the reply repeats. The session's id is the block's log position. */
  openSession: 1,
  /** Ends the session named in the header. */
  closeSession: 2,
  /** Records the state digest at this position; payload: 16 bytes nonce. */
  digest: 3,
  /** Unordered reads; never in a log. The sequence number is the client's own ticket. */
  read: 4,
  /**
   * The coordinator's own mark at the head of a batch of group g_i: in the place of a sequence number, the prefix of g_all
   * that goes before this batch (DESIGN safety rule 6). At least 1.
   */
  mergePoint: 5,
  /** The coordinator's own mark: in the place of a sequence number, how many empty logical instances the batch stands for. */
  skip: 6,
  /**
   * Commands that failed opt-PSMR's safety check, again, through g_all: session, sequence numbers (consecutive from the
   * header's on) and stream are those of the optimistic ones, whose places in their session they take. Acknowledges nothing.
   */
  conservative: 7,
} as const;
export type BlockKind = (typeof BlockKind)[keyof typeof BlockKind];

/** Most bytes of one block: one command of 1 MiB and its header always fit. */
export const BLOCK_BYTES_MAX = 2 * 1024 * 1024;
/** Most bytes of one command, its length field included. */
export const COMMAND_BYTES_MAX = 1024 * 1024 + 4096;
/** Most commands of one block. */
export const BLOCK_COMMANDS_MAX = 65_536;

export const blockLength = (view: DataView, at: number): number => view.getUint32(at, true);
export const blockCommands = (view: DataView, at: number): number => view.getUint32(at + 4, true);
export const blockSession = (view: DataView, at: number): SessionId => view.getFloat64(at + 8, true);
export const blockSequence = (view: DataView, at: number): number => view.getFloat64(at + 16, true);
export const blockAcknowledged = (view: DataView, at: number): number => view.getFloat64(at + 24, true);
export const blockKind = (view: DataView, at: number): number => view.getUint8(at + 32);
export const blockStream = (view: DataView, at: number): number => view.getUint8(at + 33);
/**
 * Whether the commands of this block keep the order of their session even if an earlier one has failed its safety check: they
 * fail along with it, whatever keys they have. Without it only those that conflict do (DESIGN safety rule 5).
 */
export const blockStrict = (view: DataView, at: number): boolean => view.getUint8(at + 34) !== 0;

/** Makes the block at `at` one that keeps the whole order of its session. */
export function markStrict(view: DataView, at: number): void {
  view.setUint8(at + 34, 1);
}

/**
 * The nonce of a digest block at `at` as two whole numbers below 2^53, from its first and its second eight bytes. All 16
 * bytes may be anything; the upper 11 bits of each half are ignored.
 */
export const blockNonceHigh = (view: DataView, at: number): number => nonceHalf(view, at + BLOCK_HEADER_BYTES);
export const blockNonceLow = (view: DataView, at: number): number => nonceHalf(view, at + BLOCK_HEADER_BYTES + 8);
const nonceHalf = (view: DataView, at: number): number =>
  (view.getUint32(at + 4, true) & 0x1fffff) * 4294967296 + view.getUint32(at, true);

/** Starts a block in `writer` and returns its offset; commands follow; `endBlock` completes it. */
export function beginBlock(
  writer: ByteWriter,
  kind: BlockKind,
  session: SessionId,
  sequence: number,
  acknowledged: number,
  stream = 0,
): number {
  const at = writer.skip(BLOCK_HEADER_BYTES);
  const view = writer.view;
  view.setUint32(at, 0, true);
  view.setUint32(at + 4, 0, true);
  view.setFloat64(at + 8, session, true);
  view.setFloat64(at + 16, sequence, true);
  view.setFloat64(at + 24, acknowledged, true);
  view.setUint32(at + 32, kind | (stream << 8), true);
  view.setUint32(at + 36, 0, true);
  return at;
}

/** Fills in the numbers of a block that was framed before its sender knew them: a sequence number is given at first send. */
export function stampBlock(
  view: DataView,
  at: number,
  session: SessionId,
  sequence: number,
  acknowledged: number,
): void {
  view.setFloat64(at + 8, session, true);
  view.setFloat64(at + 16, sequence, true);
  view.setFloat64(at + 24, acknowledged, true);
}

/**
 * Gives a block of unordered reads a number of its sender's choice, a whole number below 2^53, which its reply repeats in the
 * session field: reads belong to no session, and clients that share a connection tell their replies apart by it.
 */
export function stampReader(view: DataView, at: number, reader: number): void {
  view.setFloat64(at + 8, reader, true);
}

/** Completes the block begun at `at` with `commands` commands. */
export function endBlock(writer: ByteWriter, at: number, commands: number): void {
  writer.view.setUint32(at, writer.length - at, true);
  writer.view.setUint32(at + 4, commands, true);
}

/**
 * Checks the block at `[at, end)` completely (lengths, counts, every command boundary) before anything reads it.
 * Returns its byte length, or -1 when it is malformed or longer than the bytes there are.
 */
export function checkBlock(view: DataView, at: number, end: number): number {
  if (end - at < BLOCK_HEADER_BYTES) return -1;
  const length = blockLength(view, at);
  if (length < BLOCK_HEADER_BYTES || length > BLOCK_BYTES_MAX || length > end - at) return -1;
  const kind = blockKind(view, at);
  if (kind > BlockKind.conservative || view.getUint16(at + 34, true) > 1 || view.getUint32(at + 36, true) !== 0)
    return -1;
  if (blockStrict(view, at) && kind !== BlockKind.commands) return -1;
  const session = blockSession(view, at);
  const sequence = blockSequence(view, at);
  const acknowledged = blockAcknowledged(view, at);
  if (!isCount(session) || !isCount(sequence) || !isCount(acknowledged)) return -1;
  const commands = blockCommands(view, at);
  const stop = at + length;
  if (kind === BlockKind.openSession || kind === BlockKind.digest) {
    return commands === 0 && length === BLOCK_HEADER_BYTES + 16 ? length : -1;
  }
  if (kind === BlockKind.closeSession)
    return commands === 0 && length === BLOCK_HEADER_BYTES && session > 0 ? length : -1;
  if (kind === BlockKind.mergePoint || kind === BlockKind.skip) {
    const bare = commands === 0 && session === 0 && acknowledged === 0;
    return bare && length === BLOCK_HEADER_BYTES && sequence >= 1 ? length : -1;
  }
  if (commands < 1 || commands > BLOCK_COMMANDS_MAX || sequence < 1) return -1;
  if (kind === BlockKind.conservative && (acknowledged !== 0 || blockStream(view, at) === 0)) return -1;
  if (kind !== BlockKind.read && (session === 0 || acknowledged >= sequence)) return -1;
  let offset = at + BLOCK_HEADER_BYTES;
  for (let i = 0; i < commands; i++) {
    if (stop - offset < 4) return -1;
    const bytes = view.getUint32(offset, true);
    if (bytes < 4 || bytes > COMMAND_BYTES_MAX || bytes > stop - offset) return -1;
    offset += bytes;
  }
  return offset === stop ? length : -1;
}

/** True for whole numbers in [0, 2^53). */
function isCount(value: number): boolean {
  return value >= 0 && value <= Number.MAX_SAFE_INTEGER && Math.floor(value) === value;
}

/**
 * Reply block: what a client gets for one block. Little-endian:
 *
 * | at | type | field |
 * |---|---|---|
 * | 0 | u32 | byte length of the whole reply block |
 * | 4 | u32 | number of replies that follow (0 unless status is `ok`, `split` or `failed`) |
 * | 8 | f64 | session id; of reads the number that their sender gave them |
 * | 16 | f64 | sequence number of the first command answered; for `retry` the next one the service expects |
 * | 24 | u8 | status, see `ReplyStatus` |
 * | 25 | u8 | kind of the block that is answered |
 * | 26 | u16 | 0 |
 * | 28 | u32 | 0 |
 * | 32 | … | replies, each `u32 byte length` (included) and bytes the service defines; for openSession: the 16-byte nonce |
 */
export const REPLY_HEADER_BYTES = 32;
/** Most bytes of one reply block: its values, and what comes on top of them (see `REPLIES_BYTES_MAX`). */
export const REPLY_BYTES_MAX = REPLY_HEADER_BYTES + REPLIES_BYTES_MAX + BLOCK_COMMANDS_MAX * 128;

export const ReplyStatus = {
  /** Executed; one reply a command. */
  ok: 0,
  /**
   * The block left a gap in its session's sequence and was a no-op; send everything from `sequence` again. Also for a
   * block of unordered reads that found no room to wait: nothing was read.
   */
  retry: 1,
  /** The session is unknown or expired; the block was a no-op. */
  sessionExpired: 2,
  /** A duplicate whose replies the client has acknowledged already; nothing was executed. */
  stale: 3,
  /**
   * Only of a block of unordered reads: the replies to its first commands, at least one and not all. The rest found no
   * room (`READ_REPLIES_BYTES_TARGET`); its sender reads the rest by a block of its own.
   */
  split: 4,
  /**
   * The block came through a stream whose group is not the only one that its commands concern, or that takes no such block;
   * nothing was executed, and the sequence number is free.
   */
  misrouted: 5,
  /**
   * As `ok`, but some of the commands failed opt-PSMR's safety check: their replies are empty (four bytes of length, which no
   * service replies). They have not been executed, and keep their place in the session until a block of kind `conservative`
   * executes them, of which there is a reply block of that kind.
   */
  failed: 6,
} as const;
export type ReplyStatus = (typeof ReplyStatus)[keyof typeof ReplyStatus];

export const replyLength = (view: DataView, at: number): number => view.getUint32(at, true);
export const replyCount = (view: DataView, at: number): number => view.getUint32(at + 4, true);
export const replySession = (view: DataView, at: number): SessionId => view.getFloat64(at + 8, true);
export const replySequence = (view: DataView, at: number): number => view.getFloat64(at + 16, true);
export const replyStatus = (view: DataView, at: number): number => view.getUint8(at + 24);
export const replyKind = (view: DataView, at: number): number => view.getUint8(at + 25);

/** Starts a reply block and returns its offset; `endReply` completes it. */
export function beginReply(
  writer: ByteWriter,
  session: SessionId,
  sequence: number,
  status: ReplyStatus,
  kind: BlockKind,
): number {
  const at = writer.skip(REPLY_HEADER_BYTES);
  const view = writer.view;
  view.setUint32(at, 0, true);
  view.setUint32(at + 4, 0, true);
  view.setFloat64(at + 8, session, true);
  view.setFloat64(at + 16, sequence, true);
  view.setUint32(at + 24, status | (kind << 8), true);
  view.setUint32(at + 28, 0, true);
  return at;
}

export function endReply(writer: ByteWriter, at: number, count: number): void {
  writer.view.setUint32(at, writer.length - at, true);
  writer.view.setUint32(at + 4, count, true);
}

/** Gives the reply block at `at` another status than it was begun with. */
export function stampReplyStatus(view: DataView, at: number, status: ReplyStatus): void {
  view.setUint8(at + 24, status);
}

/** Bytes of the reply in the place of a command that failed its safety check: its length, and nothing. */
export const FAILED_REPLY_BYTES = 4;

/** Checks the reply block at `[at, end)`; its byte length, or -1 when malformed. */
export function checkReply(view: DataView, at: number, end: number): number {
  if (end - at < REPLY_HEADER_BYTES) return -1;
  const length = replyLength(view, at);
  if (length < REPLY_HEADER_BYTES || length > REPLY_BYTES_MAX || length > end - at) return -1;
  const kind = replyKind(view, at);
  if (replyStatus(view, at) > ReplyStatus.failed) return -1;
  if (kind > BlockKind.read && kind !== BlockKind.conservative) return -1;
  if (kind === BlockKind.openSession) return length;
  let offset = at + REPLY_HEADER_BYTES;
  const stop = at + length;
  const count = replyCount(view, at);
  for (let i = 0; i < count; i++) {
    if (stop - offset < 4) return -1;
    const bytes = view.getUint32(offset, true);
    if (bytes < 4 || bytes > stop - offset) return -1;
    offset += bytes;
  }
  return offset === stop ? length : -1;
}
