/** Clients of a cluster with groups: streams side by side, in order behind one face, and behind promises. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ByteWriter, Prng } from "#src/base/index.js";
import {
  BlockKind,
  type ClientFailure,
  IndeterminateError,
  MisroutedError,
  replyCount,
  type Span,
  TryAgainError,
} from "#src/model/index.js";
import {
  type BlockClient,
  type BlockClientHandlers,
  createGroupsClient,
  createMappedClient,
  GroupedCalls,
  KvClient,
  SharedLinks,
} from "#src/runtime/index.js";
import { KvOperation } from "#src/service/index.js";
import type { FakeCluster } from "../client/fake-cluster.js";
import { replicas } from "./client-world.js";
import { commandOf, GroupsWorld } from "./groups-world.js";

class Recorder implements BlockClientHandlers {
  readonly outcomes = new Map<number, number | ClientFailure>();
  openedTimes = 0;
  idleTimes = 0;

  resolve(token: number, replies: Span): void {
    assert.ok(!this.outcomes.has(token));
    this.outcomes.set(token, replyCount(replies.view, replies.start));
  }

  fail(token: number, failure: ClientFailure): void {
    assert.ok(!this.outcomes.has(token));
    this.outcomes.set(token, failure);
  }

  opened(): void {
    this.openedTimes++;
  }

  idle(): void {
    this.idleTimes++;
  }
}

function submit(client: BlockClient, token: number, commands: readonly Uint8Array[], deadline?: number): void {
  const writer = new ByteWriter();
  for (const command of commands) writer.copy(command, 0, command.length);
  client.submit(token, false, commands.length, writer.bytes, writer.view, 0, writer.length, deadline);
  writer.bytes.fill(0xff);
}

describe("a client of groups", () => {
  test("has a session for each stream and sends to each without waiting for others", () => {
    const world = new GroupsWorld(3);
    const recorders = Array.from({ length: 4 }, () => new Recorder());
    const client = createGroupsClient({ ...world.init(), handlersOf: (stream) => recorders[stream] as Recorder });
    world.linkAll();
    world.run(20);
    assert.equal(client.groups, 3);
    const sessions = client.streams.map(({ session }) => session);
    assert.ok(new Set(sessions).size === 4 && !sessions.includes(0));
    assert.deepEqual(
      client.streams.map(({ leader }) => leader),
      [1, 2, 3, 1],
    );
    const at = world.kernel.now;
    for (let stream = 0; stream <= 3; stream++) {
      const bytes = commandOf(KvOperation.set, world.key(Math.max(1, stream)), "1");
      client.submit(stream, 7, 1, bytes, new DataView(bytes.buffer), 0, bytes.length);
      assert.equal(client.blocksOpen(stream), 1);
    }
    world.run(2);
    assert.equal(world.kernel.now, at + 2);
    for (const { outcomes, idleTimes } of recorders) {
      assert.deepEqual([...outcomes], [[7, 1]]);
      assert.equal(idleTimes, 1);
    }
    world.check();
  });

  test("orders what is submitted as unordered reads", () => {
    const world = new GroupsWorld(2);
    const recorder = new Recorder();
    const client = createGroupsClient({ ...world.init(), handlersOf: () => recorder });
    world.linkAll();
    const bytes = commandOf(KvOperation.get, world.key(2));
    client.streams[2]?.submit(1, true, 1, bytes, new DataView(bytes.buffer), 0, bytes.length);
    world.run(50);
    assert.deepEqual([...recorder.outcomes], [[1, 1]]);
    assert.ok(world.clusters.every(({ received }) => received.every(({ kind }) => kind !== BlockKind.read)));
  });

  test("goes on in other streams while one has no leader", () => {
    const world = new GroupsWorld(2);
    const recorders = Array.from({ length: 3 }, () => new Recorder());
    const client = createGroupsClient({ ...world.init(), handlersOf: (stream) => recorders[stream] as Recorder });
    world.linkAll();
    world.run(20);
    world.clusters[1]?.elect(0);
    for (const stream of [1, 2])
      submit(client.streams[stream] as BlockClient, 1, [commandOf(KvOperation.get, world.key(stream))]);
    world.run(20);
    assert.deepEqual(
      recorders.map(({ outcomes }) => outcomes.size),
      [0, 0, 1],
    );
    world.clusters[1]?.elect(2);
    world.run(1000);
    assert.deepEqual(
      recorders.map(({ outcomes }) => outcomes.size),
      [0, 1, 1],
    );
    world.check();
  });

  test("closes all ports and ends all sessions", () => {
    const world = new GroupsWorld(2);
    const recorder = new Recorder();
    const client = createGroupsClient({ ...world.init(), handlersOf: () => recorder });
    world.linkAll();
    world.run(20);
    submit(client.streams[1] as BlockClient, 1, [commandOf(KvOperation.get, world.key(1))]);
    let closed = 0;
    client.close(() => closed++);
    assert.deepEqual([...recorder.outcomes], [[1, "closed"]]);
    world.run(5);
    assert.equal(closed, 1);
    assert.ok(world.ports.every((port) => port.closed));
    assert.equal(world.clusters[0]?.sessions.size, 0);
  });
});

/** A block client that chooses streams, and what is submitted through it. */
class MappedWorld extends GroupsWorld {
  readonly recorder = new Recorder();
  readonly client: BlockClient;

