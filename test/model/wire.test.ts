/**
 * What `checkBlock`, `checkBatch` and `checkReply` let through is read without further checks, by every replica and client.
 * Valid bytes are damaged at random; whatever is accepted then must be readable within its own bounds and executable.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ByteWriter, Prng } from "#src/base/index.js";
import { createPipelined, createSequential } from "#src/execution/index.js";
import {
  BATCH_HEADER_BYTES,
  batchBlocks,
  batchCommands,
  BLOCK_HEADER_BYTES,
  blockCommands,
  BlockKind,
  blockKind,
  blockLength,
  beginReply,
  checkBatch,
  checkBlock,
  checkReply,
  endReply,
  FAILED_REPLY_BYTES,
  REPLY_HEADER_BYTES,
  replyCount,
  ReplyStatus,
  writeBatchHeader,
} from "#src/model/index.js";
import { counter, kv, KvOperation, replyBulkLatin1, replyInteger, replyNil, replyOk } from "#src/service/index.js";
import { type Block, Replica, writeBlock } from "../execution/replica.js";

const RUNS = 400;
/** Values at which length and count fields are wrong in interesting ways. */
const ODD = [0, 1, 3, 4, 7, 8, 23, 24, 31, 32, 39, 40, 41, 255, 65_535, 65_536, 0x7fffffff, 0x80000000, 0xffffffff];

/** Damages bytes in a few places, mostly where numbers stand, and sometimes cuts or lengthens them. */
function damaged(bytes: Uint8Array, prng: Prng): Uint8Array {
  let copy = bytes.slice();
  const view = new DataView(copy.buffer);
  for (let left = 1 + prng.below(3); left > 0; left--) {
    const at = prng.chance(0.5) ? prng.below(Math.min(copy.length, 80)) : prng.below(copy.length);
    if (prng.chance(0.3) || copy.length < 8) copy[at] = prng.below(256);
    else {
      const word = Math.min(at & ~3, copy.length - 4);
      const now = view.getUint32(word, true);
      view.setUint32(word, prng.chance(0.5) ? prng.pick(ODD) : (now + prng.pick([-8, -4, -1, 1, 4, 8])) >>> 0, true);
    }
  }
  if (prng.chance(0.1)) copy = copy.slice(0, prng.below(copy.length + 1));
  return copy;
}

/** A view of exactly these bytes, so that a read beyond them throws. They stand inside others, as they do in a frame. */
function placed(bytes: Uint8Array): { bytes: Uint8Array; view: DataView; start: number; end: number } {
  const around = new Uint8Array(bytes.length + 16).fill(0xff);
  around.set(bytes, 16);
  return { bytes: around, view: new DataView(around.buffer), start: 16, end: around.length };
}

function randomBlock(prng: Prng, kind: BlockKind, session: number, sequence: number): Block {
  const commands = Array.from({ length: 1 + prng.below(4) }, () => {
    const operation = prng.pick(Object.values(KvOperation));
    const args = Array.from({ length: prng.below(4) }, () => "k".repeat(prng.below(12)));
    return { operation, flags: prng.chance(0.8) ? 0 : prng.below(16), args };
  });
  if (kind === BlockKind.openSession || kind === BlockKind.digest) return { kind, nonce: new Uint8Array(16).fill(7) };
  if (kind === BlockKind.closeSession) return { kind, session };
  if (kind === BlockKind.conservative) return { kind, session, sequence, stream: 1 + prng.below(3), commands };
  return { kind, session: kind === BlockKind.read ? 0 : session, sequence, commands };
}

const models = [createSequential, createPipelined] as const;
const services = [kv, counter] as const;

/** Reads a block as execution does; throws if that leads beyond it. */
function traverse(view: DataView, start: number, length: number): void {
  const own = new DataView(view.buffer, start, length);
  assert.equal(blockLength(own, 0), length);
  let at = BLOCK_HEADER_BYTES;
  for (let i = blockCommands(own, 0); i > 0; i--) {
    const bytes = own.getUint32(at, true);
    assert.ok(bytes >= 4 && at + bytes <= length);
    at += bytes;
  }
  if (blockCommands(own, 0) > 0) assert.equal(at, length);
  else if (blockKind(own, 0) !== BlockKind.closeSession) own.getFloat64(BLOCK_HEADER_BYTES + 8, true);
}

