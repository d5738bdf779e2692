/** What a coordinator of g_all knows of conservative blocks on their way, beside a list of every block's fate. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ByteWriter } from "#src/base/index.js";
import { type Batch, BatchArena, beginBlock, BlockKind, endBlock } from "#src/model/index.js";
import { CONSERVATIVE_BLOCKS_MAX, ConservativeBlocks } from "#src/runtime/replica/conservative-blocks.js";

interface Block {
  readonly stream: number;
  readonly session: number;
  readonly first: number;
  readonly count: number;
}

const writer = new ByteWriter(64);

/** Writes the block where the next one will be, and returns the place. */
function viewOf({ stream, session, first, count }: Block, kind: BlockKind = BlockKind.conservative): DataView {
  writer.clear();
  append(writer, { stream, session, first, count }, kind);
  return writer.view;
}

function append(to: ByteWriter, { stream, session, first, count }: Block, kind: BlockKind): void {
  const at = beginBlock(to, kind, session, first, 0, stream);
  for (let i = 0; i < count; i++) to.u32(4);
  endBlock(to, at, count);
}

function batchOf(arena: BatchArena, blocks: readonly Block[], kind: BlockKind = BlockKind.conservative): Batch {
  const payload = new ByteWriter(64);
  for (const block of blocks) append(payload, block, kind);
  const commands = blocks.reduce((sum, { count }) => sum + count, 0);
  return arena.build(payload.bytes, 0, payload.length, blocks.length, commands, 0);
}

const one: Block = { stream: 1, session: 7, first: 5, count: 3 };

