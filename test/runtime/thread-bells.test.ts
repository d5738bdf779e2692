import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, test, type TestContext } from "node:test";
import { type MessagePort, Worker } from "node:worker_threads";
import { type BellsPart, createBellsParts, ThreadBells } from "#src/runtime/index.js";
import type { BellsThreadData } from "./bells-thread.js";

const RUNG = 0;
const WRITTEN = 1;
const RELEASED = 2;

class Other {
  readonly words = new Int32Array(new SharedArrayBuffer(12));
  readonly #worker: Worker;
  readonly #said: unknown[] = [];
  #onSaid: () => void = () => undefined;

  constructor(context: TestContext, part: BellsPart, does: BellsThreadData["does"], until: number) {
    this.#worker = new Worker(new URL("./bells-thread.js", import.meta.url), {
      workerData: { part, words: this.words.buffer, does, until } satisfies BellsThreadData,
      transferList: part.ports.filter((port): port is MessagePort => port !== null),
    });
    this.#worker.on("message", (said) => {
      this.#said.push(said);
      this.#onSaid();
    });
    context.after(async () => {
      const ended = once(this.#worker, "exit");
      this.#worker.postMessage("end");
      await ended;
    });
  }

  async heard(what: string): Promise<void> {
    while (!this.#said.includes(what)) await new Promise<void>((resolve) => (this.#onSaid = resolve));
  }
}

describe("bells between threads", () => {
  test("any number of rings while one is under way are one, and none is lost", async (t) => {
    const [own, part] = createBellsParts(2) as [BellsPart, BellsPart];
    const bells = new ThreadBells(own);
    t.after(() => bells.close());
    const other = new Other(t, part, "block", 1000);
    bells.ring(1);
    await other.heard("blocked");
    for (let i = 1; i <= 1000; i++) {
      Atomics.store(other.words, WRITTEN, i);
      bells.ring(1);
    }
    Atomics.store(other.words, RELEASED, 1);
    Atomics.notify(other.words, RELEASED);
    await other.heard("reached");
    // The one in front of the handler may be heard twice, as a message and when the handler is set.
    const rung = Atomics.load(other.words, RUNG);
    assert.ok(rung === 2 || rung === 3, `the handler was called ${rung} times`);
  });

  test("a ring in front of the handler is made up for", async (t) => {
    const [own, part] = createBellsParts(2) as [BellsPart, BellsPart];
    const [theirs, ours] = [new ThreadBells(part), new ThreadBells(own)];
    t.after(() => {
      theirs.close();
      ours.close();
    });
    theirs.ring(0);
    await new Promise<void>((resolve) => {
      let within = true;
      ours.onRing(() => {
        assert.ok(!within, "the handler was called inside the call");
        resolve();
      });
      within = false;
    });
  });

  test("a member may ring for itself, in front of the handler, behind it and within it", async (t) => {
    const bells = new ThreadBells(createBellsParts(2)[1] as BellsPart);
    t.after(() => bells.close());
    bells.ring(1);
    let within = true;
    let calls = 0;
    const rung = new Promise<void>((resolve) => {
      bells.onRing(() => {
        assert.ok(!within, "the handler was called inside a call");
        if (++calls === 3) return resolve();
        within = true;
        bells.ring(1);
        within = false;
      });
    });
    bells.ring(1);
    within = false;
    await rung;
  });

  test("what was written before a ring is seen, however the threads run", async (t) => {
    const rings = 20_000;
    const parts = createBellsParts(3) as [BellsPart, BellsPart, BellsPart];
    const bells = new ThreadBells(parts[0]);
    t.after(() => bells.close());
    const others = [new Other(t, parts[1], "echo", rings), new Other(t, parts[2], "echo", rings)];
    let back = 0;
    const echoed = new Promise<void>((resolve) => {
      bells.onRing(() => {
        back++;
        if (others.every(({ words }) => Atomics.load(words, WRITTEN) === rings)) resolve();
      });
    });
    await Promise.all(others.map((other) => other.heard("listening")));
    for (let i = 1; i <= rings; i++) {
      for (const [index, { words }] of others.entries()) {
        Atomics.store(words, WRITTEN, i);
        bells.ring(index + 1);
      }
      // The answers come in between, and the others ring for each other all the time.
      if (i % 100 === 0) await new Promise<void>((resolve) => void setImmediate(resolve));
    }
    await Promise.all(others.map((other) => other.heard("reached")));
    await echoed;
    assert.ok(back > 0);
  });
});
