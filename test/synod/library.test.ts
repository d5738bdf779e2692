import assert from "node:assert/strict";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, test } from "node:test";
import {
  CommandError,
  ConfigError,
  connect,
  defineService,
  DeterminismError,
  IndeterminateError,
  ServiceError,
  startCluster,
  table,
  UndeclaredKeyError,
  ValueError,
} from "synod";
import { bank } from "./bank.js";
import { isAlive, project, run } from "./project.js";

describe("startCluster", () => {
  test("replicates a service whose leader may be killed: typed, exactly once, linearizable", async (t) => {
    const cluster = await startCluster({ service: bank, replicas: 3, durability: "memory" });
    t.after(() => cluster.stop());
    const { client } = cluster;

    assert.equal(await client.deposit({ to: "ana", amount: 5 }), 5);
    await client.transfer({ from: "ana", to: "ben", amount: 2 });
    await assert.rejects(client.transfer({ from: "ana", to: "ben", amount: 4 }), (error) => {
      assert.ok(error instanceof ServiceError);
      assert.deepEqual([error.message, error.thrown, error.code], ["ana lacks 1", "RangeError", "SYNOD_SERVICE"]);
      return true;
    });
    // The failed transfer had already given ben his money.
    assert.deepEqual(await Promise.all(["ana", "ben"].map((of) => client.balance({ of }))), [3, 2]);
    await assert.rejects(client.peek(), UndeclaredKeyError);
    await assert.rejects(
      client.clock(),
      (error) => error instanceof DeterminismError && /ctx\.time/.test(error.message),
    );
    await assert.rejects(client.deposit({ to: "ana", amount: Symbol("one") as unknown as number }), ValueError);

    // Deposits go on while each replica in turn, and so at least one leader, is killed and comes back.
    let acknowledged = 0;
    let doubtful = 0;
    let going = true;
    const load = (async () => {
      while (going) {
        await client.deposit({ to: "till", amount: 1 }).then(
          () => acknowledged++,
          (error: unknown) => {
            assert.ok(error instanceof IndeterminateError, String(error));
            doubtful++;
          },
        );
      }
    })();
    for (const replica of cluster.replicas) {
      const { pid } = replica;
      await replica.kill();
      assert.ok(!replica.alive && !isAlive(pid));
      await client.deposit({ to: "other", amount: 1 });
      await replica.start();
      assert.ok(replica.alive && replica.pid !== pid);
    }
    going = false;
    await load;
    const till = await client.balance({ of: "till" });
    assert.ok(till >= acknowledged && till <= acknowledged + doubtful, `${till} of ${acknowledged} + ${doubtful}`);
    assert.ok(acknowledged > 10);
    assert.equal(await client.total(), 5 + till + 3);

    // Another client, which knows the address of one replica, sees the same.
    const other = await connect({ addresses: cluster.addresses.slice(0, 1), service: bank });
    assert.equal(await other.balance({ of: "till" }), till);
    const [time, random] = (await other.moment()) as [number, number];
    assert.ok(Math.abs(time - Date.now()) < 60_000 && random >= 0 && random < 1);
    await other.close();
  });

  test("continues from a directory, for good and under the same definition only", async (t) => {
    const directory = join(project(t, {}), "data");
    const first = await startCluster({ service: bank, replicas: 1, directory });
    await first.client.deposit({ to: "ana", amount: 7 });
    await assert.rejects(startCluster({ service: bank, directory }), { code: "SYNOD_LOCKED" });
    const pids = first.replicas.map(({ pid }) => pid);
    await first.stop();
    await first.stop();
    assert.ok(!pids.some(isAlive));
    await assert.rejects(first.client.total(), { code: "SYNOD_CLOSED" });

    const second = await startCluster({ service: bank, directory });
    t.after(() => second.stop());
    assert.equal(await second.client.balance({ of: "ana" }), 7);
    assert.equal(second.replicas.length, 1);
    // A client of another version of the service, with a command that the replicas do not know.
    const newer = defineService({
      name: "bank",
      tables: { accounts: table<number>() },
      commands: { audit: { keys: () => [], execute: () => 0 } },
    });
    const client = await connect({ addresses: second.addresses, service: newer });
    await assert.rejects(client.audit(), CommandError);
    await client.close();
  });

  test("refuses options that there are not and values that they can't have, and starts nothing", async (t) => {
    const directory = join(project(t, {}), "data");
    const refused: readonly (readonly [options: object, reason: RegExp])[] = [
      [{ merge: "foo" }, /startCluster has no option merge \(got "foo"\); it has service, replicas, groups, /],
      [{ groups: 2, reads: "quorum" }, /no option reads \(got "quorum"\)/],
      [{ bounds: "5" }, /no option bounds \(got "5"\)/],
      [{ groups: "2" }, /groups must be a whole number from 1 to 16, got "2"/],
      [{ groups: 0 }, /groups must be a whole number from 1 to 16, got 0/],
      [{ replicas: 1.5 }, /replicas must be a whole number from 1 to 31, got 1\.5/],
      [{ execution: "fast" }, /execution must be one of sequential, pipelined, psmr, opt-psmr, got "fast"/],
      [{ resubmit: null }, /resubmit must be one of replicas, client, got null/],
      [{ durability: "disk" }, /durability must be one of fsync, os, memory, got "disk"/],
      [{ deadlineMs: Number.NaN }, /deadlineMs must be a number above 0 and at most \d+, got NaN/],
      [{ logLevel: "debug" }, /logLevel must be one of info, warn, error, silent, got "debug"/],
      [{ directory: 5 }, /directory must be a path that is not empty, got 5/],
    ];
    for (const [options, reason] of refused) {
      const asked = { service: bank, replicas: 1, directory, ...options };
      await assert.rejects(startCluster(asked as unknown as Parameters<typeof startCluster>[0]), (error) => {
        assert.ok(error instanceof ConfigError, String(error));
        assert.match(error.message, reason);
        return true;
      });
    }
    assert.ok(!existsSync(directory));
  });

  test("refuses what replicas could not load", async (t) => {
    const local = defineService({
      name: "local",
      tables: { rows: table<number>() },
      commands: { none: { keys: () => [], execute: () => 0 } },
    });
    await assert.rejects(startCluster({ service: local }), (error) => {
      return error instanceof ConfigError && /module: import\.meta\.url/.test(error.message);
    });
    await assert.rejects(startCluster({} as Parameters<typeof startCluster>[0]), ConfigError);
    await assert.rejects(connect({ addresses: ["127.0.0.1:1"], service: {} as never }), ConfigError);
    const elsewhere = defineService({
      name: "elsewhere",
      module: import.meta.url.replace("library.test", "bank"),
      tables: { rows: table<number>() },
      commands: { none: { keys: () => [], execute: () => 0 } },
    });
    const directory = join(project(t, {}), "data");
    await assert.rejects(startCluster({ service: elsewhere, replicas: 1, directory, logLevel: "silent" }), (error) => {
      return error instanceof ConfigError && /defines no service "elsewhere"; it defines bank/.test(error.message);
    });
  });
});

