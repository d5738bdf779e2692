import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Prng } from "#src/base/index.js";
import { ConfigError } from "#src/model/index.js";
import {
  checkThreadOptions,
  InlineThreads,
  SimThreads,
  SystemScheduler,
  type ThreadPort,
  threadDefaults,
  WorkerThreads,
} from "#src/platform/index.js";
import * as bodies from "./worker-body.js";
import { startBody, threadSuite } from "./worker.suite.js";

const href = new URL("./worker-body.js", import.meta.url).href;
const loaded = new Map([[href, bodies]]);

threadSuite({
  name: "thread",
  make: (options) => new WorkerThreads(options),
  until: (promise) => promise,
  blockUntil: (words) => void Atomics.wait(words, 0, 0, 60_000),
});
threadSuite({
  name: "inline",
  make: (options) => new InlineThreads(new SystemScheduler(), options),
  until: (promise) => promise,
});

/** Simulated threads go on while somebody waits for them. */
let simulated: SimThreads[] = [];
async function untilSettled<T>(promise: Promise<T>): Promise<T> {
  let settled = false;
  const done = (): void => {
    settled = true;
  };
  promise.then(done, done);
  for (let i = 0; !settled; i++) {
    assert.ok(i < 100_000, "the simulated threads have come to rest");
    for (const threads of simulated) threads.step();
    await Promise.resolve();
  }
  return promise;
}
threadSuite({
  name: "sim",
  make() {
    const threads = new SimThreads(new Prng(simulated.length), loaded);
    simulated = [threads];
    return threads;
  },
  until: untilSettled,
  skips: new Map([
    ["stubborn", "simulated threads have no time"],
    ["flood", "the maximum is not adjustable, and bodies are made at once"],
  ]),
});

describe("threads", () => {
  test("a module that is not there ends a thread before it starts", async () => {
    for (const port of [new WorkerThreads(), new InlineThreads(new SystemScheduler())] satisfies ThreadPort[]) {
      const error = await new Promise<Error | null>((resolve) => {
        port.start(
          { name: "lost", module: new URL("./no-such-module.js", import.meta.url), data: null },
          { onStart: () => assert.fail(), onMessage: () => assert.fail(), onExit: resolve },
        );
      });
      assert.match(String(error), /thread lost: .*no-such-module/);
    }
  });

  test("a thread in a process that inline threads wait for brings them back", async () => {
    const words = new Int32Array(new SharedArrayBuffer(8));
    // Enough for each side to change the word in every moment in which the other looks at it.
    const rounds = 500;
    const inline = startBody(new InlineThreads(new SystemScheduler()), {
      play: "turns",
      words,
      mine: 0,
      theirs: 1,
      rounds,
    });
    const real = startBody(new WorkerThreads(), { play: "turns", words, mine: 1, theirs: 0, rounds });
    assert.equal(await inline.exited, null);
    real.handle.stop();
    assert.equal(await real.exited, null);
    assert.equal(words[1], 2 * rounds);
  });

  test("the same seed gives the same order of steps, others give others", () => {
    const orders = new Set<string>();
    for (let seed = 0; seed < 20; seed++) {
      const run = (): string => {
        const port = new SimThreads(new Prng(seed), loaded);
        const words = new Int32Array(new SharedArrayBuffer(4));
        const order: string[] = [];
        for (const name of ["a", "b", "c"]) {
          port.start(
            { name, module: new URL(href), data: { play: "count", words, steps: 20 } satisfies bodies.Play },
            {
              onStart: () => order.push(`${name}+`),
              onMessage: () => order.push(name),
              onExit: () => order.push(`${name}-`),
            },
          );
        }
        assert.ok(port.run(10_000));
        assert.equal(words[0], 60);
        return `${order.join(" ")} in ${port.steps}`;
      };
      const order = run();
      assert.equal(run(), order, `seed ${seed}`);
      orders.add(order);
    }
    assert.ok(orders.size > 5, `${orders.size} orders`);
  });

  test("a deadlock of simulated threads is seen", () => {
    const port = new SimThreads(new Prng(1), loaded);
    startBody(port, { play: "wait", words: new Int32Array(new SharedArrayBuffer(4)) }, "stuck");
    assert.ok(port.run(1000));
    assert.deepEqual(port.waiting(), ["stuck"]);
  });

  test("options out of bounds are refused", () => {
    assert.deepEqual(checkThreadOptions({}), threadDefaults);
    assert.throws(() => checkThreadOptions({ spinsMax: 0 }), ConfigError);
    assert.throws(() => new WorkerThreads({ messagesMax: 1.5 }), /messagesMax .* got 1.5/);
    assert.throws(() => checkThreadOptions({ waiting: "sleep" as "spin" }), /waiting must be/);
  });
});
