import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ByteWriter } from "#src/base/index.js";
import { CheckpointDamagedError, ConfigError, REPLIES_BYTES_MAX, type Service, UndoLog } from "#src/model/index.js";
import {
  args,
  definedService,
  defineService,
  isServiceDefinition,
  table,
  TABLE_KEY_BYTES_MAX,
  TABLE_VALUE_BYTES_MAX,
} from "#src/service/index.js";
import { type Call, definedRun, type Outcome, outcomes, results } from "./defined-run.js";
import { digestOf, restoreInto, snapshotOf } from "./kv-command.js";

interface Entry {
  readonly key: string;
  readonly value?: unknown;
}

/** Does to its tables whatever it is told. */
const puppet = defineService({
  name: "puppet",
  tables: { things: table<unknown>(), others: table<unknown>() },
  commands: {
    set: { keys: (a: Entry) => [a.key], execute: ({ things }, a) => things.set(a.key, a.value) },
    setCaught: {
      keys: (a: Entry) => [a.key],
      execute: ({ things }, a) => {
        try {
          things.set(a.key, a.value);
        } catch {
          // As if nothing had happened.
        }
      },
    },
    setOther: { keys: (a: Entry) => [a.key], execute: ({ others }, a) => others.set(a.key, a.value) },
    delete: { keys: (a: Entry) => [a.key], execute: ({ things }, a) => things.delete(a.key) },
    get: { read: true, keys: (a: Entry) => [a.key], execute: ({ things }, a) => things.get(a.key) },
    has: { read: true, keys: (a: Entry) => [a.key], execute: ({ others }, a) => others.has(a.key) },
    range: {
      reads: "all",
      args: args<{ from?: string; to?: string; limit?: number; reverse?: boolean }>(),
      partial: ({ things }, { from, to, ...options }) => [...things.range(from, to, options)],
      combine: (parts: [string, unknown][][]) => parts.flat(),
    },
    setThenThrow: {
      keys: (a: { keys: string[] }) => a.keys,
      execute: ({ things, others }, a) => {
        for (const key of a.keys) things.set(key, "doomed");
        for (const key of a.keys) others.delete(key);
        throw new RangeError(`after ${a.keys.length} keys`);
      },
    },
    touch: {
      keys: (a: { declared: string[]; key: string; how: "get" | "has" | "set" | "delete" | "range" }) => a.declared,
      execute: ({ things }, a) => {
        if (a.how === "range") return [...things.range()].length;
        return a.how === "set" ? things.set(a.key, 1) : things[a.how](a.key);
      },
    },
    clearBelow: {
      keys: "all",
      args: args<{ to: string }>(),
      execute: ({ things }, a) => {
        let cleared = 0;
        for (const [key] of things.range(undefined, a.to)) if (things.delete(key)) cleared++;
        return cleared;
      },
    },
    context: { keys: () => [], execute: (_tables, _args, ctx) => [ctx.time, ctx.random(), ctx.random()] },
    promise: { keys: () => [], execute: () => Promise.reject(new Error("too late")) },
    badKeys: { keys: (a: { keys: unknown }) => a.keys as string[], execute: () => 0 },
    loneSurrogate: { keys: () => ["\ud800"], execute: () => 0 },
    echo: { keys: () => [], args: args<unknown>(), execute: (_tables, a) => a },
    large: { read: true, keys: () => [], args: args<number>(), execute: (_tables, bytes) => new Uint8Array(bytes) },
  },
});

const fresh = (): Service => definedService(puppet).create();
const failure = (service: Service, call: Call): Outcome | undefined => outcomes(service, definedRun([call]))[0];
const failed = (service: Service, call: Call, error: string, message: RegExp): void => {
  const outcome = failure(service, call);
  assert.ok(outcome !== undefined && "error" in outcome, JSON.stringify(outcome));
  assert.equal(outcome.error, error);
  assert.match(outcome.message, message);
};

/** Text in the order of its UTF-8 bytes. */
const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));
const key = fc.oneof(
  fc.constantFrom("a", "b", "ab", "", "\u{1f600}", "\uffee"),
  fc.string({ unit: "grapheme", maxLength: 6 }),
);