  constructor(groups: number, seed: number, config = {}, resubmit: "replicas" | "client" | null = null) {
    super(groups, seed, resubmit);
    const { mapping, recorder: handlers } = this;
    this.client = createMappedClient({ ...this.init(), mapping, handlers, config, resubmit: resubmit ?? "replicas" });
  }
}

/** Who sends commands again that fail their safety check, in the world of a seed; null: none fails. */
function failingAs(seed: number): "replicas" | "client" | null {
  return (["replicas", "client", null] as const)[seed % 3] ?? null;
}

/** The values set, in the order in which the commands that set them were executed. Blocks set their numbers. */
function valuesOf({ executed }: GroupsWorld): number[] {
  return executed.map((command) => Number(/\d+$/.exec(Buffer.from(command).toString("latin1"))?.[0]));
}

describe("a block client over groups", () => {
  test("blocks take effect in the order submitted, whatever their streams and however long these take", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const world = new MappedWorld(3, seed, { blocksMax: 16 }, failingAs(seed));
      const prng = new Prng(seed);
      world.passing = seed % 7;
      for (const port of world.ports) port.delayMs = 1 + prng.below(30);
      world.linkAll();
      const keys = [1, 2, 3].map((stream) => world.key(stream));
      const submitted: number[] = [];
      let token = 0;
      while (token < 150) {
        while (world.client.open && prng.chance(0.8)) {
          const chosen = prng.chance(0.3) ? [0, 1, 2] : [prng.below(3)];
          const value = String(token);
          submit(
            world.client,
            token,
            chosen.map((index) => commandOf(KvOperation.set, keys[index] as string, value)),
          );
          submitted.push(...chosen.map(() => token));
          token++;
        }
        world.run(1 + prng.below(20));
        for (const cluster of world.clusters) {
          if (prng.chance(0.02)) cluster.elect(1 + prng.below(3));
          for (const replica of replicas) cluster.tell(replica, cluster.leader);
        }
      }
      world.run(20_000);
      assert.deepEqual(valuesOf(world), submitted, `seed ${seed}`);
      assert.equal(world.recorder.outcomes.size, token, `seed ${seed}`);
      assert.ok([...world.recorder.outcomes.values()].every((outcome) => outcome === 1 || outcome === 3));
      assert.ok(world.clusters.every(({ received }) => received.some(({ kind }) => kind === BlockKind.commands)));
      world.check();
    }
  });

  test("over random faults the order holds for all that is applied, and outcomes tell the truth", () => {
    const seen = new Map<number | ClientFailure, number>();
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 31 }), (seed) => {
        const config = { blocksMax: 12, retransmitMs: 60, retransmitMsMax: 200 };
        const world = new MappedWorld(2, seed, config, failingAs(seed));
        const prng = new Prng(seed);
        world.passing = seed % 7;
        const { clusters, ports, client, recorder } = world;
        for (const port of ports) port.delayMs = 1 + prng.below(20);
        world.linkAll();
        const keys = [1, 2].map((stream) => world.key(stream));
        let token = 0;
        for (let step = 0; step < 150; step++) {
          while (client.open && prng.chance(0.6)) {
            const chosen = prng.chance(0.25) ? keys : [prng.pick(keys)];
            const commands = chosen.map((key) => commandOf(KvOperation.set, key, String(token)));
            submit(client, token++, commands, world.kernel.now + prng.pick([30, 300, 3000]));
          }
          const at = prng.below(clusters.length);
          const cluster = clusters[at] as FakeCluster;
          if (prng.chance(0.05)) cluster.elect(prng.below(4));
          if (prng.chance(0.3)) for (const replica of replicas) cluster.tell(replica, cluster.leader);
          if (prng.chance(0.05)) cluster.silent.add(prng.pick(replicas));
          if (prng.chance(0.1)) cluster.silent.clear();
          if (prng.chance(0.01)) cluster.expireSessions();
          if (prng.chance(0.05)) ports[at]?.link(prng.pick(replicas), prng.chance(0.6));
          world.run(prng.below(40));
        }
        for (const cluster of clusters) {
          cluster.silent.clear();
          cluster.elect(prng.pick(replicas));
          for (const replica of replicas) cluster.tell(replica, cluster.leader);
        }
        for (const port of ports) for (const replica of replicas) if (!port.up.has(replica)) port.link(replica, true);
        world.run(20_000);
        const applied = valuesOf(world);
        for (let i = 1; i < applied.length; i++) {
          assert.ok((applied[i] as number) >= (applied[i - 1] as number), `out of order: ${applied.join(" ")}`);
        }
        assert.equal(recorder.outcomes.size, token);
        const known = new Set(applied);
        for (const [block, outcome] of recorder.outcomes) {
          seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
          if (typeof outcome === "number") assert.ok(known.has(block), `block ${block} was answered and not applied`);
          else if (outcome !== "indeterminate") assert.ok(!known.has(block), `block ${block}: ${outcome}, yet applied`);
        }
        assert.ok(client.open);
        world.check();
      }),
      { numRuns: 40 },
    );
    for (const outcome of [1, 2, "try-again", "indeterminate"] as const) {
      assert.ok((seen.get(outcome) ?? 0) > 10, `too tame: ${JSON.stringify([...seen])}`);
    }
  });

  test("a block waits for one in another stream whose outcome is unknown, until nothing of it can follow", () => {
    const world = new MappedWorld(2, 1);
    world.linkAll();
    world.run(20);
    const [first, second] = [world.key(1), world.key(2)];
    for (const replica of replicas) world.clusters[1]?.silent.add(replica);
    const { now } = world.kernel;
    submit(world.client, 1, [commandOf(KvOperation.set, first, "1")], now + 100);
    submit(world.client, 2, [commandOf(KvOperation.set, second, "1")], now + 300);
    submit(world.client, 3, [commandOf(KvOperation.set, second, "2")], now + 10_000);
    world.run(200);
    assert.deepEqual([...world.recorder.outcomes], [[1, "indeterminate"]]);
    world.run(200);
    assert.deepEqual(world.recorder.outcomes.get(2), "try-again", "it was never sent");
    assert.equal(world.recorder.outcomes.size, 2);
    world.clusters[1]?.silent.clear();
    world.run(3000);
    assert.equal(world.recorder.outcomes.get(3), 1);
    assert.equal(world.recorder.idleTimes, 1);
    world.check();
  });

  test("takes no more blocks than its window, and tells when it opens", () => {
    const world = new MappedWorld(2, 1, { blocksMax: 4 });
    const keys = [world.key(1), world.key(2)];
    for (let token = 0; token < 4; token++) {
      assert.ok(world.client.open);
      submit(world.client, token, [commandOf(KvOperation.get, keys[token % 2] as string)]);
    }
    assert.equal(world.client.open, false);
    assert.throws(() => submit(world.client, 9, [commandOf(KvOperation.get, "a")]), /window is full/);
    world.linkAll();
    world.run(100);
    assert.equal(world.recorder.outcomes.size, 4);
    assert.equal(world.recorder.openedTimes, 1);
    assert.ok(world.client.open);
  });

  test("closing fails what waits as well as what was sent", () => {
    const world = new MappedWorld(2, 1);
    submit(world.client, 1, [commandOf(KvOperation.get, world.key(1))]);
    submit(world.client, 2, [commandOf(KvOperation.get, world.key(2))]);
    world.client.close(() => {});
    assert.deepEqual(
      [...world.recorder.outcomes].sort(([a], [b]) => a - b),
      [
        [1, "closed"],
        [2, "closed"],
      ],
    );
  });
});

