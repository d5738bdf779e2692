/**
 * Unmodified clients over TCP: what they say when they connect, and what their users do every day.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { Redis } from "ioredis";
import { createClient, WatchError } from "redis";
import { createRespGateway, type RespGateway } from "#src/gateway/index.js";
import { type EventLog, SystemScheduler, TcpBytePort } from "#src/platform/index.js";
import { InlineCluster } from "./inline-cluster.js";

const scheduler = new SystemScheduler();
const quiet: EventLog = { info: () => undefined, warn: () => undefined, error: () => undefined };
let gateway: RespGateway;
let port = 0;

before(async () => {
  const bytePort = new TcpBytePort({ scheduler, events: quiet, listen: { host: "127.0.0.1", port: 0 } });
  await new Promise<void>((resolve, reject) => {
    bytePort.listen((error) => (error === null ? resolve() : reject(error)));
  });
  port = Number(bytePort.address?.split(":").at(-1));
  gateway = createRespGateway({
    port: bytePort,
    client: (handlers) => new InlineCluster(scheduler, handlers),
    scheduler,
    info: () => ({ keyspace: {} }),
    events: quiet,
  });
  gateway.start();
});
after(() => new Promise<void>((resolve) => gateway.close(resolve)));

for (const RESP of [2, 3] as const) {
  test(`node-redis over RESP${RESP}`, async () => {
    const errors: unknown[] = [];
    const client = createClient({ url: `redis://127.0.0.1:${port}`, RESP, name: "ana" });
    client.on("error", (error) => errors.push(error));
    await client.connect();
    assert.equal(await client.set("node", "1"), "OK");
    assert.equal(await client.get("node"), "1");
    assert.equal(await client.get("nothing"), null);
    assert.equal(await client.set("node", "2", { condition: "NX" }), null);
    assert.equal(await client.set("node", "2", { condition: "XX", GET: true }), "1");
    assert.deepEqual(
      await Promise.all([client.incr("node"), client.incrBy("node", 10), client.decr("node"), client.get("node")]),
      [3, 13, 12, "12"],
    );
    await client.mSet({ x: "1", y: "2" });
    assert.deepEqual(await client.mGet(["x", "none", "y"]), ["1", null, "2"]);
    assert.equal(await client.exists(["x", "y", "none"]), 2);
    assert.equal(await client.del(["x", "y"]), 2);
    assert.equal(await client.set("brief", "1", { expiration: { type: "EX", value: 100 } }), "OK");
    const left = await client.ttl("brief");
    assert.ok(left > 90 && left <= 100, `${left} s are left`);
    assert.equal(await client.persist("brief"), 1);
    assert.equal(await client.pTTL("brief"), -1);
    assert.deepEqual(await client.multi().set("brief", "5").incrBy("brief", 2).get("brief").type("brief").exec(), [
      "OK",
      7,
      "7",
      "string",
    ]);
    const found: string[] = [];
    for await (const page of client.scanIterator({ MATCH: "bri*", COUNT: 2 })) found.push(...page);
    assert.deepEqual(found, ["brief"]);
    await client.watch("brief");
    assert.deepEqual(await client.multi().get("brief").exec(), ["7"]);
    await client.watch("brief");
    await client.set("brief", "8");
    await assert.rejects(client.multi().get("brief").exec(), WatchError);
    assert.equal(await client.incrByFloat("brief", 0.5), "8.5");
    assert.equal(await client.getDel("brief"), "8.5");
    assert.deepEqual({ ...(await client.configGet("appendonly")) }, { appendonly: "yes" });
    assert.equal(await client.clientGetName(), "ana");
    assert.match(await client.info(), /redis_version:7/);
    await assert.rejects(client.sendCommand(["NOSUCH", "a"]), /unknown command 'NOSUCH'/);
    await client.close();
    assert.deepEqual(errors, []);
  });
}

test("ioredis, with and without pipelines", async () => {
  const errors: unknown[] = [];
  const client = new Redis(port, "127.0.0.1", { connectionName: "bea" });
  client.on("error", (error) => errors.push(error));
  assert.equal(await client.set("io", "1"), "OK");
  assert.equal(await client.get("io"), "1");
  assert.equal(await client.set("io", "2", "NX"), null);
  assert.deepEqual(await client.pipeline().incr("io").get("io").ping().strlen("io").exec(), [
    [null, 2],
    [null, "2"],
    [null, "PONG"],
    [null, 1],
  ]);
  assert.deepEqual(await client.getBuffer("io"), Buffer.from("2"));
  assert.deepEqual(await client.mget("io", "none"), ["2", null]);
  assert.equal(await client.set("io:brief", "x", "PX", 50_000), "OK");
  const left = await client.pttl("io:brief");
  assert.ok(left > 40_000 && left <= 50_000, `${left} ms are left`);
  assert.deepEqual(await client.multi().incr("io").expire("io", 100).get("io").echo("e").exec(), [
    [null, 3],
    [null, 1],
    [null, "3"],
    [null, "e"],
  ]);
  await assert.rejects(client.multi().set("io", "1").call("NOSUCH").exec(), /EXECABORT/);
  assert.equal(await client.watch("io"), "OK");
  await client.incr("io");
  assert.equal(await client.multi().get("io").exec(), null);
  const keys: string[] = [];
  for await (const page of client.scanStream({ match: "io*", count: 1 }) as AsyncIterable<string[]>) keys.push(...page);
  assert.deepEqual([...new Set(keys)].sort(), ["io", "io:brief"]);
  assert.deepEqual((await client.keys("io*")).sort(), ["io", "io:brief"]);
  assert.deepEqual(await client.call("RANGE", "io", "io~"), ["io", "4", "io:brief", "x"]);
  await assert.rejects(client.call("NOSUCH"), /unknown command 'NOSUCH'/);
  assert.equal(await client.client("GETNAME"), "bea");
  const ended = once(client, "end");
  assert.equal(await client.quit(), "OK");
  await ended;
  assert.deepEqual(errors, []);
});

test("many commands at once on one connection are answered in order", async () => {
  const client = new Redis(port, "127.0.0.1");
  const wanted = Array.from({ length: 5000 }, (_, index) => index + 1);
  const got = await Promise.all(
    wanted.map((number) => (number % 7 === 0 ? client.incrby("many", 1) : client.incr("many"))),
  );
  assert.deepEqual(got, wanted);
  assert.equal(await client.get("many"), "5000");
  await client.quit();
});

test("a client that ends its side without reading has its commands executed", async () => {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  socket.end("SET left behind\r\n");
  await once(socket.resume(), "close");
  const client = new Redis(port, "127.0.0.1");
  assert.equal(await client.get("left"), "behind");
  await client.quit();
});

const missing = spawnSync("redis-cli", ["--version"]).status === 0 ? false : "redis-cli is not installed";

describe("Redis's own tools", { skip: missing }, () => {
  /** Output of a tool that ends by itself. The gateway runs in this process, so it can't be waited for synchronously. */
  async function output(tool: string, args: readonly string[], input = ""): Promise<string> {
    const child = spawn(tool, ["-p", String(port), ...args], { stdio: ["pipe", "pipe", "pipe"] });
    let text = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => (text += chunk.toString("utf8")));
    child.stdin.end(input);
    const [code] = (await once(child, "close")) as [number | null];
    assert.equal(code, 0, text);
    return text;
  }

  test("redis-cli", async () => {
    assert.equal(await output("redis-cli", ["SET", "cli", "a b"]), "OK\n");
    assert.equal(await output("redis-cli", ["-3", "GET", "cli"]), "a b\n");
    assert.equal(await output("redis-cli", [], "INCR n\nGET n\nGET none\n"), "1\n1\n\n");
    assert.match(await output("redis-cli", ["--pipe"], "SET p 1\r\nINCR p\r\n"), /errors: 0, replies: 2/);
  });

  test("redis-benchmark", async () => {
    const lines = await output("redis-benchmark", [
      "-q",
      "-n",
      "2000",
      "-c",
      "20",
      "-P",
      "16",
      "-r",
      "100",
      "-t",
      "ping,set,get,incr,mset",
    ]);
    for (const name of ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET"])
      assert.match(lines, new RegExp(`${name}.*requests per second`));
    assert.doesNotMatch(lines, /error|warning/i);
  });
});
