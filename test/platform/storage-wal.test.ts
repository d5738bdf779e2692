/** The log's recovery against every way in which its files can be torn, damaged, old or foreign. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { openFileStorage, SystemScheduler } from "#src/platform/index.js";
import { type SimWorld, fileWorld, type RealWorld, simWorld } from "./storage-worlds.js";
import { append, closeLog, recover, startLog, text } from "./storage.suite.js";

/** Offsets within the header of a batch, as batch-format.ts documents them. */
const header = { crc: 0, magic: 4, version: 8, length: 12, generation: 16, bytes: 88 };
const magic = 0x4c575953;

interface Batch {
  readonly path: string;
  readonly offset: number;
  readonly length: number;
  readonly generation: number;
}

function batchesIn(path: string, bytes: Uint8Array): Batch[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const found: Batch[] = [];
  for (let offset = 0; offset + header.bytes <= bytes.length; offset += 512) {
    if (view.getUint32(offset + header.magic, true) !== magic) continue;
    const length = view.getUint32(offset + header.length, true);
    found.push({ path, offset, length, generation: view.getFloat64(offset + header.generation, true) });
  }
  return found;
}

/** The segments of a log, oldest first. */
function segmentsIn(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.startsWith("segment-"))
    .sort();
}

/** The batches of a simulated log, in order of writing; those of a recycled file's earlier life left out. */
function simBatches(world: SimWorld): Batch[] {
  return world.disk
    .files()
    .filter((file) => file.path.includes("/segment-"))
    .flatMap((file) => {
      const generation = Number(file.path.slice(-12));
      return batchesIn(file.path, file.bytes).filter((batch) => batch.generation === generation);
    });
}

/** Writes groups of records, each synced by itself, and kills the process before it can seal them. */
async function writeGroups(world: SimWorld | RealWorld, groups: readonly string[][]): Promise<void> {
  const started = await startLog(world, world.open().log);
  for (const group of groups) {
    for (const record of group) append(started.log, record);
    started.log.flush();
    await started.reached(started.durable() + group.length);
  }
  world.kill();
}

