/** One tree that threads share: inline under every order of their turns, and in two threads that really run at once. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import { ByteWriter, Prng } from "#src/base/index.js";
import type { SnapshotSource } from "#src/model/index.js";
import { Btree, MARKS_MAX, SHARING_THREADS_MAX } from "#src/service/index.js";
import { type Command, execute, runOf } from "./btree-command.js";
import {
  attemptRound,
  attemptsOf,
  BOUNDS,
  changesOf,
  failedOf,
  Failures,
  KEYS,
  meet,
  ROUNDS,
  type SharedData,
  THREADS,
  updatesOf,
} from "./tree-shared.js";

const BYTES_MAX = 64 * 1024 * 1024;

const digestOf = (service: Btree): string => {
  const digest = new Uint32Array(4);
  service.digest(digest);
  return digest.join(" ");
};

function restored(bytes: ByteWriter): Btree {
  const service = new Btree();
  const sink = service.restore();
  sink.write(bytes.bytes, 0, bytes.length);
  sink.finish();
  return service;
}

/** Lets something happen while a node is being written into a snapshot, as another thread might. */
class InterruptedWriter extends ByteWriter {
  interrupt: () => void = () => {};

  override skip(count: number): number {
    this.interrupt();
    return super.skip(count);
  }
}

const everything: Command = { operation: "range", key: 0n, last: 0xffffffffn, pairs: 65_536 };

