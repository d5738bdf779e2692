/**
 * What every storage does, whatever it stores in. A sibling that deviates names the test it does not run, and why.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type {
  CheckpointInfo,
  Identity,
  IdentityStore,
  LogCondition,
  LogStorage,
  ReplicaStorage,
  CheckpointStore,
} from "#src/platform/index.js";

export const clusterId = "0123456789abcdef";

/** A place to store in, and the world's way of letting time pass until something is called back. */
export interface StorageWorld {
  /** Opens the storage in a new process; the one before was ended by `kill`. */
  open(options?: { clusterId?: string }): ReplicaStorage;
  /** Ends the process without closing anything. Writes that called back stay; what the process waits for never comes. */
  kill(): void;
  /** Runs `start` and lets the world go on until it resolves. */
  wait<T>(start: (resolve: (value: T) => void) => void): Promise<T>;
  /** Lets this much time pass. */
  elapse(ms: number): Promise<void>;
  dispose(): void;
}

export interface StorageSuite {
  readonly name: string;
  /** Segments of 16 KiB, seals after 50 ms. */
  readonly world: () => StorageWorld;
  /** Titles of tests this sibling does not run, with the reason. */
  readonly skips: Readonly<Record<string, string>>;
}

/** A log that was recovered and started, with what it has said so far. */
export interface StartedLog {
  readonly log: LogStorage;
  readonly records: readonly string[];
  readonly condition: LogCondition;
  /** Highest position confirmed. */
  readonly durable: () => number;
  readonly fatal: readonly Error[];
  readonly segments: () => number;
  /** Resolves when `position` is durable. */
  readonly reached: (position: number) => Promise<void>;
}

export function text(length: number, seed: number): string {
  return String.fromCharCode(97 + (seed % 26)).repeat(length);
}

export function append(log: LogStorage, record: string, instance = 0): number {
  log.begin(instance).latin1(record);
  return log.end();
}

function read(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.subarray(start, end)).toString("latin1");
}

export async function recover(
  world: Pick<StorageWorld, "wait">,
  log: LogStorage,
): Promise<{ records: string[]; error: Error | null; condition: LogCondition }> {
  const records: string[] = [];
  return world.wait((resolve) =>
    log.recover(
      (bytes, view, start, end) => {
        assert.equal(view.buffer, bytes.buffer);
        records.push(read(bytes, start, end));
      },
      (error, condition) => resolve({ records, error, condition }),
    ),
  );
}

/** Recovers and starts a log. `prologue`, if any, is what the host appends to each new segment. */
export async function startLog(world: StorageWorld, log: LogStorage, prologue?: () => string): Promise<StartedLog> {
  const { records, error, condition } = await recover(world, log);
  assert.equal(error, null);
  // As a host does for a replica that never ran.
  if (condition === "missing") assert.equal(await world.wait<Error | null>((resolve) => log.reset(resolve)), null);
  let durable = 0;
  let segments = 0;
  const fatal: Error[] = [];
  const waiters: (() => void)[] = [];
  log.start({
    onDurable: (position) => {
      assert.ok(position > durable, `confirmed ${position} after ${durable}`);
      durable = position;
      for (const waiter of waiters.splice(0)) waiter();
    },
    onFatal: (failure) => fatal.push(failure),
    onSegment: () => {
      segments++;
      if (prologue !== undefined) append(log, prologue());
    },
  });
  const reached = (position: number): Promise<void> =>
    world.wait((resolve) => {
      const check = (): void => {
        if (durable >= position) resolve();
        else waiters.push(check);
      };
      check();
    });
  return { log, records, condition, durable: () => durable, fatal, segments: () => segments, reached };
}

export function closeLog(world: StorageWorld, log: LogStorage): Promise<void> {
  return world.wait((resolve) => log.close(resolve));
}

export async function writeCheckpoint(
  world: StorageWorld,
  store: CheckpointStore,
  through: number,
  chunks: readonly string[],
): Promise<CheckpointInfo> {
  const writer = store.begin(through);
  for (const chunk of chunks) {
    const bytes = Buffer.from(`<<${chunk}>>`, "latin1");
    const error = await world.wait<Error | null>((resolve) => {
      writer.write(bytes, 2, bytes.length - 2, resolve);
      // The store has copied the bytes: what becomes of them now is no concern of its.
      bytes.fill(0);
    });
    assert.equal(error, null);
  }
  return world.wait((resolve) =>
    writer.commit("00ff", (error, info) => {
      assert.equal(error, null);
      assert.ok(info !== null);
      resolve(info);
    }),
  );
}

