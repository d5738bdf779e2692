/** Storage on a simulated disk that crashes, tears, fails, fills up and lies. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { CheckpointInfo, LogStorage } from "#src/platform/index.js";
import { SimFile } from "#src/platform/storage/sim-file.js";
import { simWorld } from "./storage-worlds.js";
import {
  append,
  closeLog,
  identity,
  loadIdentity,
  openCheckpoints,
  readCheckpoint,
  recover,
  saveIdentity,
  startLog,
  text,
  writeCheckpoint,
} from "./storage.suite.js";

function codeOf(error: Error | null | undefined): string | undefined {
  return (error as { code?: string } | null | undefined)?.code;
}

describe("a log whose disk fails", () => {
  const faults = [
    { name: "a sync fails", code: "SYNOD_STORAGE", diskFull: false },
    { name: "a write fails", code: "SYNOD_STORAGE", diskFull: false },
    { name: "the quota is used up", code: "SYNOD_DISK_FULL", diskFull: true },
    { name: "the disk is full", code: "SYNOD_DISK_FULL", diskFull: true },
  ] as const;

  for (const { name, code, diskFull } of faults) {
    test(`${name}: fatal exactly once, nothing confirmed afterwards, nothing retried, and it still closes`, async () => {
      for (let seed = 1; seed <= 20; seed++) {
        const world = simWorld(seed);
        const { log, durable, fatal, reached } = await startLog(world, world.open().log, () => "prologue");
        for (let index = 0; index < seed; index++) append(log, text(300, index));
        log.flush();
        await reached(seed + 1);
        if (name === "a sync fails") world.disk.faults.failSync = "EIO";
        else if (name === "a write fails") world.disk.faults.failWrite = "EIO";
        else if (name === "the quota is used up") world.disk.faults.failWrite = "EDQUOT";
        else world.disk.faults.capacityBytes = world.disk.usedBytes() + seed * 100;
        for (let index = 0; fatal.length === 0; index++) {
          assert.ok(index < 5_000, `seed ${seed}: the fault was never met`);
          append(log, text(500, index));
          log.flush();
          await world.elapse(0.2);
        }
        const confirmed = durable();
        const syncs = world.disk.syncs;
        for (let index = 0; index < 20; index++) {
          append(log, "late");
          log.flush();
          await world.elapse(5);
        }
        assert.equal(durable(), confirmed, `seed ${seed}`);
        assert.equal(fatal.length, 1);
        assert.equal(codeOf(fatal[0]), code);
        assert.equal((fatal[0] as { diskFull?: boolean }).diskFull, diskFull);
        assert.ok(world.disk.syncs <= syncs + 2, "at most the syncs already under way ended");
        await closeLog(world, log);
        assert.equal(fatal.length, 1);
      }
    });
  }

  test("a failed sync loses what it covered, and recovery shows all that was confirmed before", async () => {
    let lost = 0;
    for (let seed = 1; seed <= 20; seed++) {
      const world = simWorld(seed);
      const { log, reached, fatal } = await startLog(world, world.open().log);
      append(log, "confirmed");
      log.flush();
      await reached(1);
      // The space ahead is taken by then: the next sync is the log's own.
      await world.elapse(20);
      world.disk.faults.failSync = "EIO";
      append(log, "unconfirmed");
      log.flush();
      await world.elapse(5);
      assert.equal(fatal.length, 1);
      world.cutPower();
      const { records, condition } = await recover(world, world.open().log);
      assert.equal(condition, "intact");
      assert.equal(records[0], "confirmed");
      if (records.length === 1) lost++;
    }
    assert.ok(lost > 0 && lost < 20, `lost in ${lost} of 20 runs`);
  });
});

describe("a simulated file", () => {
  test("what a failed sync has given up does not come back over what was written there later", async () => {
    for (const end of ["kill", "power"] as const) {
      for (let seed = 1; seed <= 20; seed++) {
        const world = simWorld(seed);
        const file = new SimFile();
        const settle = (offset: number, byte: number, length: number, fails: boolean): void => {
          const write = file.write(offset, new Uint8Array(length).fill(byte));
          write.landed = true;
          if (fails) write.abandoned = true;
          else file.settle(file.landed());
        };
        settle(0, 1, 4096, true);
        settle(512, 2, 1024, false);
        settle(3072, 3, 2048, false);
        assert.deepEqual(
          [0, 512, 1535, 1536, 3071, 3072, 5119].map((at) => file.bytes[at]),
          [1, 2, 2, 1, 1, 3, 3],
        );
        if (end === "kill") file.killWriter(world.disk.prng);
        else file.cutPower(world.disk.prng);
        assert.deepEqual(
          [512, 1535, 3072, 5119].map((at) => file.bytes[at]),
          [2, 2, 3, 3],
          `seed ${seed}`,
        );
        if (end === "kill")
          assert.deepEqual(
            [0, 511, 1536, 3071].map((at) => file.bytes[at]),
            [1, 1, 1, 1],
          );
      }
    }
  });
});

type Step =
  | { readonly kind: "append"; readonly records: number; readonly bytes: number; readonly flush: boolean }
  | { readonly kind: "elapse"; readonly ms: number }
  | { readonly kind: "trim"; readonly behind: number }
  | { readonly kind: "end"; readonly how: "kill" | "power" | "close" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      records: fc.integer({ min: 1, max: 8 }),
      bytes: fc.oneof(fc.nat(60), fc.nat(3000)),
      flush: fc.boolean(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("elapse" as const),
      ms: fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(120)),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("trim" as const), behind: fc.nat(40) }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("end" as const), how: fc.constantFrom("kill", "power", "close") }),
  },
);

/**
 * Runs a history on a simulated disk and holds every recovery to the contract: intact, and the records a contiguous part
 * of what was appended that reaches at least to the last one confirmed and misses at the front only what was trimmed.
 */