describe("log recovery", () => {
  test("the last write torn at every byte: it alone is cut, the log is intact and goes on", async () => {
    const world = fileWorld();
    try {
      await writeGroups(world, [["one", "two"], ["three"], [text(700, 1), text(200, 2)]]);
      const folder = join(world.directory, "log");
      const [name] = readdirSync(folder).filter((file) => file.startsWith("segment-"));
      const path = join(folder, name as string);
      const whole = readFileSync(path);
      const last = batchesIn(path, whole).at(-1) as Batch;
      assert.equal(last.length, header.bytes + 4 + 700 + 4 + 200);
      for (let torn = 0; torn < last.length; torn++) {
        // The bytes that were not written are zeros, or the file ends there.
        const bytes = Buffer.from(torn % 2 === 0 ? whole : whole.subarray(0, last.offset + torn));
        if (torn % 2 === 0) bytes.fill(0, last.offset + torn);
        writeFileSync(path, bytes);
        const { records, condition } = await recover(world, world.open().log);
        assert.deepEqual({ records, condition, torn }, { records: ["one", "two", "three"], condition: "intact", torn });
      }
      writeFileSync(path, whole.subarray(0, last.offset + last.length));
      assert.equal((await recover(world, world.open().log)).records.length, 5);

      writeFileSync(path, whole.subarray(0, last.offset + 600));
      const again = await startLog(world, world.open().log);
      append(again.log, "four");
      await closeLog(world, again.log);
      world.kill();
      const { records, condition } = await recover(world, world.open().log);
      assert.deepEqual({ records, condition }, { records: ["one", "two", "three", "four"], condition: "intact" });
    } finally {
      world.dispose();
    }
  });

  test("any damaged byte of a batch that another one follows makes the log damaged", async () => {
    const world = simWorld();
    await writeGroups(world, [["one"], ["two", "2"], ["three"]]);
    const batches = simBatches(world);
    assert.equal(batches.length, 3);
    for (const batch of batches.slice(0, 2)) {
      for (let byte = 0; byte < batch.length; byte++) {
        world.disk.flipBit(batch.path, batch.offset + byte, byte % 8);
        const { records, error, condition } = await recover(world, world.open().log);
        assert.deepEqual({ error, condition, byte }, { error: null, condition: "damaged", byte });
        assert.ok(records.length < 4);
        world.kill();
        world.disk.flipBit(batch.path, batch.offset + byte, byte % 8);
      }
    }
    const { condition } = await recover(world, world.open().log);
    assert.equal(condition, "intact");
  });

  test("the last batch may be damaged as if torn until a seal confirms it", async () => {
    for (const sealed of [false, true]) {
      const world = simWorld();
      const { log, reached } = await startLog(world, world.open().log);
      append(log, "one");
      log.flush();
      await reached(1);
      await world.elapse(sealed ? 80 : 20);
      world.kill();
      const batches = simBatches(world);
      assert.equal(batches.length, sealed ? 2 : 1);
      world.disk.flipBit((batches[0] as Batch).path, (batches[0] as Batch).offset + header.bytes + 5);
      const { records, condition } = await recover(world, world.open().log);
      assert.deepEqual({ records, condition }, { records: [], condition: sealed ? "damaged" : "intact" });
    }
  });

  test("an idle log is sealed once and then left alone", async () => {
    const world = simWorld();
    const { log, reached } = await startLog(world, world.open().log);
    append(log, "one");
    log.flush();
    await reached(1);
    await world.elapse(5_000);
    assert.equal(simBatches(world).length, 2);
    await closeLog(world, log);
    assert.equal(simBatches(world).length, 2);
  });

  test("a log is missing before its first run and when its directory is gone, until it is reset", async () => {
    const world = fileWorld();
    try {
      const conditions: string[] = [];
      for (const step of ["look", "look", "reset", "look", "remove", "look", "reset", "look"]) {
        if (step === "remove") rmSync(join(world.directory, "log"), { recursive: true });
        const { log } = world.open();
        conditions.push((await recover(world, log)).condition);
        if (step === "reset") assert.equal(await world.wait<Error | null>((resolve) => log.reset(resolve)), null);
        world.kill();
      }
      assert.deepEqual(conditions.slice(0, 4), ["missing", "missing", "missing", "intact"]);
      assert.deepEqual(conditions.slice(4), ["missing", "missing", "missing", "intact"]);
    } finally {
      world.dispose();
    }
  });

  test("the extent of a log never falls while it is whole, and falls with its last segment", async () => {
    const world = fileWorld();
    const extentOf = (): Promise<number> =>
      world.wait((resolve) =>
        world.open().log.recover(
          () => undefined,
          (_error, _condition, extent) => resolve(extent ?? -1),
        ),
      );
    try {
      const extents = [await extentOf()];
      for (let run = 0; run < 3; run++) {
        world.kill();
        await writeGroups(world, [[`run ${run}`]]);
        world.kill();
        extents.push(await extentOf());
      }
      assert.deepEqual(
        extents,
        [...extents].sort((a, b) => a - b),
      );
      assert.ok((extents[0] as number) === 0 && (extents[3] as number) > (extents[2] as number), extents.join());
      world.kill();
      const folder = join(world.directory, "log");
      for (const name of segmentsIn(folder)) rmSync(join(folder, name));
      assert.equal(await extentOf(), 0);
    } finally {
      world.dispose();
    }
  });

  test("a lost segment is missed: the first, one in the middle, and the one before the last", async () => {
    for (const lost of [0, 2, -2]) {
      const world = fileWorld();
      try {
        const { log, reached } = await startLog(world, world.open().log);
        for (let index = 0; index < 100; index++) {
          const position = append(log, text(900, index));
          log.flush();
          await reached(position);
        }
        await closeLog(world, log);
        world.kill();
        const folder = join(world.directory, "log");
        const names = segmentsIn(folder);
        assert.ok(names.length > 4);
        rmSync(join(folder, names.at(lost) as string));
        // What it said that is of no instance, the segments behind it say again.
        assert.equal((await recover(world, world.open().log)).condition, "holed");
      } finally {
        world.dispose();
      }
    }
  });

  test("a damaged log stays damaged until it is reset or its damaged part is trimmed", async () => {
    for (const way of ["reset", "trim"]) {
      const world = simWorld();
      await writeGroups(world, [["one"], ["two"], ["three"]]);
      const [first] = simBatches(world);
      world.disk.flipBit((first as Batch).path, (first as Batch).offset + header.bytes + 5);
      const damaged = await startLog(world, world.open().log);
      assert.equal(damaged.condition, "damaged");
      append(damaged.log, "four", 4);
      await closeLog(world, damaged.log);
      world.kill();

      const { log } = world.open();
      assert.equal((await recover(world, log)).condition, "damaged");
      if (way === "reset") await world.wait((resolve) => log.reset(resolve));
      log.start({ onDurable: () => {}, onFatal: (error) => assert.fail(error), onSegment: () => {} });
      append(log, "five", 5);
      log.flush();
      if (way === "trim") log.trim(4);
      await closeLog(world, log);
      world.kill();
      const { records, condition } = await recover(world, world.open().log);
      assert.deepEqual({ records, condition, way }, { records: ["five"], condition: "intact", way });
    }
  });

  test("a reset interrupted by a power cut leaves a log that is whole, empty or damaged, never one that seems whole", async () => {
    const outcomes = new Set<string>();
    for (let seed = 1; seed <= 60; seed++) {
      const world = simWorld(seed);
      await writeGroups(
        world,
        Array.from({ length: 60 }, (_, index) => [text(900, index)]),
      );
      const { log } = world.open();
      await recover(world, log);
      log.reset(() => {});
      await world.elapse(seed / 30);
      world.cutPower();
      const { records, condition } = await recover(world, world.open().log);
      const outcome = condition === "damaged" ? "damaged" : `intact with ${records.length}`;
      assert.ok(["damaged", "intact with 0", "intact with 60"].includes(outcome), `seed ${seed}: ${outcome}`);
      outcomes.add(outcome);
    }
    assert.equal(outcomes.size, 3, [...outcomes].join());
  });

  test("a recycled segment's old records are in the file and never come back", async () => {
    const world = simWorld();
    const first = await startLog(world, world.open().log, () => "prologue");
    for (let index = 1; index <= 400; index++) {
      const position = append(first.log, `old ${index} ${text(200, index)}`, index);
      first.log.flush();
      await first.reached(position);
      first.log.trim(index - 1);
    }
    world.kill();
    const files = world.disk.files().filter((file) => file.path.includes("/log/"));
    assert.ok(files.length <= 6, `${files.length} files`);
    const stale = files
      .filter((file) => file.path.includes("/segment-"))
      .flatMap((file) => batchesIn(file.path, file.bytes).filter((b) => b.generation !== Number(file.path.slice(-12))));
    assert.ok(stale.length > 0, "no recycled segment holds old batches, so the test shows nothing");
    const { records, condition } = await recover(world, world.open().log);
    assert.equal(condition, "intact");
    assert.equal(records[0], "prologue");
    const numbers = records.filter((record) => record !== "prologue").map((record) => Number(record.split(" ")[1]));
    assert.deepEqual(
      numbers,
      Array.from({ length: numbers.length }, (_, index) => 401 - numbers.length + index),
    );
    assert.ok(numbers.length < 200);
  });

  test("no file is dropped before a synced batch says that it may be missing", async () => {
    const world = simWorld();
    const { log, reached } = await startLog(world, world.open().log);
    for (let index = 1; index <= 100; index++) {
      const position = append(log, text(900, index), index);
      log.flush();
      await reached(position);
    }
    append(log, "under way when the trim is asked for", 101);
    log.flush();
    log.trim(90);
    await reached(101);
    await world.elapse(5);
    world.cutPower();
    const { records, condition } = await recover(world, world.open().log);
    assert.deepEqual({ count: records.length, condition }, { count: 101, condition: "intact" });
  });

  test("a batch of a newer format is refused, one that only looks newer is damaged", async () => {
    const world = fileWorld();
    try {
      await writeGroups(world, [["one"], ["two"]]);
      const folder = join(world.directory, "log");
      const path = join(folder, segmentsIn(folder)[0] as string);
      const bytes = readFileSync(path);
      const [batch] = batchesIn(path, bytes) as [Batch];
      bytes.writeUInt16LE(3, batch.offset + header.version);
      writeFileSync(path, bytes);
      assert.equal((await recover(world, world.open().log)).condition, "damaged");
      bytes.writeUInt32LE(crc32(bytes.subarray(batch.offset + 4, batch.offset + batch.length)), batch.offset);
      writeFileSync(path, bytes);
      const { error } = await recover(world, world.open().log);
      assert.equal((error as { code?: string } | null)?.code, "SYNOD_FORMAT_VERSION");
      assert.match(String(error), /log format 3; this program reads up to 2/);
    } finally {
      world.dispose();
    }
  });

  test("whatever stands in the files, recovery ends and shows only records that were written, in order", async () => {
    const written = Array.from({ length: 60 }, (_, index) => `${index} ${text((index * 37) % 300, index)}`);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ at: fc.nat(), bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }) }), { maxLength: 12 }),
        fc.option(fc.nat()),
        async (patches, cut) => {
          const world = fileWorld();
          try {
            await writeGroups(
              world,
              Array.from({ length: 20 }, (_, group) => written.slice(group * 3, group * 3 + 3)),
            );
            const folder = join(world.directory, "log");
            for (const [index, name] of readdirSync(folder).entries()) {
              const path = join(folder, name);
              let bytes = readFileSync(path);
              for (const patch of patches) {
                if (bytes.length > 0 && patch.at % 2 === index % 2)
                  bytes.set(patch.bytes.subarray(0, 1), patch.at % bytes.length);
                const sector = 512 * (patch.at % 24);
                if (sector + 100 < bytes.length) bytes.set(patch.bytes, sector + (patch.at % 60));
              }
              if (cut !== null && index === 0) bytes = bytes.subarray(0, cut % (bytes.length + 1));
              writeFileSync(path, bytes);
            }
            const { records, error } = await recover(world, world.open().log);
            assert.equal(error, null);
            let at = 0;
            for (const record of records) {
              at = written.indexOf(record, at) + 1;
              assert.ok(at > 0, `"${record.slice(0, 40)}" was never written, or not there`);
            }
          } finally {
            world.dispose();
          }
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe("log files", () => {
  test("a fresh log takes little space, and space grows with use", async () => {
    const world = fileWorld();
    try {
      const { log } = openFileStorage({
        directory: world.directory,
        clusterId: "0123456789abcdef",
        durability: "fsync",
        scheduler: new SystemScheduler(),
      });
      const started = await startLog(world, log);
      append(log, "a");
      log.flush();
      await started.reached(1);
      await closeLog(world, log);
      const folder = join(world.directory, "log");
      const sizes = segmentsIn(folder).map((name) => statSync(join(folder, name)).size);
      assert.ok(sizes.length === 1 && (sizes[0] as number) <= 1024 * 1024, `sizes ${sizes.join()}`);
    } finally {
      world.dispose();
    }
  });

  test("records that come while a group is synced share the next sync", async () => {
    const world = simWorld();
    const { log, reached } = await startLog(world, world.open().log);
    append(log, "first");
    log.flush();
    await reached(1);
    await world.elapse(10);
    const before = simBatches(world).length;
    for (let index = 0; index < 200; index++) {
      append(log, text(20, index));
      log.flush();
    }
    await reached(201);
    assert.equal(simBatches(world).length - before, 2);
  });

  test("a prologue is written without the host's asking", async () => {
    const world = simWorld();
    const { reached } = await startLog(world, world.open().log, () => "prologue");
    await reached(1);
    world.cutPower();
    assert.deepEqual((await recover(world, world.open().log)).records, ["prologue"]);
  });

  test("os durability syncs no file of the log", async () => {
    const world = simWorld(1, { durability: "os" });
    const { log, reached } = await startLog(world, world.open().log);
    for (let index = 0; index < 100; index++) {
      const position = append(log, text(500, index));
      log.flush();
      await reached(position);
    }
    await closeLog(world, log);
    assert.equal(world.disk.syncs, 0);
  });
});