/** A whole program in one file: replicas load it too, and must not start clusters of their own. */
const oneFile = (load: string): string => `
  ${load}
  const hits = defineService({
    module: MODULE, name: "hits", tables: { pages: table() },
    commands: { hit: { keys: (a) => [a.page], execute: ({ pages }, a) => {
      const count = (pages.get(a.page) ?? 0) + 1;
      pages.set(a.page, count);
      return count;
    } } },
  });
  async function main() {
    const cluster = await startCluster({ service: hits, replicas: 1, durability: "memory" });
    console.log("pid", cluster.replicas[0].pid, "directory", cluster.directory);
    console.log("hit", await cluster.client.hit({ page: "a" }), await cluster.client.hit({ page: "a" }));
    AFTER
    await cluster.stop();
    console.log("stopped");
  }
  main();
`;
const esm = oneFile('import { defineService, startCluster, table } from "synod"; const MODULE = import.meta.url;');

describe("a program in one file", () => {
  test("in ESM", async (t) => {
    const directory = project(t, { "main.js": esm.replace("AFTER", "").replace("  main();", "await main();") });
    const { code, stdout, stderr } = await run(directory, ["main.js"]);
    assert.match(stdout, /hit 1 2\nstopped\n$/, stderr);
    assert.equal(code, 0);
  });

  test("in CommonJS", async (t) => {
    const text = oneFile('const { defineService, startCluster, table } = require("synod"); const MODULE = __filename;');
    const directory = project(t, { "main.cjs": text.replace("AFTER", "") });
    const flags = process.versions.node.startsWith("20.") ? ["--no-warnings"] : [];
    const { code, stdout, stderr } = await run(directory, [...flags, "main.cjs"]);
    assert.match(stdout, /hit 1 2\nstopped\n$/, stderr);
    assert.equal(code, 0);
  });

  test("given as text", async (t) => {
    const main = `import { startCluster } from "synod"; import { bank } from "./bank.js";
      const cluster = await startCluster({ service: bank, replicas: 1, durability: "memory" });
      console.log(await cluster.client.deposit({ to: "ana", amount: 3 }));
      await cluster.stop();`;
    const bankText = esm
      .slice(0, esm.indexOf("async function main"))
      .replaceAll("hits", "bank")
      .replace("const bank", "export const bank");
    const directory = project(t, { "bank.js": bankText.replaceAll("hit:", "deposit:").replaceAll("a.page", "a.to") });
    const { stdout, stderr } = await run(directory, ["--input-type=module", "--eval", main]);
    assert.match(stdout, /^1\n$/, stderr);
  });

  for (const [how, after] of [
    ["exits", "process.exit(7);"],
    ["throws", 'throw new Error("a fault of the program");'],
    ["is killed", "await new Promise(() => setInterval(() => {}, 1000));"],
  ] as const) {
    test(`that ${how} leaves no replica behind`, async (t) => {
      const directory = project(t, { "main.js": esm.replace("AFTER", after) });
      const { stdout } = await run(directory, ["main.js"], (soFar, kill) => {
        if (how === "is killed" && soFar.includes("hit")) kill("SIGKILL");
      });
      const [, pid, place] = /pid (\d+) directory (.+)\n/.exec(stdout) ?? [];
      assert.ok(pid !== undefined && place !== undefined, stdout);
      // Nothing tells of the end of a stranger's child but its absence.
      while (isAlive(Number(pid))) await delay(20);
      if (how !== "is killed") assert.ok(!existsSync(place));
      rmSync(place, { recursive: true, force: true, maxRetries: 5 });
    });
  }
});
