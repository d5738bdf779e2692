/** `synod bench` as programs use it: the JSON of its contract to the letter, what it refuses, what it warns of. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { finished, type JsonLine, synod, temporaryDirectory } from "./synod-process.js";

const quick = ["--seconds", "0.5", "--keys", "500", "--durability", "memory"];

describe("bench --json", () => {
  for (const service of ["btree", "kv"]) {
    test(`prints the contract's object and nothing else, for ${service}`, async (t) => {
      const flags = ["--service", service, "--clients", "2", "--workload", "ycsb-d", "--json"];
      const { code, lines, stderr } = await finished(t, ["bench", ...quick, ...flags]);
      assert.equal(code, 0, stderr);
      assert.equal(lines.length, 1);
      const [report] = lines as [JsonLine];
      assert.deepEqual(Object.keys(report).toSorted(), [
        "commands",
        "config",
        "cpu_s_per_million",
        "digests_equal",
        "errors",
        "executed",
        "latency_ms",
        "seconds",
        "throughput",
      ]);
      assert.deepEqual(Object.keys(report["latency_ms"] as object), ["p50", "p95", "p99", "p999", "max"]);
      assert.deepEqual(Object.keys(report["cpu_s_per_million"] as object), ["replicas", "client"]);
      assert.equal(report["errors"], 0);
      assert.equal(report["digests_equal"], true);
      const config = report["config"] as JsonLine;
      assert.deepEqual(
        [config["service"], config["workload"], config["clients"], config["window"], config["keys"]],
        [service, "ycsb-d", 2, 64, 500],
      );
      const { throughput, commands, seconds } = report as Record<string, number>;
      assert.ok(Math.abs((throughput as number) * (seconds as number) - (commands as number)) < 1);
    });
  }

  test("with opt-psmr its keys are cut in equal parts, and commands that failed are told apart", async (t) => {
    const groups = ["--groups", "2", "--execution", "opt-psmr", "--workload", "insert-delete", "--json"];
    const { code, lines, stderr } = await finished(t, ["bench", ...quick, ...groups]);
    assert.equal(code, 0, stderr);
    const [report] = lines as [JsonLine];
    assert.equal(report["errors"], 0);
    assert.equal(report["digests_equal"], true);
    const { resubmit, bounds } = report["config"] as Record<string, string>;
    // The 250th of 500 keys, which lie evenly in 64 bits.
    assert.deepEqual([resubmit, bounds], ["replicas", String((250n * BigInt(Math.floor(2 ** 32 / 500))) << 32n)]);
    const { passed, failed, fail_rate: rate } = report["optimistic"] as Record<string, number>;
    assert.ok((passed as number) > 0);
    assert.equal(rate, (failed as number) / ((passed as number) + (failed as number)));
  });

  test("the service is btree unless told otherwise", async (t) => {
    const { lines } = await finished(t, ["bench", ...quick, "--json"]);
    const [report] = lines as [JsonLine];
    assert.equal((report["config"] as JsonLine)["service"], "btree");
  });
});

test("a rate that can't be kept up with is told on stderr, and the figures stand", async (t) => {
  const flags = ["--clients", "1", "--window", "1", "--rate", "1000000", "--arrivals", "poisson", "--json"];
  const { code, lines, stderr } = await finished(t, ["bench", ...quick, ...flags]);
  assert.equal(code, 0, stderr);
  assert.match(stderr, /^synod: 1,000,000 commands\/s is more than was kept up with: [\d,]+\/s were answered/);
  // Every command waited for its turn since it was due, nearly all of the time.
  const [report] = lines as [JsonLine];
  assert.ok((report["latency_ms"] as { max: number }).max > 100);
});

describe("bench refuses before it starts anything", () => {
  const cases: [flags: readonly string[], reason: RegExp][] = [
    [["--value-size", "100"], /values of the btree service have 8 bytes, got 100/],
    [["--service", "counter"], /no load for service counter; there is for btree, kv/],
    [["--arrivals", "poisson"], /--arrivals needs --rate/],
    [["--rate", "10", "--arrivals", "bursts"], /--arrivals.*constant, poisson/],
    [["--rate", "0"], /--rate/],
    [["--workload", "ycsb-g"], /--workload.*ycsb-f/],
    [["--keys", "0"], /--keys/],
    [["--clients", "2000"], /--clients/],
    [["--data", "a", "--address", "127.0.0.1:1"], /exclude each other/],
  ];
  for (const [flags, reason] of cases) {
    test(flags.join(" "), async (t) => {
      const { code, stdout, stderr } = await finished(t, ["bench", ...flags]);
      assert.match(stderr, reason);
      assert.match(stderr, /^synod: [^\n]+\n$/);
      assert.equal(stdout, "");
      assert.equal(code, 4);
    });
  }
});

describe("bench", () => {
  test("on its own cluster: figures, equal digests, nothing left running", async (t) => {
    const load = ["--workload", "mixed", "--seconds", "1", "--keys", "500", "--clients", "2", "--window", "16"];
    const { code, lines, stderr } = await finished(t, ["bench", ...load, "--durability", "memory", "--json"]);
    assert.equal(code, 0, stderr);
    const [report] = lines as [JsonLine];
    assert.equal(report["digests_equal"], true);
    assert.equal(report["errors"], 0);
    assert.ok(Number(report["commands"]) > 0);
    assert.equal((report["executed"] as number[]).length, 3);
    const latency = report["latency_ms"] as Record<string, number>;
    const figures = ["p50", "p95", "p99", "p999", "max"].map((name) => latency[name] ?? Number.NaN);
    assert.deepEqual(
      figures,
      figures.toSorted((a, b) => a - b),
    );
    assert.equal((report["config"] as JsonLine)["durability"], "memory");
  });

  test("interrupted while its cluster starts, it leaves nothing behind", async (t) => {
    const temporary = temporaryDirectory(t);
    const load = ["--durability", "memory", "--seconds", "60"];
    const bench = synod(t, ["bench", ...load], { TMPDIR: temporary });
    while (readdirSync(temporary).length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    bench.kill("SIGTERM");
    assert.equal(await bench.exit(), 3, bench.stderr);
    assert.deepEqual(readdirSync(temporary), []);
  });

  test("on a running cluster", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const up = synod(t, ["up", "--data", data, "--port", "0", "--json"]);
    const [first] = await up.ready();
    const load = ["--seconds", "1", "--keys", "200", "--rate", "200", "--json"];
    for (const where of [
      ["--data", data],
      ["--address", first?.client ?? ""],
    ]) {
      const { code, lines, stderr } = await finished(t, ["bench", ...where, ...load]);
      assert.equal(code, 0, stderr);
      assert.equal(lines[0]?.["digests_equal"], true);
    }
  });
});
