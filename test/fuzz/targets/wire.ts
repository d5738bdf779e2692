/** What comes over the network between replicas and native clients. */
import { strict as assert } from "node:assert";
import { ByteWriter, encodeUtf8 } from "#src/base/index.js";
import {
  batchBlocks,
  BatchArena,
  BATCH_HEADER_BYTES,
  beginReply,
  BLOCK_HEADER_BYTES,
  blockCommands,
  BlockKind,
  blockLength,
  checkBatch,
  checkBlock,
  checkReply,
  endReply,
  FAILED_REPLY_BYTES,
  markStrict,
  REPLY_HEADER_BYTES,
  replyCount,
  replyKind,
  ReplyStatus,
  type Span,
  writeBatchHeader,
} from "#src/model/index.js";
import {
  multiPaxos,
  type MultiPaxosFree,
  type MultiPaxosHeld,
  type MultiPaxosRecord,
} from "#src/ordering/multi-paxos/index.js";
import {
  checksum,
  closeFrame,
  clusterKey,
  FRAME_HEADER_BYTES,
  FrameReader,
  HelloRole,
  openFrame,
  readHello,
  writeHello,
} from "#src/platform/index.js";
import { KvOperation } from "#src/service/index.js";
import { writeBlock } from "../../execution/replica.js";
import type { FuzzInput, FuzzTarget } from "../target.js";

const cluster = clusterKey("53594e4f44303031");

function written(write: (writer: ByteWriter) => void): Uint8Array {
  const writer = new ByteWriter(512);
  write(writer);
  return writer.toBytes();
}

const set = (key: string, value: string) => ({ operation: KvOperation.set, args: [key, value] });
const get = (key: string) => ({ operation: KvOperation.get, args: [key] });

/** One block of each kind, and some of several commands. */
const blocks = [
  written((writer) => writeBlock(writer, { session: 7, sequence: 3, commands: [set("key", "value")] })),
  written((writer) =>
    writeBlock(writer, { session: 9, sequence: 1, commands: [set("a", "1"), get("a"), set("b", "22"), get("c")] }),
  ),
  written((writer) => writeBlock(writer, { kind: BlockKind.openSession, nonce: new Uint8Array(16).fill(5) })),
  written((writer) => writeBlock(writer, { kind: BlockKind.closeSession, session: 12 })),
  written((writer) => writeBlock(writer, { kind: BlockKind.digest, nonce: new Uint8Array(16).fill(9) })),
  written((writer) => writeBlock(writer, { kind: BlockKind.mergePoint, sequence: 77 })),
  written((writer) => writeBlock(writer, { kind: BlockKind.skip, sequence: 2 ** 40 })),
  written((writer) => writeBlock(writer, { kind: BlockKind.read, sequence: 4, commands: [get("a"), get("b")] })),
  written((writer) => {
    const commands = [set("a", "1"), set("b", "2")];
    writeBlock(writer, { kind: BlockKind.conservative, session: 9, sequence: 6, stream: 2, commands });
  }),
  written((writer) => {
    writeBlock(writer, { session: 9, sequence: 8, acknowledged: 5, stream: 2, commands: [get("a"), set("b", "2")] });
    markStrict(writer.view, 0);
  }),
];

function batchOf(parts: readonly Uint8Array[], commands: number): Uint8Array {
  const bytes = parts.reduce((sum, part) => sum + part.length, BATCH_HEADER_BYTES);
  return written((writer) => {
    const at = writer.skip(BATCH_HEADER_BYTES);
    writeBatchHeader(writer.view, at, bytes, parts.length, commands, 1_700_000_000_000);
    for (const part of parts) writer.copy(part, 0, part.length);
  });
}

export const batches = [
  batchOf([], 0),
  batchOf([blocks[0] as Uint8Array], 1),
  batchOf([blocks[2], blocks[1], blocks[0], blocks[3]] as Uint8Array[], 5),
  batchOf([blocks[8], blocks[9]] as Uint8Array[], 4),
];

/** Reads a checked block as execution does. */
function walkBlock(view: DataView, start: number, length: number): void {
  const own = new DataView(view.buffer, start, length);
  assert.equal(blockLength(own, 0), length);
  let at = BLOCK_HEADER_BYTES;
  for (let i = blockCommands(own, 0); i > 0; i--) {
    assert.ok(own.getUint32(at, true) >= 4);
    at += own.getUint32(at, true);
  }
  assert.ok(at <= length);
}

function walkBatch(view: DataView, start: number, length: number): void {
  let at = start + BATCH_HEADER_BYTES;
  for (let i = batchBlocks(view, start); i > 0; i--) {
    walkBlock(view, at, blockLength(view, at));
    at += blockLength(view, at);
  }
  assert.equal(at, start + length);
}

const block: FuzzTarget = {
  name: "block",
  what: "blocks of commands, as clients send them",
  corpus: blocks,
  decode: ({ view, start, end }) => {
    const length = checkBlock(view, start, end);
    if (length >= 0) walkBlock(view, start, length);
    return length >= 0;
  },
};

