/** The real scheduler. Times are checked against the clock from below only: a loaded machine may be late at will. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import { SystemScheduler } from "#src/platform/index.js";

const scheduler = new SystemScheduler();
const { clock } = scheduler;
const ticks = async (count: number): Promise<void> => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
};

describe("timers", () => {
  test("fire once, at or after their time", async () => {
    for (const delayMs of [-5, 0, 0.25, 1, 1.5, 5, 20.75]) {
      let fired = 0;
      const atMs = clock.monotonicMs() + delayMs;
      await new Promise<void>((resolve) => {
        const timer = scheduler.timer(() => {
          fired++;
          assert.ok(clock.monotonicMs() >= atMs, `fired ${atMs - clock.monotonicMs()} ms too early`);
          resolve();
        });
        timer.set(atMs);
        assert.equal(fired, 0);
      });
      await ticks(3);
      assert.equal(fired, 1);
    }
  });

  test("set replaces: later puts off, earlier brings forward", async () => {
    const order: string[] = [];
    const start = clock.monotonicMs();
    await new Promise<void>((resolve) => {
      const putOff = scheduler.timer(() => {
        assert.ok(clock.monotonicMs() >= start + 40);
        order.push("put off");
        resolve();
      });
      const broughtForward = scheduler.timer(() => order.push("brought forward"));
      putOff.set(start + 5);
      for (let i = 0; i < 1000; i++) putOff.set(start + 40);
      broughtForward.set(start + 10_000);
      broughtForward.set(start + 10);
    });
    assert.deepEqual(order, ["brought forward", "put off"]);
  });

  test("a timer that is cleared, or set to never, does not fire; one may set itself again", async () => {
    let fired = 0;
    const cleared = scheduler.timer(() => fired++);
    cleared.set(clock.monotonicMs() + 1);
    cleared.clear();
    const never = scheduler.timer(() => fired++);
    never.set(clock.monotonicMs() + 1);
    never.set(Infinity);
    await new Promise<void>((resolve) => {
      let rounds = 0;
      const again = scheduler.timer(() => {
        if (++rounds === 5) resolve();
        else again.set(clock.monotonicMs() + 1);
      });
      again.set(clock.monotonicMs());
    });
    assert.equal(fired, 0);
  });

  test("setting a pending timer later makes no new timeout", () => {
    const timer = scheduler.timer(() => {});
    const original = globalThis.setTimeout;
    let made = 0;
    const counting = (...args: Parameters<typeof setTimeout>): ReturnType<typeof setTimeout> => {
      made++;
      return original(...args);
    };
    globalThis.setTimeout = Object.assign(counting, original);
    try {
      const start = clock.monotonicMs();
      for (let i = 0; i < 1000; i++) timer.set(start + 1000 + i);
    } finally {
      globalThis.setTimeout = original;
      timer.clear();
    }
    assert.equal(made, 1);
  });

  test("a cleared timer keeps no thread alive, nor does a far one fire at once", async () => {
    const source = `import(require("node:worker_threads").workerData).then(({ SystemScheduler }) => {
      const scheduler = new SystemScheduler();
      const far = scheduler.timer(() => process.exit(9));
      far.set(scheduler.clock.monotonicMs() + 1e12);
      const near = scheduler.timer(() => far.clear());
      near.set(scheduler.clock.monotonicMs() + 5);
    });`;
    const worker = new Worker(source, {
      eval: true,
      workerData: new URL("../../platform/index.js", import.meta.url).href,
    });
    assert.equal(await new Promise((resolve) => worker.on("exit", resolve)), 0);
  });
});

describe("turns", () => {
  test("run once however often they are asked for, never inside the call", async () => {
    let runs = 0;
    const turn = scheduler.turn(() => runs++);
    for (let i = 0; i < 10; i++) turn.request();
    assert.equal(runs, 0);
    await ticks(2);
    assert.equal(runs, 1);
    turn.request();
    await ticks(2);
    assert.equal(runs, 2);
  });

  test("run after the input of the present turn, in the order asked for, with the turns they ask for behind them", async () => {
    const order: string[] = [];
    const third = scheduler.turn(() => order.push("third"));
    const second = scheduler.turn(() => {
      order.push("second");
      third.request();
    });
    const first = scheduler.turn(() => order.push("first"));
    first.request();
    second.request();
    void Promise.resolve().then(() => order.push("input"));
    await ticks(2);
    assert.deepEqual(order, ["input", "first", "second", "third"]);
  });

  test("turns that ask for themselves for ever do not keep the event loop", async () => {
    let runs = 0;
    let stop = false;
    const endless = scheduler.turn(() => {
      runs++;
      if (!stop) endless.request();
    });
    endless.request();
    await ticks(3);
    stop = true;
    assert.ok(runs > 1);
  });
});
