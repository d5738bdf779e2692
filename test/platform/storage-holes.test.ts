/** What a log knows of records that are damaged: protocol-aware recovery as far as it is the log's (decision 0007). */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import type { LogCondition, LogGap, LogStorage } from "#src/platform/index.js";
import { type SimWorld, simWorld } from "./storage-worlds.js";
import { append, closeLog, openCheckpoints, readCheckpoint, startLog, text, writeCheckpoint } from "./storage.suite.js";

/** Offsets within the header of a batch, as batch-format.ts documents them. */
const header = { magic: 4, length: 12, generation: 16, sequence: 32, records: 64, bytes: 88 };
const magic = 0x4c575953;
const sector = 512;

interface Batch {
  readonly path: string;
  readonly offset: number;
  readonly length: number;
  readonly sequence: number;
  readonly records: number;
}

/** The batches of a simulated log, in order of writing; those of a recycled file's earlier life left out. */
function batchesOf(world: SimWorld): Batch[] {
  const found: Batch[] = [];
  for (const { path, bytes } of world.disk.files()) {
    if (!path.includes("/segment-")) continue;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let offset = 0; offset + header.bytes <= bytes.length; offset += sector) {
      if (view.getUint32(offset + header.magic, true) !== magic) continue;
      if (view.getFloat64(offset + header.generation, true) !== Number(path.slice(-12))) continue;
      const length = view.getUint32(offset + header.length, true);
      const sequence = view.getFloat64(offset + header.sequence, true);
      found.push({ path, offset, length, sequence, records: view.getUint32(offset + header.records, true) });
    }
  }
  return found.sort((a, b) => a.sequence - b.sequence);
}

interface Found {
  readonly records: readonly string[];
  readonly condition: LogCondition;
  readonly gaps: readonly LogGap[];
}

function recover(world: SimWorld, log: LogStorage = world.open().log): Promise<Found> {
  const records: string[] = [];
  return world.wait((resolve) =>
    log.recover(
      (bytes, _view, start, end) => records.push(Buffer.from(bytes.subarray(start, end)).toString("latin1")),
      (error, condition, _extent, gaps = []) => {
        assert.equal(error, null);
        resolve({ records, condition, gaps });
      },
    ),
  );
}

/**
 * A log as a host writes it: every segment begins with a prologue, and of the groups, each synced by itself, some state a fact
 * and the others values of the instances given. Then its process is killed.
 */
async function written(world: SimWorld, groups: readonly (readonly (number | "fact")[])[]): Promise<void> {
  const { log, reached, durable } = await startLog(world, world.open().log, () => "prologue");
  await reached(1);
  for (const group of groups) {
    let position = durable();
    for (const instance of group) {
      position =
        instance === "fact" ? append(log, "fact") : append(log, `${instance} ${text(300, instance)}`, instance);
    }
    log.flush();
    await reached(position);
  }
  world.kill();
}

/** Instances of the records, 0 for facts and prologues. */
function instances(records: readonly string[]): number[] {
  return records.map((record) => Number(/^\d+/.exec(record)?.[0] ?? 0));
}

function flip(world: SimWorld, batch: Batch, byte: number): void {
  world.disk.flipBit(batch.path, batch.offset + byte, byte % 8);
}

