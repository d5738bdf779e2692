import assert from "node:assert/strict";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, test } from "node:test";
import { bulk, get, set } from "./raw-resp.js";
import { finished, type JsonLine, synod, temporaryDirectory } from "./synod-process.js";

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
