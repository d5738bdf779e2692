/** The promise client and the kv client: batching by turn, the order of one client's calls, typed errors, bounds. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { BlockKind, ClosedError, CommandError, IndeterminateError, TryAgainError } from "#src/model/index.js";
import { KvClient, PromiseClient, type PromiseClientInit } from "#src/runtime/index.js";
import { KEY_BYTES_MAX, VALUE_BYTES_MAX } from "#src/service/index.js";
import { ClientWorld, type FakePort } from "./client-world.js";

interface Fixture {
  readonly world: ClientWorld;
  readonly calls: PromiseClient;
  readonly store: KvClient;
  readonly port: FakePort;
  /** Kinds and sizes of the command and read blocks that the cluster got since the last call. */
  readonly blocks: () => string[];
}

function fixture(options: Partial<PromiseClientInit> = {}, link = true): Fixture {
  const world = new ClientWorld();
  const calls = new PromiseClient({ scheduler: world.scheduler, ...options });
  const { client, port } = world.client(calls.handlers, link);
  calls.attach(client);
  world.run(10);
  let seen = world.cluster.received.length;
  const blocks = (): string[] => {
    const fresh = world.cluster.received.slice(seen);
    seen = world.cluster.received.length;
    return fresh
      .filter((block) => block.kind === BlockKind.commands || block.kind === BlockKind.read)
      .map((block) => (block.kind === BlockKind.read ? "read" : "ordered"));
  };
  return { world, calls, store: new KvClient(calls), port, blocks };
}

describe("the kv client", () => {
  test("has every operation, with text and bytes", async () => {
    const { world, store } = fixture();
    const check = async <T>(promise: Promise<T>, expected: T): Promise<void> =>
      assert.deepEqual(await world.until(promise), expected);
    await check(store.get("a"), null);
    await check(store.set("a", "1"), true);
    await check(store.get("a"), "1");
    await check(store.getBytes("a"), new Uint8Array([0x31]));
    await check(store.set("a", "2", { onlyNew: true }), false);
    await check(store.set("a", "2", { onlyOld: true }), true);
    await check(store.set("b", "2", { onlyOld: true }), false);
    await check(store.set("a", "3", { returnOld: true }), "2");
    await check(store.set("a", "4", { returnOld: "bytes" }), new Uint8Array([0x33]));
    await check(store.set("n", "x", { returnOld: true }), null);
    await check(store.delete("n", "nothing"), 1);
    await check(store.exists("a", "a", "nothing"), 2);
    await check(store.incrementBy("a", 38), 42n);
    await check(store.incrementBy("big", 9223372036854775807n), 9223372036854775807n);
    await check(store.incrementBy("a"), 43n);
    await check(
      store.setMany([
        ["m1", "ä€"],
        ["m2", new Uint8Array([0xff, 0])],
      ]),
      undefined,
    );
    await check(store.getMany(["m1", "nothing", "a"]), ["ä€", null, "43"]);
    await check(store.getManyBytes(["m2"]), [new Uint8Array([0xff, 0])]);
    await check(store.append("m1", "!"), 6);
    await check(store.length("m1"), 6);
    await check(store.count(), 4);
    await check(store.delete(), 0);
    await check(store.exists(), 0);
    await check(store.getMany([]), []);
    await check(store.setMany([]), undefined);
  });

  test("rejects with CommandError what the service refuses and what is too large, and goes on", async () => {
    const { world, store } = fixture();
    await world.until(store.set("text", "abc"));
    await assert.rejects(world.until(store.incrementBy("text")), (error: unknown) => {
      assert.ok(error instanceof CommandError);
      assert.equal(error.code, "SYNOD_COMMAND");
      return /not an integer/.test(error.message);
    });
    await assert.rejects(store.incrementBy("n", 0.5), CommandError);
    await assert.rejects(store.set("a", "b", { onlyNew: true, onlyOld: true }), CommandError);
    await assert.rejects(store.get("k".repeat(KEY_BYTES_MAX + 1)), /a key has at most 65536 bytes, got 65537/);
    await assert.rejects(store.set("k", new Uint8Array(VALUE_BYTES_MAX + 1)), /a value has at most/);
    const million = new Uint8Array(VALUE_BYTES_MAX);
    await assert.rejects(
      store.setMany([
        ["a", million],
        ["b", million],
        ["c", million],
      ]),
      CommandError,
    );
    assert.equal(await world.until(store.set("k", million)), true);
    assert.equal((await world.until(store.getBytes("k")))?.length, VALUE_BYTES_MAX);
  });
});

