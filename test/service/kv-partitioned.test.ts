/** kv in partitions that threads share, against the store in one piece: replies, digests, expiry, watches, snapshots, memory. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ByteWriter, Prng } from "#src/base/index.js";
import { CheckpointDamagedError, type SharedServiceModule, type SnapshotSource } from "#src/model/index.js";
import { PartitionStore } from "#src/service/byte-store/partition-store.js";
import { PartitionedStore } from "#src/service/byte-store/partitioned-store.js";
import { SavedEntries } from "#src/service/byte-store/shared-snapshot.js";
import { createSharedKv, kv, KvOperation as O, partitionOf, type PartitionedKv, sharedKv } from "#src/service/index.js";
import { WatchMarks } from "#src/service/kv/watch-marks.js";
import { type Command, digestOf, executeRun, OK, type Reply, restoreInto, runOf } from "./kv-command.js";
import { any, at, command, get, set, setMs, START, transaction, unwatch, watch } from "./kv-random.js";
import { KvViews } from "./kv-views.js";
import { replace } from "./replace-method.js";
import { SharedViews } from "./shared-views.js";

type Step =
  | { readonly kind: "batch"; readonly later: number; readonly commands: readonly Command[]; readonly pick: number }
  | { readonly kind: "snapshot" | "digest" }
  | { readonly kind: "slice"; readonly pick: number; readonly bytes: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant("batch" as const),
      later: fc.integer({ min: 0, max: 12 }),
      commands: fc.array(any, { minLength: 1, maxLength: 5 }),
      pick: fc.nat(99),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom("snapshot" as const, "digest" as const) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("slice" as const),
      pick: fc.nat(99),
      bytes: fc.integer({ min: 1, max: 90 }),
    }),
  },
);

/** Keys of a scan come in an order of each store's own; in a transaction they are left out of account. */
function ordered(commands: readonly Command[], replies: readonly Reply[]): Reply[] {
  return replies.map((reply, i) => {
    const operation = commands[i]?.operation;
    const list = operation === O.scan && Array.isArray(reply) ? reply[1] : null;
    if (Array.isArray(list)) return ["0", list.map(String).sort()];
    return operation === O.transaction && Array.isArray(reply) ? String(reply.length) : reply;
  });
}

/** A snapshot under way: its sources, what they have brought, and the digest it must have. */
class Taking {
  readonly #sources: readonly SnapshotSource[];
  readonly #writers: ByteWriter[];
  readonly #done: boolean[];
  readonly digest: string;

  constructor(sources: readonly SnapshotSource[], digest: string) {
    this.#sources = sources;
    this.#writers = sources.map(() => new ByteWriter(64, 1 << 28));
    this.#done = sources.map(() => false);
    this.digest = digest;
  }

  slice(pick: number, bytes: number): void {
    const part = pick % this.#sources.length;
    if (this.#done[part] !== true) {
      this.#done[part] = this.#sources[part]?.next(this.#writers[part] as ByteWriter, bytes) === false;
    }
  }

  get done(): boolean {
    return !this.#done.includes(false);
  }

