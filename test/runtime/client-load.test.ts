/** The load generator in virtual time, and its histogram. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ByteWriter } from "#src/base/index.js";
import { BlockKind, ConfigError, IndeterminateError, TryAgainError } from "#src/model/index.js";
import {
  btreeLoadCommands,
  checkLoad,
  createGroupsClient,
  KvClient,
  kvLoadCommands,
  LatencyHistogram,
  LOAD_WORKLOADS,
  insertedKey,
  type LoadCommands,
  loadOptions,
  type LoadOptions,
  type LoadPhase,
  type LoadProgress,
  type LoadResult,
  PromiseClient,
  runLoad,
} from "#src/runtime/index.js";
import { ClientWorld, replicas } from "./client-world.js";
import { AGAIN_MS, GroupsWorld } from "./groups-world.js";
import { FakeCluster } from "../client/fake-cluster.js";
import { BtreeModel } from "./btree-model.js";

interface Outcome {
  readonly world: ClientWorld;
  readonly result: LoadResult;
  readonly phases: LoadPhase[];
  readonly progress: LoadProgress[];
}

async function load(options: Partial<LoadOptions>, disturb: (world: ClientWorld) => void = () => {}): Promise<Outcome> {
  const world = new ClientWorld();
  const phases: LoadPhase[] = [];
  const progress: LoadProgress[] = [];
  const complete = loadOptions({ keys: 50, window: 8, seconds: 2, warmupSeconds: 0.5, ...options });
  const running = runLoad({
    scheduler: world.scheduler,
    open: (handlers) => Promise.resolve(world.client(handlers).client),
    commands: kvLoadCommands({ keys: complete.keys, valueSize: 8, unique: 7 }),
    options: complete,
    onPhase: (phase) => {
      phases.push(phase);
      if (phase === "measure") disturb(world);
    },
    onProgress: (event) => progress.push(event),
  });
  return { world, result: await world.until(running, 120_000), phases, progress };
}

/** A round trip over the fake links takes 2 ms. */
const ROUND_TRIP_MS = 2;

describe("a closed loop", () => {
  test("keeps the window outstanding and counts what was answered in the measured time", async () => {
    const { result, phases, progress, world } = await load({ clients: 3, window: 8 });
    const expected = (3 * 8 * 1000) / ROUND_TRIP_MS;
    assert.ok(Math.abs(result.throughput - expected) <= expected * 0.02, `${result.throughput} against ${expected}`);
    assert.equal(result.seconds, 2);
    assert.equal(result.commands, result.throughput * result.seconds);
    assert.equal(result.errors, 0);
    assert.deepEqual(phases, ["preload", "warm-up", "measure", "drain"]);
    assert.ok(progress.length >= 2);
    const { p50, p99, max } = result.latency_ms;
    assert.deepEqual([p50, p99, max], [ROUND_TRIP_MS, ROUND_TRIP_MS, ROUND_TRIP_MS]);
    assert.equal(world.cluster.closed, 3, "all sessions are ended");
    assert.ok(world.ports.every((port) => port.closed));
  });

  test("writes every key before it begins", async () => {
    const { world } = await load({ workload: "get", keys: 1500 });
    const calls = new PromiseClient({ scheduler: world.scheduler });
    calls.attach(world.client(calls.handlers).client);
    assert.equal(await world.until(new KvClient(calls).count()), 1500);
  });

  test("sends updates as ordered blocks and reads as unordered ones, half of each for the mixed workload", async () => {
    for (const workload of ["put", "get", "mixed"] as const) {
      let before = 0;
      const { world, result } = await load({ workload }, ({ cluster }) => (before = cluster.received.length));
      const blocks = world.cluster.received.slice(before);
      const reads = blocks.filter((block) => block.kind === BlockKind.read).length;
      const updates = blocks.filter((block) => block.kind === BlockKind.commands).length;
      assert.equal(reads > 0, workload !== "put");
      assert.equal(updates > 0, workload !== "get");
      if (workload === "mixed") assert.ok(Math.abs(reads - updates) < 0.1 * (reads + updates));
      assert.equal(result.errors, 0);
    }
  });

  test("counts failures and goes on", async () => {
    const { result } = await load({ seconds: 20 }, (world) => {
      for (const replica of [1, 2, 3]) world.cluster.silent.add(replica);
      world.kernel.after(6000, () => world.cluster.silent.clear());
    });
    assert.equal(result.errors, 8);
    assert.ok(result.commands > 10_000);
  });

  test("counts replies that an existing key can't give", async () => {
    const world = new ClientWorld();
    const commands = kvLoadCommands({ keys: 10, valueSize: 8, unique: 7 });
    const options = loadOptions({ workload: "get", keys: 10, window: 4, seconds: 1, warmupSeconds: 0 });
    const result = await world.until(
      runLoad({
        scheduler: world.scheduler,
        open: (handlers) => Promise.resolve(world.client(handlers).client),
        // Reads ask for keys that were never written.
        commands: Object.assign(Object.create(commands) as LoadCommands, {
          load: commands.load.bind(commands),
          unexpected: commands.unexpected.bind(commands),
          read: (writer: ByteWriter, key: number) => commands.read(writer, key + 10),
        }),
        options,
      }),
    );
    assert.ok(result.errors >= result.commands && result.commands > 0);
  });

  test("gives up when the keys can't be written", async () => {
    const world = new ClientWorld();
    for (const replica of [1, 2, 3]) world.kernel.after(5, () => world.cluster.silent.add(replica));
    const running = runLoad({
      scheduler: world.scheduler,
      open: (handlers) => Promise.resolve(world.client(handlers).client),
      commands: kvLoadCommands({ keys: 100_000, valueSize: 8, unique: 7 }),
      options: loadOptions(),
    });
    await assert.rejects(
      world.until(running, 400_000),
      (error) => error instanceof IndeterminateError || error instanceof TryAgainError,
    );
    assert.ok(world.ports.every((port) => port.closed));
  });
});

