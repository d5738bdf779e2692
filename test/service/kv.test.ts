/** The kv service against a plain map, with the replies and errors of Redis 7; digest, undo, snapshots, damaged input. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ByteWriter } from "#src/base/index.js";
import { CheckpointDamagedError, emptyRun, REPLIES_BYTES_MAX, UndoLog } from "#src/model/index.js";
import {
  ARGUMENTS_MAX,
  createKv,
  KEY_BYTES_MAX,
  kv,
  KvOperation,
  SetFlag,
  VALUE_BYTES_MAX,
} from "#src/service/index.js";
import {
  type Command,
  digestOf,
  error,
  execute,
  executeRun,
  integer,
  OK,
  type Reply,
  restoreInto,
  runOf,
  snapshotOf,
} from "./kv-command.js";

const NOT_AN_INTEGER = error("ERR value is not an integer or out of range");
const OVERFLOW = error("ERR increment or decrement would overflow");

const get = (...args: string[]): Command => ({ operation: KvOperation.get, args });
const set = (key: string, value: string, flags = 0): Command => ({
  operation: KvOperation.set,
  flags,
  args: [key, value],
});
const increment = (key: string, delta: string): Command => ({ operation: KvOperation.increment, args: [key, delta] });

/** What each command must do, written as plainly as can be, with BigInt throughout. */
function modelReply(state: Map<string, string>, { operation, flags = 0, args }: Command): Reply {
  const bulk = (key: string): Reply => state.get(key) ?? null;
  const [first = "", second = ""] = args;
  switch (operation) {
    case KvOperation.get:
      return bulk(first);
    case KvOperation.set: {
      const before = bulk(first);
      const sets =
        !((flags & SetFlag.onlyNew) !== 0 && before !== null) && !((flags & SetFlag.onlyOld) !== 0 && before === null);
      if (sets) state.set(first, second);
      if ((flags & SetFlag.returnOld) !== 0) return before;
      if ((flags & SetFlag.integerReply) !== 0) return integer(sets ? 1 : 0);
      return sets ? OK : null;
    }
    case KvOperation.delete:
      return integer(args.filter((key) => state.delete(key)).length);
    case KvOperation.exists:
      return integer(args.filter((key) => state.has(key)).length);
    case KvOperation.increment: {
      const text = state.get(first) ?? "0";
      const isInteger = (digits: string): boolean =>
        /^(0|-?[1-9]\d*)$/.test(digits) && BigInt.asIntN(64, BigInt(digits)) === BigInt(digits);
      if (!isInteger(text) || !isInteger(second)) return NOT_AN_INTEGER;
      const sum = BigInt(text) + BigInt(second);
      if (BigInt.asIntN(64, sum) !== sum) return OVERFLOW;
      state.set(first, sum.toString());
      return integer(sum);
    }
    case KvOperation.getMany:
      return args.map(bulk);
    case KvOperation.setMany:
      for (let i = 0; i < args.length; i += 2) state.set(args[i] as string, args[i + 1] as string);
      return OK;
    case KvOperation.append: {
      const value = (state.get(first) ?? "") + second;
      state.set(first, value);
      return integer(value.length);
    }
    case KvOperation.length:
      return integer((state.get(first) ?? "").length);
    default:
      return integer(state.size);
  }
}

const INT64_MAX = "9223372036854775807";
const INT64_MIN = "-9223372036854775808";

const bytes = (maxLength: number): fc.Arbitrary<string> =>
  fc.array(fc.nat(255), { maxLength }).map((codes) => String.fromCharCode(...codes));
