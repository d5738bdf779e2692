/** Processes of replicas that keep nothing of the log in memory: one that was away gets what it missed from the others' disks. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { KiB, MiB } from "#src/base/index.js";
import { standingOf } from "#src/cli/cluster-status.js";
import { connect, openCluster } from "#src/runtime/index.js";
import { SmallLogReplica } from "./small-log-process.js";

const VALUE_BYTES = 16 * KiB;
const KEYS = 250;
const OUTSTANDING = 16;
/** So long a log that nothing of it is covered by a checkpoint, and trimmed. */
const LOG_BYTES = 64 * MiB;
/** As long as a machine under any load may take. */
const DEADLINE_MS = 50_000;

describe("a log on disk alone", () => {
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

  test("is read back for a replica that was away, and no state is copied", async () => {
    const { config } = await openCluster(directory, { durability: "fsync", port: 0 });
    const addresses = config.replicas.map(({ client }) => client);
    const [first, second, third] = await Promise.all([start(1), start(2), start(3)]);
    await third.kill();
    const writer = await connect({ addresses, deadlineMs: DEADLINE_MS });
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < KEYS) {
        const key = next++;
        await writer.set(`key ${key}`, String.fromCharCode(97 + (key % 26)).repeat(VALUE_BYTES));
      }
    };
    await Promise.all(Array.from({ length: OUTSTANDING }, lane));
    await writer.close();

    const again = await start(3);
    const until = performance.now() + DEADLINE_MS;
    for (;;) {
      const { replicas } = await standingOf(config.replicas, () => null);
      const digests = replicas.map(({ digest }) => digest?.hex);
      if (digests[0] !== undefined && digests.every((digest) => digest === digests[0])) break;
      assert.ok(performance.now() < until, `states ${digests.join(", ")}`);
    }
    const reading = await again.stop();
    assert.equal(reading.statesInstalled, 0);
    assert.equal(reading.status.entries, KEYS);
    for (const replica of [first, second]) {
      const { status } = await replica.stop();
      assert.ok(status.logBytes >= KEYS * VALUE_BYTES, `replica ${status.id} has ${status.logBytes} bytes of log`);
      assert.ok(
        status.logMemoryBytes <= MiB,
        `replica ${status.id} has ${status.logMemoryBytes} bytes of it in memory`,
      );
    }
  });
});