describe("damaged bytes that a check lets through can be read and executed:", () => {
  test("blocks", () => {
    let accepted = 0;
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
        const prng = new Prng(seed);
        for (let i = 0; i < 20; i++) {
          const writer = new ByteWriter();
          writeBlock(writer, randomBlock(prng, prng.pick(Object.values(BlockKind)), 4096, 1 + prng.below(5)));
          const { bytes, view, start, end } = placed(damaged(writer.toBytes(), prng));
          const length = checkBlock(view, start, end);
          if (length < 0) continue;
          accepted++;
          assert.ok(length <= end - start);
          traverse(view, start, length);
          if (blockKind(view, start) !== BlockKind.read) continue;
          const replica = new Replica(prng.pick(models)(prng.pick(services).create()));
          replica.read(0, 1, { bytes, view, start, end: start + length });
          assert.equal(replica.reads[0]?.answer.replies.length, blockCommands(view, start));
        }
      }),
      { numRuns: RUNS },
    );
    assert.ok(accepted > RUNS, `only ${accepted} of ${20 * RUNS} were accepted`);
  });

  test("batches", () => {
    let accepted = 0;
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
        const prng = new Prng(seed);
        const replica = new Replica(prng.pick(models)(prng.pick(services).create()));
        const session = replica.open(1);
        for (let round = 0; round < 10; round++) {
          const writer = new ByteWriter();
          const header = writer.skip(BATCH_HEADER_BYTES);
          const kinds = Object.values(BlockKind).filter((kind) => kind !== BlockKind.read);
          const blocks = Array.from({ length: prng.below(5) }, () =>
            randomBlock(prng, prng.chance(0.7) ? BlockKind.commands : prng.pick(kinds), session, 1 + prng.below(20)),
          );
          for (const block of blocks) writeBlock(writer, block);
          const commands = blocks.reduce((sum, block) => sum + (block.commands?.length ?? 0), 0);
          writeBatchHeader(writer.view, header, writer.length, blocks.length, commands, prng.below(1000));
          const { bytes, view, start, end } = placed(damaged(writer.toBytes(), prng));
          const length = checkBatch(view, start, end);
          if (length < 0) continue;
          accepted++;
          let at = start + BATCH_HEADER_BYTES;
          let found = 0;
          for (let i = batchBlocks(view, start); i > 0; i--) {
            traverse(view, at, blockLength(view, at));
            found += blockCommands(view, at);
            at += blockLength(view, at);
          }
          assert.deepEqual([at, found], [start + length, batchCommands(view, start)]);
          const batch = replica.arena.copy(bytes, view, start, start + length);
          replica.model.step({ kind: "decided", stream: 0, instance: ++replica.decidedThrough, batch }, replica);
          const answers = replica.answers.length;
          replica.settle();
          assert.ok(replica.answers.length >= answers);
        }
      }),
      { numRuns: RUNS },
    );
    assert.ok(accepted > RUNS / 2, `only ${accepted} of ${10 * RUNS} were accepted`);
  });

  test("reply blocks", () => {
    let accepted = 0;
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
        const prng = new Prng(seed);
        for (let i = 0; i < 20; i++) {
          const writer = new ByteWriter();
          const status = prng.pick(Object.values(ReplyStatus));
          const at = beginReply(writer, 4096, 1 + prng.below(9), status, prng.pick(Object.values(BlockKind)));
          const answers = status === ReplyStatus.ok || status === ReplyStatus.split || status === ReplyStatus.failed;
          const count = answers ? prng.below(6) : 0;
          for (let left = count; left > 0; left--) {
            prng.pick([
              () => replyBulkLatin1(writer, "v".repeat(prng.below(20))),
              () => replyInteger(writer, "12"),
              () => replyNil(writer),
              () => replyOk(writer),
              () => writer.u32(FAILED_REPLY_BYTES),
            ])();
          }
          endReply(writer, at, count);
          const { view, start, end } = placed(damaged(writer.toBytes(), prng));
          const length = checkReply(view, start, end);
          if (length < 0) continue;
          accepted++;
          // As sessions and gateways go through it: reply by reply, by lengths alone.
          const own = new DataView(view.buffer, start, length);
          if (own.getUint8(25) === BlockKind.openSession) continue;
          let reply = REPLY_HEADER_BYTES;
          for (let left = replyCount(own, 0); left > 0; left--) {
            const bytes = own.getUint32(reply, true);
            assert.ok(bytes >= 4 && reply + bytes <= length);
            reply += bytes;
          }
          assert.equal(reply, length);
          const kind = own.getUint8(25);
          assert.ok(own.getUint8(24) <= ReplyStatus.failed);
          assert.ok(kind <= BlockKind.read || kind === BlockKind.conservative);
        }
      }),
      { numRuns: RUNS },
    );
    assert.ok(accepted > RUNS, `only ${accepted} of ${20 * RUNS} were accepted`);
  });
});