/** Runs a workload on a model of the btree service. */
async function loadBtree(
  options: Partial<LoadOptions>,
  disturb: (world: ClientWorld) => void = () => {},
): Promise<{ model: BtreeModel; world: ClientWorld; result: LoadResult; before: BtreeModel }> {
  const model = new BtreeModel();
  const cluster = new FakeCluster(replicas, 1, (command, _readOnly, replies) => model.execute(command, replies));
  const world = new ClientWorld(1, cluster);
  const complete = loadOptions({ keys: 200, window: 16, seconds: 1, warmupSeconds: 0.1, clients: 2, ...options });
  let before = new BtreeModel();
  const running = runLoad({
    scheduler: world.scheduler,
    open: (handlers) => Promise.resolve(world.client(handlers).client),
    commands: btreeLoadCommands({ keys: complete.keys, valueSize: 8, unique: 0xfeedbeef }),
    options: complete,
    onPhase: (phase) => {
      if (phase === "warm-up") before = model.clone();
      if (phase === "measure") disturb(world);
    },
  });
  return { model, world, result: await world.until(running, 120_000), before };
}

describe("every workload", () => {
  for (const workload of LOAD_WORKLOADS) {
    test(`${workload} gets the answers it must get, from btree and from kv`, async () => {
      const { result, model, before } = await loadBtree({ workload, seconds: 0.3 });
      assert.equal(before.size, 200);
      assert.equal(result.errors, 0);
      assert.ok(result.commands > 2000);
      assert.equal(model.refused, 0);
      assert.equal((await load({ workload, seconds: 0.5, warmupSeconds: 0.1 })).result.errors, 0);
    });
  }

  test("a service without scans is not asked for them", () => {
    const commands = kvLoadCommands({ keys: 10, valueSize: 8, unique: 7 });
    const without = Object.assign(Object.create(commands) as LoadCommands, { scans: false });
    checkLoad(loadOptions({ workload: "ycsb-d" }), without);
    checkLoad(loadOptions({ workload: "ycsb-e" }), commands);
    assert.throws(() => checkLoad(loadOptions({ workload: "ycsb-e" }), without), /ycsb-e needs range scans/);
  });

  test("asks for the published mix", async () => {
    const share = async (workload: LoadOptions["workload"]): Promise<Record<string, number>> => {
      const { model, before } = await loadBtree({ workload, seconds: 0.4 });
      const counts = model.counts.map((count, operation) => count - (before.counts[operation] as number));
      const all = counts.reduce((sum, count) => sum + count, 0);
      const [, insert, remove, read, update, range] = counts.map((count) => count / all);
      return { insert, delete: remove, read, update, range } as Record<string, number>;
    };
    const expected: [LoadOptions["workload"], Record<string, number>][] = [
      ["ycsb-a", { read: 0.5, update: 0.5 }],
      ["ycsb-b", { read: 0.95, update: 0.05 }],
      ["ycsb-c", { read: 1 }],
      ["ycsb-d", { read: 0.95, insert: 0.05 }],
      ["ycsb-e", { range: 0.95, insert: 0.05 }],
      // Half of the commands are modifications: a read and an update each.
      ["ycsb-f", { read: 2 / 3, update: 1 / 3 }],
      ["insert-delete", { insert: 0.5, delete: 0.5 }],
    ];
    for (const [workload, mix] of expected) {
      const shares = await share(workload);
      for (const [operation, found] of Object.entries(shares)) {
        const wanted = mix[operation] ?? 0;
        assert.ok(Math.abs(found - wanted) < (wanted === 0 ? 1e-9 : 0.02), `${workload} ${operation}: ${found}`);
      }
    }
  });

  test("scans ask for 1 to 100 pairs, all lengths alike", async () => {
    const { model } = await loadBtree({ workload: "ycsb-e" });
    assert.equal(Math.min(...model.scans.keys()), 1);
    assert.equal(Math.max(...model.scans.keys()), 100);
    const all = [...model.scans.values()].reduce((sum, count) => sum + count, 0);
    let chiSquare = 0;
    for (let length = 1; length <= 100; length++) chiSquare += ((model.scans.get(length) ?? 0) - all / 100) ** 2;
    // 99 degrees of freedom: exceeded once in a thousand seeds; the seed is fixed.
    assert.ok(chiSquare / (all / 100) < 149, `${chiSquare / (all / 100)}`);
  });

  test("a modification is one command, timed from its read to its update's answer", async () => {
    const { result } = await loadBtree({ workload: "ycsb-f", window: 8, clients: 1 });
    assert.ok(result.latency_ms.max >= 2 * ROUND_TRIP_MS);
    assert.equal(result.errors, 0);
    // Half of the commands take one round trip and half take two, so eight outstanding make 8 / 1.5 a round trip.
    const expected = ((8 / 1.5) * 1000) / ROUND_TRIP_MS;
    assert.ok(Math.abs(result.throughput - expected) < expected * 0.1, `${result.throughput} against ${expected}`);
  });

  test("modifications outlive a stall", async () => {
    const { result, model } = await loadBtree({ workload: "ycsb-f", seconds: 5 }, (world) => {
      for (const replica of replicas) world.cluster.silent.add(replica);
      world.kernel.after(1000, () => world.cluster.silent.clear());
    });
    assert.equal(result.errors, 0);
    assert.ok(result.commands > 10_000);
    assert.equal(model.refused, 0);
  });

  test("insertions of clients and of loads never meet", () => {
    const seen = new Set<string>();
    for (const unique of [1, 2, 0xffffffff]) {
      for (const create of [kvLoadCommands, btreeLoadCommands]) {
        const commands = create({ keys: 100, valueSize: 8, unique });
        for (const client of [0, 1, 9999]) {
          for (let count = 0; count < 1000; count++) {
            const writer = new ByteWriter(64);
            commands.read(writer, insertedKey(client, count * 4_294_967));
            seen.add(Buffer.from(writer.toBytes()).toString("latin1"));
          }
        }
      }
    }
    assert.equal(seen.size, 3 * 2 * 3 * 1000);
  });
});