describe("calls of one client", () => {
  test("of one turn leave as one block", async () => {
    const { world, store, blocks } = fixture();
    const writes = Array.from({ length: 100 }, (_, i) => store.set(`k${i}`, `${i}`));
    await world.until(Promise.all(writes));
    assert.deepEqual(blocks(), ["ordered"]);
    const reads = Array.from({ length: 100 }, (_, i) => store.get(`k${i}`));
    assert.deepEqual(
      await world.until(Promise.all(reads)),
      Array.from({ length: 100 }, (_, i) => `${i}`),
    );
    assert.deepEqual(blocks(), ["read"]);
  });

  test("reads beside writes, or behind unanswered writes, are ordered", async () => {
    const { world, store, blocks } = fixture();
    const mixed = [store.get("a"), store.set("a", "1"), store.get("a")];
    assert.deepEqual(await world.until(Promise.all(mixed)), [null, true, "1"]);
    assert.deepEqual(blocks(), ["ordered"]);
    const write = store.set("a", "2");
    world.run(0.5);
    const read = store.get("a");
    assert.deepEqual(await world.until(Promise.all([write, read])), [true, "2"]);
    assert.deepEqual(blocks(), ["ordered", "ordered"]);
  });

  test("whatever follows unordered reads waits for their answers", async () => {
    const { world, store, blocks } = fixture();
    await world.until(store.set("a", "1"));
    const read = store.get("a");
    world.run(0.5);
    const write = store.set("a", "2");
    const again = store.get("a");
    world.run(1);
    assert.deepEqual(blocks(), ["ordered", "read"]);
    assert.deepEqual(await world.until(Promise.all([read, write, again])), ["1", true, "2"]);
    assert.deepEqual(blocks(), ["ordered"]);
  });

  test("a read lost on the way does not let a later write overtake it", async () => {
    const { world, store, port } = fixture();
    await world.until(store.set("a", "1"));
    port.framesMax = 0;
    const read = store.get("a");
    world.run(1);
    port.framesMax = Infinity;
    const write = store.set("a", "2");
    assert.deepEqual(await world.until(Promise.all([read, write])), ["1", true]);
  });

  test("of more than a block leave as several, in order", async () => {
    const { world, store, blocks } = fixture();
    const appends = Array.from({ length: 10_000 }, () => store.append("log", "x"));
    const lengths = await world.until(Promise.all(appends));
    assert.deepEqual(
      lengths,
      Array.from({ length: 10_000 }, (_, i) => i + 1),
    );
    assert.equal(blocks().length, 3);
  });

  test("fail with TryAgainError when no replica took them before the deadline", async () => {
    const { world, store, port } = fixture({ deadlineMs: 400 }, false);
    const call = store.set("a", "1");
    await assert.rejects(world.until(call), TryAgainError);
    port.linkAll();
    assert.equal(await world.until(store.get("a")), null);
  });

  test("fail with IndeterminateError when they were sent and not answered", async () => {
    const { world, store } = fixture({ deadlineMs: 400 });
    for (const replica of [1, 2, 3]) world.cluster.silent.add(replica);
    await assert.rejects(world.until(store.set("a", "1")), IndeterminateError);
    world.cluster.silent.clear();
    assert.equal(await world.until(store.set("a", "2", { onlyNew: true })), false, "the first is applied before");
  });

  test("that wait behind unanswered reads fail at their own deadline", async () => {
    const { world, store } = fixture({ deadlineMs: 400 });
    for (const replica of [1, 2, 3]) world.cluster.silent.add(replica);
    const read = store.get("a");
    world.run(1);
    const write = store.set("a", "1");
    const [first, second] = await world.until(Promise.allSettled([read, write]));
    assert.ok(first.status === "rejected" && first.reason instanceof TryAgainError);
    assert.ok(second.status === "rejected");
    assert.ok(world.kernel.now < 1000);
  });

  test("beyond the bounds are refused and not applied", async () => {
    const { world, store } = fixture({ callsMax: 10 });
    const results = Promise.allSettled(Array.from({ length: 12 }, (_, i) => store.set(`k${i}`, "v")));
    const refused = (await world.until(results)).filter((result) => result.status === "rejected");
    assert.equal(refused.length, 2);
    assert.ok(refused.every((result) => result.reason instanceof TryAgainError));
    assert.equal(await world.until(store.count()), 10);
    const byBytes = fixture({ bytesMax: 1000 });
    const large = [byBytes.store.set("a", "x".repeat(1000)), byBytes.store.set("b", "x")];
    const [a, b] = await byBytes.world.until(Promise.allSettled(large));
    assert.equal(a?.status, "fulfilled");
    assert.equal(b?.status, "rejected");
  });

  test("fail with ClosedError at and after close", async () => {
    const { world, store, port } = fixture();
    const sent = store.set("a", "1");
    world.run(0.5);
    const waiting = store.get("a");
    const failed = Promise.allSettled([sent, waiting]);
    await world.until(store.close());
    for (const result of await failed) assert.ok(result.status === "rejected" && result.reason instanceof ClosedError);
    assert.ok(port.closed);
    await assert.rejects(store.get("a"), ClosedError);
    await store.close();
  });

  test("take commands as bytes and give replies as bytes", async () => {
    const { world, calls } = fixture();
    await assert.rejects(calls.call(new Uint8Array([9, 0, 0, 0])), CommandError);
    const reply = await world.until(calls.call(new Uint8Array([8, 0, 0, 0, 10, 0, 0, 0]), true));
    assert.equal(new DataView(reply.buffer).getUint32(0, true), reply.length);
  });
});
