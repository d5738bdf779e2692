/** PROTOCOLS section 2.3 and DESIGN safety rule 6: what merges deliver, whatever arrives when and whoever coordinates. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ByteWriter } from "#src/base/index.js";
import type { Batch, Instance } from "#src/model/index.js";
import {
  ALL,
  defaultMergeLimits,
  type DeliverySink,
  MergePointMerge,
  MergePointPacing,
  MultiRingMerge,
  MultiRingPacing,
  type Pacing,
  SingleMerge,
  singlePacing,
  type StreamId,
} from "#src/multicast/index.js";
import { World, type WorldOptions } from "./world.js";

const ring = { instancesPerSecond: 4000, intervalMs: 1, turn: 1, startMs: 0 };

const siblings: Record<string, Pick<WorldOptions, "makeMerge" | "makePacing">> = {
  "merge points": {
    makeMerge: (thread) => new MergePointMerge(thread),
    makePacing: (stream) => (stream === ALL ? singlePacing : new MergePointPacing()),
  },
  "multi-ring, M = 1": {
    makeMerge: (thread) => new MultiRingMerge([ALL, thread], ring),
    makePacing: () => new MultiRingPacing(ring),
  },
  "multi-ring, M = 10": {
    makeMerge: (thread) => new MultiRingMerge([ALL, thread], { ...ring, turn: 10 }),
    makePacing: () => new MultiRingPacing({ ...ring, turn: 10 }),
  },
  "merge points, queues of 3": {
    makeMerge: (thread) => new MergePointMerge(thread, { ...defaultMergeLimits, instancesMax: 3 }),
    makePacing: (stream) => (stream === ALL ? singlePacing : new MergePointPacing()),
  },
};

const SEEDS = 40;

function worldOf(seed: number, parts: Pick<WorldOptions, "makeMerge" | "makePacing">, change = {}): World {
  return new World({ seed, groups: 3, rounds: 300, rates: [0.5, 1, 0.2, 2], failovers: true, ...parts, ...change });
}

/** MR2: the sequences of a thread are equal on all replicas, as far as both have come. */
function sameOrder(world: World): string | null {
  const [first, ...others] = world.replicas;
  for (const other of others) {
    for (const [thread, mine] of (first?.deliveries ?? []).entries()) {
      const theirs = other.deliveries[thread] ?? [];
      const both = Math.min(mine.length, theirs.length);
      for (let i = 0; i < both; i++) {
        if (mine[i]?.name !== theirs[i]?.name)
          return `t${thread + 1} differs at ${i}: ${mine[i]?.name}, ${theirs[i]?.name}`;
      }
    }
  }
  return null;
}

/** MR1: what all threads of all replicas say about what goes before what has no cycle. */
function acyclic(world: World): boolean {
  const after = new Map<string, Set<string>>();
  for (const sequence of world.replicas.flatMap((replica) => replica.deliveries)) {
    for (let i = 1; i < sequence.length; i++) {
      const before = sequence[i - 1]?.name as string;
      after.set(before, (after.get(before) ?? new Set()).add(sequence[i]?.name as string));
    }
  }
  const state = new Map<string, "open" | "done">();
  for (const root of after.keys()) {
    if (state.has(root)) continue;
    state.set(root, "open");
    const stack = [{ name: root, next: [...(after.get(root) ?? [])] }];
    while (stack.length > 0) {
      const top = stack.at(-1) as { name: string; next: string[] };
      const name = top.next.pop();
      if (name === undefined) {
        state.set(top.name, "done");
        stack.pop();
      } else if (state.get(name) === "open") return false;
      else if (!state.has(name)) {
        state.set(name, "open");
        stack.push({ name, next: [...(after.get(name) ?? [])] });
      }
    }
  }
  return true;
}