const batch: FuzzTarget = {
  name: "batch",
  what: "batches of blocks",
  corpus: batches,
  decode: ({ view, start, end }) => {
    const length = checkBatch(view, start, end);
    if (length >= 0) walkBatch(view, start, length);
    return length >= 0;
  },
};

/** A reply block of so many replies, of which the last are to commands that failed. */
function replyOf(status: ReplyStatus, kind: BlockKind, count: number, failed: number): Uint8Array {
  return written((writer) => {
    const at = beginReply(writer, 7, 3, status, kind);
    for (let i = 0; i < count; i++) {
      writer.u32(8 + i);
      writer.u32(1);
      for (let j = 0; j < i; j++) writer.u8(j);
    }
    for (let i = 0; i < failed; i++) writer.u32(FAILED_REPLY_BYTES);
    endReply(writer, at, count + failed);
  });
}

const reply: FuzzTarget = {
  name: "reply",
  what: "reply blocks, as replicas send them",
  corpus: [
    ...[0, 1, 5].map((count) => replyOf(ReplyStatus.ok, BlockKind.commands, count, 0)),
    replyOf(ReplyStatus.failed, BlockKind.commands, 2, 2),
    replyOf(ReplyStatus.ok, BlockKind.conservative, 2, 0),
    replyOf(ReplyStatus.retry, BlockKind.conservative, 0, 0),
  ],
  decode: ({ view, start, end }) => {
    const length = checkReply(view, start, end);
    if (length < 0 || replyKind(view, start) === BlockKind.openSession) return length >= 0;
    let at = start + REPLY_HEADER_BYTES;
    for (let i = replyCount(view, start); i > 0; i--) at += view.getUint32(at, true);
    assert.equal(at, start + length);
    return true;
  },
};

const hello = {
  name: "hello",
  what: "what connections introduce themselves by",
  corpus: [
    { cluster, role: HelloRole.peer, replica: 2, checksum: 99, incarnation: 12345 },
    { cluster, role: HelloRole.client, replica: 0, checksum: 0, incarnation: 5 },
    {
      cluster,
      role: HelloRole.client,
      replica: 0,
      checksum: 0,
      incarnation: 6,
      login: { user: "ana", password: encodeUtf8("a long password") },
    },
  ].map((each) => written((writer) => writeHello(writer, each))),
  seal: sealFrame,
  decode: ({ bytes, view, start, end }) => {
    // Its reader is given what stands behind a frame's header, which the frame reader has seen to.
    if (end - start < FRAME_HEADER_BYTES + 24) return false;
    const found = readHello(bytes, view, start + FRAME_HEADER_BYTES, end);
    if (found?.login !== undefined) assert.ok(found.login.password.length <= 512 && found.login.user.length <= 64);
    return found !== null;
  },
} satisfies FuzzTarget;

function frameOf(kind: number, body: Uint8Array): Uint8Array {
  return written((writer) => {
    const at = openFrame(writer);
    writer.copy(body, 0, body.length);
    closeFrame(writer, at, kind, cluster);
  });
}

/** The checksum of the first frame, if its length allows one. */
function sealFrame(bytes: Uint8Array, view: DataView, start: number, end: number): void {
  for (let at = start; end - at >= FRAME_HEADER_BYTES;) {
    const length = view.getUint32(at, true);
    if (length < FRAME_HEADER_BYTES || length > end - at) return;
    view.setUint32(at + 4, checksum(bytes, at + 8, at + length), true);
    at += length;
  }
}

const frame: FuzzTarget = {
  name: "frame",
  what: "the stream of frames of a connection, cut anywhere",
  corpus: [
    frameOf(1, new Uint8Array(0)),
    frameOf(128, blocks[1] as Uint8Array),
    Buffer.concat([
      frameOf(5, batches[2] as Uint8Array),
      frameOf(2, new Uint8Array(17)),
      frameOf(144, new Uint8Array(3)),
    ]),
  ],
  seal: sealFrame,
  decode: ({ bytes, view, start, end, prng }) => {
    let frames = 0;
    const reader = new FrameReader({
      cluster,
      sink: {
        onFrame: (_kind, own, _view, from, to) => {
          assert.ok(from <= to && to <= own.length);
          frames++;
          return true;
        },
      },
    });
    for (let at = start; at < end;) {
      const next = prng.chance(0.5) ? end : Math.min(end, at + 1 + prng.below(40));
      if (reader.push(bytes, view, at, next) !== null) return false;
      assert.ok(reader.heldCapacity <= 256 * 1024, `${reader.heldCapacity} bytes are held for ${end - start}`);
      at = next;
    }
    return frames > 0;
  },
};