describe("a log with damaged records", () => {
  test("a batch of values is told of, with what it can have reached, whichever byte of it is damaged", async () => {
    const world = simWorld();
    await written(world, [[1], [2, 3], [4], [5]]);
    const batches = batchesOf(world);
    assert.equal(batches.length, 5);
    // The prologue's own batch is not replaceable: nothing behind it says its facts again.
    for (const [index, behind, through] of [
      [1, 1, 1],
      [2, 2, 3],
      [3, 4, 4],
    ] as const) {
      const batch = batches[index] as Batch;
      for (let byte = 0; byte < batch.length; byte += byte < header.bytes ? 1 : 37) {
        flip(world, batch, byte);
        const { records, condition, gaps } = await recover(world);
        assert.deepEqual({ condition, gaps, byte }, { condition: "holed", gaps: [{ behind, through }], byte });
        assert.equal(records.length, index === 2 ? 4 : 5);
        world.kill();
        flip(world, batch, byte);
      }
    }
    assert.equal((await recover(world)).condition, "intact");
    world.kill();
    flip(world, batches[0] as Batch, header.bytes + 5);
    assert.equal((await recover(world)).condition, "damaged");
  });

  test("a fact among what is lost makes it damaged, unless a later segment says it again", async () => {
    const world = simWorld();
    await written(world, [[1], ["fact", 2], [3], [4]]);
    const batch = batchesOf(world)[2] as Batch;
    flip(world, batch, 200);
    assert.equal((await recover(world)).condition, "damaged");
    world.kill();
    flip(world, batch, 200);
    await written(world, [[5], [6]]);
    flip(world, batch, 200);
    const { records, condition, gaps } = await recover(world);
    assert.deepEqual({ condition, gaps }, { condition: "holed", gaps: [{ behind: 2, through: 2 }] });
    assert.deepEqual(instances(records), [0, 1, 3, 4, 0, 5, 6]);
  });

  test("holes are told of in order and at every start, and records go on behind them", async () => {
    const world = simWorld();
    await written(world, [[1], [2], [3], [7], [4], [5]]);
    const batches = batchesOf(world);
    for (const index of [2, 4, 5]) flip(world, batches[index] as Batch, 300);
    const expected = [
      { behind: 2, through: 2 },
      { behind: 3, through: 7 },
    ];
    for (let run = 0; run < 3; run++) {
      const { records, condition, gaps } = await recover(world);
      assert.deepEqual({ condition, gaps }, { condition: "holed", gaps: expected });
      assert.deepEqual(instances(records).slice(0, 4), [0, 1, 3, 5]);
      assert.equal(records.length, 4 + 2 * run);
      world.kill();
      await written(world, [[8 + run]]);
    }
  });

  test("a hole that nothing needs any more is none", async () => {
    const world = simWorld();
    const { log, reached } = await startLog(world, world.open().log, () => "prologue");
    for (let instance = 1; instance <= 60; instance++) {
      const position = append(log, text(900, instance), instance);
      log.flush();
      await reached(position);
    }
    const first = batchesOf(world)[3] as Batch;
    flip(world, first, 300);
    log.trim(55);
    await closeLog(world, log);
    world.kill();
    assert.deepEqual((({ condition, gaps }) => ({ condition, gaps }))(await recover(world)), {
      condition: "intact",
      gaps: [],
    });
  });

  test("a log whose discarding was interrupted is damaged, however well what is left of it explains itself", async () => {
    const world = simWorld();
    await written(world, [[1], [2]]);
    await written(world, [[3], [4]]);
    const { log } = world.open();
    await recover(world, log);
    const before = batchesOf(world).length;
    log.reset(() => assert.fail("the process dies before"));
    while (batchesOf(world).length === before) await world.elapse(0.01);
    world.kill();
    assert.ok(batchesOf(world).length > 0, "something is left");
    const again = world.open().log;
    assert.equal((await recover(world, again)).condition, "damaged");
    assert.equal(await world.wait<Error | null>((resolve) => again.reset(resolve)), null);
    world.kill();
    assert.equal((await recover(world)).condition, "intact");
  });

  test("a batch that landed in a wrong place is found out there, and missed where it belongs", async () => {
    const world = simWorld();
    await written(world, [[1], [2], [3], [4]]);
    const batches = batchesOf(world);
    const [, first, second, third, last] = batches as [Batch, Batch, Batch, Batch, Batch];
    const file = (): Uint8Array => {
      const found = world.disk.files().find(({ path }) => path === first.path);
      assert.ok(found !== undefined);
      return found.bytes;
    };
    const copy = (from: Batch): Uint8Array => file().slice(from.offset, from.offset + from.length);
    const put = (bytes: Uint8Array, offset: number): void => file().set(bytes, offset);
    const kept = { second: copy(second), last: copy(last) };

    // The second was written over the first, and its own place kept what it held: zeros.
    put(kept.second, first.offset);
    put(new Uint8Array(second.length), second.offset);
    const { records, condition, gaps } = await recover(world);
    assert.deepEqual({ condition, gaps }, { condition: "holed", gaps: [{ behind: 1, through: 2 }] });
    assert.deepEqual(instances(records), [0, 3, 4]);
    world.kill();

    // The last one was, so that nothing follows the place where it is missed. It is no torn write: it had been synced.
    // (The new process reads what is durable, where all is in its place.)
    put(kept.last, first.offset);
    put(new Uint8Array(last.length), last.offset);
    assert.equal((await recover(world)).condition, "damaged");
    assert.ok(third.sequence < last.sequence);
  });

  test("a log of format 1 is read, and its damage is not explained", async () => {
    const world = simWorld();
    const older = (sequence: number): Uint8Array => {
      const bytes = Buffer.alloc(sector);
      const body = Buffer.from(`${sequence} old`);
      const length = 72 + 4 + body.length;
      bytes.writeUInt32LE(magic, 4);
      bytes.writeUInt16LE(1, 8);
      bytes.writeUInt32LE(length, 12);
      bytes.writeDoubleLE(1, 16);
      Buffer.from("0123456789abcdef", "hex").copy(bytes, 24);
      [sequence, sequence - 1, 1, sequence].forEach((value, index) => bytes.writeDoubleLE(value, 32 + 8 * index));
      bytes.writeUInt32LE(1, 64);
      bytes.writeUInt32LE(body.length, 72);
      body.copy(bytes, 76);
      bytes.writeUInt32LE(crc32(bytes.subarray(4, length)), 0);
      return bytes;
    };
    await written(world, []);
    const [{ path }] = batchesOf(world) as [Batch];
    const put = (): Uint8Array => {
      const file = world.disk.files().find((each) => each.path === path);
      assert.ok(file !== undefined);
      for (const sequence of [1, 2, 3]) file.bytes.set(older(sequence), (sequence - 1) * sector);
      return file.bytes;
    };
    put();
    const whole = await recover(world);
    assert.deepEqual(whole, { records: ["1 old", "2 old", "3 old"], condition: "intact", gaps: [] });
    world.kill();
    put().fill(7, sector + 76, sector + 80);
    assert.equal((await recover(world)).condition, "damaged");
  });
});