describe("a user-defined service", () => {
  test("keeps tables as a plain map does, in the order of the keys' bytes", () => {
    const command = fc.record({
      kind: fc.constantFrom("set", "set", "delete", "get"),
      key,
      value: fc.oneof(fc.integer(), fc.string(), fc.constant(null)),
    });
    const bounds = fc.record({
      from: fc.option(key, { nil: undefined }),
      to: fc.option(key, { nil: undefined }),
      limit: fc.option(fc.nat(5), { nil: undefined }),
      reverse: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(command), fc.array(bounds, { maxLength: 5 }), (commands, ranges) => {
        const service = fresh();
        const model = new Map<string, unknown>();
        for (const { kind, key: at, value } of commands) {
          const [result] = results(service, [kind, { key: at, value }]);
          if (kind === "set") model.set(at, value);
          else assert.deepEqual(result, kind === "get" ? model.get(at) : model.delete(at));
        }
        assert.equal(service.size().entries, model.size);
        for (const { from, to, limit, reverse } of ranges) {
          const expected = [...model]
            .filter(
              ([at]) => (from === undefined || byBytes(at, from) >= 0) && (to === undefined || byBytes(at, to) < 0),
            )
            .sort(([a], [b]) => (reverse ? byBytes(b, a) : byBytes(a, b)))
            .slice(0, limit);
          assert.deepEqual(results(service, ["range", { from, to, limit, reverse }]), [expected]);
        }
      }),
    );
  });

  test("ranges see what the command itself changes on the way", () => {
    const service = fresh();
    results(service, ...["a", "b", "c", "d"].map((each): Call => ["set", { key: each, value: 1 }]));
    assert.deepEqual(results(service, ["clearBelow", { to: "c" }], ["range", {}]), [
      2,
      [
        ["c", 1],
        ["d", 1],
      ],
    ]);
  });

  test("its tables are separate, also at their ends", () => {
    const service = fresh();
    results(
      service,
      ["set", { key: "", value: 1 }],
      ["setOther", { key: "", value: 2 }],
      ["setOther", { key: "x", value: 3 }],
    );
    assert.deepEqual(results(service, ["range", {}], ["range", { reverse: true }], ["has", { key: "x" }]), [
      [["", 1]],
      [["", 1]],
      true,
    ]);
    assert.deepEqual(results(service, ["get", { key: "x" }]), [undefined]);
  });

  test("hands out copies, never the state", () => {
    const kept: { list: number[] }[] = [];
    const service = definedService(
      defineService({
        name: "copies",
        tables: { rows: table<{ list: number[] }>() },
        commands: {
          put: {
            keys: () => ["k"],
            execute: ({ rows }) => {
              const row = { list: [1] };
              rows.set("k", row);
              row.list.push(2);
              const read = rows.get("k") as { list: number[] };
              read.list.push(3);
              kept.push(row, read);
            },
          },
          get: { keys: () => ["k"], execute: ({ rows }) => rows.get("k") },
        },
      }),
    ).create();
    results(service, ["put"]);
    for (const row of kept) row.list.push(4);
    assert.deepEqual(results(service, ["get"]), [{ list: [1] }]);
  });

  test("refuses keys that a command did not declare, and takes back what it did before", () => {
    const service = fresh();
    results(service, ["set", { key: "a", value: 1 }]);
    const digest = digestOf(service);
    for (const how of ["get", "has", "set", "delete", "range"]) {
      const call: Call = ["touch", { declared: ["a", "aa"], key: "b", how }];
      failed(service, call, "undeclared", /^service puppet, command touch: it .* table things/);
    }
    failed(service, ["touch", { declared: [], key: "b", how: "get" }], "undeclared", /key "b"/);
    assert.equal(digestOf(service), digest);
    assert.deepEqual(results(service, ["touch", { declared: ["b", "a"], key: "a", how: "get" }]), [1]);
  });

  test("undoes a command that throws, and says what it threw", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(key, fc.integer())), fc.array(key), (entries, doomed) => {
        const service = fresh();
        for (const [at, value] of entries)
          results(service, ["set", { key: at, value }], ["setOther", { key: at, value }]);
        const digest = digestOf(service);
        failed(service, ["setThenThrow", { keys: doomed }], "thrown", new RegExp(`^after ${doomed.length} keys$`));
        assert.equal(digestOf(service), digest);
        assert.equal(service.size().entries, 2 * new Set(entries.map(([at]) => at)).size);
      }),
    );
  });

  test("rolls back to a mark, through commands that threw", () => {
    fc.assert(
      fc.property(fc.array(key), fc.array(key), (kept, undone) => {
        const service = fresh();
        const undo = new UndoLog();
        const run = (keys: readonly string[]): void => {
          for (const [i, at] of keys.entries()) {
            outcomes(
              service,
              definedRun([
                ["set", { key: at, value: i }],
                ["setThenThrow", { keys: [at] }],
              ]),
              undo,
            );
            outcomes(service, definedRun([["delete", { key: at.slice(1) }]]), undo);
          }
        };
        run(kept);
        const mark = undo.mark();
        const digest = digestOf(service);
        run(undone);
        service.rollback(undo, mark);
        assert.equal(digestOf(service), digest);
      }),
    );
  });

  test("gives every command the agreed time and agreed, different random numbers", () => {
    const run = definedRun([["context"], ["context"]], { time: 1234, seed: 77 });
    const [first, second] = outcomes(fresh(), run).map((each) => ("result" in each ? (each.result as number[]) : []));
    assert.deepEqual(
      [first, second],
      outcomes(fresh(), run).map((each) => "result" in each && each.result),
    );
    assert.equal(first?.[0], 1234);
    assert.equal(new Set([first?.[1], first?.[2], second?.[1], second?.[2]]).size, 4);
    const other = outcomes(fresh(), definedRun([["context"]], { time: 1234, seed: 78 }));
    assert.notDeepEqual(other, [{ result: first }]);
  });

  test("refuses promises, bad keys, bad values and what it does not know", () => {
    const service = fresh();
    const digest = digestOf(service);
    failed(service, ["promise"], "determinism", /command promise: it returned a promise/);
    failed(service, ["badKeys", { keys: "a" }], "value", /a list of keys/);
    failed(service, ["badKeys", { keys: [1] }], "value", /a list of texts/);
    failed(service, ["loneSurrogate"], "value", /no well-formed text/);
    failed(service, ["badKeys", { keys: ["é".repeat(TABLE_KEY_BYTES_MAX / 2 + 1)] }], "value", /at most 4096 bytes/);
    failed(service, ["badKeys", { keys: Array.from({ length: 1025 }, String) }], "value", /at most 1024 keys/);
    failed(service, ["set", { key: "a" }], "value", /undefined is no value/);
    const long = new Uint8Array(TABLE_VALUE_BYTES_MAX);
    failed(service, ["set", { key: "a", value: long }], "value", /at most 1048576/);
    failed(service, ["set"], "thrown", /undefined/);
    failed(service, ["unknown"], "refused", /no such command/);
    const malformed = definedRun([["echo", "hello"]]);
    malformed.view.setUint8((malformed.offsets[0] as number) + 8, 0xa9);
    assert.deepEqual(
      outcomes(service, malformed).map((each) => "error" in each && each.error),
      ["value"],
    );
    assert.equal(digestOf(service), digest);
    results(service, ["set", { key: "é".repeat(TABLE_KEY_BYTES_MAX / 2), value: long.subarray(5) }]);
  });

  test("reads change nothing, and long replies of reads come in parts", () => {
    const service = fresh();
    assert.deepEqual(
      outcomes(service, definedRun([["set", { key: "a", value: 1 }]], { readOnly: true })).map(
        (e) => "error" in e && e.error,
      ),
      ["refused"],
    );
    const sneaky = definedService(
      defineService({
        name: "sneaky",
        tables: { rows: table<number>() },
        commands: {
          write: {
            read: true,
            keys: () => ["k"],
            execute: ({ rows }) => (rows as unknown as Map<string, number>).set("k", 1),
          },
        },
      }),
    ).create();
    failed(sneaky, ["write"], "undeclared", /declared to only read/);
    const run = definedRun(
      [
        ["large", 3 << 20],
        ["large", 10],
        ["large", 3 << 20],
      ],
      { readOnly: true },
    );
    assert.equal(outcomes(service, run).length, run.answered);
    assert.ok(run.answered < 3);
    failed(service, ["large", 17 << 20], "refused", /exceed 16777216 bytes/);
  });

  test("a change that fails for want of memory is no outcome of its command: nothing goes on", () => {
    const service = fresh();
    const { SharedArrayBuffer: original } = globalThis;
    const value = new Uint8Array(1000);
    const run = definedRun([["setCaught", { key: "a", value }]]);
    globalThis.SharedArrayBuffer = class {
      constructor() {
        throw new RangeError("Array buffer allocation failed");
      }
    } as unknown as SharedArrayBufferConstructor;
    try {
      assert.throws(() => service.execute(run, new ByteWriter(), null), /allocation failed/);
    } finally {
      globalThis.SharedArrayBuffer = original;
    }
  });

  test("reads that range over many entries come in parts, and tell what they cost", () => {
    const service = fresh();
    results(service, ...Array.from({ length: 4000 }, (_, i): Call => ["set", { key: `key ${i}`, value: i }]));
    const run = definedRun(Array<Call>(7).fill(["range", {}]), { readOnly: true });
    const replies = outcomes(service, run);
    assert.equal(replies.length, 3);
    assert.equal(run.work, 12_000);
    for (const reply of replies) assert.equal("result" in reply && (reply.result as unknown[]).length, 4000);
    const ordered = definedRun(Array<Call>(4).fill(["range", {}]));
    assert.equal(outcomes(service, ordered).length, 4);
    assert.equal(ordered.work, 16_000);
  });

  test("long messages of many errors in one block stay within what a reply block may hold", () => {
    const thrower = definedService(
      defineService({
        name: "thrower",
        tables: { rows: table<number>() },
        commands: {
          complain: {
            keys: () => ["k"],
            execute: ({ rows }) => {
              rows.set("k", 1);
              throw Object.assign(new Error("€".repeat(2000)), { name: "A€".repeat(700) });
            },
          },
        },
      }),
    ).create();
    const digest = digestOf(thrower);
    const run = definedRun(Array<Call>(4000).fill(["complain"]));
    const writer = new ByteWriter();
    thrower.execute(run, writer, null);
    assert.ok(writer.length <= REPLIES_BYTES_MAX + 128 * run.count, `the replies have ${writer.length} bytes`);
    const replies = outcomes(thrower, run).map((each) => ("error" in each ? [each.error, each.message] : each));
    assert.deepEqual(replies[0], ["thrown", "€".repeat(1024)]);
    assert.deepEqual(replies.at(-1), ["thrown", "€".repeat(28)]);
    assert.equal(digestOf(thrower), digest);
  });

  test("handles that outlive their command are dead", () => {
    const kept: (() => unknown)[] = [];
    const service = definedService(
      defineService({
        name: "keeper",
        tables: { rows: table<number>() },
        commands: {
          keep: {
            keys: "all",
            execute: ({ rows }, _args, ctx) => {
              rows.set("a", 1);
              const range = rows.range();
              kept.push(
                () => rows.get("a"),
                () => rows.set("a", 2),
                () => range.next(),
                () => ctx.random(),
                () => ctx.time,
              );
            },
          },
        },
      }),
    ).create();
    results(service, ["keep"]);
    for (const use of kept) assert.throws(use, /while no command runs/);
  });

  test("a snapshot taken in slices is the state at its mark, and another version of the service checks that it fits", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(key, fc.integer())), fc.integer({ min: 1, max: 200 }), (entries, slice) => {
        const service = fresh();
        for (const [at, value] of entries)
          results(service, ["set", { key: at, value }], ["setOther", { key: at, value }]);
        const digest = digestOf(service);
        const bytes = snapshotOf(service.snapshot(), slice, () => {
          results(service, ["set", { key: "later", value: slice }]);
        });
        const restored = fresh();
        restoreInto(restored.restore(), bytes, [slice, 7]);
        assert.equal(digestOf(restored), digest);
        results(restored, ["set", { key: "later", value: slice }]);
        assert.equal(digestOf(restored), digestOf(service));
      }),
      { numRuns: 30 },
    );
    const bytes = snapshotOf(fresh().snapshot());
    const versions = (...tables: string[]): Service =>
      definedService(
        defineService({
          name: "puppet",
          tables: Object.fromEntries(tables.map((name) => [name, table<unknown>()])),
          commands: { none: { keys: () => [], execute: () => 0 } },
        }),
      ).create();
    restoreInto(versions("things", "others", "more").restore(), bytes, [10]);
    for (const tables of [["things"], ["others", "things"], ["things", "renamed"]]) {
      assert.throws(() => restoreInto(versions(...tables).restore(), bytes, [10]), CheckpointDamagedError);
    }
    for (let end = 0; end < bytes.length; end += 3) {
      assert.throws(
        () => restoreInto(fresh().restore(), bytes.slice(0, end), [10]),
        CheckpointDamagedError,
        `cut at ${end}`,
      );
    }
  });

  test("says which commands read, and which conflict", () => {
    const service = fresh();
    const calls: Call[] = [
      ["set", { key: "a", value: 1 }],
      ["get", { key: "a" }],
      ["get", { key: "b" }],
      ["range", {}],
      ["clearBelow", { to: "" }],
      ["unknown"],
    ];
    const run = definedRun(calls);
    assert.deepEqual(
      calls.map((_, i) => service.isRead(run.view, run.offsets[i] as number)),
      [false, true, true, true, false, false],
    );
    const low = new Float64Array(calls.length);
    const high = new Float64Array(calls.length);
    const writes = new Uint8Array(calls.length);
    service.conflicts(run, low, high, writes);
    assert.deepEqual([...writes], [1, 0, 0, 0, 1, 0]);
    assert.equal(low[0], low[1]);
    assert.notEqual(low[1], low[2]);
    assert.deepEqual([low[3], high[4], low[5]], [-Infinity, Infinity, Infinity]);
  });
});

