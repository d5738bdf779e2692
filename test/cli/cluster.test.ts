import assert from "node:assert/strict";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, test } from "node:test";
import { ask, bulk, request } from "./raw-resp.js";
import {
  finished,
  gone,
  isAlive,
  type JsonLine,
  type ReplicaEntry,
  synod,
  temporaryDirectory,
} from "./synod-process.js";

interface Standing {
  readonly id: number;
  readonly role: string;
  readonly pid: number | null;
  readonly groups: readonly { readonly group: string; readonly decided: number; readonly executed: number }[];
  readonly digest: { readonly positions: readonly number[]; readonly hex: string } | null;
}

const standings = (line: JsonLine | undefined): readonly Standing[] => line?.["replicas"] as readonly Standing[];

const locksIn = (directory: string, id: number): string[] =>
  readdirSync(join(directory, `replica-${id}`)).filter((name) => name.startsWith("lock"));

async function set(replica: ReplicaEntry, key: string, value: string): Promise<void> {
  assert.equal(await ask(replica.resp, request("SET", key, value), "+OK\r\n"), "+OK\r\n");
}

async function get(replica: ReplicaEntry, key: string): Promise<string> {
  return ask(replica.resp, request("GET", key), bulk("value"));
}

describe("synod up", () => {
  test("serves every port, loses a replica, gets it back, stops and continues", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const up = synod(t, ["up", "--data", data, "--port", "0", "--json"]);
    const replicas = await up.ready();
    assert.deepEqual(
      replicas.map((replica) => replica.id),
      [1, 2, 3],
    );
    const [first, second, third] = replicas as [ReplicaEntry, ReplicaEntry, ReplicaEntry];
    await set(first, "ana", "value");
    for (const replica of replicas) assert.equal(await get(replica, "ana"), bulk("value"));

    const before = await finished(t, ["status", "--data", data, "--json"]);
    assert.equal(before.code, 0, before.stderr);
    const roles = standings(before.lines[0]).map((replica) => replica.role);
    assert.deepEqual(roles.toSorted(), ["follower", "follower", "leader"]);
    const digests = standings(before.lines[0]).map((replica) => replica.digest);
    assert.match(digests[0]?.hex ?? "", /^[0-9a-f]{32}$/);
    for (const digest of digests) assert.deepEqual(digest, digests[0]);
    for (const [index, standing] of standings(before.lines[0]).entries()) {
      assert.equal(standing.pid, replicas[index]?.pid);
      assert.equal(standing.groups[0]?.group, "g_1");
    }

    const alive = await finished(t, ["replica", "3", "--data", data]);
    assert.match(alive.stderr, new RegExp(`locked by pid ${third.pid}\\b`));
    assert.equal(alive.code, 1);

    process.kill(third.pid, "SIGKILL");
    await up.line((line) => line["event"] === "died" && line["id"] === 3);
    await set(second, "ben", "value");
    const without = await finished(t, ["status", "--data", data, "--json"]);
    assert.equal(without.code, 0, without.stderr);
    const down = standings(without.lines[0])[2];
    assert.deepEqual([down?.role, down?.pid, down?.digest], ["down", null, null]);

    const back = synod(t, ["replica", "3", "--data", data, "--json"]);
    const [entry] = await back.ready();
    assert.equal(entry?.pid, back.child.pid);
    assert.equal(entry?.resp, third.resp);
    assert.equal((await back.line((line) => line["event"] === "ready"))["resp"], third.resp);
    assert.equal(await get(third, "ben"), bulk("value"));
    const after = await finished(t, ["status", "--address", first.client, "--json"]);
    assert.equal(after.code, 0, after.stderr);
    const again = standings(after.lines[0]).map((replica) => replica.digest?.hex);
    assert.equal(new Set(again).size, 1);
    assert.notEqual(again[0], undefined);

    back.kill("SIGTERM");
    assert.equal(await back.exit(), 0);
    up.kill("SIGINT");
    assert.equal(await up.exit(), 0);
    for (const replica of replicas) {
      assert.ok(!isAlive(replica.pid), `replica ${replica.id} is still there`);
      assert.deepEqual(locksIn(data, replica.id), []);
    }

    const next = synod(t, ["up", "--data", data, "--json"]);
    const continued = await next.ready();
    assert.deepEqual(
      continued.map(({ id, resp, client }) => ({ id, resp, client })),
      replicas.map(({ id, resp, client }) => ({ id, resp, client })),
    );
    for (const replica of continued) assert.equal(await get(replica, "ben"), bulk("value"));
    next.kill("SIGTERM");
    assert.equal(await next.exit(), 0);
  });

  test("its replicas end when it is killed", async (t) => {
    const up = synod(t, ["up", "--data", join(temporaryDirectory(t), "data"), "--port", "0", "--json"]);
    const replicas = await up.ready();
    up.kill("SIGKILL");
    await up.exit();
    for (const replica of replicas) await gone(replica.pid);
  });

  test("outlives all of its replicas", async (t) => {
    const up = synod(t, ["up", "--data", join(temporaryDirectory(t), "data"), "--port", "0", "--json"]);
    for (const replica of await up.ready()) {
      process.kill(replica.pid, "SIGKILL");
      await up.line((line) => line["event"] === "died" && line["id"] === replica.id);
    }
    assert.ok(!up.ended);
    up.kill("SIGTERM");
    assert.equal(await up.exit(), 0);
  });

  test("a second signal, later than the first by more than 500 ms, ends it at once with exit code 3", async (t) => {
    const up = synod(t, ["up", "--data", join(temporaryDirectory(t), "data"), "--port", "0", "--json"]);
    const replicas = await up.ready();
    // A stopped process can't stop gracefully, and this one its supervisor does not know to be stopped.
    for (const replica of replicas) process.kill(replica.pid, "SIGSTOP");
    up.kill("SIGINT");
    await new Promise((resolve) => setTimeout(resolve, 600));
    up.kill("SIGINT");
    assert.equal(await up.exit(), 3);
    for (const replica of replicas) await gone(replica.pid);
  });

  test("one replica is a cluster too", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const up = synod(t, ["up", "--data", data, "--port", "0", "--replicas", "1", "--json"]);
    const [only] = await up.ready();
    assert.ok(only !== undefined);
    await set(only, "ana", "value");
    assert.equal(await get(only, "ana"), bulk("value"));
    up.kill("SIGTERM");
    assert.equal(await up.exit(), 0);
  });

  test("a service without RESP is ready through its client addresses", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const up = synod(t, ["up", "--data", data, "--port", "0", "--service", "counter", "--json"]);
    const replicas = await up.ready();
    for (const replica of replicas) assert.equal(replica.resp, null);
    const { code } = await finished(t, ["status", "--data", data, "--json"]);
    assert.equal(code, 0);
  });

  test("ordered reads and sequential execution are a cluster too", async (t) => {
    const flags = ["--reads", "ordered", "--execution", "sequential", "--durability", "os", "--json"];
    const up = synod(t, ["up", "--data", join(temporaryDirectory(t), "data"), "--port", "0", ...flags]);
    const [first, second] = await up.ready();
    assert.ok(first !== undefined && second !== undefined);
    await set(first, "ana", "value");
    assert.equal(await get(second, "ana"), bulk("value"));
  });
});

