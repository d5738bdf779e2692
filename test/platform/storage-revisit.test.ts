/** Reading a log back while it runs: whatever range is asked for, of this run or an earlier one, and whatever became of it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { LogStorage } from "#src/platform/index.js";
import { fileWorld, simWorld } from "./storage-worlds.js";
import { append, closeLog, type StorageWorld, text } from "./storage.suite.js";

/** A record that names its instance, which the log is told of anew at recovery. */
const recordOf = (instance: number, version: number, bytes: number): string =>
  `${instance}:${version}:${text(bytes, instance)}`;
const instanceOf = (record: string): number => Number(record.slice(0, record.indexOf(":")));

/** Recovers as a host does that says which instance a record is of, and starts the log. */
async function start(
  world: StorageWorld,
  log: LogStorage,
  told: boolean,
): Promise<(position: number) => Promise<void>> {
  const condition = await world.wait<string>((resolve) =>
    log.recover(
      (bytes, _view, from, end) => {
        if (told) return instanceOf(Buffer.from(bytes.subarray(from, end)).toString("latin1"));
        return undefined;
      },
      (error, found) => resolve(error === null ? found : error.message),
    ),
  );
  if (condition === "missing") await world.wait((resolve) => log.reset(resolve));
  let durable = 0;
  const waiters: (() => void)[] = [];
  log.start({
    onDurable: (position) => {
      durable = position;
      for (const waiter of waiters.splice(0)) waiter();
    },
    onFatal: (error) => assert.fail(error),
    onSegment: () => append(log, "0:prologue"),
  });
  return (position) =>
    world.wait((resolve) => {
      const check = (): void => {
        if (durable >= position) resolve();
        else waiters.push(check);
      };
      check();
    });
}

interface Read {
  readonly records: string[];
  readonly error: Error | null;
}

function revisit(world: StorageWorld, log: LogStorage, from: number, through: number): Promise<Read> {
  const records: string[] = [];
  return world.wait((resolve) =>
    log.revisit?.(
      from,
      through,
      (bytes, _view, start, end) => records.push(Buffer.from(bytes.subarray(start, end)).toString("latin1")),
      (error) => resolve({ records, error }),
    ),
  );
}

/** The newest record of each instance in a range, of those in the order they were written. */
function newest(records: readonly string[], from: number, through: number): Map<number, string> {
  const found = new Map<number, string>();
  for (const record of records) {
    const instance = instanceOf(record);
    if (instance >= from && instance <= through) found.set(instance, record);
  }
  return found;
}

/** Writes groups of records, each of which is durable before the next begins. */
async function write(
  log: LogStorage,
  groups: readonly (readonly string[])[],
  reached: (position: number) => Promise<void>,
) {
  for (const group of groups) {
    let position = 0;
    for (const record of group) position = append(log, record, instanceOf(record));
    log.flush();
    await reached(position);
  }
}

describe("a log is read back while it runs", () => {
  for (const [name, make] of [
    ["files", fileWorld],
    ["simulated disk", simWorld],
  ] as const) {
    test(`${name}: the newest record of each instance of a range, over segments and restarts`, async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.array(fc.record({ back: fc.nat(6), bytes: fc.nat(1500) }), { minLength: 1, maxLength: 12 }), {
            minLength: 1,
            maxLength: 25,
          }),
          fc.boolean(),
          fc.boolean(),
          fc.tuple(fc.nat(100), fc.nat(60)),
          async (groups, restarted, told, [low, wide]) => {
            const world = make();
            try {
              let log = world.open().log;
              let reached = await start(world, log, told);
              let top = 0;
              let version = 0;
              const written: string[][] = groups.map((group) =>
                group.map(({ back, bytes }) => {
                  // Instances come nearly in order, some again with another value.
                  const instance = Math.max(1, back === 0 ? top - 3 : ++top);
                  return recordOf(instance, ++version, bytes);
                }),
              );
              const half = restarted ? Math.ceil(written.length / 2) : written.length;
              await write(log, written.slice(0, half), reached);
              if (restarted) {
                await closeLog(world, log);
                world.kill();
                log = world.open().log;
                reached = await start(world, log, told);
                await write(log, written.slice(half), reached);
              }
              const from = 1 + (low % Math.max(1, top));
              const through = from + wide;
              const { records, error } = await revisit(world, log, from, through);
              assert.equal(error, null);
              assert.deepEqual(newest(records, from, through), newest(written.flat(), from, through));
              await closeLog(world, log);
            } finally {
              world.dispose();
            }
          },
        ),
        { numRuns: name === "files" ? 15 : 60 },
      );
    });
  }

  test("a range is read from the part of the log that has it, not from all of it", async () => {
    const world = simWorld();
    const { log } = world.open();
    const reached = await start(world, log, true);
    const groups = Array.from({ length: 200 }, (_, i) => [recordOf(i + 1, 1, 2000)]);
    await write(log, groups, reached);
    const { records, error } = await revisit(world, log, 100, 101);
    assert.equal(error, null);
    assert.deepEqual(newest(records, 100, 101), newest(groups.flat(), 100, 101));
    // Segments of 16 KiB hold seven of these.
    assert.ok(records.length <= 16, `${records.length} records were read for two`);
  });

  test("what is not durable yet is not shown, and does not stand in the way", async () => {
    const world = simWorld();
    const { log } = world.open();
    const reached = await start(world, log, true);
    await write(log, [[recordOf(1, 1, 100)]], reached);
    const late = append(log, recordOf(1, 2, 100), 1);
    log.flush();
    const { records, error } = await revisit(world, log, 1, 1);
    assert.equal(error, null);
    assert.deepEqual(newest(records, 1, 1), new Map([[1, recordOf(1, 1, 100)]]));
    await reached(late);
    const again = await revisit(world, log, 1, 1);
    assert.deepEqual(newest(again.records, 1, 1), new Map([[1, recordOf(1, 2, 100)]]));
  });

  test("damage is an error, of the range that it is in alone", async () => {
    const world = simWorld();
    const { log } = world.open();
    const reached = await start(world, log, true);
    await write(
      log,
      Array.from({ length: 40 }, (_, i) => [recordOf(i + 1, 1, 2000)]),
      reached,
    );
    const first = world.disk.files().find((file) => file.path.includes("/segment-"));
    assert.ok(first !== undefined);
    world.disk.flipBit(first.path, 3000, 3);
    assert.match((await revisit(world, log, 1, 5)).error?.message ?? "", /no batch stands at/);
    const { records, error } = await revisit(world, log, 30, 31);
    assert.equal(error, null);
    assert.equal(newest(records, 30, 31).size, 2);
  });

  test("a segment that was dropped is read no more; what stands behind it is", async () => {
    const world = simWorld();
    const { log } = world.open();
    const reached = await start(world, log, true);
    const groups = Array.from({ length: 40 }, (_, i) => [recordOf(i + 1, 1, 2000)]);
    await write(log, groups.slice(0, 30), reached);
    log.trim(20);
    await world.elapse(200);
    await write(log, groups.slice(30), reached);
    const { records, error } = await revisit(world, log, 1, 40);
    assert.equal(error, null);
    assert.deepEqual(newest(records, 21, 40), newest(groups.flat(), 21, 40));
    assert.ok(!newest(records, 1, 5).has(1));
  });
});