export async function readCheckpoint(world: StorageWorld, store: CheckpointStore, through: number): Promise<string[]> {
  const reader = store.read(through);
  const chunks: string[] = [];
  for (;;) {
    const chunk = await world.wait<Uint8Array | null>((resolve) =>
      reader.next((error, bytes) => {
        assert.equal(error, null);
        resolve(bytes);
      }),
    );
    if (chunk === null) break;
    chunks.push(read(chunk, 0, chunk.length));
  }
  reader.close();
  return chunks;
}

export function openCheckpoints(world: StorageWorld, store: CheckpointStore): Promise<CheckpointInfo | null> {
  return world.wait((resolve) =>
    store.open((error, latest) => {
      assert.equal(error, null);
      resolve(latest);
    }),
  );
}

export function loadIdentity(
  world: Pick<StorageWorld, "wait">,
  store: IdentityStore,
): Promise<{ error: Error | null; identity: Identity | "damaged" | null }> {
  return world.wait((resolve) => store.load((error, identity) => resolve({ error, identity })));
}

export function saveIdentity(world: StorageWorld, store: IdentityStore, identity: Identity): Promise<Error | null> {
  return world.wait((resolve) => store.save(identity, resolve));
}

export const identity: Identity = {
  format: 1,
  clusterId,
  replica: 2,
  durability: "fsync",
  bootId: "some boot",
  started: true,
  amnesiaNonce: 77,
};