/** Stores whose calls go through all streams, on connections that they share. */
class StoresWorld extends GroupsWorld {
  readonly links = this.members().map((port) => new SharedLinks(port, this.process));
  /** Who sends commands again that fail their safety check. */
  readonly resubmit: "replicas" | "client" | null;

  constructor(groups: number, seed = 1, resubmit: "replicas" | "client" | null = null) {
    super(groups, seed, resubmit);
    this.resubmit = resubmit;
  }

  store(deadlineMs = 5000): KvClient {
    return new KvClient(this.calls(deadlineMs));
  }

  calls(deadlineMs = 5000): GroupedCalls {
    const calls = new GroupedCalls({ scheduler: this.process, deadlineMs, mapping: this.mapping });
    const ports = this.links.map((links) => links.seat());
    const init = { ...this.init([]), ports, deadlineMs, resubmit: this.resubmit ?? undefined };
    calls.attach(createGroupsClient({ ...init, handlersOf: (stream) => calls.handlersOf(stream) }));
    return calls;
  }
}

describe("calls over groups", () => {
  test("reach the groups of their keys, one block for each stream of a turn", async () => {
    const world = new StoresWorld(2);
    const store = world.store();
    world.linkAll();
    world.run(20);
    const [a, b, c] = [world.key(1), world.key(2), world.key(2, 1)];
    const before = world.clusters.map(({ received }) => received.length);
    const sets = [store.set(a, "1"), store.set(b, "2"), store.set(c, "3"), store.incrementBy(a)];
    assert.deepEqual(await world.until(Promise.all(sets)), [true, true, true, 2n]);
    assert.deepEqual(
      world.clusters.map(({ received }, stream) => received.length - (before[stream] as number)),
      [0, 1, 1],
    );
    assert.deepEqual(await world.until(store.getMany([a, b, c])), ["2", "2", "3"]);
    assert.equal(await world.until(store.count()), 3);
    assert.equal(await world.until(store.delete(a, b)), 2);
    assert.deepEqual(await world.until(Promise.all([store.get(a), store.get(c)])), [null, "3"]);
    world.check();
  });

  test("of clients that share connections get their own replies, through expiries and elections of any stream", async () => {
    let indeterminate = 0;
    for (let seed = 1; seed <= 6; seed++) {
      const world = new StoresWorld(2, seed, failingAs(seed));
      world.passing = seed % 2;
      const prng = new Prng(seed);
      const stores = Array.from({ length: 4 }, () => world.store());
      world.linkAll();
      world.run(20);
      const values = stores.map((): Map<string, string> => new Map());
      const step = async (round: number): Promise<void> => {
        const index = prng.below(stores.length);
        const [store, own] = [stores[index] as KvClient, values[index] as Map<string, string>];
        const pair = [1, 2].map((stream) => world.key(stream, index));
        const chosen = prng.chance(0.3) ? pair : [pair[prng.below(2)] as string];
        try {
          await store.setMany(chosen.map((key) => [key, String(round)]));
          for (const key of chosen) own.set(key, String(round));
        } catch (error) {
          // Its session had expired: this cluster applies nothing then, which the client can't know.
          assert.ok(error instanceof IndeterminateError, `seed ${seed}: ${String(error)}`);
          indeterminate++;
        }
        const read = await store.getMany(pair).catch(() => null);
        if (read !== null)
          assert.deepEqual(
            read,
            pair.map((key) => own.get(key) ?? null),
            `seed ${seed}`,
          );
      };
      for (let round = 0; round < 30; round++) {
        await world.until(step(round));
        if (prng.chance(0.15)) world.clusters[prng.below(3)]?.expireSessions();
        const cluster = world.clusters[prng.below(3)] as FakeCluster;
        if (prng.chance(0.2)) cluster.elect(1 + prng.below(3));
        for (const replica of replicas) cluster.tell(replica, cluster.leader);
      }
      world.check();
    }
    assert.ok(indeterminate > 0, "no session expired");
  });

  test("fail as misrouted, and the calls behind them do not, when the mapping is another than the replicas'", async () => {
    const world = new StoresWorld(2);
    const wrong = { groups: 2, masks: (_run: unknown, masks: Uint32Array) => masks.fill(1) };
    const calls = new GroupedCalls({ scheduler: world.process, mapping: wrong });
    const ports = world.links.map((links) => links.seat());
    calls.attach(createGroupsClient({ ...world.init([]), ports, handlersOf: (stream) => calls.handlersOf(stream) }));
    const store = new KvClient(calls);
    world.linkAll();
    world.run(20);
    const refused = assert.rejects(world.until(store.set(world.key(2), "1")), MisroutedError);
    await refused;
    assert.equal(await world.until(store.set(world.key(1), "1")), true);
    assert.equal(await world.until(store.get(world.key(1))), "1");
    world.check();
  });

  test("that nothing is known of, or that are malformed, fail by themselves", async () => {
    const world = new StoresWorld(2);
    const calls = world.calls(300);
    await assert.rejects(world.until(calls.call(new Uint8Array(3))), /4 to/);
    await assert.rejects(world.until(calls.call(new Uint8Array(8))), /begins with their number/);
    const throwing = calls.submit(
      false,
      () => assert.fail("no such value"),
      () => 0,
    );
    await assert.rejects(world.until(throwing), /no such value/);
    await assert.rejects(world.until(calls.call(commandOf(KvOperation.get, "a"))), TryAgainError);
    await world.until(Promise.all([calls.close(), calls.close()]));
    assert.ok(world.ports.every((port) => port.closed));
  });
});
