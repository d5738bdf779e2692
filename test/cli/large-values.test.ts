/** Processes of replicas whose store is many times as large as their log may be: it goes on, and comes back. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { KiB, MiB } from "#src/base/index.js";
import type { ClusterConfig } from "#src/model/index.js";
import { connect, openCluster, type ReplicaReading } from "#src/runtime/index.js";
import { SmallLogReplica } from "./small-log-process.js";
import { SMALL_LOG_BYTES } from "./small-log-replica.js";

const VALUE_BYTES = 16 * KiB;
const KEYS = 300;
const ROUNDS = 2;
const OUTSTANDING = 16;
/** As long as a machine under any load may take. */
const DEADLINE_MS = 60_000;

describe("a store larger than its log", () => {
  const directory = mkdtempSync(join(tmpdir(), "synod-test-"));
  const started: SmallLogReplica[] = [];
  after(async () => {
    for (const replica of started) await replica.kill();
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  });

  async function start({ replicas }: ClusterConfig): Promise<readonly SmallLogReplica[]> {
    const processes = replicas.map(({ id }) => new SmallLogReplica(directory, id));
    started.push(...processes);
    for (const line of await Promise.all(processes.map((replica) => replica.line()))) assert.equal(line, null);
    return processes;
  }

  test("takes values as they come, and has them after a restart", async () => {
    const { config } = await openCluster(directory, { durability: "fsync", port: 0 });
    const addresses = config.replicas.map(({ client }) => client);
    const first = await start(config);
    const writer = await connect({ addresses, deadlineMs: DEADLINE_MS });
    for (let round = 0; round < ROUNDS; round++) {
      let next = 0;
      const lane = async (): Promise<void> => {
        while (next < KEYS) {
          const key = next++;
          await writer.set(`key ${key}`, valueOf(key, round));
        }
      };
      await Promise.all(Array.from({ length: OUTSTANDING }, lane));
    }
    await writer.close();
    // One after the other: they hand leadership over, and those that are left can't do without a majority.
    const readings: ReplicaReading[] = [];
    for (const replica of first) readings.push(await replica.stop());
    for (const { status, checkpoints } of readings) {
      assert.ok(
        status.stateBytes > 4 * SMALL_LOG_BYTES,
        `replica ${status.id} has ${status.stateBytes} bytes of state`,
      );
      assert.ok(checkpoints > 0, `replica ${status.id} has written no checkpoint`);
      // A log may take as much again as its bound where it closes a gap.
      const most = 2 * SMALL_LOG_BYTES + MiB;
      assert.ok(status.logBytes <= most, `replica ${status.id} holds ${status.logBytes} bytes of log`);
    }

    const second = await start(config);
    const reader = await connect({ addresses, deadlineMs: DEADLINE_MS });
    const values = await Promise.all(Array.from({ length: KEYS }, (_, key) => reader.get(`key ${key}`)));
    const wrong = values.findIndex((value, key) => value !== valueOf(key, ROUNDS - 1));
    assert.equal(wrong, -1, `key ${wrong} has another value`);
    await reader.close();
    for (const replica of second) await replica.stop();
  });
});

/** The value that a key has in a round: a letter of its own, over and over. */
function valueOf(key: number, round: number): string {
  return String.fromCharCode(97 + ((key + round) % 26)).repeat(VALUE_BYTES);
}