describe("an open loop", () => {
  test("sends commands when they are due", async () => {
    const { result } = await load({ rate: 1000, clients: 4, window: 100, workload: "mixed", seconds: 4 });
    assert.ok(Math.abs(result.throughput - 1000) <= 20, `${result.throughput}`);
    // A command waits for the ms in which it is sent, at most, and for its reply.
    assert.ok(result.latency_ms.max <= ROUND_TRIP_MS + 1.1, `${result.latency_ms.max}`);
  });

  test("Poisson arrivals keep the rate, and what is not kept up with is told", async () => {
    const kept = await load({ rate: 2000, arrivals: "poisson", clients: 3, window: 100, seconds: 10 });
    // The standard deviation of the count is the root of 20,000: four of them.
    assert.ok(Math.abs(kept.result.commands - 20_000) < 566, `${kept.result.commands}`);
    assert.ok(kept.result.behindMs < 5, `${kept.result.behindMs}`);
    const late = await load({ rate: 9000, clients: 2, window: 8, seconds: 3 });
    assert.ok(Math.abs(late.result.throughput - 8000) < 200, `${late.result.throughput}`);
    // A ninth of what was due in 3.5 s was not sent.
    assert.ok(Math.abs(late.result.behindMs - 3500 / 9) < 40, `${late.result.behindMs}`);
    assert.ok(late.result.latency_ms.max > 350, `${late.result.latency_ms.max}`);
  });

  test("times a command from when it was due, so that a stall counts for all it held up", async () => {
    const { result } = await load({ rate: 1000, window: 10, seconds: 4 }, (world) => {
      for (const replica of [1, 2, 3]) world.cluster.silent.add(replica);
      world.kernel.after(1000, () => world.cluster.silent.clear());
    });
    assert.equal(result.errors, 0);
    assert.ok(result.latency_ms.max >= 990, `${result.latency_ms.max}`);
    // A thousand of four thousand commands were due during the stall; the median one of them waited half of it.
    assert.ok(result.latency_ms.p95 > 300, `${result.latency_ms.p95}`);
  });
});