async function runHistory(seed: number, steps: readonly Step[], liesAboutSync = false): Promise<void> {
  const world = simWorld(seed);
  world.disk.faults.liesAboutSync = liesAboutSync;
  /** Numbers of the records that exist, oldest first; record n has instance n. */
  let existing: number[] = [];
  let confirmed = 0;
  let trimmed = 0;
  let last = 0;
  let log: LogStorage | null = null;
  /** By position in the present run. */
  let numbers: number[] = [];

  const open = async (): Promise<LogStorage> => {
    const opened = world.open().log;
    const { records, error, condition } = await recover(world, opened);
    assert.equal(error, null);
    assert.notEqual(condition, "damaged");
    const found = records.filter((record) => record !== "prologue").map((record) => Number(record.split(" ")[0]));
    const start = found.length === 0 ? existing.length : existing.indexOf(found[0] as number);
    assert.deepEqual(
      found,
      existing.slice(start, start + found.length),
      "records are a contiguous part of what was written",
    );
    if (found.length > 0) {
      for (const missing of existing.slice(0, start))
        assert.ok(missing <= trimmed, `${missing} is missing at the front`);
      assert.ok((found.at(-1) as number) >= confirmed, `confirmed ${confirmed}, found up to ${found.at(-1)}`);
    } else assert.ok(confirmed <= trimmed, `confirmed ${confirmed}, found nothing`);
    for (const record of records) {
      const [number, body] = record.split(" ");
      if (body !== undefined) assert.equal(body, text(body.length, Number(number)));
    }
    existing = found;
    // The host acts on what it has read: from now on it may no more be lost than what was confirmed.
    confirmed = Math.max(confirmed, found.at(-1) ?? 0);
    numbers = [];
    opened.start({
      onDurable: (position) => (confirmed = Math.max(confirmed, ...numbers.slice(0, position))),
      onFatal: (failure) => assert.fail(failure),
      onSegment: () => {
        append(opened, "prologue");
        numbers.push(0);
      },
    });
    return opened;
  };

  for (const action of [...steps, { kind: "end", how: "power" }, { kind: "end", how: "close" }] as Step[]) {
    log ??= await open();
    switch (action.kind) {
      case "append":
        for (let index = 0; index < action.records; index++) {
          const number = ++last;
          numbers.push(number);
          existing.push(number);
          append(log, `${number} ${text(action.bytes, number)}`, number);
        }
        if (action.flush) log.flush();
        break;
      case "elapse":
        await world.elapse(action.ms);
        break;
      case "trim":
        trimmed = Math.max(trimmed, confirmed - action.behind);
        log.trim(trimmed);
        break;
      case "end":
        if (action.how === "close") {
          await closeLog(world, log);
          assert.equal(confirmed, Math.max(confirmed, ...numbers), "closing confirms everything");
          world.kill();
        } else if (action.how === "kill") world.kill();
        else world.cutPower();
        log = null;
    }
  }
  await open();
}

