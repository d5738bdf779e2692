/**
 * Threads of P-SMR and opt-PSMR behind the thread port: in an order drawn from a seed, in turn, and for real they end in the state that one
 * thread reaches in the merged order. The bodies are the same ones under all three.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Prng } from "#src/base/index.js";
import { createPsmrParts } from "#src/execution/index.js";
import {
  drawWorkload,
  encodeCommands,
  EVERYBODY,
  filledTree,
  foreseeFailures,
  type Mapping,
  planStreams,
  recordStreams,
  serviceOptions,
  walkOptimism,
} from "#src/lab/streams/index.js";
import {
  InlineThreads,
  SimThreads,
  SystemScheduler,
  type ThreadHandle,
  type ThreadPort,
  WorkerThreads,
} from "#src/platform/index.js";
import * as bodies from "./psmr-body.js";

const KEYS = 512;
const WINDOW = 20;
const module = new URL("./psmr-body.js", import.meta.url);
const loaded = new Map([[module.href, bodies]]);

/** As many commands as make some leaves split and merge, and several wait for their copies at a time. */
const OPTIMISTIC = { keys: 3000, commands: 2500, dependent: 0.8 } as const;

interface Shape {
  readonly seed: number;
  readonly threads: number;
  readonly mapping: Mapping;
  readonly barrier: "run" | "command";
}

/** What the threads are given, and the digest that one thread reaches. */
function prepare({ seed, threads, mapping, barrier }: Shape): {
  readonly data: Omit<bodies.PsmrBodyData, "thread">;
  readonly expected: string;
} {
  const workload = drawWorkload({ seed, commands: 600, keys: KEYS, dependent: 0.2, skew: "uniform" });
  const encoded = encodeCommands(workload.operations, workload.keys, KEYS);
  const plan = planStreams(workload, encoded, threads, mapping, WINDOW);
  // One order that the merged orders of all threads agree with: window by window, groups first, then g_all.
  const order: number[] = [];
  for (let window = 0; window < plan.windows; window++) {
    const commands = Array.from({ length: WINDOW }, (_, i) => window * WINDOW + i);
    for (let thread = 0; thread < threads; thread++) order.push(...commands.filter((i) => plan.owner[i] === thread));
    order.push(...commands.filter((i) => plan.owner[i] === EVERYBODY));
  }
  assert.equal(order.length, plan.owner.length);
  const service = bodies.filledService(KEYS, serviceOptions(KEYS, 1, "range"));
  bodies.executeInOrder(service, encoded, order);
  const recording = recordStreams(plan, encoded, "groups");
  const parts = createPsmrParts(threads);
  const through = new SharedArrayBuffer(4);
  return {
    data: { threads, keys: KEYS, optimistic: false, mapping, barrier, recording, parts, through },
    expected: bodies.digestOf(service),
  };
}

/** The same for opt-PSMR, with what is foreseen to fail; digests cover the shape of the tree. */
function prepareOptimistic({ seed, threads, barrier }: Omit<Shape, "mapping">): ReturnType<typeof prepare> & {
  readonly failures: number;
} {
  const { keys, commands, dependent } = OPTIMISTIC;
  const workload = drawWorkload({ seed, commands, keys, dependent, skew: "uniform", space: "scattered" });
  const encoded = encodeCommands(workload.operations, workload.keys, keys, "scattered");
  const plan = planStreams(workload, encoded, threads, "range", WINDOW, "optimistic");
  const service = filledTree(keys, "scattered", serviceOptions(keys, threads, "range", "scattered"));
  const before = bodies.digestOf(service);
  const failed = foreseeFailures(service, plan, encoded, 3);
  assert.equal(bodies.digestOf(service), before, `seed ${seed}: what was foreseen is taken back, and so is the shape`);
  const optimism = { failed, delayWindows: 3 };
  const order: number[] = [];
  walkOptimism(plan, optimism, {
    own: (_window, _stream, own) => void order.push(...own.filter((command) => failed[command] === 0)),
    copies: (_window, copies) => void order.push(...copies.map(({ command }) => command)),
  });
  assert.equal(order.length, commands, "each command executes once");
  bodies.executeInOrder(service, encoded, order);
  const recording = recordStreams(plan, encoded, "groups", optimism);
  const parts = createPsmrParts(threads);
  const through = new SharedArrayBuffer(4);
  return {
    data: { threads, keys, optimistic: true, mapping: "range", barrier, recording, parts, through },
    expected: bodies.digestOf(service),
    failures: failed.reduce((sum, each) => sum + each, 0),
  };
}