describe("latency histogram", () => {
  test("percentiles are at most 1 % above the exact ones and never below", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 2_000_000_000 }), { minLength: 1, maxLength: 300 }), (values) => {
        const histogram = new LatencyHistogram();
        for (const us of values) histogram.record(us / 1000, 1);
        const sorted = [...values].sort((a, b) => a - b);
        for (const fraction of [0.5, 0.95, 0.99, 0.999, 1]) {
          const exact = sorted[Math.max(0, Math.ceil(fraction * sorted.length) - 1)]! / 1000;
          const told = histogram.percentile(fraction);
          assert.ok(told >= exact - 1e-9 && told <= exact * 1.01 + 1e-9, `${told} for ${exact}`);
        }
        assert.equal(histogram.maxMs, sorted.at(-1)! / 1000);
      }),
    );
  });

  test("merges as if all had been recorded in one", () => {
    const [a, b, both] = [new LatencyHistogram(), new LatencyHistogram(), new LatencyHistogram()];
    for (let i = 1; i < 1000; i++) {
      (i % 3 === 0 ? a : b).record(i * 0.7, i);
      both.record(i * 0.7, i);
    }
    a.merge(structuredClone(b.export()));
    assert.deepEqual(a.export(), both.export());
    assert.equal(a.total, both.total);
    assert.equal(new LatencyHistogram().percentile(0.5), 0);
  });
});

test("load options out of bounds are refused", () => {
  for (const wrong of [
    { clients: 0 },
    { window: 0.5 },
    { keys: 0 },
    { seconds: 0 },
    { rate: 0 },
    { warmupSeconds: -1 },
    { arrivals: "bursts" as "poisson" },
  ]) {
    assert.throws(() => loadOptions(wrong), ConfigError, JSON.stringify(wrong));
  }
  assert.throws(() => loadOptions({ workload: "scan" as "put" }), /put, get, mixed/);
  assert.throws(() => kvLoadCommands({ keys: 10, valueSize: 0, unique: 7 }), ConfigError);
  assert.throws(() => btreeLoadCommands({ keys: 10, valueSize: 9, unique: 7 }), /8 bytes, got 9/);
});

