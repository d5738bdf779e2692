/** synod backup and restore: the state comes back whole, from running and from stopped clusters, idle and under load. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openFileStorage, SystemScheduler } from "#src/platform/index.js";
import { BackupReader, BackupWriter, loadCluster } from "#src/runtime/index.js";
import { ask, bulk, request } from "./raw-resp.js";
import { finished, type ReplicaEntry, synod, temporaryDirectory } from "./synod-process.js";

interface State {
  /** SHA-256 of the chunks one after the other: of the replicated state, however it was cut into chunks. */
  readonly hash: string;
  readonly through: number;
  readonly digest: string;
}

async function stateOfBackup(file: string): Promise<State> {
  const hash = createHash("sha256");
  const reader = await BackupReader.open(file);
  for (let chunk = await reader.next(); chunk !== null; chunk = await reader.next()) hash.update(chunk);
  await reader.close();
  const { through, digest } = reader.facts;
  return { hash: hash.digest("hex"), through, digest };
}

/** The state that a stopped replica begins with when it has no log. */
async function stateOfReplica(data: string, id: number): Promise<State> {
  const { clusterId, durability } = await loadCluster(data);
  const directory = join(data, `replica-${id}`);
  const { checkpoints } = openFileStorage({ directory, clusterId, durability, scheduler: new SystemScheduler() });
  return new Promise((resolve, reject) => {
    checkpoints.open((error, latest) => {
      if (latest === null) return reject(error ?? new Error(`${directory} has no checkpoint`));
      const hash = createHash("sha256");
      const reader = checkpoints.read(latest.through);
      const next = (): void =>
        reader.next((failure, chunk) => {
          if (failure !== null) return reject(failure);
          if (chunk === null) return resolve({ ...latest, hash: hash.digest("hex") });
          hash.update(chunk);
          next();
        });
      next();
    });
  }).then((state) => {
    const { hash, through, digest } = state as State;
    return { hash, through, digest };
  });
}

async function setMany(replica: ReplicaEntry, from: number, count: number): Promise<void> {
  const requests = Array.from({ length: count }, (_, i) => request("SET", `key:${from + i}`, `value of ${from + i}`));
  const expected = "+OK\r\n".repeat(count);
  assert.equal(await ask(replica.resp, requests.join(""), expected), expected);
}