for (const [name, parts] of Object.entries(siblings)) {
  describe(`atomic multicast by ${name}`, () => {
    test("PROTOCOLS 2.3, MR1 to MR3: same order on every replica, without a cycle, through failovers and restores", () => {
      let failovers = 0;
      let restores = 0;
      for (let seed = 1; seed <= SEEDS; seed++) {
        const world = worldOf(seed, parts);
        world.run(400);
        assert.equal(sameOrder(world), null, `seed ${seed}`);
        assert.ok(acyclic(world), `seed ${seed}: a cycle`);
        assert.deepEqual(world.undelivered(), [], `seed ${seed}: decided and never delivered`);
        failovers += world.failovers;
        restores += world.restores;
      }
      assert.ok(failovers > SEEDS && restores > SEEDS, `${failovers} failovers, ${restores} restores`);
    });

    test("every instance of a subscribed stream is delivered once, in its order", () => {
      const world = worldOf(7, parts);
      world.run(400);
      for (const { deliveries } of world.replicas) {
        for (const [thread, sequence] of deliveries.entries()) {
          for (const stream of [ALL, thread + 1]) {
            const instances = sequence.filter((each) => each.name.startsWith(`${stream}:`)).map((each) => each.name);
            assert.deepEqual(
              instances,
              instances.map((_, i) => `${stream}:${i + 1}`),
            );
            assert.ok(instances.length > 20);
          }
        }
      }
    });

    test("a saved position that is cut short or senseless changes nothing", () => {
      const merge = parts.makeMerge(1);
      const writer = new ByteWriter(64);
      merge.save(writer);
      for (let end = 0; end < writer.length; end++) assert.equal(merge.restore(writer.view, 0, end), -1);
      for (let at = 0; at < writer.length; at += 8) {
        const damaged = new DataView(writer.toBytes().buffer);
        for (const value of [-1, 0.5, NaN, Infinity]) {
          damaged.setFloat64(at, value, true);
          assert.equal(merge.restore(damaged, 0, damaged.byteLength), -1);
        }
      }
      assert.equal(merge.expected(1), 1);
    });
  });
}

test("one group needs no merge", () => {
  const merge = new SingleMerge();
  const seen: string[] = [];
  const sink = { delivered: (stream: StreamId, instance: Instance) => seen.push(`${stream}:${instance}`) };
  assert.equal(merge.waitsFor, 1);
  for (let instance = 1; instance <= 5; instance++) assert.ok(merge.offer(1, instance, skipOf(1)));
  assert.equal(merge.deliver(sink, 3), 3);
  const writer = new ByteWriter(8);
  merge.save(writer);
  assert.equal(merge.deliver(sink, 10), 2);
  assert.equal(merge.restore(writer.view, 0, writer.length), writer.length);
  assert.deepEqual([merge.delivered(1), merge.expected(1)], [3, 4]);
  assert.deepEqual(seen, ["1:1", "1:2", "1:3", "1:4", "1:5"]);
  assert.throws(() => merge.offer(1, 6, skipOf(1)), /behind 3/);
  assert.throws(() => merge.offer(ALL, 1, skipOf(1)), /not subscribed/);
});