describe("a disk that errs as it reads", () => {
  test("a flip in any one read changes nothing that a log says", async () => {
    for (let flips = 1; flips <= 12; flips++) {
      for (let seed = 1; seed <= 10; seed++) {
        const world = simWorld(seed);
        await written(world, [[1], [2], ["fact"], [3]]);
        await written(world, [[4], [5]]);
        world.disk.faults.flipReads = { after: flips - 1, times: 1 };
        const { records, condition } = await recover(world);
        assert.deepEqual({ condition, seed, flips }, { condition: "intact", seed, flips });
        assert.deepEqual(instances(records), [0, 1, 2, 0, 3, 0, 4, 5]);
      }
    }
  });

  test("and a checkpoint is read a second time before it is given up", async () => {
    for (let flips = 1; flips <= 4; flips++) {
      const world = simWorld(flips);
      const { checkpoints } = world.open();
      await openCheckpoints(world, checkpoints);
      await writeCheckpoint(world, checkpoints, 1, ["old"]);
      await writeCheckpoint(world, checkpoints, 2, ["first", text(5000, 1)]);
      world.kill();
      world.disk.faults.flipReads = { after: flips - 1, times: 1 };
      const again = world.open().checkpoints;
      assert.equal((await openCheckpoints(world, again))?.through, 2, `read ${flips}`);
      world.disk.faults.flipReads = { after: flips - 1, times: 1 };
      assert.deepEqual(await readCheckpoint(world, again, 2), ["first", text(5000, 1)]);
    }
  });
});

describe("property: any batches of a log are damaged", () => {
  test("what is told covers what is lost, in its place; or the log is damaged", async () => {
    const outcomes = new Map<LogCondition, number>();
    await fc.assert(
      fc.asyncProperty(
        fc.integer(),
        fc.array(fc.oneof({ weight: 6, arbitrary: fc.nat(5) }, { weight: 1, arbitrary: fc.constant(-1) }), {
          minLength: 10,
          maxLength: 60,
        }),
        fc.array(fc.record({ which: fc.nat(), byte: fc.nat() }), { minLength: 1, maxLength: 4 }),
        async (seed, steps, damages) => {
          const world = simWorld(seed);
          let highest = 0;
          const groups = steps.map((step): (number | "fact")[] => {
            if (step < 0) return ["fact"];
            highest += 1;
            return [Math.max(1, highest - step)];
          });
          const half = groups.length >> 1;
          await written(world, groups.slice(0, half));
          await written(world, groups.slice(half));
          const before = (await recover(world)).records;
          world.kill();
          const batches = batchesOf(world);
          // The last one is torn as far as anybody can know.
          const damaged = new Set(damages.map(({ which }) => which % (batches.length - 1)));
          for (const index of damaged) flip(world, batches[index] as Batch, (damages[0]?.byte ?? 0) % 80);
          const { records, condition, gaps } = await recover(world);
          outcomes.set(condition, (outcomes.get(condition) ?? 0) + 1);
          assert.notEqual(condition, "intact");
          if (condition === "damaged") return;
          // Walks the records that were there, and what is missing of them has to be told of where it is missing.
          const lost = batches.flatMap((batch, index) =>
            Array.from({ length: batch.records }, () => damaged.has(index)),
          );
          assert.equal(lost.length, before.length);
          let at = 0;
          let gap = 0;
          for (const [index, record] of before.entries()) {
            if (lost[index] !== true) {
              assert.equal(records[at++], record);
              continue;
            }
            while (gap < gaps.length && (gaps[gap] as LogGap).behind < at) gap++;
            const told = gaps[gap];
            assert.ok(told !== undefined && told.behind === at, `record ${index} is missing and nothing says so`);
            const [instance] = instances([record]) as [number];
            assert.ok(instance <= told.through, `record ${index} is of ${instance}, told through ${told.through}`);
            if (instance === 0) {
              const later = records.slice(at).includes("prologue");
              assert.ok(later, `record ${index} said something that nothing says again`);
            }
          }
        },
      ),
      { numRuns: 120 },
    );
    assert.ok((outcomes.get("holed") ?? 0) > 10 && (outcomes.get("damaged") ?? 0) > 10, JSON.stringify([...outcomes]));
  });
});
