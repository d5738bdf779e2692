/** A cluster of processes and a real Redis get the same random commands, over connections to every replica. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { Prng } from "#src/base/index.js";
import { someChunks } from "../gateway/redis-commands.js";
import { compareServers } from "../gateway/redis-comparison.js";
import { redisMissing, RedisServer, RespConnection } from "../gateway/redis-server.js";
import { finished, synod, temporaryDirectory } from "./synod-process.js";

/** `SYNOD_DIFFERENTIAL_COMMANDS` asks for more. */
const COMMANDS = Number(process.env["SYNOD_DIFFERENTIAL_COMMANDS"] ?? 2000);
const SEED = process.env["SYNOD_DIFFERENTIAL_SEED"] ?? "cluster 1";
const CONNECTIONS = 6;

const clusters = [
  ["one group", COMMANDS, []],
  ["two groups", COMMANDS / 2, ["--groups", "2", "--execution", "psmr"]],
] as const;

for (const [what, commands, options] of clusters) {
  test(`${commands} random commands to any replica of a cluster with ${what}`, { skip: redisMissing }, (t) =>
    compare(t, commands, options),
  );
}

async function compare(t: TestContext, commands: number, options: readonly string[]): Promise<void> {
  const redis = new RedisServer();
  const theirs: RespConnection[] = [];
  const ours: RespConnection[] = [];
  t.after(async () => {
    for (const connection of [...theirs, ...ours]) connection.end();
    await redis.stop();
  });
  await redis.start();
  const data = temporaryDirectory(t);
  const up = synod(t, ["up", "--data", data, "--port", "0", "--json", ...options]);
  const replicas = await up.ready();
  for (let i = 0; i < CONNECTIONS; i++) {
    const [host = "", port = ""] = (replicas[i % replicas.length]?.resp ?? "").split(":");
    ours.push(await RespConnection.open(host, Number(port)));
    theirs.push(await redis.connect());
  }
  // Becoming ready wrote something.
  assert.equal(await ours[0]?.ask("FLUSHALL\r\n", "\r\n"), "+OK\r\n");
  const compared = compareServers(
    someChunks(new Prng(SEED), commands, CONNECTIONS),
    async (connection, input, count) => (await theirs[connection]?.exchange(input, count)) ?? [],
    async (connection, input, count) => (await ours[connection]?.exchange(input, count)) ?? [],
    SEED,
  );
  // What the replicas said of it tells a wrong reply from one that a busy machine kept back.
  await compared.catch((error: unknown) => {
    t.diagnostic(up.stderr.slice(-4000));
    throw error;
  });
  const status = await finished(t, ["status", "--data", data, "--json"]);
  const standings = status.lines[0]?.["replicas"] as readonly { readonly digest: { readonly hex: string } | null }[];
  assert.equal(new Set(standings.map(({ digest }) => digest?.hex)).size, 1, JSON.stringify(standings));
  up.kill("SIGTERM");
  assert.equal(await up.exit(), 0);
}