describe("merge points", () => {
  test("DESIGN safety rule 6: an idle g_all delays no group, and a stalled one stops none", () => {
    const world = worldOf(5, siblings["merge points"] as (typeof siblings)[string], { rates: [0, 1, 1, 1] });
    world.run(0);
    for (const { deliveries } of world.replicas) {
      for (const sequence of deliveries) {
        assert.ok(sequence.length > 100);
        assert.ok(!sequence.some(({ name }) => name.startsWith("0:")));
      }
    }
    // Delivered as soon as it was learnt: the bound is the longest that learning took, and that is chance's doing alone.
    const waited = world.replicas.flatMap(({ deliveries }) => deliveries.flat().map(({ waitedMs }) => waitedMs));
    assert.ok(
      waited.filter((ms) => ms === 0).length > waited.length / 4,
      "learnt in the round of the decision, and delivered",
    );
  });

  test("a group without commands gets a batch of its own when g_all has gone on", () => {
    const world = worldOf(6, siblings["merge points"] as (typeof siblings)[string], { rates: [1, 0, 0, 0] });
    world.run(50);
    assert.deepEqual(world.undelivered(), []);
    const all = world.streams[ALL]?.log.length ?? 0;
    const own = world.streams[1]?.log.length ?? 0;
    assert.ok(all > 30 && own > 10 && own <= all, `${all} batches of g_all, ${own} of a group that only follows`);
  });

  test("what the ordering opens by itself leaves what is under way as it is: nothing is skipped or named twice", () => {
    const empty = { ...skipOf(0), blocks: 0 };
    for (const pacing of [new MultiRingPacing(ring), new MergePointPacing()]) {
      pacing.decided(1, empty);
      pacing.lead(1);
      pacing.allDecided(5);
      const writer = new ByteWriter(64);
      assert.ok(pacing.mark(writer, 1e6));
      const batch = {
        bytes: writer.bytes,
        view: writer.view,
        start: -24,
        end: writer.length,
        blocks: 1,
        commands: 0,
      } as Batch;
      // Instances 2 and 3 are empty ones, for a replica that rejoins.
      pacing.proposed(4, batch);
      pacing.decided(2, empty);
      pacing.decided(3, empty);
      assert.ok(!pacing.mark(new ByteWriter(64), 1e6), "the mark is under way");
      pacing.decided(4, batch);
      assert.ok(!pacing.mark(new ByteWriter(64), 1e6), "the mark is decided");
    }
  });

  test("nothing is owed while a batch is open, and nothing is named twice", () => {
    const pacing = new MergePointPacing();
    const writer = new ByteWriter(64);
    pacing.lead(0);
    assert.equal(pacing.due(5), Infinity);
    pacing.allDecided(3);
    assert.equal(pacing.due(5), 5);
    assert.ok(pacing.mark(writer));
    assert.equal(pacing.point, 0, "proposed is not decided");
    pacing.follow();
    assert.ok(pacing.mark(writer), "what was proposed may be lost, so it is named again");
  });
});

describe("skips", () => {
  test("PROTOCOLS 2.3, MR4: the count of a log is that of its coordinators, through failovers (E11)", () => {
    for (let seed = 1; seed <= 10; seed++) {
      const world = worldOf(seed, siblings["multi-ring, M = 1"] as (typeof siblings)[string]);
      world.run(100);
      assert.ok(world.failovers > 0);
      for (const stream of world.streams) {
        const counts = stream.pacings.map((pacing) => (pacing as MultiRingPacing).count);
        const expected = (ring.instancesPerSecond * world.now) / 1000;
        for (const count of counts) {
          // What is open at the end, and what was opened in the interval, is missing; nothing was skipped twice.
          assert.ok(count <= expected + 1 && count >= expected - 60, `seed ${seed}: ${counts.join()} of ${expected}`);
        }
      }
    }
  });

  test("a stream faster than λ fills the queue of the others' merges up to its bound", () => {
    const limits = { ...defaultMergeLimits, instancesMax: 64 };
    const slow = { ...ring, instancesPerSecond: 500 };
    let fullest = 0;
    const world = worldOf(
      9,
      {
        makeMerge: (thread) => new MultiRingMerge([ALL, thread], slow, limits),
        makePacing: () => new MultiRingPacing(slow),
      },
      { rates: [0, 4, 0, 0], failovers: false },
    );
    world.run(0);
    for (const { merges } of world.replicas) merges[0]?.queues((_, value) => (fullest = Math.max(fullest, value)));
    assert.equal(fullest, limits.instancesMax);
  });

  test("a skip of millions of turns takes no time", () => {
    const merge = new MultiRingMerge([0, 1], { ...ring, turn: 1 });
    const batch = skipOf(2 ** 40);
    merge.offer(0, 1, batch);
    merge.offer(1, 1, batch);
    const seen: string[] = [];
    const sink = { delivered: (stream: StreamId, instance: Instance) => seen.push(`${stream}:${instance}`) };
    assert.equal(merge.deliver(sink, 10), 2);
    assert.deepEqual(seen, ["0:1", "1:1"]);
    assert.equal(merge.waitsFor, 0);
  });
});

