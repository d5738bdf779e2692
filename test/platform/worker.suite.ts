/** What every sibling of the thread port does. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ThreadError } from "#src/model/index.js";
import type { ThreadHandle, ThreadOptions, ThreadPort } from "#src/platform/index.js";
import type { Play } from "./worker-body.js";

export interface ThreadWorld {
  readonly name: string;
  make(options: Partial<ThreadOptions>): ThreadPort;
  /** Runs until the promise is settled. */
  until<T>(promise: Promise<T>): Promise<T>;
  /** Blocks this thread until the word 0 is not 0, where bodies run beside it. */
  blockUntil?(words: Int32Array): void;
  /** Named deviations, each with its reason. */
  readonly skips?: ReadonlyMap<string, string>;
}

const module = new URL("./worker-body.js", import.meta.url);

interface Started {
  readonly handle: ThreadHandle;
  readonly messages: unknown[];
  readonly started: Promise<void>;
  readonly exited: Promise<Error | null>;
  /** Resolves at the next message. */
  message(): Promise<unknown>;
}

export function startBody(port: ThreadPort, data: Play, name = "body"): Started {
  const messages: unknown[] = [];
  let wanted: ((message: unknown) => void) | null = null;
  let handle: ThreadHandle | undefined;
  let onStart: () => void = () => undefined;
  let ended = false;
  const started = new Promise<void>((resolve) => {
    onStart = resolve;
  });
  const exited = new Promise<Error | null>((resolve) => {
    let inside = true;
    handle = port.start(
      { name, module, data },
      {
        onStart() {
          assert.ok(!inside && !ended, "callbacks come later");
          onStart();
        },
        onMessage(message) {
          assert.ok(!ended, "the exit is last");
          if (wanted === null) messages.push(message);
          else wanted(message);
          wanted = null;
        },
        onExit(error) {
          assert.ok(!inside && !ended, "one exit, and later");
          ended = true;
          resolve(error);
        },
      },
    );
    inside = false;
  });
  return {
    handle: handle!,
    messages,
    started,
    exited,
    message: async () =>
      messages.length > 0
        ? messages.shift()
        : new Promise((resolve) => {
            wanted = resolve;
          }),
  };
}

export function threadSuite(world: ThreadWorld): void {
  const skip = (name: string): { skip: string | false } => ({ skip: world.skips?.get(name) ?? false });

  describe(`threads: ${world.name}`, () => {
    test("a body makes its steps, says something and is done", async () => {
      const words = new Int32Array(new SharedArrayBuffer(4));
      const body = startBody(world.make({}), { play: "count", words, steps: 1000 });
      assert.equal(await world.until(body.exited), null);
      assert.equal(Atomics.load(words, 0), 1000, "shared memory stays shared");
      assert.deepEqual(body.messages, ["counted"]);
    });

    for (const waiting of ["async", "spin", "block"] as const) {
      test(`bodies wait for each other's words: ${waiting}`, async () => {
        const rounds = 200;
        const words = new Int32Array(new SharedArrayBuffer(8));
        const port = world.make({ waiting, spinsMax: 10 });
        const one = startBody(port, { play: "turns", words, mine: 0, theirs: 1, rounds }, "one");
        const other = startBody(port, { play: "turns", words, mine: 1, theirs: 0, rounds }, "other");
        assert.equal(await world.until(one.exited), null);
        other.handle.stop();
        assert.equal(await world.until(other.exited), null);
        assert.equal(words[1], 2 * rounds);
      });
    }

    test("messages go both ways, in order", async () => {
      const body = startBody(world.make({}), { play: "echo" });
      for (let i = 0; i < 10; i++) assert.ok(body.handle.post(i));
      for (let i = 0; i < 10; i++) assert.equal(await world.until(body.message()), 2 * i);
      body.handle.stop();
      assert.equal(await world.until(body.exited), null);
      assert.ok(!body.handle.post(1), "nobody is there");
    });

    test("more messages than may be under way are not taken", skip("flood"), async () => {
      const port = world.make({ messagesMax: 4 });
      const body = startBody(port, { play: "echo" });
      const taken = [1, 2, 3, 4, 5, 6].filter((i) => body.handle.post(i));
      assert.deepEqual(taken, [1, 2, 3, 4]);
      for (let i = 1; i <= 4; i++) assert.equal(await world.until(body.message()), 2 * i);
      assert.ok(body.handle.post(7), "there is room again");
      assert.equal(await world.until(body.message()), 14);
      body.handle.stop();
      await world.until(body.exited);
      const words = new Int32Array(new SharedArrayBuffer(4));
      const flood = startBody(port, { play: "flood", words, messages: 100 });
      // The owner handles nothing meanwhile.
      world.blockUntil?.(words);
      assert.equal(await world.until(flood.exited), null);
      assert.deepEqual(flood.messages, [0, 1, 2, 3]);
    });

    test("a body that waits is stopped", async () => {
      const body = startBody(world.make({}), { play: "wait", words: new Int32Array(new SharedArrayBuffer(4)) });
      await world.until(body.started);
      body.handle.stop();
      body.handle.stop();
      assert.equal(await world.until(body.exited), null);
    });

    test("a body that wants to finish does so first", async () => {
      const body = startBody(world.make({}), { play: "finish" });
      await world.until(body.started);
      body.handle.stop();
      assert.equal(await world.until(body.exited), null);
      assert.deepEqual(body.messages, [3]);
    });

    test("a body that never ends is ended", skip("stubborn"), async () => {
      const body = startBody(world.make({ stopMs: 50 }), { play: "stubborn" });
      await world.until(body.started);
      body.handle.stop();
      const error = await world.until(body.exited);
      assert.ok(error instanceof ThreadError && /did not stop within 50 ms/.test(error.message), String(error));
    });

    for (const [play, text] of [
      ["throw in create", "no body"],
      ["throw in step", "no step"],
    ] as const) {
      test(`an error ends the thread: ${play}`, async () => {
        const error = await world.until(startBody(world.make({}), { play }).exited);
        assert.ok(error instanceof ThreadError, String(error));
        assert.equal(error.code, "SYNOD_THREAD");
        assert.match(error.message, new RegExp(`thread body: ${text}`));
        assert.ok(error.cause instanceof Error && error.cause.message === text);
      });
    }
  });
}
