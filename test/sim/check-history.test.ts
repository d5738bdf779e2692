/** The history format: what is read, what is refused and where, and that what is recorded reads back. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  checkHistory,
  formatHistoryLine,
  HISTORY_LINE_BYTES_MAX,
  HistoryBuilder,
  HistoryError,
  HistoryRecorder,
  type Operation,
  operationEvents,
  readHistory,
} from "#src/sim/check/index.js";

/** The text in pieces of the given size, as a file or socket would give it. */
async function* pieces(text: string, size: number): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) yield await Promise.resolve(bytes.subarray(at, at + size));
}

const read = (text: string, size = 7): Promise<readonly Operation[]> => readHistory(pieces(text, size));
const event = (process: unknown, type: unknown, tNs: unknown, more: object = {}): string =>
  JSON.stringify({ process, type, op: "get", args: ["k"], result: null, t_ns: tNs, ...more });

async function refusedAt(line: number, reason: RegExp, lines: readonly string[]): Promise<void> {
  await assert.rejects(read(lines.join("\n")), (error: unknown) => {
    assert.ok(error instanceof HistoryError, String(error));
    assert.match(error.message, reason);
    assert.equal(error.line, line);
    assert.ok(error.message.startsWith(`line ${line}: `));
    return true;
  });
}

describe("a malformed history is refused with the line's number", () => {
  const cases: [string, number, RegExp, string[]][] = [
    ["not JSON", 2, /not JSON/, [event(1, "invoke", 1), "{"]],
    ["not an object", 1, /expected an object/, ["[1]"]],
    ["an unknown type", 1, /unknown type "begin"/, [event(1, "begin", 1)]],
    ["no process", 1, /"process" must be/, [event(undefined, "invoke", 1)]],
    ["no time", 1, /"t_ns" must be/, [event(1, "invoke", "soon")]],
    ["no operation", 1, /without "op"/, [event(1, "invoke", 1, { op: undefined })]],
    ["arguments that are no list", 1, /"args" must be/, [event(1, "invoke", 1, { args: "k" })]],
    ["two open operations", 3, /is open/, [event(1, "invoke", 1), "", event(1, "invoke", 2)]],
    ["a completion of nothing", 2, /without an open/, [event(1, "invoke", 1), event(2, "ok", 2)]],
    ["a second completion", 3, /without an open/, [event(1, "invoke", 1), event(1, "ok", 2), event(1, "ok", 3)]],
    [
      "another operation completed",
      2,
      /open operation is "get"/,
      [event(1, "invoke", 1), event(1, "ok", 2, { op: "set" })],
    ],
    ["time going back", 2, /time goes back/, [event(1, "invoke", 5), event(1, "ok", 4)]],
    ["a process reused", 3, /may not be reused/, [event(1, "invoke", 1), event(1, "info", 2), event(1, "invoke", 3)]],
    ["a line too long", 2, /longer than/, [event(1, "invoke", 1), "x".repeat(HISTORY_LINE_BYTES_MAX + 1), ""]],
  ];
  for (const [name, line, reason, lines] of cases) test(name, () => refusedAt(line, reason, lines));

  test("too many operations", () => {
    const builder = new HistoryBuilder(1);
    builder.add({ process: 1, type: "invoke", op: "get", args: [], tNs: 1 });
    assert.throws(() => builder.add({ process: 2, type: "invoke", op: "get", args: [], tNs: 1 }, 9), HistoryError);
  });
});

describe("a history is read", () => {
  test("whatever pieces its bytes come in", async () => {
    const lines = [
      event("é", "invoke", 1, { op: "set", args: ["k", "日本"] }),
      event("b", "invoke", 2),
      event("é", "ok", 3, { op: "set", result: "OK" }),
      event("b", "ok", 4, { result: "日本" }),
    ];
    const whole = await read(`${lines.join("\r\n")}\n\n`, 1_000_000);
    assert.equal(whole.length, 2);
    assert.equal(whole[1]?.result, "日本");
    for (let size = 1; size < 60; size++) assert.deepEqual(await read(lines.join("\r\n"), size), whole);
  });
  test("with processes in any order of lines, and open operations as of unknown outcome", async () => {
    const lines = [
      event(2, "invoke", 5),
      event(2, "ok", 6, { result: "1" }),
      event(1, "invoke", 1, { op: "set", args: ["k", "1"] }),
    ];
    const operations = await read(lines.join("\n"));
    assert.deepEqual(
      operations.map(({ process, outcome, completedNs }) => ({ process, outcome, completedNs })),
      [
        { process: 2, outcome: "ok", completedNs: 6 },
        { process: 1, outcome: "info", completedNs: Infinity },
      ],
    );
    assert.equal(checkHistory(operations).verdict, "linearizable");
  });
  test("empty", async () => assert.deepEqual(await read(""), []));
});

test("what is recorded reads back, and goes on under new names after unknown outcomes", async () => {
  const step = fc.record({
    client: fc.integer({ min: 0, max: 2 }),
    outcome: fc.constantFrom("ok" as const, "fail" as const, "info" as const),
    result: fc.oneof(fc.constant(null), fc.string(), fc.integer(), fc.array(fc.string(), { maxLength: 2 })),
    pause: fc.integer({ min: 0, max: 5 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const lines: string[] = [];
      const recorder = new HistoryRecorder((line) => lines.push(line));
      let time = 0;
      for (const { client, outcome, result, pause } of steps) {
        recorder.invoke(client, "get", [`k${client}`], (time += pause));
        recorder.complete(client, outcome, result, (time += pause));
      }
      const back = await read(lines.join("\n"), 100);
      assert.deepEqual(back, recorder.operations);
      const processes = back.filter(({ outcome }) => outcome === "info").map(({ process }) => process);
      assert.equal(new Set(processes).size, processes.length);
      const again = back.flatMap(operationEvents).map(formatHistoryLine);
      assert.equal((await read(again.join("\n"))).length, back.length);
    }),
  );
});
