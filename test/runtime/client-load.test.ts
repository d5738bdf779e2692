/** The load generator in virtual time, and its histogram. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { BlockKind, ConfigError, IndeterminateError, TryAgainError } from "#src/model/index.js";
import {
  KvClient,
  kvLoadCommands,
  LatencyHistogram,
  loadOptions,
  type LoadOptions,
  type LoadPhase,
  type LoadProgress,
  type LoadResult,
  PromiseClient,
  runLoad,
} from "#src/runtime/index.js";
import { ClientWorld } from "./client-world.js";

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
    commands: kvLoadCommands(complete.keys, 8),
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
    const commands = kvLoadCommands(10, 8);
    const options = loadOptions({ workload: "get", keys: 10, window: 4, seconds: 1, warmupSeconds: 0 });
    const result = await world.until(
      runLoad({
        scheduler: world.scheduler,
        open: (handlers) => Promise.resolve(world.client(handlers).client),
        // Reads ask for keys that were never written.
        commands: {
          writeUpdate: (writer, key) => commands.writeUpdate(writer, key),
          writeRead: (writer, key) => commands.writeRead(writer, key + 10),
          isExpected: (view, at, read) => commands.isExpected(view, at, read),
        },
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
      commands: kvLoadCommands(100_000, 8),
      options: loadOptions(),
    });
    await assert.rejects(
      world.until(running, 400_000),
      (error) => error instanceof IndeterminateError || error instanceof TryAgainError,
    );
    assert.ok(world.ports.every((port) => port.closed));
  });
});

describe("an open loop", () => {
  test("sends commands when they are due", async () => {
    const { result } = await load({ rate: 1000, clients: 4, window: 100, workload: "mixed", seconds: 4 });
    assert.ok(Math.abs(result.throughput - 1000) <= 20, `${result.throughput}`);
    // A command waits for the ms in which it is sent, at most, and for its reply.
    assert.ok(result.latency_ms.max <= ROUND_TRIP_MS + 1.1, `${result.latency_ms.max}`);
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
  test("percentiles are at most 1/64 above the exact ones and never below", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 2_000_000_000 }), { minLength: 1, maxLength: 300 }), (values) => {
        const histogram = new LatencyHistogram();
        for (const us of values) histogram.record(us / 1000, 1);
        const sorted = [...values].sort((a, b) => a - b);
        for (const fraction of [0.5, 0.95, 0.99, 0.999, 1]) {
          const exact = sorted[Math.max(0, Math.ceil(fraction * sorted.length) - 1)]! / 1000;
          const told = histogram.percentile(fraction);
          assert.ok(told >= exact - 1e-9 && told <= exact * (1 + 1 / 64) + 1e-9, `${told} for ${exact}`);
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
  ]) {
    assert.throws(() => loadOptions(wrong), ConfigError, JSON.stringify(wrong));
  }
  assert.throws(() => loadOptions({ workload: "scan" as "put" }), /put, get, mixed/);
  assert.throws(() => kvLoadCommands(10, 0), ConfigError);
});