const key = fc.oneof(
  fc.constantFrom("", "a", "b", "n", "\u0000", "\u00ff\u00fe"),
  fc.nat(30).map((n) => `key:${n}`),
  bytes(6),
);
const number = fc.oneof(
  fc.integer().map(String),
  fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n).map(String),
  fc.constantFrom("0", "1", "-1", INT64_MAX, INT64_MIN, "9007199254740993", "999999999999999", "-999999999999999"),
);
const notNumber = fc.constantFrom("", "-", "+1", "-0", "01", " 1", "1 ", "1.0", "9223372036854775808", "1e3", "abc");
const value = fc.oneof(number, notNumber, bytes(80));
const setFlags = fc.constantFrom(
  0,
  0,
  SetFlag.onlyNew,
  SetFlag.onlyOld,
  SetFlag.returnOld,
  SetFlag.onlyNew | SetFlag.returnOld,
  SetFlag.onlyOld | SetFlag.returnOld,
  SetFlag.onlyNew | SetFlag.integerReply,
  SetFlag.integerReply,
);
const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(key, value, setFlags).map(([k, v, flags]) => set(k, v, flags)) },
  { weight: 2, arbitrary: key.map((k) => get(k)) },
  {
    weight: 3,
    arbitrary: fc.record({
      operation: fc.constantFrom(KvOperation.delete, KvOperation.exists, KvOperation.getMany),
      args: fc.array(key, { minLength: 1, maxLength: 4 }),
    }),
  },
  { weight: 3, arbitrary: fc.tuple(key, fc.oneof(number, notNumber)).map(([k, d]) => increment(k, d)) },
  {
    weight: 1,
    arbitrary: fc
      .array(fc.tuple(key, value), { minLength: 1, maxLength: 3 })
      .map((pairs) => ({ operation: KvOperation.setMany, args: pairs.flat() })),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(key, bytes(20)).map(([k, v]) => ({ operation: KvOperation.append, args: [k, v] })),
  },
  { weight: 1, arbitrary: key.map((k) => ({ operation: KvOperation.length, args: [k] })) },
  { weight: 1, arbitrary: fc.constant({ operation: KvOperation.count, args: [] }) },
);
const commands = fc.array(command, { maxLength: 120, size: "max" });

/** A service that holds exactly these entries, made in order of the map. */
function serviceOf(state: ReadonlyMap<string, string>): ReturnType<typeof kv.create> {
  const service = kv.create();
  execute(
    service,
    [...state].map(([k, v]) => set(k, v)),
  );
  return service;
}

describe("kv does what a map does", () => {
  test("reply by reply, and its digest depends on the content alone", () => {
    fc.assert(
      fc.property(commands, (list) => {
        const service = kv.create();
        const state = new Map<string, string>();
        assert.deepEqual(
          execute(service, list),
          list.map((one) => modelReply(state, one)),
        );
        assert.equal(service.size().entries, state.size);
        assert.equal(
          service.size().bytes,
          [...state].reduce((sum, [k, v]) => sum + k.length + v.length, 0),
        );
        const backwards = new Map([...state].reverse());
        assert.equal(digestOf(service), digestOf(serviceOf(backwards)));
      }),
      { numRuns: 300 },
    );
  });

  test("different contents have different digests", () => {
    const contents = [
      new Map([["a", "b"]]),
      new Map([["b", "a"]]),
      new Map([["ab", ""]]),
      new Map([["", "ab"]]),
      new Map([["a", "b\u0000"]]),
      new Map([
        ["a", "1"],
        ["b", "2"],
      ]),
      new Map([
        ["a", "2"],
        ["b", "1"],
      ]),
      new Map(),
    ];
    assert.equal(new Set(contents.map((state) => digestOf(serviceOf(state)))).size, contents.length);
  });

  test("rollback restores content and digest", () => {
    fc.assert(
      fc.property(commands, commands, commands, (before, kept, undone) => {
        const service = kv.create();
        execute(service, before);
        const undo = new UndoLog();
        execute(service, kept, undo);
        const mark = undo.mark();
        const expected = [digestOf(service), service.size(), snapshotOf(service.snapshot())];
        execute(service, undone, undo);
        service.rollback(undo, mark);
        assert.deepEqual([digestOf(service), service.size(), snapshotOf(service.snapshot())], expected);
        service.rollback(undo, 0);
        const anew = kv.create();
        execute(anew, before);
        assert.equal(digestOf(service), digestOf(anew));
      }),
      { numRuns: 150 },
    );
  });

  test("reads change nothing and commands that write are refused in a read-only run", () => {
    fc.assert(
      fc.property(commands, commands, (before, list) => {
        const service = kv.create();
        const state = new Map<string, string>();
        execute(service, before);
        for (const one of before) modelReply(state, one);
        const digest = digestOf(service);
        const run = runOf(list, true);
        const expected = list.map((one, i) =>
          service.isRead(run.view, run.offsets[i] as number)
            ? modelReply(state, one)
            : error("ERR a command that writes was sent as an unordered read"),
        );
        assert.deepEqual(executeRun(service, run), expected);
        assert.equal(digestOf(service), digest);
      }),
      { numRuns: 100 },
    );
  });

  test("integers are exact at the edges of 64 bits and of doubles", () => {
    const service = kv.create();
    const cases: [string, string, Reply][] = [
      [INT64_MAX, "1", OVERFLOW],
      [INT64_MIN, "-1", OVERFLOW],
      [INT64_MAX, INT64_MIN, integer(-1)],
      ["9007199254740992", "1", integer("9007199254740993")],
      ["999999999999999", "999999999999999", integer("1999999999999998")],
      ["-9007199254740993", "-2", integer("-9007199254740995")],
      ["5", "-5", integer("0")],
      ["9223372036854775808", "1", NOT_AN_INTEGER],
      ["1", "9223372036854775808", NOT_AN_INTEGER],
      ["-0", "1", NOT_AN_INTEGER],
      ["", "1", NOT_AN_INTEGER],
      ["1".repeat(30), "1", NOT_AN_INTEGER],
      ["1", "1".repeat(30), NOT_AN_INTEGER],
    ];
    for (const [present, delta, reply] of cases) {
      assert.deepEqual(execute(service, [set("n", present), increment("n", delta)])[1], reply, `${present} + ${delta}`);
    }
  });
});