describe("a tree that threads share", () => {
  test("has the content, digest and snapshots of a tree alone", () => {
    for (let seed = 1; seed <= 15; seed++) {
      const prng = new Prng(seed);
      const threads = 1 + prng.below(5);
      const keys = 50 + prng.below(3000);
      const alone = new Btree();
      const first = new Btree();
      const preload = Array.from({ length: prng.below(2000) }, (): Command => {
        return { operation: "insert", key: BigInt(prng.below(keys)), value: 1n };
      });
      for (const service of [alone, first]) execute(service, preload);
      const description = first.share(threads, BYTES_MAX);
      const views = [first];
      for (let thread = 1; thread < threads; thread++) views.push(Btree.attach(description, thread));
      let snapshot: { readonly source: SnapshotSource; readonly bytes: ByteWriter; readonly digest: string } | null =
        null;
      const update = (thread: number): void => {
        const key = BigInt(Math.floor(prng.below(keys) / threads) * threads + thread);
        const command: Command = { operation: "update", key, value: BigInt(prng.u32()) };
        assert.deepEqual(execute(views[thread] as Btree, [command]), execute(alone, [command]), `seed ${seed}`);
      };
      for (let round = 0; round < 30; round++) {
        for (let turn = 0; turn < 60; turn++) {
          const thread = prng.below(threads);
          const key = BigInt(Math.floor(prng.below(keys) / threads) * threads + thread);
          const read: Command = { operation: "read", key };
          if (prng.chance(0.5)) update(thread);
          else assert.deepEqual(execute(views[thread] as Btree, [read]), execute(alone, [read]), `seed ${seed}`);
          if (snapshot === null || !prng.chance(0.05)) continue;
          if (snapshot.source.next(snapshot.bytes, 1 + prng.below(5000))) continue;
          snapshot.source.close();
          assert.equal(digestOf(restored(snapshot.bytes)), snapshot.digest, `seed ${seed}`);
          snapshot = null;
        }
        // The barrier: everyone says what it has changed, one thread does what it likes, and the others take it over.
        for (const view of views) view.publish(false);
        assert.equal(digestOf(first), digestOf(alone), `seed ${seed}`);
        const executor = views[prng.below(threads)] as Btree;
        executor.adopt();
        const changes = prng.chance(0.3) ? [] : changesOf(round * seed).slice(prng.below(150));
        assert.deepEqual(execute(executor, changes), execute(alone, changes), `seed ${seed}`);
        assert.equal(digestOf(executor), digestOf(alone), `seed ${seed}`);
        // Snapshots are the first thread's, when it is the one that executes.
        if (executor !== first) {
          if (snapshot !== null && prng.chance(0.2)) {
            snapshot.source.close();
            snapshot = null;
          }
        } else if (snapshot === null && prng.chance(0.4)) {
          const bytes = new InterruptedWriter(64, BYTES_MAX);
          snapshot = { source: first.snapshot(), bytes, digest: digestOf(first) };
          // Threads other than the one that walks write all over the tree meanwhile.
          bytes.interrupt = () => {
            if (threads > 1 && prng.chance(0.3)) update(1 + prng.below(threads - 1));
          };
        } else if (snapshot !== null && prng.chance(0.2)) {
          snapshot.source.close();
          snapshot = null;
        }
        executor.publish(true);
        for (const view of views) if (view !== executor) view.adopt();
      }
      for (const view of views) {
        assert.deepEqual(execute(view, [everything]), execute(alone, [everything]), `seed ${seed}`);
        assert.deepEqual(view.size().entries, alone.size().entries);
      }
    }
  });

  test("gives the copies for closed snapshots back", () => {
    const first = new Btree();
    execute(
      first,
      Array.from({ length: 5000 }, (_, i): Command => ({ operation: "insert", key: BigInt(i), value: 0n })),
    );
    const second = Btree.attach(first.share(2, BYTES_MAX), 1);
    const bytes: number[] = [];
    for (let round = 0; round < 20; round++) {
      const source = first.snapshot();
      first.publish(true);
      second.adopt();
      for (const [thread, view] of [first, second].entries()) {
        execute(
          view,
          Array.from({ length: 2500 }, (_, i): Command => {
            return { operation: "update", key: BigInt(2 * i + thread), value: BigInt(round) };
          }),
        );
      }
      source.close();
      // Nobody finds a mark open behind the next barrier, whoever executes there; from then on each gives back what it has copied, a
      // piece at each.
      for (let barrier = 0; barrier < 4; barrier++) {
        const [executor, other] = (barrier + round) % 2 === 0 ? [first, second] : [second, first];
        for (const view of [first, second]) view.publish(false);
        executor.adopt();
        executor.publish(true);
        other.adopt();
      }
      second.publish(false);
      bytes.push(first.size().bytes);
    }
    assert.ok(Math.max(...bytes) <= 1.01 * (bytes[0] as number), bytes.join(" "));
    assert.ok((bytes[0] as number) < 1.1 * 5000 * 25 * 1.5, "of one copy of each leaf most are given back");
  });

  test("two threads at once write the same leaves while one reads a snapshot", async () => {
    const alone = new Btree();
    const first = new Btree();
    const preload = Array.from({ length: KEYS }, (_, i): Command => ({
      operation: "insert",
      key: BigInt(i),
      value: 0n,
    }));
    for (const service of [alone, first]) execute(service, preload);
    const words = new SharedArrayBuffer(4 * THREADS);
    const numbers = new Int32Array(words);
    const workerData: SharedData = { description: first.share(THREADS, BYTES_MAX), words, failures: null };
    const worker = new Worker(new URL("./tree-shared.js", import.meta.url), { workerData });
    const ended = once(worker, "exit");
    // Before this thread waits without its loop, the worker has to be under way.
    await once(worker, "online");
    for (let round = 1; round <= ROUNDS; round++) {
      for (const service of [alone, first]) execute(service, changesOf(round));
      const updates = runOf(updatesOf(0, round));
      const replies = new ByteWriter(BYTES_MAX / 64);
      const bytes = new ByteWriter(BYTES_MAX / 64);
      const source = first.snapshot();
      const digest = digestOf(first);
      assert.equal(digest, digestOf(alone));
      first.publish(true);
      meet(numbers, 0, 2 * round - 1);
      // The other thread writes what is read here; in every second round this one does so before.
      if (round % 2 === 0) first.execute(updates, replies, null);
      while (source.next(bytes, 10_000));
      source.close();
      if (round % 2 === 1) first.execute(updates, replies, null);
      meet(numbers, 0, 2 * round);
      for (let thread = 0; thread < THREADS; thread++) execute(alone, updatesOf(thread, round));
      assert.equal(digestOf(restored(bytes)), digest, `round ${round}`);
    }
    assert.equal(digestOf(first), digestOf(alone));
    assert.deepEqual(execute(first, [everything]), execute(alone, [everything]));
    await ended;
  });

  test("two threads at once insert and delete in leaves of their own, and either changes the structure when it is alone", async () => {
    const alone = new Btree();
    const first = new Btree({ bounds: BOUNDS });
    const preload = Array.from({ length: KEYS / 2 }, (_, i): Command => ({
      operation: "insert",
      key: BigInt((i * 7919) % KEYS),
      value: 0n,
    }));
    for (const service of [alone, first]) execute(service, preload);
    const words = new SharedArrayBuffer(4 * THREADS);
    const numbers = new Int32Array(words);
    const memory = new SharedArrayBuffer(Failures.BYTES);
    const failures = new Failures(memory);
    const workerData: SharedData = { description: first.share(THREADS, BYTES_MAX), words, failures: memory };
    const worker = new Worker(new URL("./tree-shared.js", import.meta.url), { workerData });
    const ended = once(worker, "exit");
    await once(worker, "online");
    const count = { passed: 0, failed: 0 };
    let snapshot: { readonly source: SnapshotSource; readonly digest: string } | null = null;
    for (let round = 1; round <= ROUNDS; round++) {
      const replies = new ByteWriter(BYTES_MAX / 64);
      failures.set(0, attemptRound(first, 0, round, replies));
      if (snapshot !== null) {
        // While the other thread may still be working.
        const bytes = new ByteWriter(BYTES_MAX / 64);
        while (snapshot.source.next(bytes, 10_000));
        snapshot.source.close();
        assert.equal(digestOf(restored(bytes)), snapshot.digest, `round ${round}`);
        snapshot = null;
      }
      first.publish(false);
      meet(numbers, 0, 2 * round - 1);
      const failed = failedOf(round, failures);
      for (let thread = 0; thread < THREADS; thread++) {
        const indexes = new Set(failures.of(thread));
        const passed = attemptsOf(thread, round).filter((_, i) => !indexes.has(i));
        execute(alone, passed);
        count.passed += passed.length;
      }
      execute(alone, failed);
      count.failed += failed.length;
      if (round % 2 === 0) {
        first.adopt();
        execute(first, failed);
        snapshot = { source: first.snapshot(), digest: digestOf(first) };
        assert.equal(snapshot.digest, digestOf(alone), `round ${round}`);
        first.publish(true);
      }
      meet(numbers, 0, 2 * round);
      if (round % 2 === 1) first.adopt();
    }
    snapshot?.source.close();
    await ended;
    assert.equal(digestOf(first), digestOf(alone));
    assert.deepEqual(execute(first, [everything]), execute(alone, [everything]));
    assert.ok(count.passed > 100_000 && count.failed > 100, JSON.stringify(count));
  });

  test("is refused what only the first thread may do, and more threads than a mask has bits", () => {
    const first = new Btree();
    const second = Btree.attach(first.share(2, BYTES_MAX), 1);
    assert.throws(() => second.snapshot(), /only the first thread/);
    assert.throws(() => first.share(2, BYTES_MAX), /shared once/);
    assert.throws(() => first.restore(), /before threads share it/);
    assert.throws(() => new Btree().share(SHARING_THREADS_MAX + 1, BYTES_MAX), /1 to 31 threads/);
    // One chunk of nodes does not hold the copies of all leaves for so many snapshots.
    const small = new Btree();
    execute(
      small,
      Array.from({ length: 150_000 }, (_, i): Command => ({ operation: "insert", key: BigInt(i), value: 0n })),
    );
    small.share(1, 16 * 1024 * 1024);
    const updates = Array.from({ length: 6000 }, (_, i): Command => {
      return { operation: "update", key: BigInt(25 * i), value: 1n };
    });
    const sources: SnapshotSource[] = [];
    assert.throws(() => {
      for (let i = 0; i < MARKS_MAX; i++) {
        sources.push(small.snapshot());
        execute(small, updates);
      }
    }, /its maximum/);
  });
});
