/** What is done to a cluster's files by hand or by halves: edited configurations, `init` run twice, a restore interrupted. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, watch, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";
import { BackupWriter } from "#src/runtime/index.js";
import { SynodProcess } from "./synod-process.js";

interface Edited {
  service: string;
  replicas: { id: number; resp: string | null }[];
}

function directoryFor(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "synod-edited-"));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

async function run(...args: readonly string[]): Promise<{ readonly code: number | null; readonly stderr: string }> {
  const program = new SynodProcess(args);
  const code = await program.exit();
  return { code, stderr: program.stderr };
}

describe("cluster.json edited by hand", () => {
  for (const [what, edit, named] of [
    [
      "another service",
      (config: Edited) => {
        config.service = "btree";
        for (const replica of config.replicas) replica.resp = null;
      },
      /with service kv, .*cluster\.json says service btree,/,
    ],
    ["fewer replicas", (config: Edited) => void config.replicas.pop(), /replicas 1,2,3; .*replicas 1,2:/],
  ] as const) {
    test(`${what}: no replica starts, and both values are named`, async (context) => {
      const data = join(directoryFor(context), "data");
      const up = new SynodProcess(["up", "--data", data, "--port", "0", "--json"]);
      await up.ready();
      up.kill("SIGTERM");
      assert.equal(await up.exit(), 0, up.stderr);
      const file = join(data, "cluster.json");
      const config = JSON.parse(readFileSync(file, "utf8")) as Edited;
      edit(config);
      writeFileSync(file, JSON.stringify(config));
      const { code, stderr } = await run("up", "--data", data, "--json");
      assert.equal(code, 4, stderr);
      assert.match(stderr, named);
    });
  }
});

test("init --rejoin is not followed by an init that makes a voter", async (context) => {
  const directory = directoryFor(context);
  const file = join(directory, "cluster.json");
  const made = new SynodProcess(["config", "new", "--cluster", file, "--host", "127.0.0.1", "--host", "127.0.0.2"], {
    SYNOD_PASSWORD: "right",
  });
  assert.equal(await made.exit(), 0, made.stderr);
  // Without certificates, which are not what this is about. On loopback it needs none.
  const config = JSON.parse(readFileSync(file, "utf8")) as { security: { peers?: object; clients?: object } };
  delete config.security.peers;
  delete config.security.clients;
  writeFileSync(file, JSON.stringify(config));
  const init = ["init", "1", "--cluster", file, "--data", join(directory, "data")];
  const rejoined = await run(...init, "--rejoin");
  assert.equal(rejoined.code, 0, rejoined.stderr);
  const again = await run(...init);
  assert.equal(again.code, 4, again.stderr);
  assert.match(again.stderr, /has been made already/);
});

test("a restore that is interrupted leaves nothing behind", async (context) => {
  const directory = directoryFor(context);
  const file = join(directory, "large.backup");
  const backup = await BackupWriter.create(file, {
    createdAt: "2026-11-21T00:00:00.000Z",
    program: "0.1.0",
    clusterId: "0123456789abcdef",
    service: "kv",
    ordering: "multi-paxos",
    execution: "pipelined",
    reads: "quorum",
    durability: "fsync",
    groups: 1,
    replicas: 31,
    replica: 1,
    through: 1,
    digest: "00",
  });
  const chunk = new Uint8Array(256 * 1024);
  for (let i = 0; i < 16; i++) await backup.write(chunk);
  await backup.commit();
  const target = join(directory, "restored");
  const watcher = watch(directory);
  const begun = new Promise<void>((resolve) => {
    watcher.on("change", (_, name) => {
      if (String(name).endsWith(".restoring")) resolve();
    });
  });
  const restore = new SynodProcess(["restore", file, "--data", target, "--port", "0"]);
  await begun;
  watcher.close();
  restore.kill("SIGINT");
  assert.equal(await restore.exit(), 3, restore.stderr);
  assert.deepEqual(readdirSync(directory), ["large.backup"]);
});
