/** What operators meet: health of real replicas, rolling restarts, lost disks, and commands that say what is wrong. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, test } from "node:test";
import { ask, bulk, request } from "./raw-resp.js";
import { finished, isAlive, type ReplicaEntry, synod, temporaryDirectory } from "./synod-process.js";

interface AdminEntry extends ReplicaEntry {
  readonly admin: string;
}

async function http(address: string, path: string): Promise<{ status: number; body: string }> {
  const response = await fetch(`http://${address}${path}`);
  return { status: response.status, body: await response.text() };
}

/** The value of a metric without labels, or with exactly these. */
async function metric(address: string, name: string): Promise<number> {
  const { body } = await http(address, "/metrics");
  const line = body.split("\n").find((each) => each.startsWith(`${name} `));
  assert.ok(line !== undefined, `${name} is not there`);
  return Number(line.slice(name.length + 1));
}

/** Asks again until it fits; the test's own time limit bounds the wait. */
async function until<T>(get: () => Promise<T>, fits: (value: T) => boolean): Promise<T> {
  for (;;) {
    const value = await get();
    if (fits(value)) return value;
    await delay(20);
  }
}

async function set(address: string, key: string, value: string): Promise<void> {
  assert.equal(await ask(address, request("SET", key, value), "+OK\r\n"), "+OK\r\n");
}

describe("health of replicas", () => {
  test("follows leader and quorum, and counts what they do", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const up = synod(t, ["up", "--data", data, "--port", "0", "--json"]);
    const replicas = (await up.ready()) as readonly AdminEntry[];
    for (const { admin } of replicas) {
      assert.equal((await http(admin, "/livez")).status, 200);
      const ready = await http(admin, "/readyz");
      assert.equal(ready.status, 200, ready.body);
    }
    const [first] = replicas as [AdminEntry];
    for (let i = 0; i < 20; i++) await set(first.resp, `k${i}`, "v");
    const roles = await Promise.all(replicas.map(({ admin }) => metric(admin, 'synod_role{role="leader"}')));
    assert.equal(roles.filter((role) => role === 1).length, 1);
    const leader = replicas[roles.indexOf(1)]!;
    assert.equal(await metric(leader.admin, "synod_leader"), leader.id);
    assert.ok((await metric(leader.admin, "synod_commit_latency_seconds_count")) >= 20);
    assert.ok((await metric(leader.admin, "synod_elections_won_total")) >= 1);
    assert.equal(await metric(leader.admin, "synod_entries"), 20);
    assert.ok((await metric(first.admin, "synod_resp_commands_total")) >= 20);
    for (const { admin } of replicas) assert.ok((await metric(admin, "synod_wal_sync_seconds_count")) >= 20);

    for (const { id, pid } of replicas.filter((each) => each !== leader)) {
      process.kill(pid, "SIGKILL");
      await up.line((line) => line["event"] === "died" && line["id"] === id);
    }
    // A leader that hears no quorum steps down, and then knows of no leader: alive, and not ready.
    const alone = await until(
      () => http(leader.admin, "/readyz"),
      ({ status }) => status === 503,
    );
    assert.match(alone.body, /leader/);
    assert.equal((await http(leader.admin, "/livez")).status, 200);
    up.kill("SIGTERM");
    assert.equal(await up.exit(), 0, up.stderr);
    await assert.rejects(http(leader.admin, "/livez"));
  });
});

describe("a rolling restart", () => {
  test("loses nothing, hands leadership over, and takes an emptied directory in its stride", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const up = synod(t, ["up", "--data", data, "--port", "0", "--json"]);
    const replicas = await up.ready();
    for (const [index, { id, pid, resp }] of replicas.entries()) {
      const other = replicas[(index + 1) % replicas.length]!;
      await set(other.resp, `before ${id}`, "v");
      process.kill(pid, "SIGTERM");
      const died = await up.line((line) => line["event"] === "died" && line["id"] === id);
      assert.equal(died["exit_code"], 0, "a graceful stop");
      await set(other.resp, `without ${id}`, "v");
      // The second replica comes back with a new disk.
      if (id === 2) rmSync(join(data, `replica-${id}`), { recursive: true });
      const back = synod(t, ["replica", String(id), "--data", data, "--json"]);
      await back.ready();
      await set(resp, `after ${id}`, "v");
      if (id === 2) assert.match(back.stderr, /rejoins as a non-voter/);
    }
    for (const { resp } of replicas) {
      for (const { id } of replicas) {
        for (const when of ["before", "without", "after"]) {
          assert.equal(await ask(resp, request("GET", `${when} ${id}`), bulk("v")), bulk("v"), `${when} ${id}`);
        }
      }
    }
    const status = await finished(t, ["status", "--data", data]);
    assert.match(status.stdout, /state digests equal on 3\/3/);
  });
});