describe("kv refuses what is out of bounds and stays as it was", () => {
  const service = kv.create();
  execute(service, [set("a", "1"), set("big", "x".repeat(VALUE_BYTES_MAX - 1))]);
  const cases: [string, Command, string][] = [
    ["a key too long", set("k".repeat(KEY_BYTES_MAX + 1), "v"), "ERR key exceeds the maximum of 65536 bytes"],
    ["a value too long", set("k", "v".repeat(VALUE_BYTES_MAX + 1)), "ERR value exceeds the maximum of 1048576 bytes"],
    [
      "a later key too long in setMany",
      { operation: KvOperation.setMany, args: ["a", "2", "k".repeat(KEY_BYTES_MAX + 1), "v"] },
      "ERR key exceeds the maximum of 65536 bytes",
    ],
    [
      "an append past the maximum",
      { operation: KvOperation.append, args: ["big", "12"] },
      "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
    ],
    ["both conditions", set("a", "2", SetFlag.onlyNew | SetFlag.onlyOld), "ERR syntax error"],
    ["both kinds of reply", set("a", "2", SetFlag.returnOld | SetFlag.integerReply), "ERR syntax error"],
    ["a unit without a number", set("a", "2", SetFlag.seconds), "ERR syntax error"],
    ["a flag on get", { ...get("a"), flags: 1 }, "ERR syntax error"],
    ["get without a key", get(), "ERR wrong number of arguments"],
    ["get of two keys", get("a", "b"), "ERR wrong number of arguments"],
    ["setMany of half a pair", { operation: KvOperation.setMany, args: ["a"] }, "ERR wrong number of arguments"],
    ["delete of nothing", { operation: KvOperation.delete, args: [] }, "ERR wrong number of arguments"],
    ["count of something", { operation: KvOperation.count, args: ["a"] }, "ERR wrong number of arguments"],
    ["operation 0", { operation: 0, args: [] }, "ERR unknown operation"],
    ["operation 99", { operation: 99, args: [] }, "ERR unknown operation"],
    [
      "too many arguments",
      { operation: KvOperation.delete, args: Array.from({ length: ARGUMENTS_MAX + 1 }, () => "a") },
      "ERR malformed command",
    ],
  ];
  const digest = digestOf(service);
  for (const [what, one, message] of cases) {
    test(what, () => {
      assert.deepEqual(execute(service, [one]), [error(message)]);
      assert.equal(digestOf(service), digest);
    });
  }
  test("the most of everything passes", () => {
    const own = kv.create();
    const longest = "k".repeat(KEY_BYTES_MAX);
    const largest = "\u00e9".repeat(VALUE_BYTES_MAX);
    const many = {
      operation: KvOperation.exists,
      args: Array.from({ length: ARGUMENTS_MAX }, () => longest.slice(0, 3)),
    };
    assert.deepEqual(execute(own, [set(longest, largest), get(longest), many]), [OK, largest, integer(0)]);
  });

  test("replies of one run are bounded; a command without room for its reply does not happen", () => {
    const own = kv.create();
    execute(own, [set("big", "x".repeat(VALUE_BYTES_MAX))]);
    const fit = Math.floor(REPLIES_BYTES_MAX / (VALUE_BYTES_MAX + 8));
    const before = digestOf(own);
    const replies = execute(own, [
      ...Array.from({ length: fit }, () => get("big")),
      get("big"),
      set("big", "small", SetFlag.returnOld),
      { operation: KvOperation.getMany, args: ["none", "big"] },
      { operation: KvOperation.length, args: ["big"] },
    ]);
    const refused = error(
      `ERR the replies of one block exceed ${REPLIES_BYTES_MAX} bytes; send fewer commands at once`,
    );
    assert.ok(replies.slice(0, fit).every((reply) => typeof reply === "string"));
    assert.deepEqual(replies.slice(fit), [refused, refused, refused, integer(VALUE_BYTES_MAX)]);
    assert.equal(digestOf(own), before);
    assert.equal(execute(own, [get("big")])[0], "x".repeat(VALUE_BYTES_MAX));
  });

  test("random bytes as a command get exactly one reply", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 4, maxLength: 60 }),
        fc.nat(10),
        fc.boolean(),
        (noise, operation, plausible) => {
          const own = kv.create();
          execute(own, [set("a", "1")]);
          const bytesOf = noise.slice();
          const view = new DataView(bytesOf.buffer);
          // Block decoding has checked the length of the command and nothing else.
          view.setUint32(0, bytesOf.length, true);
          if (plausible && bytesOf.length >= 12) {
            view.setUint32(4, operation, true);
            view.setUint16(6, 1, true);
            view.setUint32(8, bytesOf.length - 12, true);
          }
          const run = emptyRun();
          run.bytes = bytesOf;
          run.view = view;
          run.count = 1;
          executeRun(own, run);
          own.isRead(view, 0);
          own.conflicts(run, new Float64Array(1), new Float64Array(1), new Uint8Array(1));
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe("kv tells schedulers what conflicts", () => {
  test("commands that may not be exchanged have overlapping ranges, one of them writing", () => {
    fc.assert(
      fc.property(commands, command, command, (before, a, b) => {
        const outcome = (first: Command, second: Command): [Reply | undefined, Reply | undefined, string] => {
          const service = kv.create();
          execute(service, before);
          const [x, y] = execute(service, [first, second]);
          return [x, y, digestOf(service)];
        };
        const [x, y, digest] = outcome(a, b);
        const [y2, x2, digest2] = outcome(b, a);
        const commutes = digest === digest2 && isEqual(x, x2) && isEqual(y, y2);
        const run = runOf([a, b]);
        const [low, high, writes] = [new Float64Array(2), new Float64Array(2), new Uint8Array(2)];
        kv.create().conflicts(run, low, high, writes);
        const overlap = (low[0] as number) <= (high[1] as number) && (low[1] as number) <= (high[0] as number);
        if (!commutes) assert.ok(overlap && (writes[0] === 1 || writes[1] === 1));
      }),
      { numRuns: 300 },
    );
  });

  test("reads never conflict, and neither do writes of unrelated keys", () => {
    const run = runOf([get("a"), get("a"), set("a", "1"), set("b", "1")]);
    const [low, high, writes] = [new Float64Array(4), new Float64Array(4), new Uint8Array(4)];
    kv.create().conflicts(run, low, high, writes);
    assert.deepEqual([...writes], [0, 0, 1, 1]);
    assert.notEqual(low[2], low[3]);
    assert.equal(low[2], high[2]);
  });
});

function isEqual(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

describe("snapshots of kv", () => {
  test("show the state at the mark while commands go on, and restore it from any chunks", () => {
    fc.assert(
      fc.property(
        commands,
        commands,
        fc.integer({ min: 1, max: 200 }),
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 8 }),
        (before, during, slice, lengths) => {
          const service = kv.create();
          execute(service, before);
          const atMark = [digestOf(service), service.size()];
          const whole = snapshotOf(service.snapshot(), 1e6);
          let next = 0;
          const sliced = snapshotOf(service.snapshot(), slice, () => {
            execute(service, during.slice(next, next + 5));
            next += 5;
          });
          // The order of the entries in a snapshot is free: it depends on what changed while it was taken.
          assert.equal(sliced.length, whole.length);
          for (const snapshot of [sliced, whole]) {
            const restored = kv.create();
            execute(restored, during);
            restoreInto(restored.restore(), snapshot, lengths);
            assert.deepEqual([digestOf(restored), restored.size()], atMark);
            assert.equal(snapshotOf(restored.snapshot()).length, whole.length);
          }
        },
      ),
      { numRuns: 120 },
    );
  });

  test("of thousands of keys, with a later mark before the first is read", () => {
    const service = kv.create();
    for (let i = 0; i < 5000; i++) execute(service, [set(`key:${i * 7919}`, String(i))]);
    const first = service.snapshot();
    const digest = digestOf(service);
    for (let i = 0; i < 5000; i += 3) execute(service, [{ operation: KvOperation.delete, args: [`key:${i * 7919}`] }]);
    const second = service.snapshot();
    const digestSecond = digestOf(service);
    for (let i = 0; i < 5000; i += 2) execute(service, [set(`key:${i * 7919}`, "changed")]);
    for (const [source, expected] of [
      [second, digestSecond],
      [first, digest],
    ] as const) {
      const restored = kv.create();
      restoreInto(restored.restore(), snapshotOf(source, 1000), [777]);
      assert.equal(digestOf(restored), expected);
    }
  });

  test("a slice is about as long as asked for, and a closed source gives nothing more", () => {
    const service = kv.create();
    for (let i = 0; i < 1000; i++) execute(service, [set(`key:${i}`, "v".repeat(20))]);
    const source = service.snapshot();
    const writer = new ByteWriter();
    assert.equal(source.next(writer, 500), true);
    assert.ok(writer.length >= 500 && writer.length < 600, `the slice has ${writer.length} bytes`);
    source.close();
    assert.equal(source.next(writer, 500), false);
  });

  test("a damaged or cut snapshot is refused and leaves the state as it was", () => {
    const service = kv.create();
    execute(service, [set("a", "1"), set("b", "22"), set("c", "333")]);
    const good = snapshotOf(service.snapshot());
    const target = kv.create();
    execute(target, [set("z", "z")]);
    const before = digestOf(target);
    const refused = (snapshot: Uint8Array, what: string): void => {
      assert.throws(() => restoreInto(target.restore(), snapshot, [3]), CheckpointDamagedError, what);
      assert.equal(digestOf(target), before, what);
    };
    for (let length = 0; length < good.length; length++) refused(good.slice(0, length), `cut at ${length}`);
    for (let at = 0; at < good.length; at++) {
      for (const flip of [1, 0x80]) {
        const bad = good.slice();
        bad[at] = (bad[at] as number) ^ flip;
        refused(bad, `byte ${at} ^ ${flip}`);
      }
    }
    refused(new Uint8Array([...good, 0, 0, 0, 0, 0, 0, 0, 0]), "bytes after the end");
    restoreInto(target.restore(), good, [3]);
    assert.equal(digestOf(target), digestOf(service));
  });
});

describe("a store that is full", () => {
  test("refuses what may make it larger, and nothing else", () => {
    // Each command is counted as if it left the longest gap.
    const bytesMax = VALUE_BYTES_MAX + 200;
    const service = createKv({ entriesMax: 3, bytesMax });
    const full = error("OOM command not allowed, the store holds as much as it may");
    assert.deepEqual(execute(service, [set("a", "1"), set("b", "x".repeat(100)), get("a")]), [OK, OK, "1"]);
    const before = digestOf(service);
    const large = "y".repeat(100);
    assert.deepEqual(
      execute(service, [
        set("a", large),
        { operation: KvOperation.append, args: ["a", large] },
        { operation: KvOperation.setMany, args: ["a", large, "c", "2"] },
      ]),
      [full, full, full],
    );
    assert.equal(digestOf(service), before);
    assert.deepEqual(execute(service, [{ operation: KvOperation.delete, args: ["b"] }, set("a", large), get("a")]), [
      integer(1),
      OK,
      large,
    ]);
    assert.deepEqual(execute(service, [set("b", "1"), set("c", "1"), set("d", "1")]), [OK, OK, full]);
  });
});