export function runStorageSuite({ name, world: makeWorld, skips }: StorageSuite): void {
  const titles = new Set<string>();
  const check = (title: string, body: (world: StorageWorld) => Promise<void>): void => {
    titles.add(title);
    const skip = skips[title];
    test(title, skip === undefined ? {} : { skip }, async () => {
      const world = makeWorld();
      try {
        await body(world);
      } finally {
        world.dispose();
      }
    });
  };

  describe(`storage suite: ${name}`, () => {
    check("a new log is not damaged, and empty", async (world) => {
      const { log, records, condition } = await startLog(world, world.open().log);
      assert.deepEqual(records, []);
      assert.notEqual(condition, "damaged");
      assert.equal(log.pendingBytes(), 0);
      await closeLog(world, log);
    });

    check("positions are 1, 2, 3, … and are confirmed in order, never inside a call", async (world) => {
      const { log, durable, reached } = await startLog(world, world.open().log);
      assert.deepEqual([append(log, "a"), append(log, ""), append(log, "c")], [1, 2, 3]);
      log.flush();
      assert.equal(durable(), 0);
      await reached(3);
      assert.equal(log.pendingBytes(), 0);
      assert.equal(append(log, "d"), 4);
      await closeLog(world, log);
      assert.equal(durable(), 4, "closing confirms what was appended");
    });

    check("what is appended while a group is written is confirmed by the next flush", async (world) => {
      const { log, durable, reached } = await startLog(world, world.open().log);
      for (let group = 0; group < 50; group++) {
        for (let record = 0; record < 7; record++) append(log, text(record * 10, group));
        log.flush();
      }
      await reached(350);
      assert.equal(durable(), 350);
      await closeLog(world, log);
    });

    check("a closed log returns every record in order", async (world) => {
      const first = await startLog(world, world.open().log);
      const written = Array.from({ length: 500 }, (_, index) => `${index} ${text(index % 90, index)}`);
      for (const [index, record] of written.entries()) {
        append(first.log, record, index);
        if (index % 9 === 0) first.log.flush();
      }
      await closeLog(world, first.log);
      world.kill();
      const second = await startLog(world, world.open().log);
      assert.deepEqual(second.records, written);
      assert.equal(second.condition, "intact");
      await closeLog(world, second.log);
    });

    check("a killed process loses nothing that was confirmed, run after run", async (world) => {
      const written: string[] = [];
      for (let run = 0; run < 5; run++) {
        const { log, records, condition, reached } = await startLog(world, world.open().log);
        assert.deepEqual(records, written);
        assert.notEqual(condition, "damaged");
        for (let index = 0; index < 40; index++) {
          const record = `${run}.${index} ${text(index * 11, index)}`;
          written.push(record);
          const position = append(log, record);
          log.flush();
          if (index % 10 === 9) await reached(position);
        }
        world.kill();
      }
    });

    check("the longest record and an empty one come back", async (world) => {
      const { log, reached } = await startLog(world, world.open().log);
      const long = text(8 * 1024 * 1024, 3);
      append(log, long);
      append(log, "");
      log.flush();
      await reached(2);
      assert.throws(() => append(log, `${long}x`), /at most 8388608 bytes/);
      world.kill();
      const { records } = await recover(world, world.open().log);
      assert.equal(records.length, 2);
      assert.ok(records[0] === long && records[1] === "");
    });

    check("each new segment begins with the host's prologue", async (world) => {
      const first = await startLog(world, world.open().log, () => "prologue");
      for (let index = 1; index <= 300; index++) {
        const position = append(first.log, text(400, index), index);
        first.log.flush();
        await first.reached(position);
      }
      assert.ok(first.segments() > 5, `${first.segments()} segments`);
      await closeLog(world, first.log);
      world.kill();
      const { records } = await recover(world, world.open().log);
      assert.equal(records[0], "prologue");
      assert.equal(records.filter((record) => record === "prologue").length, first.segments());
      assert.equal(records.length, 300 + first.segments());
    });

    check("trimming drops covered segments from the front and keeps the rest whole", async (world) => {
      const first = await startLog(world, world.open().log, () => "prologue");
      for (let index = 1; index <= 300; index++) {
        const position = append(first.log, `${index} ${text(400, index)}`, index);
        first.log.flush();
        await first.reached(position);
        if (index % 50 === 0) first.log.trim(index - 40);
      }
      await closeLog(world, first.log);
      world.kill();
      const { records, condition } = await recover(world, world.open().log);
      assert.equal(condition, "intact");
      const kept = records.filter((record) => record !== "prologue").map((record) => Number.parseInt(record));
      const firstKept = kept[0] as number;
      assert.ok(firstKept > 150 && firstKept <= 261, `kept from ${firstKept}`);
      assert.deepEqual(
        kept,
        Array.from({ length: 301 - firstKept }, (_, index) => firstKept + index),
      );
      assert.equal(records[0], "prologue");
    });

    check("a reset log is empty, and usable", async (world) => {
      const first = await startLog(world, world.open().log);
      for (let index = 0; index < 200; index++) append(first.log, text(300, index));
      await closeLog(world, first.log);
      world.kill();
      const { log } = world.open();
      await recover(world, log);
      assert.equal(await world.wait<Error | null>((resolve) => log.reset(resolve)), null);
      log.start({ onDurable: () => {}, onFatal: (error) => assert.fail(error), onSegment: () => {} });
      append(log, "fresh");
      await closeLog(world, log);
      world.kill();
      const again = await recover(world, world.open().log);
      assert.deepEqual(again, { records: ["fresh"], error: null, condition: "intact" });
    });

    check("a log that was opened and closed many times stays small and intact", async (world) => {
      for (let run = 0; run < 12; run++) {
        const { log, records, condition } = await startLog(world, world.open().log);
        assert.deepEqual(
          records,
          Array.from({ length: run }, (_, index) => `run ${index}`),
        );
        assert.notEqual(condition, "damaged");
        append(log, `run ${run}`);
        await closeLog(world, log);
        world.kill();
      }
    });

    check("files of another cluster are refused", async (world) => {
      const first = world.open();
      const { log } = await startLog(world, first.log);
      append(log, "a");
      await closeLog(world, log);
      await openCheckpoints(world, first.checkpoints);
      await writeCheckpoint(world, first.checkpoints, 1, ["a"]);
      await saveIdentity(world, first.identity, identity);
      world.kill();
      const other = world.open({ clusterId: "fedcba9876543210" });
      const reason = /belongs to cluster 0123456789abcdef, not to fedcba9876543210/;
      assert.match(String((await recover(world, other.log)).error), reason);
      assert.match(String((await loadIdentity(world, other.identity)).error), reason);
      const error = await world.wait<Error | null>((resolve) => other.checkpoints.open(resolve));
      assert.match(String(error), reason);
    });

    check("a checkpoint is read back chunk by chunk", async (world) => {
      const { checkpoints } = world.open();
      assert.equal(await openCheckpoints(world, checkpoints), null);
      const chunks = [text(1, 1), text(1000, 2), text(1024 * 1024, 3)];
      const info = await writeCheckpoint(world, checkpoints, 42, chunks);
      assert.deepEqual(info, { through: 42, digest: "00ff", bytes: 1001 + 1024 * 1024 });
      assert.deepEqual(await readCheckpoint(world, checkpoints, 42), chunks);
      assert.deepEqual(await openCheckpoints(world, checkpoints), info);
    });

    check("an empty checkpoint is a checkpoint", async (world) => {
      const { checkpoints } = world.open();
      await openCheckpoints(world, checkpoints);
      await writeCheckpoint(world, checkpoints, 3, []);
      assert.deepEqual(await readCheckpoint(world, checkpoints, 3), []);
    });

    check("the newest two checkpoints are kept", async (world) => {
      const { checkpoints } = world.open();
      await openCheckpoints(world, checkpoints);
      for (const through of [9, 10, 111]) await writeCheckpoint(world, checkpoints, through, [`at ${through}`]);
      assert.deepEqual(await readCheckpoint(world, checkpoints, 10), ["at 10"]);
      assert.deepEqual(await readCheckpoint(world, checkpoints, 111), ["at 111"]);
      assert.equal((await openCheckpoints(world, checkpoints))?.through, 111);
      const reader = checkpoints.read(9);
      const error = await world.wait<Error | null>((resolve) => reader.next(resolve));
      assert.equal((error as { code?: string } | null)?.code, "SYNOD_STORAGE");
      reader.close();
    });

    check("an aborted checkpoint leaves the one before", async (world) => {
      const { checkpoints } = world.open();
      await openCheckpoints(world, checkpoints);
      await writeCheckpoint(world, checkpoints, 5, ["five"]);
      const writer = checkpoints.begin(6);
      const bytes = Buffer.from("six");
      await world.wait((resolve) => writer.write(bytes, 0, 3, resolve));
      writer.abort();
      assert.equal((await openCheckpoints(world, checkpoints))?.through, 5);
      await writeCheckpoint(world, checkpoints, 7, ["seven"]);
      assert.equal((await openCheckpoints(world, checkpoints))?.through, 7);
    });

    check("a committed checkpoint survives, an unfinished one does not", async (world) => {
      const { checkpoints } = world.open();
      await openCheckpoints(world, checkpoints);
      await writeCheckpoint(world, checkpoints, 5, ["five", "5"]);
      const writer = checkpoints.begin(6);
      await world.wait((resolve) => writer.write(Buffer.from("six"), 0, 3, resolve));
      world.kill();
      const again = world.open().checkpoints;
      assert.deepEqual(await openCheckpoints(world, again), { through: 5, digest: "00ff", bytes: 5 });
      assert.deepEqual(await readCheckpoint(world, again, 5), ["five", "5"]);
    });

    check("an identity is stored whole", async (world) => {
      const store = world.open().identity;
      assert.deepEqual(await loadIdentity(world, store), { error: null, identity: null });
      assert.equal(await saveIdentity(world, store, identity), null);
      assert.equal(await saveIdentity(world, store, { ...identity, amnesiaNonce: 78 }), null);
      assert.deepEqual((await loadIdentity(world, store)).identity, { ...identity, amnesiaNonce: 78 });
      assert.ok(store.bootId().length > 0);
    });

    check("an identity survives", async (world) => {
      await saveIdentity(world, world.open().identity, identity);
      world.kill();
      assert.deepEqual((await loadIdentity(world, world.open().identity)).identity, identity);
    });

    test("every skip names a test", () => {
      assert.deepEqual(
        Object.keys(skips).filter((title) => !titles.has(title)),
        [],
      );
    });
  });
}
