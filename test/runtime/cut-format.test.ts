import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ByteWriter } from "#src/base/index.js";
import { CheckpointDamagedError, type SnapshotSink } from "#src/model/index.js";
import {
  CUT_RECORD_BYTES_MAX,
  CutSink,
  endSection,
  writeCutEnd,
  writeCutHeader,
  writeCutRecord,
} from "#src/runtime/groups/cut-format.js";

const GROUPS = 2;
const SECTIONS = endSection(GROUPS);

class Collected implements SnapshotSink {
  readonly bytes: number[] = [];
  finished = false;

  write(bytes: Uint8Array, start: number, end: number): void {
    assert.equal(this.finished, false);
    this.bytes.push(...bytes.subarray(start, end));
  }

  finish(): void {
    assert.equal(this.finished, false);
    this.finished = true;
  }
}

/** A cut whose sections have these pieces, which stand between each other as `order` says. */
function cutOf(
  pieces: readonly (readonly Uint8Array[])[],
  order: readonly number[],
  positions: readonly number[],
): Uint8Array {
  const writer = new ByteWriter();
  writeCutHeader(writer, GROUPS);
  const left = pieces.map((section) => [...section]);
  const open = new Set(left.keys());
  for (let turn = 0; open.size > 0; turn++) {
    const section = [...open][(order[turn % order.length] as number) % open.size] as number;
    const piece = left[section]?.shift() ?? new Uint8Array(0);
    writeCutRecord(writer, section, piece.length);
    writer.copy(piece, 0, piece.length);
    if (piece.length === 0) open.delete(section);
  }
  writeCutEnd(writer, positions);
  return writer.toBytes();
}

function read(
  bytes: Uint8Array,
  cuts: readonly number[],
  wanted: ReadonlySet<number>,
): [CutSink, (Collected | null)[]] {
  const sections: (Collected | null)[] = Array.from({ length: SECTIONS }, () => null);
  const sink = new CutSink(GROUPS, (section) => (wanted.has(section) ? (sections[section] = new Collected()) : null));
  let at = 0;
  for (let i = 0; at < bytes.length; i++) {
    const end = Math.min(bytes.length, at + (cuts[i % cuts.length] as number));
    sink.write(bytes, at, end);
    at = end;
  }
  sink.finish();
  return [sink, sections];
}

const piece = fc.uint8Array({ minLength: 1, maxLength: 40 });
const pieces = fc.array(fc.array(piece, { maxLength: 4 }), { minLength: SECTIONS, maxLength: SECTIONS });
const order = fc.array(fc.nat({ max: 100 }), { minLength: 1, maxLength: 20 });
const chunks = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 10 });
const positions = fc.array(fc.maxSafeNat(), { minLength: GROUPS + 1, maxLength: GROUPS + 1 });
const everything = new Set(Array.from({ length: SECTIONS }, (_, i) => i));

describe("a checkpoint over several groups", () => {
  test("gives each section to who takes it, cut up and mixed as it may be", () => {
    fc.assert(
      fc.property(pieces, order, chunks, positions, fc.uniqueArray(fc.nat({ max: SECTIONS - 1 })), (...drawn) => {
        const [content, mixed, cuts, at, wanted] = drawn;
        const [sink, sections] = read(cutOf(content, mixed, at), cuts, new Set(wanted));
        assert.deepEqual([...sink.positions], at);
        for (const [section, collected] of sections.entries()) {
          assert.equal(collected !== null, wanted.includes(section));
          if (collected === null) continue;
          assert.deepEqual(
            collected.bytes,
            content[section]?.flatMap((each) => [...each]),
          );
          assert.equal(collected.finished, true);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("is refused when it is short, or when a byte of its structure is another", () => {
    const whole = cutOf(
      Array.from({ length: SECTIONS }, () => [new Uint8Array([1, 2, 3])]),
      [0, 3, 1],
      [7, 8, 9],
    );
    for (let length = 0; length < whole.length; length++) {
      assert.throws(
        () => read(whole.slice(0, length), [17], everything),
        CheckpointDamagedError,
        `${length} bytes of it`,
      );
    }
    for (const [at, value] of [
      [0, 0],
      [4, 9],
      [8, 3],
      [16, SECTIONS + 1],
      [whole.length - 1, 0xff],
    ] as const) {
      const damaged = whole.slice();
      damaged[at] = value;
      assert.throws(() => read(damaged, [17], everything), CheckpointDamagedError, `byte ${at}`);
    }
  });

  test("is refused before memory is taken for a record that is too long", () => {
    const writer = new ByteWriter();
    writeCutHeader(writer, GROUPS);
    writeCutRecord(writer, 0, CUT_RECORD_BYTES_MAX + 1);
    assert.throws(() => read(writer.toBytes(), [100], everything), CheckpointDamagedError);
  });

  test("any bytes whatever end in an error that says so, or in nothing", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.boolean(), (bytes, headed) => {
        const writer = new ByteWriter();
        if (headed) writeCutHeader(writer, GROUPS);
        writer.copy(bytes, 0, bytes.length);
        try {
          read(writer.toBytes(), [31], everything);
        } catch (error) {
          assert.ok(error instanceof CheckpointDamagedError, String(error));
        }
      }),
      { numRuns: 500 },
    );
  });
});
