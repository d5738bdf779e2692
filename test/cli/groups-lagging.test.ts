/** A replica with groups that was away for longer than the others' logs reach fetches a cut and begins anew from it. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { KiB } from "#src/base/index.js";
import { connect, openCluster } from "#src/runtime/index.js";
import { SmallLogReplica } from "./small-log-process.js";
import { SMALL_LOG_BYTES } from "./small-log-replica.js";
import { finished } from "./synod-process.js";

const VALUE_BYTES = 16 * KiB;
const KEYS = 64;
/** As in real ones, what is reserved of a log for marks is more than what may be open at once. */
const LOG_BYTES = 4 * SMALL_LOG_BYTES;
/** What is written while a replica is away: more than what the logs of both groups hold. */
const ROUNDS = 12;
/** As long as a machine under any load may take. */
const DEADLINE_MS = 60_000;

describe("a replica with groups that lags behind all logs", () => {
  const directory = mkdtempSync(join(tmpdir(), "synod-test-"));
  const started: SmallLogReplica[] = [];
  after(async () => {
    for (const replica of started) await replica.kill();
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  });

  async function start(id: number): Promise<SmallLogReplica> {
    const replica = new SmallLogReplica(directory, id, LOG_BYTES);
    started.push(replica);
    assert.equal(await replica.line(), null);
    return replica;
  }

  test("has the state of the others afterwards", async (t) => {
    const request = { groups: 2, execution: "psmr", service: "kv", durability: "fsync", port: 0 } as const;
    const { config } = await openCluster(directory, request);
    const addresses = config.replicas.map(({ client }) => client);
    const [, , third] = (await Promise.all([1, 2, 3].map((id) => start(id)))) as [unknown, unknown, SmallLogReplica];
    const client = await connect({ addresses, deadlineMs: DEADLINE_MS });
    const write = (round: number): Promise<unknown> =>
      Promise.all(Array.from({ length: KEYS }, (_, key) => client.set(`key ${key}`, valueOf(key, round))));
    await write(0);
    await third.kill();
    assert.ok(ROUNDS * KEYS * VALUE_BYTES > 2 * LOG_BYTES);
    for (let round = 1; round <= ROUNDS; round++) await write(round);
    await start(3);
    // It begins anew within its process when it has the others' state, and is told nothing meanwhile.
    let digests: readonly (string | undefined)[] = [];
    while (digests.length < 3 || digests.includes(undefined)) {
      const { lines } = await finished(t, ["status", "--data", directory, "--json"]);
      const replicas = lines[0]?.["replicas"] as readonly { readonly digest: { readonly hex: string } | null }[];
      digests = replicas.map(({ digest }) => digest?.hex);
    }
    assert.equal(new Set(digests).size, 1, digests.join(" "));
    await write(ROUNDS + 1);
    const values = await Promise.all(Array.from({ length: KEYS }, (_, key) => client.get(`key ${key}`)));
    const wrong = values.findIndex((value, key) => value !== valueOf(key, ROUNDS + 1));
    assert.equal(wrong, -1, `key ${wrong} has another value`);
    await client.close();
  });
});

/** The value that a key has in a round: a letter of its own, over and over. */
function valueOf(key: number, round: number): string {
  return String.fromCharCode(97 + ((key + round) % 26)).repeat(VALUE_BYTES);
}