describe("a directory is continued only as what it is", () => {
  test("other values than recorded, memory durability, and running replicas are refused", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const flags = ["--data", data, "--port", "0", "--replicas", "1", "--json"];
    const up = synod(t, ["up", ...flags, "--durability", "os"]);
    await up.ready();
    const file = join(data, "cluster.json");
    const recorded = readFileSync(file, "utf8");
    const running = await finished(t, ["up", "--data", data, "--execution", "sequential", "--reads", "ordered"]);
    assert.match(running.stderr, /locked by pid/);
    assert.equal(running.code, 1);
    assert.equal(readFileSync(file, "utf8"), recorded);
    up.kill("SIGTERM");
    assert.equal(await up.exit(), 0);
    const cases: readonly (readonly [flags: readonly string[], reason: RegExp])[] = [
      [["--service", "counter"], /service kv, not counter/],
      [["--replicas", "3"], /replicas 1, not 3/],
      [["--durability", "fsync"], /durability os, not fsync/],
    ];
    for (const [other, reason] of cases) {
      for (const command of [["up"], ["config", "check"]]) {
        const refused = await finished(t, [...command, "--data", data, ...other]);
        assert.match(refused.stderr, reason);
        assert.equal(refused.code, 4);
      }
    }
    const { lines } = await finished(t, ["config", "print", "--data", data, "--json"]);
    const [printed] = lines as [{ readonly config: JsonLine; readonly sources: JsonLine }];
    assert.equal(printed.config["replicas"], 1);
    assert.equal(printed.sources["replicas"], "cluster.json");
    writeFileSync(file, readFileSync(file, "utf8").replace('"durability": "os"', '"durability": "memory"'));
    const forgotten = await finished(t, ["up", "--data", data]);
    assert.match(forgotten.stderr, /memory durability/);
    assert.equal(forgotten.code, 4);
  });

  test("a replica of memory durability comes back while the cluster runs", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const up = synod(t, ["up", "--data", data, "--port", "0", "--durability", "memory", "--json"]);
    const [first, , third] = await up.ready();
    assert.ok(first !== undefined && third !== undefined);
    await set(first, "ana", "value");
    process.kill(third.pid, "SIGKILL");
    await up.line((line) => line["event"] === "died" && line["id"] === 3);
    const back = synod(t, ["replica", "3", "--data", data, "--json"]);
    await back.ready();
    assert.equal(await get(third, "ana"), bulk("value"));
  });

  test("a replica whose directory was emptied rejoins", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const up = synod(t, ["up", "--data", data, "--port", "0", "--json"]);
    const [first, , third] = await up.ready();
    assert.ok(first !== undefined && third !== undefined);
    await set(first, "ana", "value");
    process.kill(third.pid, "SIGKILL");
    await up.line((line) => line["event"] === "died" && line["id"] === 3);
    rmSync(join(data, "replica-3"), { recursive: true });
    const back = synod(t, ["replica", "3", "--data", data, "--json"]);
    await back.ready();
    assert.equal(await get(third, "ana"), bulk("value"));
  });

  test("what an interrupted creation left behind is cleared away", async (t) => {
    const data = temporaryDirectory(t);
    // No process has the pid 0, so the creation that this marker speaks of is over.
    writeFileSync(join(data, "creating"), "0");
    const up = synod(t, ["up", "--data", data, "--port", "0", "--replicas", "1", "--json"]);
    await up.ready();
    assert.deepEqual(readdirSync(data).toSorted(), ["cluster.json", "replica-1"]);
  });
});

