/** Backup files: what is written is read back, and nothing damaged, cut off or foreign is ever taken for a backup. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";
import fc from "fast-check";
import { BackupDamagedError, ConfigError, FormatVersionError } from "#src/model/index.js";
import { type BackupFacts, BackupReader, BackupWriter } from "#src/runtime/index.js";

const facts: BackupFacts = {
  createdAt: "2026-11-21T10:00:00.000Z",
  program: "0.1.0",
  clusterId: "0123456789abcdef",
  replica: 2,
  replicas: 3,
  service: "kv",
  ordering: "multi-paxos",
  execution: "pipelined",
  reads: "quorum",
  groups: 1,
  durability: "fsync",
  through: 17,
  digest: "0123456789abcdef0123456789abcdef",
};

function directoryOf(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "synod-backup-"));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

async function written(path: string, chunks: readonly Uint8Array[]): Promise<void> {
  const writer = await BackupWriter.create(path, facts);
  for (const chunk of chunks) await writer.write(chunk);
  await writer.commit();
}

async function readBack(path: string): Promise<{ facts: BackupFacts; chunks: Uint8Array[] }> {
  const reader = await BackupReader.open(path);
  const chunks: Uint8Array[] = [];
  try {
    for (;;) {
      const chunk = await reader.next();
      if (chunk === null) return { facts: reader.facts, chunks };
      chunks.push(new Uint8Array(chunk));
    }
  } finally {
    await reader.close();
  }
}

const chunk = (length: number, seed: number): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => (index * 31 + seed) & 255);

describe("a backup file", () => {
  test("gives back what was written", async (context) => {
    const path = join(directoryOf(context), "b");
    const chunks = [chunk(1, 1), chunk(100_000, 2), chunk(7, 3)];
    await written(path, chunks);
    const back = await readBack(path);
    assert.deepEqual(back.facts, facts);
    assert.deepEqual(back.chunks, chunks);
  });

  test("has its name only when it is complete, and replaces nothing", async (context) => {
    const directory = directoryOf(context);
    const path = join(directory, "b");
    const writer = await BackupWriter.create(path, facts);
    await writer.write(chunk(5, 1));
    assert.ok(!readdirSync(directory).includes("b"));
    await writer.abort();
    assert.deepEqual(readdirSync(directory), []);
    await written(path, [chunk(5, 1)]);
    assert.deepEqual(readdirSync(directory), ["b"]);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    const before = readFileSync(path);
    await assert.rejects(BackupWriter.create(path, facts), ConfigError);
    assert.deepEqual(readFileSync(path), before);
  });

  test("is refused with any byte changed, wherever it is", async (context) => {
    const directory = directoryOf(context);
    const path = join(directory, "b");
    await written(path, [chunk(40, 1), chunk(300, 2)]);
    const whole = readFileSync(path);
    const damagedPath = join(directory, "d");
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const bytes = Buffer.from(whole);
        bytes[at] = (bytes[at] as number) ^ change;
        writeFileSync(damagedPath, bytes);
        await assert.rejects(
          readBack(damagedPath),
          (error) =>
            error instanceof BackupDamagedError || error instanceof ConfigError || error instanceof FormatVersionError,
        );
      }),
      { numRuns: 300 },
    );
  });

  test("is refused when it ends early, at whatever byte, or goes on behind its end", async (context) => {
    const directory = directoryOf(context);
    const path = join(directory, "b");
    await written(path, [chunk(20, 1), chunk(30, 2)]);
    const whole = readFileSync(path);
    const cutPath = join(directory, "c");
    for (let length = 0; length < whole.length; length++) {
      writeFileSync(cutPath, whole.subarray(0, length));
      await assert.rejects(
        readBack(cutPath),
        (error) => error instanceof BackupDamagedError || (length < 8 && error instanceof ConfigError),
        `cut at ${length}`,
      );
    }
    writeFileSync(cutPath, Buffer.concat([whole, Buffer.of(0)]));
    await assert.rejects(readBack(cutPath), BackupDamagedError);
  });

  test("is refused when chunks are exchanged or left out", async (context) => {
    const directory = directoryOf(context);
    const path = join(directory, "b");
    await written(path, [chunk(64, 1), chunk(64, 2)]);
    const whole = readFileSync(path);
    const first = whole.indexOf(Buffer.from(chunk(64, 1))) - 8;
    const parts = [
      whole.subarray(0, first),
      whole.subarray(first, first + 72),
      whole.subarray(first + 72, first + 144),
    ];
    const [head, one, two] = parts as [Buffer, Buffer, Buffer];
    const end = whole.subarray(first + 144);
    const other = join(directory, "o");
    for (const bytes of [
      [head, two, one, end],
      [head, one, end],
      [head, one, one, two, end],
    ]) {
      writeFileSync(other, Buffer.concat(bytes));
      await assert.rejects(readBack(other), BackupDamagedError);
    }
  });

  test("of a newer format is told from a damaged one, and from what is none", async (context) => {
    const directory = directoryOf(context);
    const path = join(directory, "b");
    await written(path, []);
    const bytes = readFileSync(path);
    bytes.writeUInt32LE(2, 8);
    writeFileSync(path, bytes);
    await assert.rejects(readBack(path), FormatVersionError);
    writeFileSync(path, "something else");
    await assert.rejects(readBack(path), ConfigError);
    await assert.rejects(readBack(join(directory, "absent")), ConfigError);
    await assert.rejects(readBack(directory), ConfigError);
  });

  test("is not made where there is no directory", async (context) => {
    const directory = join(directoryOf(context), "absent");
    await assert.rejects(
      BackupWriter.create(join(directory, "b"), facts),
      (error) => error instanceof ConfigError && error.message.includes(directory),
    );
  });
});
