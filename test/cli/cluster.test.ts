import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { bulk, get, set } from "./raw-resp.js";
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
