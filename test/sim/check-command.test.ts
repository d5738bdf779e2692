/** `synod check`: verdicts, exit codes and what is written where. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { checkCommand } from "#src/cli/check.js";
import { witnessCommand } from "#src/cli/check-witness.js";

const folder = mkdtempSync(join(tmpdir(), "synod-check-"));
after(() => rmSync(folder, { recursive: true }));

interface Run {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

async function check(lines: readonly object[] | string, json: boolean): Promise<Run> {
  const file = join(folder, "history.jsonl");
  writeFileSync(file, typeof lines === "string" ? lines : lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  return checkFile(file, json);
}

async function checkFile(file: string, json: boolean): Promise<Run> {
  let out = "";
  let error = "";
  const streams = {
    out: (text: string) => void (out += text),
    error: (text: string) => void (error += text),
    terminal: false,
  };
  const code = await checkCommand(file, { json }, streams);
  return { code, out, error };
}

const line = (process: number, type: string, op: string, args: unknown[], result: unknown, tNs: number): object => ({
  process,
  type,
  op,
  args,
  result,
  t_ns: tNs,
});
const good = [
  line(1, "invoke", "set", ["k", "1"], null, 1),
  line(1, "ok", "set", ["k", "1"], "OK", 2),
  line(2, "invoke", "get", ["k"], null, 3),
  line(2, "ok", "get", ["k"], "1", 4),
];
const stale = [...good.slice(0, 3), line(2, "ok", "get", ["k"], null, 4)];

describe("synod check", () => {
  test("linearizable: exit 0", async () => {
    const words = await check(good, false);
    assert.equal(words.code, 0);
    assert.match(words.out, /^✔ linearizable: 2 operations, 1 keys, \d+ ms\n$/);
    const { code, out, error } = await check(good, true);
    assert.equal(code, 0);
    assert.equal(error, "");
    const { ms, ...report } = JSON.parse(out) as { ms: number };
    assert.equal(typeof ms, "number");
    const findings = { judged: 1, unjudged: 0 };
    assert.deepEqual(report, { verdict: "linearizable", operations: 2, keys: 1, faults: [], findings });
  });
  test("violation: exit 5, with the contradicting part as a history of its own", async () => {
    const words = await check(stale, false);
    assert.equal(words.code, 5);
    assert.match(words.out, /✖ violation[\s\S]*process 2: get "k" → null/);
    const { code, out } = await check(stale, true);
    assert.equal(code, 5);
    assert.equal(out.split("\n").length, 2);
    const report = JSON.parse(out) as { verdict: string; part: object[] };
    assert.equal(report.verdict, "violation");
    assert.equal(report.part.length, 4);
    assert.equal((await check(report.part, true)).code, 5);
  });
  test("a stale read is named as one, with a sentence and a history of its own", async () => {
    assert.match(
      (await check(stale, false)).out,
      /stale-read: process 2: get found null in "k", which "1" had replaced/,
    );
    const report = JSON.parse((await check(stale, true)).out) as { faults: { kind: string; part: object[] }[] };
    assert.deepEqual(
      report.faults.map(({ kind }) => kind),
      ["stale-read"],
    );
    assert.equal((await check(report.faults[0]?.part ?? [], true)).code, 5);
  });
  test("a history from standard input, in pieces that end anywhere", async () => {
    const bytes = Buffer.from(stale.map((each) => `${JSON.stringify(each)}\n`).join(""));
    const pieces = [bytes.subarray(0, 50), bytes.subarray(50, 51), bytes.subarray(51)];
    let out = "";
    const streams = { out: (text: string) => void (out += text), error: () => {}, terminal: false };
    const input = (async function* () {
      yield* pieces;
    })();
    assert.equal(await checkCommand("-", { json: true, input }, streams), 5);
    assert.equal((JSON.parse(out) as { readonly verdict: string }).verdict, "violation");
  });
  test("--simulate: a run checked by witness says what it judged", async () => {
    let out = "";
    const streams = { out: (text: string) => void (out += text), error: () => {}, terminal: false };
    assert.equal(await witnessCommand({ operations: 3000, service: "kv", seed: 1, json: true }, streams), 0);
    const { verdict, commands, reads, unjudged } = JSON.parse(out) as Record<string, number | string>;
    assert.deepEqual([verdict, unjudged], ["right", 0]);
    assert.ok(Number(commands) + Number(reads) > 2500);
  });
  test("unknown: exit 1, with the reason", async () => {
    const lines = [line(1, "invoke", "lpush", ["k", "1"], null, 1), line(1, "ok", "lpush", ["k", "1"], 1, 2)];
    assert.match((await check(lines, false)).out, /\? unknown[\s\S]*"lpush" is not modelled/);
    const { code, out } = await check(lines, true);
    assert.equal(code, 1);
    assert.equal((JSON.parse(out) as { verdict: string }).verdict, "unknown");
  });
  test("malformed: exit 4, the line named on the error stream, nothing written", async () => {
    const { code, out, error } = await check(`${JSON.stringify(good[0])}\n{"process":1}\n`, true);
    assert.deepEqual([code, out], [4, ""]);
    assert.match(error, /line 2: unknown type/);
    assert.equal(error.split("\n").length, 2);
  });
  test("a file that can't be read: exit 1", async () => {
    const { code, out, error } = await checkFile(join(folder, "none"), true);
    assert.deepEqual([code, out], [1, ""]);
    assert.match(error, /can't read .*none/);
    assert.equal((await checkFile(folder, false)).code, 1);
  });
  test("an empty history is refused: whoever recorded it has died, or never began", async () => {
    assert.equal((await check("", true)).code, 4);
  });
});