describe("property: append, flush, trim, crash and recover in any order", () => {
  test("everything confirmed is there, in order, and the log is intact", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.array(step, { minLength: 5, maxLength: 60 }), (seed, steps) =>
        runHistory(seed, steps),
      ),
      { numRuns: 150 },
    );
  });

  test("the same check rejects a disk that lies about syncs", async () => {
    const history: Step[] = Array.from({ length: 40 }, (_, index): Step[] => [
      { kind: "append", records: 3, bytes: index * 20, flush: true },
      { kind: "elapse", ms: 2 },
    ]).flat();
    let rejected = 0;
    for (let seed = 1; seed <= 10; seed++) {
      await runHistory(seed, history);
      await runHistory(seed, history, true).catch(() => rejected++);
    }
    assert.equal(rejected, 10);
  });

  test("one seed gives one history", async () => {
    const run = async (seed: number): Promise<string> => {
      const world = simWorld(seed);
      const { log } = await startLog(world, world.open().log);
      for (let index = 0; index < 50; index++) {
        append(log, text(index * 20, index));
        log.flush();
        await world.elapse(0.1);
      }
      world.cutPower();
      const { records } = await recover(world, world.open().log);
      return `${records.length} ${world.kernel.now} ${world.kernel.events}`;
    };
    assert.equal(await run(7), await run(7));
    const outcomes = new Set(await Promise.all(Array.from({ length: 8 }, (_, seed) => run(seed))));
    assert.ok(outcomes.size > 1);
  });
});

