import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ByteWriter } from "#src/base/index.js";
import { VALUE_DEPTH_MAX, ValueError, ValueReader, writeValue } from "#src/service/index.js";

function bytesOf(value: unknown): Uint8Array {
  const writer = new ByteWriter(8);
  // Values stand anywhere in a buffer.
  writer.u8(0xc1);
  writeValue(writer, value);
  return writer.toBytes();
}

function valueOf(bytes: Uint8Array, start = 1): unknown {
  return new ValueReader().read(bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.length), start, bytes.length);
}

const hex = (value: unknown): string => Buffer.from(bytesOf(value).subarray(1)).toString("hex");
const fromHex = (text: string): unknown => valueOf(new Uint8Array(Buffer.from(text, "hex")), 0);

const text = fc.oneof(fc.string({ unit: "grapheme" }), fc.string({ maxLength: 400 }));
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthSize: "small" },
    fc.constantFrom(null, undefined, true, false, -0, NaN, Infinity, -Infinity, 2 ** 53),
    fc.integer(),
    fc.double(),
    fc.maxSafeInteger(),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
    text,
    fc.uint8Array({ maxLength: 300 }),
    fc.array(tie("value"), { maxLength: 20 }),
    fc
      .dictionary(text, tie("value"), { maxKeys: 20 })
      .map((entries) => Object.fromEntries(Object.entries(entries).filter(([, each]) => each !== undefined))),
  ),
}));

describe("values as MessagePack", () => {
  test("come back as they were, of the same type, and always as the same bytes", () => {
    fc.assert(
      fc.property(value, (given) => {
        const bytes = bytesOf(given);
        const back = valueOf(bytes);
        assert.deepStrictEqual(back, given);
        assert.deepEqual(bytesOf(back), bytes);
      }),
    );
  });

  test("have the bytes of the format's specification, the shortest", () => {
    const cases: readonly (readonly [unknown, string])[] = [
      [null, "c0"],
      [undefined, "d40000"],
      [false, "c2"],
      [true, "c3"],
      [0, "00"],
      [127, "7f"],
      [128, "cc80"],
      [256, "cd0100"],
      [65_536, "ce00010000"],
      [2 ** 32, "cb41f0000000000000"],
      [-1, "ff"],
      [-32, "e0"],
      [-33, "d0df"],
      [-129, "d1ff7f"],
      [-32_769, "d2ffff7fff"],
      [1.5, "cb3ff8000000000000"],
      [-0, "cb8000000000000000"],
      [NaN, "cb7ff8000000000000"],
      [5n, "d30000000000000005"],
      [2n ** 64n - 1n, "cfffffffffffffffff"],
      ["a", "a161"],
      ["é", "a2c3a9"],
      ["x".repeat(32), `d920${"78".repeat(32)}`],
      [new Uint8Array([1, 2]), "c4020102"],
      [[1, [2]], "920191 02".replaceAll(" ", "")],
      [{ a: 1, b: undefined }, "81a16101"],
      [Array.from({ length: 16 }, () => 0), `dc0010${"00".repeat(16)}`],
    ];
    for (const [given, expected] of cases) assert.equal(hex(given), expected, String(given));
    assert.equal(hex("x".repeat(300)).slice(0, 6), "da012c");
    assert.equal(hex("x".repeat(70_000)).slice(0, 10), "db00011170");
    assert.equal(hex(new Uint8Array(300)).slice(0, 6), "c5012c");
    assert.equal(hex(new Uint8Array(70_000)).slice(0, 10), "c600011170");
    assert.equal(hex(Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`k${i}`, 0]))).slice(0, 6), "de0010");
  });

  test("of other writers are understood", () => {
    assert.equal(fromHex("ca3fc00000"), 1.5);
    assert.equal(fromHex("d000"), 0);
    assert.equal(fromHex("ce00000001"), 1);
    assert.deepEqual(fromHex("dd0000000107"), [7]);
    assert.deepEqual(fromHex("df00000001a16107"), { a: 7 });
  });

  test("that have no bytes are refused", () => {
    class Account {}
    let deep: unknown = 1;
    for (let i = 0; i <= VALUE_DEPTH_MAX; i++) deep = [deep];
    const round: unknown[] = [];
    round.push(round);
    for (const bad of [
      () => 1,
      Symbol("s"),
      new Date(0),
      new Map(),
      new Set(),
      new Account(),
      2n ** 64n,
      deep,
      round,
    ]) {
      assert.throws(() => bytesOf(bad), ValueError);
    }
    assert.throws(() => bytesOf({ at: new Date(0) }), /an instance of Date can't be stored or sent/);
  });

  test("make no prototypes", () => {
    const hostile = JSON.parse('{"__proto__":{"polluted":1}}') as object;
    const back = valueOf(bytesOf(hostile)) as { polluted?: unknown };
    assert.equal(back.polluted, undefined);
    assert.deepEqual(Object.keys(back), ["__proto__"]);
  });

  test("that are damaged are refused, whatever the damage, and nothing is allocated for lengths that are not there", () => {
    for (const damaged of [
      "",
      "c1",
      "dfffffffff",
      "ddffffffff",
      "dbffffffff",
      "c6ffffffff",
      "81",
      "8101",
      "d401",
      "a5",
      "0000",
    ]) {
      assert.throws(() => fromHex(damaged), ValueError, damaged);
    }
    assert.throws(() => fromHex("91".repeat(10_000) + "00"), /levels/);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          valueOf(bytes, 0);
        } catch (error) {
          assert.ok(error instanceof ValueError, String(error));
        }
      }),
    );
    fc.assert(
      fc.property(value, fc.nat(), (given, cut) => {
        const bytes = bytesOf(given);
        assert.throws(() => valueOf(bytes.slice(0, 1 + (cut % (bytes.length - 1)))), ValueError);
      }),
    );
  });
});