describe("defineService", () => {
  test("refuses what can't be a service, and names what is wrong", () => {
    const tables = { rows: table<number>() };
    const commands = { none: { keys: () => [], execute: () => 0 } };
    const cases: readonly (readonly [unknown, RegExp])[] = [
      [undefined, /the name of a service/],
      [{ name: "no name", tables, commands }, /"no name"/],
      [{ name: "a", module: "./a.js", tables, commands }, /import\.meta\.url/],
      [{ name: "a", tables: {}, commands }, /1 to 255 tables, got 0/],
      [{ name: "a", tables: { rows: {} }, commands }, /tables\.rows is made by table/],
      [{ name: "a", tables: { "1": table() }, commands }, /"1" can't be the name of a table/],
      [{ name: "a", tables, commands: {} }, /1 to 1024 commands/],
      [{ name: "a", tables, commands: { close: commands.none } }, /"close" can't be the name of a command/],
      [{ name: "a", tables, commands: { b: 1 } }, /service a, command b: a command is an object/],
      [{ name: "a", tables, commands: { b: { execute: () => 0 } } }, /lacks keys/],
      [{ name: "a", tables, commands: { b: { keys: () => [], execute: async () => 0 } } }, /execute is synchronous/],
      [{ name: "a", tables, commands: { b: { keys: () => [], run: () => 0 } } }, /no field "run"/],
      [{ name: "a", tables, commands: { b: { reads: "all", partial: () => 0 } } }, /combine is a function/],
      [{ name: "a", tables, commands: { b: { reads: "all", keys: "all", partial: () => 0 } } }, /not with keys/],
      [{ name: "a", tables, commands: { b: { keys: "some", execute: () => 0 } } }, /keys is a function/],
    ];
    for (const [shape, reason] of cases) {
      assert.throws(
        () => defineService(shape as Parameters<typeof defineService>[0]),
        (error) => error instanceof ConfigError && reason.test(error.message),
        String(reason),
      );
    }
    assert.ok(isServiceDefinition(defineService({ name: "a", tables, commands })));
    assert.ok(!isServiceDefinition({ name: "a", tables, commands }));
  });
});