const span = (bytes: Uint8Array): Span => ({
  bytes,
  view: new DataView(bytes.buffer, bytes.byteOffset),
  start: 0,
  end: bytes.length,
});
const [, value, values] = batches.map(span) as [Span, Span, Span];

const messages: readonly (MultiPaxosFree | MultiPaxosHeld)[] = [
  { kind: "preVote", ballot: 65, decided: 9 },
  { kind: "preVoteReply", ballot: 65, granted: true, promised: 64 },
  { kind: "prepare", ballot: 66, from: 10 },
  { kind: "refuse", promised: 67 },
  { kind: "accept", ballot: 66, instance: 11, decided: 10, trim: 3, confirm: 4, batch: values },
  { kind: "heartbeat", ballot: 66, decided: 11, trim: 3, confirm: 5 },
  { kind: "confirmed", ballot: 66, confirm: 5, executed: 11, checkpointed: 3, aside: 9 },
  { kind: "catchUp", from: 4, through: 11 },
  { kind: "chosen", instance: 11, last: true, decided: 11, batch: value },
  { kind: "catchUpRefuse", trimmed: 4, decided: 11, checkpoint: 4 },
  { kind: "incarnationQuery", nonce: 987654321 },
  { kind: "incarnationReply", nonce: 987654321, incarnation: 2 },
  { kind: "rejoinRequest", nonce: 987654321, incarnation: 3 },
  { kind: "handover", ballot: 66 },
  {
    kind: "promise",
    ballot: 66,
    chunk: 0,
    last: true,
    decided: 9,
    trimmed: 3,
    wallMs: 1_700_000_000_000,
    incarnations: [0, 1, 0],
    entries: [
      { instance: 10, ballot: 65, batch: value },
      { instance: 11, ballot: 65, batch: values },
    ],
  },
  { kind: "accepted", ballot: 66, instance: 11, executed: 9, checkpointed: 3, aside: 0, incarnations: [0, 0, 2] },
  { kind: "rejoinReply", nonce: 987654321, promised: 66, highest: 11, incarnations: [0, 0, 2] },
];

/** The kind of a message travels in the frame's header: here it is the input's first byte. */
const message: FuzzTarget = {
  name: "message",
  what: "messages of Multi-Paxos",
  corpus: messages.map((each) =>
    written((writer) => {
      writer.u8(multiPaxos.codec.kindOf(each));
      multiPaxos.codec.encode(each, writer);
    }),
  ),
  decode: ({ bytes, view, start, end }) => {
    if (end === start) return false;
    const decoded = multiPaxos.codec.decode(bytes[start] as number, bytes, view, start + 1, end);
    if (decoded === null) return false;
    if ("batch" in decoded) walkSpan(decoded.batch);
    if (decoded.kind === "promise") for (const entry of decoded.entries) walkSpan(entry.batch);
    // What was understood is what was sent: it is written as the same bytes.
    again.clear();
    multiPaxos.codec.encode(decoded, again);
    sameBytes(bytes, start + 1, end);
    return true;
  },
};
const again = new ByteWriter();

function walkSpan({ view, start, end }: Span): void {
  walkBatch(view, start, end - start);
}

function sameBytes(bytes: Uint8Array, start: number, end: number): void {
  assert.equal(again.length, end - start);
  for (let i = 0; i < again.length; i++) {
    // -0 and 0 are one number, and -0 is not a position: it may be read, and is written as 0.
    if (again.bytes[i] !== bytes[start + i]) assert.ok(bytes[start + i] === 0x80 && again.bytes[i] === 0);
  }
}

export const records: readonly MultiPaxosRecord[] = [
  { kind: "promised", ballot: 65 },
  { kind: "accepted", instance: 11, ballot: 65, decided: 10, batch: values },
  { kind: "position", decided: 10, trimmed: 3 },
  { kind: "incarnation", replica: 2, incarnation: 4 },
  { kind: "rejoined", nonce: 987654321, incarnation: 3, floorBallot: 66, floorInstance: 11, decided: 10 },
];

export const recordBytes = records.map((each) => written((writer) => multiPaxos.codec.encodeRecord(each, writer)));

const arena = new BatchArena(64 * 1024);

export function decodeRecord({ bytes, view, start, end }: Omit<FuzzInput, "prng">): boolean {
  const decoded = multiPaxos.codec.decodeRecord(bytes, view, start, end, arena, 2);
  if (decoded === null) return false;
  if (decoded.kind === "accepted") walkSpan(decoded.batch);
  multiPaxos.codec.forget(decoded, arena);
  // Every record was given back, so that the arena holds no more than the chunk being filled.
  assert.ok(arena.bytesHeld <= 128 * 1024, `the arena holds ${arena.bytesHeld} bytes`);
  return true;
}

const record: FuzzTarget = {
  name: "record",
  what: "records of Multi-Paxos in the log",
  corpus: recordBytes,
  decode: decodeRecord,
};

export const wireTargets: readonly FuzzTarget[] = [frame, hello, block, batch, reply, message, record];
