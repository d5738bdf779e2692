/** synod backup and restore of clusters with two groups: one cut through all streams, for each kind of service. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { loadCluster } from "#src/runtime/index.js";
import { connect, type ServiceDefinition } from "#src/synod/index.js";
import { ask, bulk, request } from "./raw-resp.js";
import { finished, type ReplicaEntry, synod, temporaryDirectory } from "./synod-process.js";

const groups = ["--groups", "2", "--execution", "psmr"];
const bankModule = fileURLToPath(new URL("../../../examples/bank/bank.js", import.meta.url));

interface Bank {
  open(args: { readonly account: string; readonly cents: number }): Promise<void>;
  total(): Promise<number>;
}

async function useBank(address: string, use: (bank: Bank) => Promise<void>): Promise<void> {
  const { bank } = (await import(pathToFileURL(bankModule).href)) as { readonly bank: ServiceDefinition };
  const client = (await connect({ service: bank, addresses: [address], deadlineMs: 20_000 })) as unknown as Bank & {
    close(): Promise<void>;
  };
  try {
    await use(client);
  } finally {
    await client.close();
  }
}

describe("synod backup and restore with groups", () => {
  test("take one moment of all streams while a cluster is used, with all that was acknowledged before", async (t) => {
    const folder = temporaryDirectory(t);
    const [data, copy, file] = [join(folder, "data"), join(folder, "copy"), join(folder, "b")];
    const up = synod(t, ["up", "--data", data, "--port", "0", "--json", ...groups]);
    const [first, , third] = (await up.ready()) as [ReplicaEntry, ReplicaEntry, ReplicaEntry];
    let acknowledged = 0;
    let done = false;
    // The counter is in one group, and what it counts in both: a moment of one stream and another of the other would show.
    const load = (async () => {
      while (!done) {
        const from = acknowledged;
        const batch = Array.from({ length: 20 }, (_, i) => [
          request("SET", `m:${from + i + 1}`, "1"),
          request("SET", "n", String(from + i + 1)),
        ]).flat();
        const expected = "+OK\r\n".repeat(batch.length);
        assert.equal(await ask(first.resp, batch.join(""), expected), expected);
        acknowledged = from + 20;
      }
    })();
    while (acknowledged < 100) await new Promise((resolve) => setImmediate(resolve));
    const before = acknowledged;
    const made = await finished(t, ["backup", file, "--address", third.client, "--json"]);
    assert.equal(made.code, 0, made.stderr);
    assert.equal(made.lines[0]?.["replica"], 3);
    done = true;
    await load;
    const after = acknowledged;
    up.kill("SIGTERM");
    await up.exit();

    const refused: readonly (readonly [readonly string[], RegExp])[] = [
      [["--groups", "3"], /groups 2, not 3/],
      [["--groups", "1"], /groups 2, not 1/],
      [["--execution", "pipelined"], /execution psmr, not pipelined/],
      [["--merge", "skips"], /merge points, not skips/],
    ];
    for (const [flags, reason] of refused) {
      const run = await finished(t, ["restore", file, "--data", copy, ...flags]);
      assert.equal(run.code, 4, `${flags.join(" ")}: ${run.stderr}`);
      assert.match(run.stderr, reason);
    }
    assert.ok(!existsSync(copy));

    const flags = ["--replicas", "1", "--barrier", "command", "--port", "0"];
    const restored = await finished(t, ["restore", file, "--data", copy, ...flags]);
    assert.equal(restored.code, 0, restored.stderr);
    const config = await loadCluster(copy);
    assert.deepEqual([config.groups, config.merge, config.barrier], [2, "points", "command"]);
    const second = synod(t, ["up", "--data", copy, "--json"]);
    const [only] = (await second.ready()) as [ReplicaEntry];
    const reply = await ask(only.resp, request("GET", "n"), bulk("1"));
    const n = Number(reply.split("\r\n")[1]);
    assert.ok(n >= before && n <= after, `${n} is not in ${before} to ${after}`);
    const keys = Array.from({ length: n }, (_, i) => `m:${i + 1}`);
    const all = `:${n}\r\n`;
    assert.equal(await ask(only.resp, request("EXISTS", ...keys), all), all);
    // At most the one command behind the last SET of the counter had taken effect too.
    assert.equal(await ask(only.resp, request("EXISTS", `m:${n + 2}`), ":0\r\n"), ":0\r\n");
  });

  test("bring the tables of a user's service back whole, from a stopped cluster", async (t) => {
    const folder = temporaryDirectory(t);
    const [data, copy] = [join(folder, "data"), join(folder, "copy")];
    const what = ["--service", bankModule, "--replicas", "1", ...groups];
    const up = synod(t, ["up", "--data", data, "--port", "0", "--json", ...what]);
    const [only] = (await up.ready()) as [ReplicaEntry];
    await useBank(only.client, async (bank) => {
      for (let i = 0; i < 20; i++) await bank.open({ account: `account-${i}`, cents: 100 + i });
    });
    up.kill("SIGTERM");
    assert.equal(await up.exit(), 0, up.stderr);

    const stopped = join(folder, "stopped");
    const made = await finished(t, ["backup", stopped, "--data", data, "--json"]);
    assert.equal(made.code, 0, made.stderr);
    const restored = await finished(t, ["restore", stopped, "--data", copy, "--port", "0"]);
    assert.equal(restored.code, 0, restored.stderr);
    const second = synod(t, ["up", "--data", copy, "--json"]);
    const [back] = (await second.ready()) as [ReplicaEntry];
    await useBank(back.client, async (bank) => {
      assert.equal(await bank.total(), 2190);
      await bank.open({ account: "account-20", cents: 120 });
    });
    // The restored cluster goes on behind the backup.
    const again = await finished(t, ["backup", join(folder, "again"), "--data", copy, "--json"]);
    assert.equal(again.code, 0, again.stderr);
    assert.notEqual(again.lines[0]?.["digest"], made.lines[0]?.["digest"]);
    assert.ok((again.lines[0]?.["through"] as number) > (made.lines[0]?.["through"] as number));
  });

  test("bring a tree back in its shape, by its digest", async (t) => {
    const folder = temporaryDirectory(t);
    const [data, copy] = [join(folder, "data"), join(folder, "copy")];
    const up = synod(t, ["up", "--data", data, "--port", "0", "--json", "--service", "btree", ...groups]);
    await up.ready();
    const load = ["--workload", "insert-delete", "--keys", "2000", "--seconds", "1", "--window", "16"];
    const bench = await finished(t, ["bench", "--data", data, ...load, "--json"]);
    assert.equal(bench.code, 0, bench.stderr);
    const file = join(folder, "b");
    const made = await finished(t, ["backup", file, "--data", data, "--json"]);
    assert.equal(made.code, 0, made.stderr);
    up.kill("SIGTERM");
    await up.exit();
    const restored = await finished(t, ["restore", file, "--data", copy, "--replicas", "1", "--port", "0"]);
    assert.equal(restored.code, 0, restored.stderr);
    const second = synod(t, ["up", "--data", copy, "--json"]);
    await second.ready();
    const again = await finished(t, ["backup", join(folder, "again"), "--data", copy, "--json"]);
    assert.equal(again.code, 0, again.stderr);
    assert.equal(again.lines[0]?.["digest"], made.lines[0]?.["digest"]);
  });
});