/** Starts the threads; resolves with the digest of thread 0 when all have ended. */
async function run(port: ThreadPort, data: Omit<bodies.PsmrBodyData, "thread">): Promise<string> {
  const handles: ThreadHandle[] = [];
  let digest = "";
  const exits = Array.from(
    { length: data.threads },
    async (_, thread) =>
      new Promise<void>((resolve, reject) => {
        const handle = port.start(
          { name: `t${thread}`, module, data: { ...data, thread } satisfies bodies.PsmrBodyData },
          {
            onStart: () => undefined,
            onMessage(message) {
              const told = message as bodies.FromPsmrBody;
              if ("digest" in told) ({ digest } = told);
              else for (const other of handles.slice(1)) assert.ok(other.post(told));
            },
            onExit(error) {
              if (error === null) resolve();
              else reject(error);
            },
          },
        );
        handles.push(handle);
      }),
  );
  await Promise.all(exits);
  return digest;
}

describe("P-SMR behind the thread port", () => {
  test("in any order that a seed draws, the state is that of one thread", async () => {
    for (let seed = 1; seed <= 24; seed++) {
      const { data, expected } = prepare({
        seed,
        threads: 2 + (seed % 3),
        mapping: seed % 2 === 0 ? "range" : "hash",
        barrier: seed % 4 < 2 ? "run" : "command",
      });
      const port = new SimThreads(new Prng(seed), loaded);
      const digest = run(port, data);
      assert.ok(port.run(1_000_000), `seed ${seed}: the threads do not come to an end`);
      assert.deepEqual(port.waiting(), [], `seed ${seed}: these wait for ever`);
      assert.equal(await digest, expected, `seed ${seed}`);
    }
  });

  test("so it is with opt-PSMR: what was foreseen to fail fails, and its copies take effect where g_all has them", async () => {
    let failures = 0;
    for (let seed = 1; seed <= 8; seed++) {
      const shape = { seed, threads: 2 + (seed % 3), barrier: seed % 2 === 0 ? "run" : "command" } as const;
      const { data, expected, failures: some } = prepareOptimistic(shape);
      failures += some;
      const port = new SimThreads(new Prng(seed), loaded);
      const digest = run(port, data);
      assert.ok(port.run(1_000_000), `seed ${seed}: the threads do not come to an end`);
      assert.deepEqual(port.waiting(), [], `seed ${seed}: these wait for ever`);
      assert.equal(await digest, expected, `seed ${seed}`);
    }
    assert.ok(failures > 100, `${failures} failed`);
  });

  test("so it is in turn, and with real threads that wait in each way", async () => {
    const ports: readonly (readonly [string, ThreadPort])[] = [
      ["inline", new InlineThreads(new SystemScheduler(), {}, loaded)],
      ["async", new WorkerThreads({ waiting: "async", spinsMax: 50 })],
      ["block", new WorkerThreads({ waiting: "block", spinsMax: 50 })],
    ];
    for (const [name, port] of ports) {
      for (const barrier of ["run", "command"] as const) {
        const { data, expected } = prepare({ seed: 5, threads: 2, mapping: "range", barrier });
        assert.equal(await run(port, data), expected, `${name}, ${barrier}`);
      }
    }
  });

  test("a release that is lost is seen as a deadlock", () => {
    const { data } = prepare({ seed: 2, threads: 2, mapping: "range", barrier: "run" });
    const port = new SimThreads(new Prng(2), loaded);
    void run(port, data).catch(() => undefined);
    // The word in which thread 0 counts its releases never keeps its value.
    const words = new Int32Array(data.parts.memory);
    for (let i = 0; i < 20_000 && port.step(); i++) words[1] = 0;
    // Thread 1 waits for the release, thread 0 for thread 1 at the barrier behind it.
    assert.deepEqual(port.waiting(), ["t0", "t1"]);
  });
});