/** Planted bugs: each is found by the checks above. */
describe("what is wrong is found", () => {
  const wrong: Record<string, [Pick<WorldOptions, "makeMerge" | "makePacing">, (world: World) => boolean]> = {
    "merge by arrival": [
      { ...(siblings["merge points"] as (typeof siblings)[string]), makeMerge: (thread) => new ArrivalMerge(thread) },
      (world) => sameOrder(world) !== null,
    ],
    "merge point of an undecided prefix": [
      {
        ...(siblings["merge points"] as (typeof siblings)[string]),
        makePacing: (stream) => (stream === ALL ? singlePacing : new HastyPacing()),
      },
      (world) => world.undelivered().length > 0,
    ],
    "skip count lost at failover": [
      { ...(siblings["multi-ring, M = 1"] as (typeof siblings)[string]), makePacing: () => new ForgetfulPacing() },
      (world) =>
        world.streams.some((stream) =>
          stream.pacings.some((pacing) => (pacing as ForgetfulPacing).whole.count > 1.2 * ring.instancesPerSecond),
        ),
    ],
    "skip leftovers lost in a checkpoint": [
      {
        ...(siblings["multi-ring, M = 1"] as (typeof siblings)[string]),
        makeMerge: (thread) => new LeakyMerge([ALL, thread], ring),
      },
      (world) => sameOrder(world) !== null,
    ],
  };
  for (const [name, [parts, found]] of Object.entries(wrong)) {
    test(name, () => {
      let seed = 1;
      for (; seed <= SEEDS; seed++) {
        const world = worldOf(seed, parts);
        world.run(400);
        if (found(world)) return;
      }
      assert.fail(`not found by ${SEEDS} seeds`);
    });
  }
});

/** Delivers g_all when it has come rather than where the log says. */
class ArrivalMerge extends MergePointMerge {
  override offer(stream: StreamId, instance: Instance, batch: Batch): boolean {
    return super.offer(stream, instance, stream === ALL ? batch : { ...batch, blocks: 0 });
  }

  override deliver(out: DeliverySink, instancesMax: number): number {
    const count = super.deliver(out, instancesMax);
    let more = 0;
    while (this.expected(ALL) - 1 > this.#all + this.delivered(ALL)) {
      out.delivered(ALL, ++this.#all, undefined as unknown as Batch);
      more++;
    }
    return count + more;
  }

  override delivered(stream: StreamId): Instance {
    return super.delivered(stream) + (stream === ALL ? this.#all : 0);
  }

  #all = 0;
}

/** Names one instance more than it knows to be decided. */
class HastyPacing extends MergePointPacing {
  override allDecided(through: Instance): void {
    super.allDecided(through + 1);
  }
}

/** Counts from 0 when it begins to lead. */
class ForgetfulPacing implements Pacing {
  #present = new MultiRingPacing(ring);
  readonly whole = new MultiRingPacing(ring);

  decided(instance: Instance, batch: Batch): void {
    this.#present.decided(instance, batch);
    this.whole.decided(instance, batch);
  }
  awaited(): boolean {
    return true;
  }
  lead(): void {
    this.#present = new MultiRingPacing(ring);
    this.#present.lead(0);
  }
  follow(): void {
    this.#present.follow();
  }
  allDecided(): void {}
  mark(writer: ByteWriter, now: number): boolean {
    return this.#present.mark(writer, now);
  }
  proposed(instance: Instance, batch: Batch): void {
    this.#present.proposed(instance, batch);
  }
  due(now: number): number {
    return this.#present.due(now);
  }
  save(writer: ByteWriter): void {
    this.#present.save(writer);
  }
  restore(view: DataView, at: number, end: number): number {
    return this.#present.restore(view, at, end);
  }
}

/** Forgets in its checkpoint how far streams are ahead of their turns. */
class LeakyMerge extends MultiRingMerge {
  override save(writer: ByteWriter): void {
    super.save(writer);
    for (let at = 16; at < writer.length; at += 16) writer.view.setFloat64(at, 0, true);
  }
}

function skipOf(count: number): Batch {
  const writer = new ByteWriter(64);
  const pacing = new MultiRingPacing({ ...ring, instancesPerSecond: 1e9, startMs: 0 });
  pacing.lead(0);
  pacing.mark(writer, (count / 1e9) * 1000);
  return { bytes: writer.bytes, view: writer.view, start: -24, end: writer.length, blocks: 1, commands: 0 } as Batch;
}