  /** The rest; then the parts. */
  finish(bytes = 100): Uint8Array[] {
    while (!this.done) for (let part = 0; part < this.#sources.length; part++) this.slice(part, bytes);
    return this.#writers.map((writer) => writer.toBytes());
  }
}

/** The state that the parts of a snapshot bring. */
function check(taking: Taking, threads: number): KvViews {
  const restored = new KvViews(threads, taking.finish());
  assert.equal(restored.digest(), taking.digest, "what the snapshot brings");
  return restored;
}

function walk(threads: number, steps: readonly Step[]): void {
  const views = new KvViews(threads);
  const whole = kv.create();
  let time = START;
  let taking: Taking | null = null;
  for (const one of steps) {
    if (one.kind === "batch") {
      time += one.later;
      const { stream, mask } = views.route(one.commands, one.pick);
      // What depends on more than named keys finds the same only if all partitions have removed what has expired.
      if (mask === views.everybody) views.sweep(time);
      const replies = stream > 0 ? views.own(stream - 1, time, one.commands) : views.barrier(mask, time, one.commands);
      assert.deepEqual(ordered(one.commands, replies), ordered(one.commands, at(whole, time, one.commands)));
      continue;
    }
    if (one.kind === "slice") {
      taking?.slice(one.pick, one.bytes);
      if (taking?.done === true) {
        check(taking, threads);
        taking = null;
      }
      continue;
    }
    views.sweep(time);
    whole.advance(time, null);
    assert.equal(views.digest(), digestOf(whole));
    if (one.kind === "snapshot" && taking === null) taking = new Taking(views.snapshot(), digestOf(whole));
  }
  views.sweep(time);
  whole.advance(time, null);
  assert.equal(views.digest(), digestOf(whole));
  assert.deepEqual(views.view(0).size(), whole.size());
  assert.equal(Math.min(...views.views.map((view) => view.due())), whole.due());
  if (taking !== null) check(taking, threads);
  assert.equal(views.digest(), digestOf(whole), "a snapshot changes nothing");
}

/** Random walks; a run of them that fails ends with its first failure. */
const walks = fc.property(fc.integer({ min: 1, max: 5 }), fc.array(step, { maxLength: 60 }), walk);

describe("kv in partitions", () => {
  test("replies as the store in one piece does, has its digest, and snapshots that bring its state", () => {
    fc.assert(walks, { numRuns: 400 });
  });

  for (const [name, plant] of [
    ["a view does not look where a partition is now", () => replace(PartitionStore.prototype, "adopt", () => () => {})],
    ["what a barrier changed is not told", () => replace(PartitionStore.prototype, "publish", skipEvery(3))],
    ["a change under a snapshot is not saved", () => replace(SavedEntries.prototype, "onChange", () => () => {})],
    ["a change of a watched key is not marked", () => replace(WatchMarks.prototype, "touch", () => () => {})],
    ["keys of a range come partition by partition", () => replace(PartitionedStore.prototype, "next", partitionWise)],
  ] as const) {
    // Of one seed, unlike the walks above: which walk finds a planted mistake is luck.
    test(`the walks find it if ${name}`, () => {
      const remove = plant();
      try {
        assert.ok(fc.check(walks, { seed: 1, numRuns: 4000, endOnFailure: true }).failed);
      } finally {
        remove();
      }
    });
  }
});

function skipEvery(nth: number): (before: PartitionStore["publish"]) => PartitionStore["publish"] {
  let calls = 0;
  return (before) =>
    function skipping(this: PartitionStore) {
      if (++calls % nth !== 0) before.call(this);
    };
}

/** Goes on in the partition of an entry as long as that has any. */
function partitionWise(before: PartitionedStore["next"]): PartitionedStore["next"] {
  return function next(this: PartitionedStore, entry) {
    let behind = before.call(this, entry);
    while (behind !== 0 && behind >>> 26 < entry >>> 26) behind = before.call(this, behind);
    return behind;
  };
}

/** A key of a partition. */
function keyIn(partition: number, threads: number, name: string): string {
  for (let i = 0; ; i++) {
    const key = `${name}${i}`;
    if (partitionOf(Buffer.from(key), 0, key.length, threads) === partition) return key;
  }
}

describe("kv under opt-PSMR", () => {
  /** So few that partitions are full now and then. */
  const limits = { entriesMax: 150, bytesMax: 60_000 };
  const fewModule: SharedServiceModule = {
    ...sharedKv,
    createShared: (groups) => createSharedKv(groups, limits, 2 ** 32),
  };

  test("commands of one group can't fail: what changes lengths in one partition shows in no other, whatever the order of turns", () => {
    let full = 0;
    for (let seed = 1; seed <= 8; seed++) {
      const prng = new Prng(seed);
      const threads = 2 + prng.below(4);
      const batches = Array.from({ length: threads }, (_, thread) => {
        const keys = Array.from({ length: 60 }, (__, i) => keyIn(thread, threads, `${i}-`));
        return Array.from({ length: 60 }, () =>
          Array.from({ length: 1 + prng.below(6) }, () => {
            const key = keys[prng.below(keys.length)] as string;
            const bytes = "v".repeat(prng.chance(0.1) ? prng.below(9000) : prng.below(300));
            switch (prng.below(5)) {
              case 0:
                return command(O.append, [key, bytes]);
              case 1:
                return command(O.setRange, [key, String(prng.below(500)), bytes]);
              case 2:
                return command(O.delete, [key]);
              case 3:
                return command(O.setMany, [key, bytes, keys[0] as string, key]);
              default:
                return set(key, bytes);
            }
          }),
        );
      });
      /** Replies and digest if the threads take turns in the order of this seed. */
      const outcome = (order: number): { readonly replies: Reply[][]; readonly digest: string } => {
        const turns = new Prng(order);
        const views = new SharedViews(fewModule, threads);
        assert.ok(!("attempt" in views.view(0)) && !("optimisticMapping" in fewModule));
        const replies = batches.map((): Reply[] => []);
        const next = batches.map(() => 0);
        while (next.some((at, thread) => at < (batches[thread]?.length ?? 0))) {
          const thread = turns.below(threads);
          const commands = batches[thread]?.[next[thread] as number];
          if (commands === undefined) continue;
          next[thread] = (next[thread] as number) + 1;
          const run = runOf(commands);
          run.time = START;
          assert.equal(views.routeOf(run, 0).stream, thread + 1);
          replies[thread]?.push(...executeRun(views.view(thread), run));
        }
        return { replies, digest: views.digestNow((view) => (view as PartitionedKv).check()) };
      };
      const expected = outcome(1);
      full += expected.replies
        .flat()
        .filter((reply) => reply !== null && typeof reply === "object" && "error" in reply).length;
      for (const order of [2, 3]) assert.deepEqual(outcome(order), expected, `seed ${seed}, order ${order}`);
    }
    assert.ok(full > 10, `${full} commands found their partition full`);
  });
});

describe("watches of keys in partitions", () => {
  const threads = 3;
  const [a, b, c] = [0, 1, 2].map((partition) => keyIn(partition, threads, "key")) as [string, string, string];
  const exec = (views: KvViews, id: number): Reply =>
    views.barrier(views.everybody, START, [transaction(id, command(O.count, []))])[0] as Reply;

  test("break by a change in the thread of the key, and by one at a barrier between others", () => {
    for (const change of [
      (views: KvViews) => views.own(1, START, [set(b, "2")]),
      (views: KvViews) => views.barrier(0b110, START, [command(O.setMany, [b, "2", c, "2"])]),
      (views: KvViews) => views.barrier(0b111, START, [command(O.clear, [])]),
      (views: KvViews) => views.own(1, START, [command(O.delete, [b])]),
    ]) {
      const views = new KvViews(threads);
      views.barrier(views.everybody, START, [set(a, "1"), set(b, "1"), watch(0, a, b), watch(0, a)]);
      change(views);
      const cleared = views.barrier(views.everybody, START, [command(O.exists, [b])]);
      assert.equal(exec(views, 1), null);
      if (JSON.stringify(cleared) === '[{"integer":"1"}]')
        assert.ok(Array.isArray(exec(views, 2)), "another watch holds");
    }
  });

  test("hold when other keys change, and are forgotten with UNWATCH", () => {
    const views = new KvViews(threads);
    views.barrier(views.everybody, START, [watch(0, a, b)]);
    views.own(1, START, [set(keyIn(1, threads, "other"), "1")]);
    assert.ok(Array.isArray(exec(views, 1)));
    views.barrier(views.everybody, START, [watch(0, a), watch(0, b), unwatch(3)]);
    views.own(1, START, [set(b, "1")]);
    assert.ok(Array.isArray(exec(views, 2)));
    assert.equal(exec(views, 3), null);
  });

  test("break when the key expires, whoever removes it, and by what was changed before a checkpoint", () => {
    const views = new KvViews(threads);
    views.barrier(views.everybody, START, [setMs(b, "1", 5), watch(0, b), watch(0, c)]);
    views.own(1, START + 6, [get(a)]);
    assert.equal(exec(views, 1), null);
    views.own(2, START + 6, [set(c, "1")]);
    const later = new KvViews(threads, new Taking(views.snapshot(), "").finish());
    assert.equal(exec(later, 2), null);
    assert.deepEqual(later.barrier(later.everybody, START, [watch(0, a)]), [{ integer: "3" }]);
    later.own(0, START, [set(a, "1")]);
    assert.equal(exec(later, 3), null);
  });
});

describe("expiry in partitions", () => {
  test("each thread removes what is its own, by its own time; the others' stays, hidden", () => {
    const views = new KvViews(2);
    const [a, b] = [keyIn(0, 2, "a"), keyIn(1, 2, "b")];
    views.own(0, START, [setMs(a, "1", 5)]);
    views.own(1, START, [setMs(b, "1", 5)]);
    assert.deepEqual(
      views.views.map((view) => view.due()),
      [START + 5, START + 5],
    );
    views.own(0, START + 5, []);
    assert.deepEqual(
      views.views.map((view) => view.due()),
      [Infinity, START + 5],
    );
    const [count, found] = views.barrier(3, START + 5, [command(O.count, []), command(O.exists, [a, b])]);
    assert.deepEqual([count, found], [{ integer: "1" }, { integer: "0" }]);
    views.own(1, START + 5, []);
    assert.deepEqual(views.barrier(3, START + 5, [command(O.count, [])]), [{ integer: "0" }]);
  });
});

describe("the memory of partitions", () => {
  test("grows, is seen by all views, is used again, and a snapshot keeps what is cleared under it", () => {
    const threads = 3;
    const views = new KvViews(threads);
    const whole = kv.create();
    const prng = new Prng(7);
    const both = (mask: number, commands: readonly Command[]): void => {
      const replies =
        (mask & (mask - 1)) === 0
          ? views.own(31 - Math.clz32(mask), START, commands)
          : views.barrier(mask, START, commands);
      assert.deepEqual(replies, at(whole, START, commands));
    };
    const keys: string[][] = [[], [], []];
    for (let i = 0; i < 60_000; i++) {
      const key = `key:${i}`;
      keys[partitionOf(Buffer.from(key), 0, key.length, threads)]?.push(key);
    }
    const fill = (from: number, to: number, length: number): void => {
      for (let i = from; i < to; i += 500) {
        for (let partition = 0; partition < threads; partition++) {
          const list = (keys[partition] as string[]).slice(i, Math.min(i + 500, to));
          both(
            1 << partition,
            list.map((key) => setMs(key, "v".repeat(prng.below(length)), 10_000 + prng.below(99))),
          );
        }
        const pairs = [0, 1, 2].flatMap((partition) => [keys[partition]?.[i] as string, "x".repeat(prng.below(3000))]);
        both(views.everybody, [command(O.setMany, pairs)]);
      }
    };
    fill(0, 10_000, 100);
    assert.equal(views.digest(), digestOf(whole));
    const taking = new Taking(views.snapshot(), digestOf(whole));
    for (let i = 0; i < 40; i++) taking.slice(i, 4000);
    // Changed by its thread, changed and removed at barriers, before the walk has come there.
    fill(0, 2000, 400);
    both(views.everybody, [
      command(
        O.delete,
        [0, 1, 2].flatMap((partition) => keys[partition]?.slice(3000, 4000) ?? []),
      ),
    ]);
    both(0b110, [command(O.rename, [keys[1]?.[5000] as string, keys[2]?.[5000] as string])]);
    for (let i = 0; i < 40; i++) taking.slice(i, 4000);
    both(views.everybody, [command(O.clear, [])]);
    assert.equal(views.digest(), digestOf(whole));
    fill(0, 3000, 100);
    both(views.everybody, [command(O.clear, [])]);
    fill(2000, 5000, 100);
    check(taking, threads);
    assert.equal(views.digest(), digestOf(whole));
    const reserved = (): number => views.view(0).size().bytes;
    const before = reserved();
    both(views.everybody, [command(O.clear, [])]);
    assert.equal(reserved(), 0);
    fill(2000, 5000, 100);
    assert.ok(before > 0);
    const again = new Taking(views.snapshot(), digestOf(whole));
    check(again, threads);
    both(views.everybody, [command(O.range, ["key:1", "key:2"])]);
    both(views.everybody, [command(O.range, ["key:1", "key:2"], 2)]);
    both(views.everybody, [command(O.rangeCount, ["", ""])]);
  });

  test("a snapshot leaves out what is added in the place of what was removed before it", () => {
    const views = new KvViews(2);
    const [gone, kept, added] = ["gone", "kept", "added"].map((name) => keyIn(1, 2, name)) as [string, string, string];
    views.own(1, START, [set(gone, "1"), set(kept, "2"), command(O.delete, [gone])]);
    const taking = new Taking(views.snapshot(), views.digest());
    views.own(1, START, [set(added, "3")]);
    const restored = check(taking, 2);
    assert.deepEqual(restored.own(1, START, [get(kept), get(added)]), ["2", null]);
  });

  test("a snapshot that is given up leaves nothing behind", () => {
    const views = new KvViews(2);
    const key = keyIn(1, 2, "k");
    views.own(1, START, [set(key, "1".repeat(100))]);
    for (let i = 0; i < 50; i++) {
      const sources = views.snapshot();
      views.own(1, START, [set(key, String(i).repeat(100))]);
      if (i % 3 === 0) views.barrier(3, START, [command(O.clear, []), set(key, "again")]);
      for (const source of sources) source.close();
    }
    assert.deepEqual(views.own(1, START, [set(key, "1")]), [OK]);
    views.digest();
  });

  test("a part with a key of another partition is refused", () => {
    const views = new KvViews(2);
    views.own(0, START, [set(keyIn(0, 2, "k"), "1")]);
    const [part] = new Taking(views.snapshot(), "").finish();
    const other = new KvViews(2);
    assert.throws(() => restoreInto(other.view(1).restore(), part as Uint8Array), CheckpointDamagedError);
  });
});

describe("SCAN over partitions", () => {
  test("brings every key that is there all the while, wherever each step begins", () => {
    const threads = 4;
    const views = new KvViews(threads);
    const prng = new Prng(5);
    const keys = Array.from({ length: 700 }, (_, i) => `k${i}`);
    for (const key of keys) {
      const { mask } = views.route([get(key)], 0);
      views.own(31 - Math.clz32(mask), START, [set(key, "")]);
    }
    const found = new Set<string>();
    let cursor = "0";
    for (let steps = 0; steps < 1000; steps++) {
      const wanted = String(1 + prng.below(40));
      const [reply] = views.barrier(views.everybody, START, [command(O.scan, [cursor, wanted])]);
      const [next, list] = reply as [string, string[]];
      for (const key of list) found.add(key);
      cursor = next;
      if (cursor === "0") break;
      const passing = `p${prng.below(50)}`;
      const { mask } = views.route([get(passing)], 0);
      views.own(31 - Math.clz32(mask), START, [prng.chance(0.5) ? set(passing, "") : command(O.delete, [passing])]);
    }
    assert.equal(cursor, "0");
    assert.deepEqual(
      keys.filter((key) => !found.has(key)),
      [],
    );
    for (const made of ["99999999999999", "4294967296", "17179869183", "123456789"]) {
      const [reply] = views.barrier(views.everybody, START, [command(O.scan, [made, "5"])]);
      assert.ok(Array.isArray(reply));
    }
  });
});