describe("commands that can't do what is asked", () => {
  test("say for whom a cluster without a quorum waits", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const made = synod(t, ["up", "--data", data, "--port", "0", "--json"]);
    await made.ready();
    made.kill("SIGTERM");
    await made.exit();
    for (const id of [1, 2]) rmSync(join(data, `replica-${id}`), { recursive: true });
    const up = synod(t, ["up", "--data", data, "--json", "--log-level", "silent"]);
    await until(
      () => Promise.resolve(up.stderr),
      (text) => text.includes("waiting for"),
    );
    assert.match(up.stderr, /waiting for r1, r2, r3 for \d+ s; no leader/);
    up.kill("SIGTERM");
    assert.equal(await up.exit(), 0, up.stderr);
  });

  test("say what is with a process that does not answer", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const up = synod(t, ["up", "--data", data, "--port", "0", "--json"]);
    const [, second] = (await up.ready()) as [ReplicaEntry, ReplicaEntry];
    process.kill(second.pid, "SIGSTOP");
    t.after(() => {
      if (isAlive(second.pid)) process.kill(second.pid, "SIGCONT");
    });
    const words = await finished(t, ["status", "--data", data]);
    assert.match(words.stdout, /r2 {2}down/);
    assert.match(words.stdout, new RegExp(`process ${second.pid} is stopped by a signal`));
    const json = await finished(t, ["status", "--data", data, "--json"]);
    const standings = json.lines[0]?.["replicas"] as readonly { readonly role: string; readonly pid: number }[];
    assert.deepEqual([standings[1]?.role, standings[1]?.pid], ["down", second.pid]);
    process.kill(second.pid, "SIGCONT");
  });

  test("refuse flags without an effect, and directories that can't be", async (t) => {
    const folder = temporaryDirectory(t);
    const bench = await finished(t, ["bench", "--data", folder, "--replicas", "5", "--durability", "os"]);
    assert.equal(bench.code, 4);
    assert.match(bench.stderr, /--replicas, --durability/);
    if (existsSync("/proc/self")) {
      const proc = await finished(t, ["up", "--data", "/proc/synod-test", "--port", "0"]);
      assert.equal(proc.code, 4, proc.stderr);
      assert.match(proc.stderr, /can't be created/);
    }
    const data = join(folder, "data");
    mkdirSync(data);
    mkdirSync(join(data, "replica-1"));
    for (const command of [["up"], ["status"], ["replica", "1"]]) {
      const lost = await finished(t, [...command, "--data", data]);
      assert.equal(lost.code, 4, lost.stderr);
      assert.match(lost.stderr, /replica-1 but no cluster\.json/);
    }
  });

  test(
    "end cleanly at a signal that comes while they load",
    { skip: existsSync("/proc/self/status") ? false : "there is no /proc here" },
    async (t) => {
      const folder = temporaryDirectory(t);
      for (const [args, code] of [
        [["up", "--data", join(folder, "a"), "--port", "0"], 0],
        [["bench", "--seconds", "1"], 3],
      ] as const) {
        const started = synod(t, args);
        // From the moment on at which the program's own handlers are there: Node itself handles SIGTERM, but not SIGHUP.
        await until(
          () => Promise.resolve(started.ended || handles(started.child.pid ?? 0, 1)),
          (ready) => ready,
        );
        started.kill("SIGTERM");
        assert.equal(await started.exit(), code, `${args[0]}: ${started.stderr}`);
        assert.equal(started.stderr, "");
      }
      // Whatever was begun is no obstacle.
      const up = synod(t, ["up", "--data", join(folder, "a"), "--port", "0", "--json"]);
      await up.ready();
      up.kill("SIGTERM");
      assert.equal(await up.exit(), 0, up.stderr);
      renameSync(join(folder, "a"), join(folder, "b"));
    },
  );
});

/** True if the process has a handler for this signal. */
function handles(pid: number, signal: number): boolean {
  try {
    const mask = /SigCgt:\s*([0-9a-f]+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? "0";
    return ((BigInt(`0x${mask}`) >> BigInt(signal - 1)) & 1n) === 1n;
  } catch {
    return false;
  }
}