describe("checkpoints and identity on a disk that crashes", () => {
  test("a power cut at any moment of a commit leaves the old checkpoint or the new one, whole", async () => {
    const outcomes = new Set<number>();
    for (let seed = 1; seed <= 120; seed++) {
      const world = simWorld(seed);
      const { checkpoints } = world.open();
      await openCheckpoints(world, checkpoints);
      await writeCheckpoint(world, checkpoints, 1, ["old"]);
      const writer = checkpoints.begin(2);
      await world.wait((resolve) => writer.write(Buffer.from("new"), 0, 3, resolve));
      let committed: CheckpointInfo | null = null;
      writer.commit("0f", (_error, info) => (committed = info));
      await world.elapse((seed % 60) / 40);
      world.cutPower();
      const again = world.open().checkpoints;
      const latest = await openCheckpoints(world, again);
      assert.ok(latest !== null, `seed ${seed}: no checkpoint is left`);
      if (committed !== null) assert.equal(latest.through, 2, `seed ${seed}: a committed checkpoint is lost`);
      assert.deepEqual(await readCheckpoint(world, again, latest.through), [latest.through === 2 ? "new" : "old"]);
      outcomes.add(latest.through);
    }
    assert.deepEqual(
      [...outcomes].sort((a, b) => a - b),
      [1, 2],
    );
  });

  test("any damaged byte of a checkpoint makes it passed over and reported", async () => {
    const reports: string[] = [];
    const world = simWorld(1, { onDamaged: (path) => reports.push(path) });
    const { checkpoints } = world.open();
    await openCheckpoints(world, checkpoints);
    await writeCheckpoint(world, checkpoints, 1, ["old"]);
    await writeCheckpoint(world, checkpoints, 2, ["first", "second"]);
    const newest = world.disk.files().find((file) => file.path.endsWith("checkpoint-2"));
    assert.ok(newest !== undefined);
    for (let byte = 0; byte < newest.bytes.length; byte++) {
      world.kill();
      world.disk.flipBit(newest.path, byte, byte % 8);
      const again = world.open().checkpoints;
      assert.equal((await openCheckpoints(world, again))?.through, 1, `byte ${byte}`);
      assert.equal(reports.length, byte + 1);
      world.disk.flipBit(newest.path, byte, byte % 8);
    }
    world.kill();
    assert.equal((await openCheckpoints(world, world.open().checkpoints))?.through, 2);
  });

  test("a full disk fails a checkpoint and leaves the one before", async () => {
    const world = simWorld();
    const { checkpoints } = world.open();
    await openCheckpoints(world, checkpoints);
    await writeCheckpoint(world, checkpoints, 1, ["old"]);
    world.disk.faults.capacityBytes = world.disk.usedBytes() + 10;
    const writer = checkpoints.begin(2);
    const error = await world.wait<Error | null>((resolve) => writer.write(Buffer.alloc(100), 0, 100, resolve));
    assert.equal(codeOf(error), "SYNOD_DISK_FULL");
    assert.equal((await openCheckpoints(world, checkpoints))?.through, 1);
    checkpoints.begin(3).abort();
  });

  test("a saved identity survives a power cut, an interrupted save leaves the old or the new one", async () => {
    for (let seed = 1; seed <= 60; seed++) {
      const world = simWorld(seed);
      const store = world.open().identity;
      assert.equal(await saveIdentity(world, store, identity), null);
      store.save({ ...identity, amnesiaNonce: 78 }, () => {});
      await world.elapse((seed % 30) / 30);
      world.cutPower();
      const { error, identity: found } = await loadIdentity(world, world.open().identity);
      assert.equal(error, null);
      assert.ok(found !== null && found !== "damaged" && [77, 78].includes(found.amnesiaNonce), `seed ${seed}`);
    }
  });

  test("a damaged identity that is misread once is no other program's, whatever format it seems to have", async () => {
    const world = simWorld();
    assert.equal(await saveIdentity(world, world.open().identity, identity), null);
    const file = world.disk.files().find(({ path }) => path.endsWith("/identity"));
    assert.ok(file !== undefined);
    world.disk.flipBit(file.path, Buffer.from(file.bytes).indexOf("checksum"));
    world.kill();
    // The bit that is misread is drawn, and three of a few thousand make a newer format of the present one.
    for (let misread = 0; misread < 1500; misread++) {
      world.disk.faults.flipReads = { after: 0, times: 1 };
      const misreads = world.disk.misreads;
      const { error, identity: found } = await loadIdentity(world, world.open().identity);
      assert.equal(world.disk.misreads, misreads + 1);
      assert.equal(error, null);
      // It may be the very bit that was flipped.
      if (found !== "damaged") assert.deepEqual(found, identity);
      world.kill();
    }
  });

  test("one bit of an identity flips, and none more before there is another", async () => {
    const world = simWorld();
    assert.equal(world.disk.damageIdentity(), false);
    for (let saved = 0; saved < 3; saved++) {
      assert.equal(await saveIdentity(world, world.open().identity, identity), null);
      world.kill();
      assert.equal(world.disk.damageIdentity(), true);
      assert.equal(world.disk.damageIdentity(), false);
    }
  });

  test("no flipped bit of an identity goes unnoticed", async () => {
    const world = simWorld();
    assert.equal(await saveIdentity(world, world.open().identity, identity), null);
    world.kill();
    const [file] = world.disk.files();
    assert.ok(file !== undefined);
    for (let byte = 0; byte < file.bytes.length; byte++) {
      for (let bit = 0; bit < 8; bit++) {
        world.disk.flipBit(file.path, byte, bit);
        const { error, identity: found } = await loadIdentity(world, world.open().identity);
        // Another program's newer format, and a replica that does not start: neither is what a flipped bit may make of it.
        assert.equal(error, null, `byte ${byte} bit ${bit}`);
        // A changed blank between the fields changes nothing.
        if (found !== "damaged") assert.deepEqual(found, identity);
        world.disk.flipBit(file.path, byte, bit);
        world.kill();
      }
    }
  });

  test("boot ids change with the power, not with the process; an emptied disk is empty", async () => {
    const world = simWorld();
    const storage = world.open();
    const boot = storage.identity.bootId();
    await saveIdentity(world, storage.identity, identity);
    world.kill();
    assert.equal(world.open().identity.bootId(), boot);
    world.cutPower();
    const again = world.open();
    assert.notEqual(again.identity.bootId(), boot);
    assert.deepEqual((await loadIdentity(world, again.identity)).identity, identity);
    world.kill();
    world.disk.wipe();
    assert.equal((await loadIdentity(world, world.open().identity)).identity, null);
  });

  test("memory durability keeps the identity alone", async () => {
    const world = simWorld(1, { durability: "memory" });
    const storage = world.open();
    const { log } = await startLog(world, storage.log);
    append(log, "a");
    await closeLog(world, log);
    await openCheckpoints(world, storage.checkpoints);
    await writeCheckpoint(world, storage.checkpoints, 1, ["a"]);
    await saveIdentity(world, storage.identity, identity);
    world.kill();
    const again = world.open();
    assert.deepEqual(await recover(world, again.log), { records: [], error: null, condition: "intact" });
    assert.equal(await openCheckpoints(world, again.checkpoints), null);
    assert.deepEqual((await loadIdentity(world, again.identity)).identity, identity);
  });
});