describe("conservative blocks on their way", () => {
  it("a block is known from when it is taken until it is decided, and then until all threads have passed it", () => {
    const blocks = new ConservativeBlocks(() => 0);
    assert.equal(blocks.isTaken(3, viewOf(one), 0), false);
    blocks.take(3, viewOf(one), 0);
    assert.equal(blocks.isTaken(3, viewOf(one), 0), true);
    assert.equal(blocks.isDecided(viewOf(one), 0, 0), false);
    assert.equal(blocks.isTaken(3, viewOf({ ...one, count: 2 }), 0), true, "it holds that one");
    assert.equal(blocks.isTaken(3, viewOf({ ...one, count: 4 }), 0), false, "it is shorter");
    for (const other of [{ stream: 2 }, { session: 8 }, { first: 6 }]) {
      assert.equal(blocks.isTaken(3, viewOf({ ...one, ...other }), 0), false);
    }
    assert.equal(blocks.isTaken(4, viewOf(one), 0), false, "another ballot may not have it");

    const arena = new BatchArena();
    blocks.decide(10, batchOf(arena, [one, { ...one, session: 9 }]));
    assert.equal(blocks.isTaken(3, viewOf(one), 0), false);
    assert.equal(blocks.isDecided(viewOf(one), 0, 9), true);
    assert.equal(blocks.isDecided(viewOf(one), 0, 10), false, "who asks from there has been told by it");
    assert.equal(blocks.size, 2);
    blocks.pass(9);
    assert.equal(blocks.isDecided(viewOf(one), 0, 9), true);
    blocks.pass(10);
    assert.equal(blocks.isDecided(viewOf(one), 0, 9), false);
    assert.equal(blocks.size, 0);
  });

  it("who asks without a place is where the thread of the stream is", () => {
    const passed = [0, 9, 10];
    const blocks = new ConservativeBlocks((stream) => passed[stream] as number);
    const other = { ...one, stream: 2 };
    blocks.decide(10, batchOf(new BatchArena(), [one, other]));
    assert.equal(blocks.isDecided(viewOf(one), 0), true);
    assert.equal(blocks.isDecided(viewOf(other), 0), false);
  });

  it("a block that was refused and is taken again is known by its second place", () => {
    const blocks = new ConservativeBlocks(() => 0);
    const arena = new BatchArena();
    blocks.decide(10, batchOf(arena, [one]));
    blocks.take(3, viewOf(one), 0);
    blocks.pass(10);
    assert.equal(blocks.isTaken(3, viewOf(one), 0), true, "the first one's passing is not the second one's");
    blocks.decide(12, batchOf(arena, [one]));
    blocks.pass(11);
    assert.equal(blocks.isDecided(viewOf(one), 0, 11), true);
    blocks.pass(12);
    assert.equal(blocks.size, 0);
  });

  it("blocks of other kinds are none", () => {
    const blocks = new ConservativeBlocks(() => 0);
    blocks.decide(1, batchOf(new BatchArena(), [one], BlockKind.commands));
    assert.equal(blocks.size, 0);
  });

  it("knows a bounded number, and has the others ordered again", () => {
    const blocks = new ConservativeBlocks(() => 0);
    for (let first = 1; first <= CONSERVATIVE_BLOCKS_MAX + 5; first++) blocks.take(1, viewOf({ ...one, first }), 0);
    assert.equal(blocks.size, CONSERVATIVE_BLOCKS_MAX);
    assert.equal(blocks.isTaken(1, viewOf({ ...one, first: CONSERVATIVE_BLOCKS_MAX + 1 }), 0), false);
    blocks.lose();
    assert.equal(blocks.size, 0);
  });

  it("a block that is decided when there is no room to remember it is not on its way any more", () => {
    const blocks = new ConservativeBlocks(() => 0);
    const arena = new BatchArena();
    let instance = 0;
    const last = { ...one, first: 1_000_000 };
    blocks.take(1, viewOf(last), 0);
    // Of one block there are more copies than it has room for.
    const copies = batchOf(
      arena,
      Array.from({ length: 16_384 }, () => one),
    );
    for (let n = 0; n < CONSERVATIVE_BLOCKS_MAX; n += 16_384) blocks.decide(++instance, copies);
    assert.ok(blocks.isTaken(1, viewOf(last), 0));
    blocks.decide(++instance, batchOf(arena, [last]));
    assert.ok(!blocks.isTaken(1, viewOf(last), 0));
    blocks.pass(instance);
    assert.equal(blocks.size, 0);
  });

  it("never says of a block that it is on its way when nobody will execute it behind whoever asks", () => {
    const step = fc.record({
      what: fc.constantFrom("take", "take", "take", "decide", "decide", "pass", "lose", "elect"),
      stream: fc.integer({ min: 1, max: 2 }),
      session: fc.integer({ min: 1, max: 2 }),
      first: fc.integer({ min: 1, max: 4 }),
      count: fc.integer({ min: 1, max: 2 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        let passed = 0;
        let ballot = 1;
        let decided = 0;
        const arena = new BatchArena();
        const blocks = new ConservativeBlocks(() => passed);
        let open: Block[] = [];
        const log: { readonly instance: number; readonly block: Block }[] = [];
        const says =
          (place: number, { stream, session, first, count }: Block) =>
          (block: Block) =>
            place > passed &&
            block.stream === stream &&
            block.session === session &&
            block.first === first &&
            block.count >= count;
        for (const { what, ...block } of steps) {
          if (what === "take") {
            if (blocks.isTaken(ballot, viewOf(block), 0)) assert.ok(open.some(says(Infinity, block)));
            else if (blocks.isDecided(viewOf(block), 0)) {
              assert.ok(log.some(({ instance, block: other }) => says(instance, block)(other)));
            } else {
              blocks.take(ballot, viewOf(block), 0);
              open.push(block);
            }
          } else if (what === "decide") {
            // Batches are decided in the order in which they were proposed.
            const next = open.splice(0, 2);
            blocks.decide(++decided, batchOf(arena, next));
            for (const each of next) log.push({ instance: decided, block: each });
          } else if (what === "pass") {
            passed = Math.min(decided, passed + 1);
            blocks.pass(passed);
          } else if (what === "lose") {
            blocks.lose();
            open = [];
          } else {
            ballot++;
            open = [];
          }
        }
        blocks.lose();
        blocks.pass(decided);
        assert.equal(blocks.size, 0, "nothing is kept for ever");
      }),
    );
  });
});
