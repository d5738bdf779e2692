/** `synod sim` as programs use it: lines of JSON, exit codes, and the one command that replays a failure. */
import { strict as assert } from "node:assert";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { bugs, runSeed } from "#src/sim/index.js";
import { finished, type JsonLine, synod } from "./synod-process.js";

const quick = ["--faults", "crash", "--replicas", "3", "--durability", "fsync"] as const;

describe("synod sim", () => {
  test("reports each seed in order and a summary, the same whatever the number of threads", async (context) => {
    const runs = await Promise.all(
      ["1", "2"].map((jobs) => finished(context, ["sim", "--seeds", "3..6", ...quick, "--jobs", jobs, "--json"])),
    );
    for (const { code, lines } of runs) {
      assert.equal(code, 0);
      assert.deepEqual(
        lines.map((line) => [line["event"], line["seed"], line["passed"]]),
        [3, 4, 5, 6].map((seed): unknown[] => ["seed", seed, true]).concat([["summary", undefined, undefined]]),
      );
      const { seeds, failed } = lines.at(-1) as JsonLine;
      assert.deepEqual([seeds, failed], [4, 0]);
    }
    const digests = runs.map(({ lines }) => lines.map((line) => line["trace_digest"]));
    assert.deepEqual(digests[0], digests[1]);
    assert.match(String(digests[0]?.[0]), /^[0-9a-f]{16}$/);
  });

  test("the summary says how often each fault came about, and in how many seeds; so do words", async (context) => {
    const words = ["sim", "--seeds", "3..6", "--faults", "crash,clog", "--replicas", "3", "--jobs", "1"];
    const { lines } = await finished(context, [...words, "--json"]);
    const each = lines.slice(0, -1).map((line) => line["fault_counts"] as Readonly<Record<string, number>>);
    const summary = lines.at(-1) as JsonLine;
    const total = (name: string): object => ({
      enabled: each.filter((counts) => counts[name] !== undefined).length,
      seeds: each.filter((counts) => (counts[name] ?? 0) > 0).length,
      times: each.reduce((sum, counts) => sum + (counts[name] ?? 0), 0),
    });
    assert.deepEqual(summary["faults"], { crash: total("crash"), clog: total("clog") });
    const { times } = total("clog") as { times: number };
    assert.ok(times > 0);
    const { stdout } = await finished(context, words);
    assert.match(stdout, /✔ 4 seeds, 0 failed/);
    assert.match(stdout, new RegExp(`^ {2}clog +${times} +\\d of 4$`, "m"));
    assert.match(stdout, /after the end of the faults: all clients answered \d+\.\d s at most \(seed [3-6]\)/);
  });

  test("lists the bugs", async (context) => {
    const { code, lines } = await finished(context, ["sim", "--list-bugs", "--json"]);
    assert.equal(code, 0);
    const listed = lines[0]?.["bugs"] as readonly { name: string; invariant: string }[];
    assert.deepEqual(
      listed.map(({ name }) => name),
      bugs.map(({ name }) => name),
    );
    assert.ok(listed.every(({ invariant }) => invariant.length > 0));
  });

  test("finds a planted bug, exits with 5, and the printed command finds it again", async (context) => {
    const first = await finished(context, ["sim", "--bug", "reply-before-decision", "--json"]);
    assert.equal(first.code, 5);
    assert.deepEqual([first.lines.at(-1)?.["bug"], first.lines.at(-1)?.["found"]], ["reply-before-decision", true]);
    const failure = first.lines.find((line) => line["passed"] === false);
    assert.equal(failure?.["invariant"], "decided-is-durable");
    const [program, ...words] = String(failure["replay"]).split(" ");
    assert.match(program ?? "", /\/bin\/synod$/);
    const again = await finished(context, [...words, "--json"]);
    assert.equal(again.code, 5);
    const shown = (failure["last_events"] as readonly string[]).length;
    assert.ok(shown > 0 && shown <= 15, `${shown} events`);
    assert.equal(again.lines[0]?.["trace_digest"], failure["trace_digest"]);
    assert.equal(again.lines[0]?.["message"], failure["message"]);
  });

  test("a bug that a seed does not show is not found: exit 1", async (context) => {
    const bug = bugs.find(({ name }) => name === "forgotten-promise");
    assert.ok(bug !== undefined);
    const hidden = [1, 2, 3, 4, 5, 6, 7, 8].find((seed) => runSeed({ ...bug.arguments, seed }, bug.plant()).passed);
    const { code, lines } = await finished(context, ["sim", "--bug", bug.name, "--seed", String(hidden), "--json"]);
    assert.deepEqual([code, lines.at(-1)?.["found"]], [1, false]);
  });

  test("words for people name the invariant, what was seen and the replay command", async (context) => {
    const { code, stdout } = await finished(context, ["sim", "--bug", "reply-before-decision", "--verbose"]);
    assert.equal(code, 5);
    assert.match(stdout, /✖ seed \d+: decided-is-durable: instance \d+ was reported decided/);
    assert.match(stdout, /replay: \S*bin\/synod sim --seed \d+ --bug reply-before-decision/);
    assert.match(stdout, /^ {2}\d+\.\d+ (?:r\d|nemesis|world) /m);
  });

  test("shrinks a failing seed to a file, which fails alike when it is replayed", async (context) => {
    const bug = bugs.find(({ name }) => name === "checkpoint-ahead");
    assert.ok(bug !== undefined);
    const failing = Array.from({ length: bug.seeds[1] }, (_, index) => index + 1).find((seed) => {
      return !runSeed({ ...bug.arguments, seed }, bug.plant()).passed;
    });
    const folder = mkdtempSync(join(tmpdir(), "synod-shrink-"));
    context.after(() => rmSync(folder, { recursive: true }));
    const file = join(folder, "a.scenario.txt");
    const words = ["sim", "--bug", bug.name, "--seed", String(failing)];
    const shrunk = await finished(context, [...words, "--shrink", "--out", file, "--json"]);
    assert.equal(shrunk.code, 5);
    const [line] = shrunk.lines;
    assert.deepEqual([line?.["event"], line?.["invariant"]], ["shrunk", bug.invariant]);
    assert.ok(Number(line?.["runs"]) <= 400);
    const again = await finished(context, ["sim", "--scenario", file, "--json"]);
    assert.equal(again.code, 5);
    const { event, invariant, as_expected } = again.lines[0] ?? {};
    assert.deepEqual([event, invariant, as_expected], ["scenario", bug.invariant, true]);
  });

  test("refuses what it does not know with one line and exit 4", async (context) => {
    const refused: readonly (readonly [readonly string[], RegExp])[] = [
      [["--seeds", "5..2"], /A\.\.B/],
      [["--seed", "1", "--seeds", "1..2"], /exclude each other/],
      [["--faults", "earthquake"], /there is no fault "earthquake"/],
      [["--bug", "typo"], /there is no bug "typo"/],
      [["--ordering", "raft"], /not built yet/],
      [["--replicas", "0"], /whole number/],
      [["--shrink"], /--shrink goes with --seed/],
      [["--seed", "1", "--out", "x"], /--out says where --shrink/],
      [["--scenario", "nowhere.txt"], /nowhere.txt can't be read/],
      [["--scenario", "x", "--seed", "1"], /goes with none of/],
    ];
    for (const [args, message] of refused) {
      const { code, stdout, stderr } = await finished(context, ["sim", ...args]);
      assert.equal(code, 4, args.join(" "));
      assert.equal(stdout, "");
      assert.match(stderr, message);
      assert.equal(stderr.trim().split("\n").length, 1, stderr);
    }
  });

  test("an interrupted run says how far it came: exit 3", async (context) => {
    const running = synod(context, ["sim", "--seeds", "1..1000000", ...quick, "--jobs", "1", "--json"]);
    await running.line((line) => line["event"] === "seed");
    running.kill("SIGINT");
    assert.equal(await running.exit(), 3);
    assert.equal(running.lines.at(-1)?.["event"], "summary");
  });
});
