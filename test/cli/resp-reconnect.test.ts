/** Programs with ordinary Redis clients while a replica dies and comes back; and keys that expire while nobody asks. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { finished, gone, synod, temporaryDirectory } from "./synod-process.js";

test("ioredis and node-redis reconnect to a replica that was killed and is back, and go on", async (t) => {
  const data = temporaryDirectory(t);
  const up = synod(t, ["up", "--data", data, "--port", "0", "--json"]);
  const replicas = await up.ready();
  const victim = replicas[0]!;
  const [host = "", port = ""] = victim.resp.split(":");
  const io = new Redis(Number(port), host, { maxRetriesPerRequest: null });
  const node = createClient({ url: `redis://${victim.resp}`, RESP: 3, commandOptions: { timeout: 120_000 } });
  // Both say by an error that the connection is lost, and try again by themselves.
  io.on("error", () => undefined);
  node.on("error", () => undefined);
  t.after(() => {
    io.disconnect();
    node.destroy();
  });
  await node.connect();
  await io.set("kept", "1", "EX", 1000);
  await node.multi().incr("kept").set("other", "2").exec();
  const closed = once(io, "close");
  process.kill(victim.pid, "SIGKILL");
  await closed;
  await gone(victim.pid);
  // Asked while the replica is away: answered when it is back.
  const [kept, other] = [io.get("kept"), node.get("other")];
  const back = synod(t, ["replica", String(victim.id), "--data", data, "--json"]);
  await back.ready();
  assert.deepEqual(await Promise.all([kept, other]), ["2", "2"]);
  assert.ok((await io.ttl("kept")) > 900);
  assert.deepEqual(await io.multi().incr("kept").get("kept").exec(), [
    [null, 3],
    [null, "3"],
  ]);
});

test("a key expires on every replica although nobody sends a command", async (t) => {
  const data = temporaryDirectory(t);
  const up = synod(t, ["up", "--data", data, "--port", "0", "--json"]);
  const [first] = await up.ready();
  const [host = "", port = ""] = first!.resp.split(":");
  const client = new Redis(Number(port), host);
  t.after(() => client.disconnect());
  await client.set("slow", "x", "EX", 1000);
  // Nobody writes, and yet what is left of a key's time becomes less.
  for (let asked = 0; (await client.pttl("slow")) > 999_900; asked++) {
    assert.ok(asked < 500, "time stands still for those who only read");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await client.del("slow");
  await client.set("brief", "x", "PX", 300);
  assert.equal(await client.get("brief"), "x");
  // No command changes the state from here on; DBSIZE counts what has not been removed.
  while ((await client.call("RANGECOUNT", "brief", "brief")) !== 0)
    await new Promise((resolve) => setTimeout(resolve, 20));
  while ((await client.dbsize()) !== 0) await new Promise((resolve) => setTimeout(resolve, 20));
  const status = await finished(t, ["status", "--data", data, "--json"]);
  const standings = status.lines[0]?.["replicas"] as readonly { readonly digest: { readonly hex: string } | null }[];
  assert.equal(new Set(standings.map(({ digest }) => digest?.hex)).size, 1, JSON.stringify(standings));
});