describe("ports", () => {
  test("a replica refuses to listen beyond this machine unless told that nothing there is secure", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const up = synod(t, ["up", "--data", data, "--port", "0", "--replicas", "1", "--json"]);
    await up.ready();
    up.kill("SIGTERM");
    await up.exit();
    const file = join(data, "cluster.json");
    writeFileSync(file, readFileSync(file, "utf8").replace(/"client": "127\.0\.0\.1/, '"client": "0.0.0.0'));
    const { code, stderr } = await finished(t, ["replica", "1", "--data", data, "--log-level", "silent"]);
    assert.match(stderr, /0\.0\.0\.0:\d+ is not a loopback address.*--insecure-network/);
    assert.equal(code, 4);
  });

  test("one that is taken is named, and exits 1 without leaving a cluster behind", async (t) => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => server.close());
    const { port } = server.address() as { port: number };
    const data = join(temporaryDirectory(t), "data");
    const { code, stderr } = await finished(t, ["up", "--data", data, "--port", String(port)]);
    assert.match(stderr, new RegExp(`port ${port} on 127\\.0\\.0\\.1 is in use`));
    assert.equal(code, 1);
    assert.throws(() => readdirSync(data), /ENOENT/);
  });

  test("one that is taken does not become that of an existing cluster", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const up = synod(t, ["up", "--data", data, "--port", "0", "--replicas", "1", "--json"]);
    await up.ready();
    up.kill("SIGTERM");
    await up.exit();
    const file = join(data, "cluster.json");
    const recorded = readFileSync(file, "utf8");
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => server.close());
    const { port } = server.address() as { port: number };
    const { code, stderr } = await finished(t, ["up", "--data", data, "--port", String(port)]);
    assert.match(stderr, new RegExp(`port ${port} on 127\\.0\\.0\\.1 is in use`));
    assert.equal(code, 1);
    assert.equal(readFileSync(file, "utf8"), recorded);
  });
});

describe("status", () => {
  test("without a quorum exits 1 and still says who is up", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const up = synod(t, ["up", "--data", data, "--port", "0", "--json"]);
    const replicas = await up.ready();
    for (const replica of replicas.slice(1)) {
      process.kill(replica.pid, "SIGKILL");
      await up.line((line) => line["event"] === "died" && line["id"] === replica.id);
    }
    const { code, lines, stderr } = await finished(t, ["status", "--data", data, "--json"]);
    assert.match(stderr, /no quorum/);
    assert.equal(code, 1);
    const [first, ...others] = standings(lines[0]);
    assert.equal(first?.pid, replicas[0]?.pid);
    for (const other of others) assert.equal(other.role, "down");
  });
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