describe("synod backup and restore", () => {
  test("bring a state back whole, from a running and from a stopped cluster", async (t) => {
    const folder = temporaryDirectory(t);
    const [data, copy] = [join(folder, "data"), join(folder, "copy")];
    const up = synod(t, ["up", "--data", data, "--port", "0", "--json"]);
    const replicas = await up.ready();
    const [first, , third] = replicas as [ReplicaEntry, ReplicaEntry, ReplicaEntry];
    await setMany(first, 0, 2000);

    const running = join(folder, "running.backup");
    const made = await finished(t, ["backup", running, "--address", third.client, "--json"]);
    assert.equal(made.code, 0, made.stderr);
    assert.deepEqual([made.lines[0]?.["event"], made.lines[0]?.["replica"]], ["backup", 3]);
    const again = await finished(t, ["backup", running, "--data", data]);
    assert.equal(again.code, 4, again.stderr);
    up.kill("SIGTERM");
    assert.equal(await up.exit(), 0, up.stderr);

    const stopped = join(folder, "stopped.backup");
    const late = await finished(t, ["backup", stopped, "--data", data, "--json"]);
    assert.equal(late.code, 0, late.stderr);
    const locks = readdirSync(join(data, "replica-1")).filter((name) => name.startsWith("lock"));
    assert.deepEqual(locks, [], "what was started for the backup is stopped");

    const restored = await finished(t, ["restore", stopped, "--data", copy, "--port", "0", "--json"]);
    assert.equal(restored.code, 0, restored.stderr);
    const state = await stateOfBackup(stopped);
    for (const { id } of replicas) assert.deepEqual(await stateOfReplica(copy, id), state);
    assert.deepEqual([restored.lines[0]?.["through"], restored.lines[0]?.["digest"]], [state.through, state.digest]);
    assert.notEqual((await loadCluster(copy)).clusterId, (await loadCluster(data)).clusterId);

    const second = synod(t, ["up", "--data", copy, "--json"]);
    const [one, , three] = (await second.ready()) as [ReplicaEntry, ReplicaEntry, ReplicaEntry];
    for (const key of [0, 999, 1999]) {
      const value = bulk(`value of ${key}`);
      assert.equal(await ask(three.resp, request("GET", `key:${key}`), value), value);
    }
    assert.equal(await ask(one.resp, request("DBSIZE"), ":2000\r\n"), ":2000\r\n");
    await setMany(one, 2000, 10);
    const status = await finished(t, ["status", "--data", copy, "--json"]);
    assert.equal(status.code, 0, status.stderr);
    const standings = status.lines[0]?.["replicas"] as readonly { readonly digest: { readonly hex: string } | null }[];
    assert.match(standings[0]?.digest?.hex ?? "", /^[0-9a-f]{32}$/);
    for (const { digest } of standings) assert.deepEqual(digest, standings[0]?.digest);
  });

  test("take a consistent moment of a cluster under load, with all that was acknowledged before", async (t) => {
    const folder = temporaryDirectory(t);
    const [data, copy, file] = [join(folder, "data"), join(folder, "copy"), join(folder, "b")];
    const up = synod(t, ["up", "--data", data, "--port", "0", "--json"]);
    const [first] = (await up.ready()) as [ReplicaEntry];
    let acknowledged = 0;
    let done = false;
    const load = (async () => {
      while (!done) {
        const from = acknowledged;
        const batch = Array.from({ length: 100 }, (_, i) => [
          request("SET", `m:${from + i + 1}`, "1"),
          request("SET", "n", String(from + i + 1)),
        ]).flat();
        const expected = "+OK\r\n".repeat(batch.length);
        assert.equal(await ask(first.resp, batch.join(""), expected), expected);
        acknowledged = from + 100;
      }
    })();
    while (acknowledged < 500) await new Promise((resolve) => setImmediate(resolve));
    const before = acknowledged;
    const made = await finished(t, ["backup", file, "--data", data, "--json"]);
    assert.equal(made.code, 0, made.stderr);
    done = true;
    await load;
    const after = acknowledged;
    up.kill("SIGTERM");
    await up.exit();

    const restored = await finished(t, ["restore", file, "--data", copy, "--replicas", "1", "--port", "0"]);
    assert.equal(restored.code, 0, restored.stderr);
    const second = synod(t, ["up", "--data", copy, "--json"]);
    const [only] = (await second.ready()) as [ReplicaEntry];
    const reply = await ask(only.resp, request("GET", "n"), bulk("1"));
    const n = Number(reply.split("\r\n")[1]);
    assert.ok(n >= before && n <= after, `${n} is not in ${before} to ${after}`);
    // Commands of one connection take effect in order: all before n are there, and at most the one begun after it.
    const keys = Array.from({ length: n }, (_, i) => `m:${i + 1}`);
    const all = `:${n}\r\n`;
    assert.equal(await ask(only.resp, request("EXISTS", ...keys), all), all);
    assert.equal(await ask(only.resp, request("EXISTS", `m:${n + 2}`), ":0\r\n"), ":0\r\n");
  });

  test("refuse what is damaged, foreign or in the way, and leave nothing behind", async (t) => {
    const folder = temporaryDirectory(t);
    const [data, file, target] = [join(folder, "data"), join(folder, "b"), join(folder, "new")];
    const up = synod(t, ["up", "--data", data, "--port", "0", "--replicas", "1", "--json"]);
    const [only] = (await up.ready()) as [ReplicaEntry];
    await setMany(only, 0, 100);
    assert.equal((await finished(t, ["backup", file, "--data", data])).code, 0);
    up.kill("SIGTERM");
    await up.exit();

    const whole = readFileSync(file);
    const cut = join(folder, "cut");
    writeFileSync(cut, whole.subarray(0, whole.length - 1));
    const flipped = join(folder, "flipped");
    const bytes = Buffer.from(whole);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1;
    writeFileSync(flipped, bytes);
    const newer = join(folder, "newer");
    const version = Buffer.from(whole);
    version.writeUInt32LE(99, 8);
    writeFileSync(newer, version);
    const cases: readonly (readonly [string[], number, RegExp])[] = [
      [[cut, "--data", target], 1, /ends early|damaged/],
      [[flipped, "--data", target], 1, /damaged/],
      [[newer, "--data", target], 1, /format 99/],
      [[join(data, "cluster.json"), "--data", target], 4, /no backup/],
      [[join(folder, "absent"), "--data", target], 4, /no file/],
      [[file, "--data", data], 4, /not empty/],
      [[file, "--data", target, "--service", "counter"], 4, /kv, not counter/],
      [[file, "--data", target, "--durability", "memory"], 4, /memory/],
    ];
    for (const [args, code, message] of cases) {
      const run = await finished(t, ["restore", ...args, "--port", "0"]);
      assert.equal(run.code, code, `${args.join(" ")}: ${run.stderr}`);
      assert.match(run.stderr, message);
    }
    assert.ok(!existsSync(target));
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.endsWith("restoring") || name.endsWith("unfinished")),
      [],
    );
  });

  test("of a service of the user's go with its name, wherever its module lies", async (t) => {
    const folder = temporaryDirectory(t);
    const [file, copy] = [join(folder, "b"), join(folder, "copy")];
    const module = fileURLToPath(new URL("../../../examples/bank/bank.js", import.meta.url));
    const backup = await BackupWriter.create(file, {
      createdAt: "2026-11-21T00:00:00.000Z",
      program: "0.1.0",
      clusterId: "0123456789abcdef",
      service: "/of/another/machine/accounts.js#bank",
      ordering: "multi-paxos",
      execution: "pipelined",
      reads: "quorum",
      durability: "fsync",
      groups: 1,
      replicas: 1,
      replica: 1,
      through: 1,
      digest: "00",
    });
    await backup.write(new Uint8Array(16));
    await backup.commit();
    const restore = ["restore", file, "--data", copy, "--port", "0", "--service"];
    const refused = await finished(t, [...restore, `${module}#shop`]);
    assert.equal(refused.code, 4, refused.stderr);
    assert.match(refused.stderr, /is a backup of service bank, not shop/);
    assert.ok(!existsSync(copy));
    const restored = await finished(t, [...restore, module]);
    assert.equal(restored.code, 0, restored.stderr);
    assert.match((await loadCluster(copy)).service, /\/examples\/bank\/bank\.js#bank$/);
  });

  test("are refused without a quorum", async (t) => {
    const folder = temporaryDirectory(t);
    const [data, file] = [join(folder, "data"), join(folder, "b")];
    const up = synod(t, ["up", "--data", data, "--port", "0", "--json"]);
    const replicas = await up.ready();
    for (const { id, pid } of replicas.slice(0, 2)) {
      process.kill(pid, "SIGKILL");
      await up.line((line) => line["event"] === "died" && line["id"] === id);
    }
    const made = await finished(t, ["backup", file, "--data", data]);
    assert.equal(made.code, 1, made.stderr);
    assert.match(made.stderr, /no quorum/);
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.startsWith("b")),
      [],
    );
  });
});
