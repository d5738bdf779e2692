/** Clusters with several groups as processes: each member of a replica a thread with its own log, ports and leader. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { ask, bulk, request, set } from "./raw-resp.js";
import {
  finished,
  gone,
  type JsonLine,
  type ReplicaEntry,
  synod,
  type SynodProcess,
  temporaryDirectory,
} from "./synod-process.js";

interface Standing {
  readonly id: number;
  readonly role: string;
  readonly groups: readonly { group: string; role: string; decided: number; executed: number }[];
  readonly digest: { readonly positions: readonly number[]; readonly hex: string } | null;
}

const groups = ["--groups", "2", "--execution", "psmr"] as const;
/** Keys enough for each of two groups to have some. */
const names = Array.from({ length: 16 }, (_, index) => `key-${index}`);

async function standings(test: Parameters<typeof finished>[0], data: string): Promise<readonly Standing[]> {
  const { code, lines, stderr } = await finished(test, ["status", "--data", data, "--json"]);
  assert.equal(code, 0, stderr);
  return (lines[0] as JsonLine)["replicas"] as readonly Standing[];
}

async function setAll(replica: ReplicaEntry, value: string): Promise<void> {
  for (const name of names) await set(replica, name, value);
}

async function assertAll(replica: ReplicaEntry, value: string): Promise<void> {
  for (const name of names) {
    const reply = await ask(replica.resp, request("GET", name), bulk(value));
    assert.equal(reply, bulk(value), `r${replica.id} ${name}`);
  }
}

async function died(up: SynodProcess, { id, pid }: ReplicaEntry): Promise<void> {
  process.kill(pid, "SIGKILL");
  await up.line((line) => line["event"] === "died" && line["id"] === id);
}

describe("a cluster with two groups", () => {
  test("serves every port, loses a replica, gets it back, stops and continues", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const up = synod(t, ["up", "--data", data, "--port", "0", "--json", ...groups]);
    const replicas = await up.ready();
    const [first, second, third] = replicas as [ReplicaEntry, ReplicaEntry, ReplicaEntry];
    for (const replica of replicas) {
      await setAll(replica, `by r${replica.id}`);
      for (const other of replicas) await assertAll(other, `by r${replica.id}`);
    }
    const before = await standings(t, data);
    for (const standing of before) {
      assert.deepEqual(
        standing.groups.map(({ group }) => group),
        ["g_all", "g_1", "g_2"],
      );
      assert.equal(standing.role, standing.groups[0]?.role);
      assert.deepEqual(standing.digest, before[0]?.digest);
      assert.equal(standing.digest?.positions.length, 3);
      assert.ok(standing.digest.positions.every((position) => Number.isSafeInteger(position) && position > 0));
      assert.match(standing.digest?.hex ?? "", /^[0-9a-f]{32}$/);
    }
    for (const group of [0, 1, 2]) {
      assert.equal(before.filter((standing) => standing.groups[group]?.role === "leader").length, 1);
      // Each group has ordered something.
      assert.ok(before.every((standing) => (standing.groups[group]?.decided ?? 0) > 0));
    }
    for (const member of [0, 1, 2]) {
      const folder = join(data, "replica-1", `group-${member}`);
      assert.deepEqual(readdirSync(folder).toSorted(), ["identity", "log"]);
    }
    const alive = await finished(t, ["replica", "3", "--data", data]);
    assert.match(alive.stderr, new RegExp(`locked by pid ${third.pid}\\b`));
    assert.equal(alive.code, 1);

    await died(up, third);
    await setAll(second, "without r3");
    const back = synod(t, ["replica", "3", "--data", data, "--json"]);
    const [entry] = await back.ready();
    assert.equal(entry?.resp, third.resp);
    await assertAll(third, "without r3");
    await setAll(third, "through r3");
    await assertAll(first, "through r3");
    const after = await standings(t, data);
    assert.equal(new Set(after.map(({ digest }) => digest?.hex)).size, 1);

    back.kill("SIGTERM");
    assert.equal(await back.exit(), 0, back.stderr);
    up.kill("SIGINT");
    assert.equal(await up.exit(), 0, up.stderr);
    for (const { pid } of replicas) await gone(pid);

    const next = synod(t, ["up", "--data", data, "--json"]);
    for (const replica of await next.ready()) await assertAll(replica, "through r3");
    next.kill("SIGTERM");
    assert.equal(await next.exit(), 0, next.stderr);
  });

  test("all replicas killed: what was acknowledged is there when they are back", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const up = synod(t, ["up", "--data", data, "--port", "0", "--json", ...groups]);
    const replicas = await up.ready();
    await setAll(replicas[0] as ReplicaEntry, "kept");
    for (const replica of replicas) process.kill(replica.pid, "SIGKILL");
    for (const { id } of replicas) await up.line((line) => line["event"] === "died" && line["id"] === id);
    up.kill("SIGTERM");
    assert.equal(await up.exit(), 0);
    const next = synod(t, ["up", "--data", data, "--json"]);
    for (const replica of await next.ready()) await assertAll(replica, "kept");
  });

  test("a replica whose directory was emptied rejoins in all its groups", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const up = synod(t, ["up", "--data", data, "--port", "0", "--json", ...groups]);
    const [first, , third] = (await up.ready()) as [ReplicaEntry, ReplicaEntry, ReplicaEntry];
    await setAll(first, "before");
    await died(up, third);
    const folder = join(data, "replica-3");
    for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true });
    await setAll(first, "meanwhile");
    const back = synod(t, ["replica", "3", "--data", data, "--json"]);
    await back.ready();
    await assertAll(third, "meanwhile");
    for (const member of [0, 1, 2]) assert.ok(existsSync(join(folder, `group-${member}`, "identity")));
    const after = await standings(t, data);
    assert.equal(new Set(after.map(({ digest }) => digest?.hex)).size, 1);
  });

  test("in memory, by skips, with a barrier for each command: one replica comes back", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const kind = ["--durability", "memory", "--merge", "skips", "--barrier", "command"];
    const up = synod(t, ["up", "--data", data, "--port", "0", "--json", ...groups, ...kind]);
    const [first, , third] = (await up.ready()) as [ReplicaEntry, ReplicaEntry, ReplicaEntry];
    await setAll(first, "before");
    await died(up, third);
    await setAll(first, "meanwhile");
    const back = synod(t, ["replica", "3", "--data", data, "--json"]);
    await back.ready();
    await assertAll(third, "meanwhile");
  });

  test("metrics name the group, and health counts all of them", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const up = synod(t, ["up", "--data", data, "--port", "0", "--json", "--replicas", "1", ...groups]);
    const [only] = (await up.ready()) as [ReplicaEntry & { readonly admin: string }];
    await setAll(only, "value");
    const page = await (await fetch(`http://${only.admin}/metrics`)).text();
    for (const group of ["g_all", "g_1", "g_2"]) {
      assert.match(page, new RegExp(`^synod_role\\{group="${group}",role="leader"\\} 1$`, "m"));
      assert.match(page, new RegExp(`^synod_decided_instance\\{group="${group}"\\} [1-9]`, "m"));
      assert.match(page, new RegExp(`^synod_wal_sync_seconds_count\\{group="${group}"\\} [1-9]`, "m"));
    }
    assert.match(page, /^synod_ready 1$/m);
    assert.equal((await fetch(`http://${only.admin}/readyz`)).status, 200);
    const told = await finished(t, ["status", "--address", only.client, "--json"]);
    assert.equal(told.code, 0, told.stderr);
  });
});
