/** Clients that share a connection: who gets which reply, who hears of links, when the port closes. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { latin1, Prng } from "#src/base/index.js";
import { BLOCK_HEADER_BYTES, ConfigError, FrameKind, IndeterminateError } from "#src/model/index.js";
import { createBlockClient, KvClient, PromiseClient, SHARING_CLIENTS_MAX, SharedLinks } from "#src/runtime/index.js";
import { ClientWorld, FakePort, replicas } from "./client-world.js";

class SharingWorld extends ClientWorld {
  readonly port = new FakePort(this.kernel, this.cluster);
  readonly links = new SharedLinks(this.port, this.scheduler);
  #clients = 0;

  /** A client of the store on the shared port. */
  store(deadlineMs = 5000): KvClient {
    const calls = new PromiseClient({ scheduler: this.scheduler, deadlineMs });
    const nonce = new Uint8Array(16).fill(++this.#clients);
    const { scheduler, events } = this;
    const port = this.links.seat();
    calls.attach(createBlockClient({ scheduler, port, replicas, nonce, handlers: calls.handlers, events, deadlineMs }));
    return new KvClient(calls);
  }

  /** Some clients, with all links up. */
  stores(count: number): KvClient[] {
    const stores = Array.from({ length: count }, () => this.store());
    this.port.linkAll();
    this.run(10);
    return stores;
  }
}

describe("clients that share a connection", () => {
  test("get their own replies, reads and updates, whatever happens to sessions and leaders", async () => {
    for (let seed = 1; seed <= 10; seed++) {
      const world = new SharingWorld(seed);
      const prng = new Prng(seed);
      const stores = world.stores(5);
      const counts = stores.map(() => 0);
      let indeterminate = 0;
      const step = async (): Promise<void> => {
        const index = prng.below(stores.length);
        const store = stores[index] as KvClient;
        const key = `key ${index}`;
        if (prng.below(2) === 0) {
          const before = counts[index] as number;
          try {
            assert.equal(await store.set(key, `${before + 1}`), true, `seed ${seed}`);
            counts[index] = before + 1;
          } catch (error) {
            // Its session had expired: this cluster applies nothing then, which the client can't know.
            assert.ok(error instanceof IndeterminateError, `seed ${seed}: ${String(error)}`);
            indeterminate++;
          }
        }
        // Nobody else writes this key, and this client has nothing else under way on it.
        assert.equal((await store.get(key)) ?? "0", `${counts[index]}`, `seed ${seed}`);
      };
      for (let round = 0; round < 20; round++) {
        await world.until(step());
        if (round === 8) world.cluster.expireSessions();
        if (round === 14) {
          world.cluster.elect(2);
          world.cluster.tell(1, 2);
          world.cluster.tell(3, 2);
        }
      }
      const all = await world.until(Promise.all(stores.map((store, index) => store.get(`key ${index}`))));
      assert.deepEqual(
        all.map((value) => value ?? "0"),
        counts.map((count) => `${count}`),
        `seed ${seed}`,
      );
      // Each of those opened another session, and none did without need.
      assert.equal(world.cluster.opened, stores.length + indeterminate, `seed ${seed}`);
      assert.equal(world.cluster.malformed, 0);
      assert.deepEqual(world.cluster.altered, []);
    }
  });

  test("leave in one write what they submit in one turn", async () => {
    const world = new SharingWorld();
    const stores = world.stores(4);
    const flushes = world.port.flushes;
    const sets = stores.map((store, index) => store.set(`key ${index}`, "1"));
    const gets = stores.map((store) => store.get("none"));
    await world.until(Promise.all([...sets, ...gets]));
    assert.equal(world.port.flushes, flushes + 1);
  });

  test("hear of the links that are up although they come late, and of each once", async () => {
    const world = new SharingWorld();
    const [first] = world.stores(1);
    const late = world.store();
    assert.equal(await world.until(late.set("a", "1")), true);
    world.cluster.elect(3);
    world.cluster.tell(2, 3);
    world.port.link(1, false);
    const later = world.store();
    assert.equal(await world.until(later.get("a")), "1");
    assert.equal(await world.until(first!.get("a")), "1");
    assert.equal(world.cluster.opened, 3);
  });

  test("send again what was lost when their link was full, each its own", async () => {
    const world = new SharingWorld();
    const stores = world.stores(3);
    world.port.framesMax = 0;
    const sets = stores.map((store, index) => store.set(`key ${index}`, "1"));
    world.run(5);
    assert.ok(world.port.framesLost >= 3);
    world.port.drain(1);
    assert.deepEqual(await world.until(Promise.all(sets)), [true, true, true]);
    assert.deepEqual(world.cluster.altered, []);
  });

  test("close alone; the port closes with the last, and a reply to one that is gone finds nobody", async () => {
    const world = new SharingWorld();
    const [first, second] = world.stores(2);
    const lost = first!.get("a");
    // What it sent is on its way, and so will be the reply, when it has closed.
    world.run(0.5);
    const failed = assert.rejects(lost, /closed/i);
    await world.until(first!.close());
    await failed;
    assert.ok(!world.port.closed);
    world.run(10);
    assert.equal(world.cluster.closed, 1);
    assert.equal(await world.until(second!.set("a", "1")), true);
    await world.until(second!.close());
    assert.ok(world.port.closed);
    assert.deepEqual(world.warnings, []);
    assert.throws(() => world.store(), /last client/);
  });

  test("take the first of two sessions that an opening sent twice has opened", async () => {
    const world = new SharingWorld();
    const [store] = world.stores(1);
    const twin = world.store();
    await world.until(twin.set("b", "1"));
    const opening = [...world.cluster.seen].find(([name]) => name.startsWith("open"));
    assert.ok(opening !== undefined);
    const body = Buffer.from(opening[1], "hex");
    assert.equal(latin1(body, BLOCK_HEADER_BYTES, BLOCK_HEADER_BYTES + 1), "\u0001");
    for (const frame of world.cluster.receive(1, FrameKind.block, new Uint8Array(body))) world.port.deliver(1, frame);
    world.run(10);
    assert.equal(world.cluster.opened, 3);
    assert.equal(await world.until(store!.set("a", "1")), true);
    assert.equal(await world.until(twin.get("a")), "1");
    // No reply was missed: a client whose replies go astray would have sent its block again, and only the opening came twice.
    const frames = world.cluster.received.map(({ kind, session, sequence }) => `${kind} ${session} ${sequence}`);
    assert.equal(new Set(frames).size, frames.length - 2, frames.join(", "));
  });

  test("are no more than a connection takes", () => {
    const world = new SharingWorld();
    for (let i = 0; i < SHARING_CLIENTS_MAX; i++) world.links.seat();
    assert.throws(() => world.links.seat(), ConfigError);
  });
});