describe("a load over groups", () => {
  async function loadGroups(
    options: Partial<LoadOptions>,
    disturb: (world: GroupsWorld) => void = () => {},
    world = new GroupsWorld(2),
    resubmit?: "replicas" | "client",
    strict = false,
  ): Promise<{ readonly world: GroupsWorld; readonly result: LoadResult; readonly before: readonly number[] }> {
    const complete = loadOptions({ keys: 200, window: 16, seconds: 1, warmupSeconds: 0.2, ...options });
    let before: readonly number[] = [];
    const running = runLoad({
      scheduler: world.process,
      open: (handlers) => {
        const client = createGroupsClient({ ...world.init(), resubmit, strict, handlersOf: () => handlers });
        world.linkAll();
        return client;
      },
      commands: kvLoadCommands({ keys: complete.keys, valueSize: 8, unique: 7 }),
      options: complete,
      mapping: world.mapping,
      optimistic: resubmit !== undefined,
      onPhase: (phase) => {
        if (phase === "warm-up") before = world.clusters.map(({ received }) => received.length);
        if (phase === "measure") disturb(world);
      },
    });
    return { world, result: await world.until(running, 120_000), before };
  }

  test("keeps the window outstanding over all streams, sorted by the groups of their keys", async () => {
    const { world, result, before } = await loadGroups({ clients: 3, window: 8, workload: "mixed" });
    const expected = (3 * 8 * 1000) / ROUND_TRIP_MS;
    assert.ok(Math.abs(result.throughput - expected) <= expected * 0.02, `${result.throughput} against ${expected}`);
    assert.equal(result.errors, 0);
    assert.deepEqual([result.latency_ms.p50, result.latency_ms.max], [ROUND_TRIP_MS, ROUND_TRIP_MS]);
    world.check();
    const blocks = world.clusters.map(({ received }, stream) => received.slice(before[stream]));
    assert.deepEqual(
      blocks.map((each) => each.some(({ kind }) => kind === BlockKind.commands)),
      [false, true, true],
      "keys are loaded through g_all, and each command of the load is one group's",
    );
    assert.ok(world.clusters.every(({ misrouted }) => misrouted === 0));
    assert.equal(world.clusters[0]?.closed, 9, "each client ends its three sessions");
    assert.ok(world.ports.every((port) => port.closed));
  });

  test("runs every workload without errors, through failovers of a group as well", async () => {
    for (const workload of LOAD_WORKLOADS) {
      const { world, result } = await loadGroups({ workload, seconds: 0.6 }, ({ clusters, kernel }) => {
        clusters[1]?.elect(0);
        kernel.after(300, () => {
          clusters[1]?.elect(3);
          for (const replica of replicas) clusters[1]?.tell(replica, 3);
        });
      });
      assert.equal(result.errors, 0, workload);
      assert.ok(result.commands > 500, workload);
      world.check();
    }
  });

  for (const resubmit of ["replicas", "client"] as const) {
    test(`tells commands that fail their safety check from those that pass, sent again by ${resubmit}`, async () => {
      const failing = (): GroupsWorld => {
        const world = new GroupsWorld(2, 1, resubmit);
        world.passing = 9;
        return world;
      };
      const againMs = resubmit === "replicas" ? AGAIN_MS : ROUND_TRIP_MS;
      for (const rate of [null, 2000]) {
        const { world, result } = await loadGroups({ workload: "put", rate }, undefined, failing(), resubmit);
        world.check();
        assert.equal(result.errors, 0);
        const { optimistic } = result;
        assert.ok(optimistic !== null);
        assert.ok(Math.abs(optimistic.fail_rate - 0.1) < 0.005, `${optimistic.fail_rate}`);
        assert.equal(optimistic.passed + optimistic.failed, result.commands);
        if (rate !== null) continue;
        // Some wait for a block under way in their stream, at most for a round trip.
        const { latency_ms_passed: passed, latency_ms_failed: failed } = optimistic;
        assert.ok(passed.p50 >= ROUND_TRIP_MS && passed.max <= 2 * ROUND_TRIP_MS, JSON.stringify(passed));
        assert.ok(failed.p50 >= ROUND_TRIP_MS + againMs && failed.max <= 2 * ROUND_TRIP_MS + againMs);
      }
      const every = await Promise.all(
        LOAD_WORKLOADS.map(async (workload) => {
          // The commands of a key keep their order in a strict session alone: this cluster knows no keys.
          const { world, result } = await loadGroups({ workload, seconds: 0.3 }, undefined, failing(), resubmit, true);
          world.check();
          return result;
        }),
      );
      assert.deepEqual(
        every.map(({ errors }) => errors),
        LOAD_WORKLOADS.map(() => 0),
      );
    });
  }

  test("with a rate times commands from when they were due, and counts what fails", async () => {
    const steady = await loadGroups({ workload: "put", rate: 1000, window: 64 });
    assert.equal(steady.result.errors, 0);
    assert.ok(Math.abs(steady.result.throughput - 1000) < 20, `${steady.result.throughput}`);
    const stalled = await loadGroups({ workload: "put", seconds: 7 }, ({ clusters, kernel }) => {
      for (const replica of replicas) clusters[2]?.silent.add(replica);
      kernel.after(6000, () => clusters[2]?.silent.clear());
    });
    assert.ok(stalled.result.errors > 0 && stalled.result.errors <= 16, `${stalled.result.errors}`);
    assert.ok(stalled.result.commands > 1000);
  });
});
