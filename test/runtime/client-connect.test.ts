/** `connect` over real sockets, the cluster behind them scripted. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { after, before, describe, test } from "node:test";
import { ConfigError } from "#src/model/index.js";
import { SystemScheduler, TcpListener } from "#src/platform/index.js";
import {
  connect,
  kvLoadCommands,
  connectBlockClient,
  connectCluster,
  loadOptions,
  NoAnswerError,
  runLoad,
} from "#src/runtime/index.js";
import type { FakeCluster } from "../client/fake-cluster.js";
import { kvCluster, replicas } from "./client-world.js";

const events = { info: () => {}, warn: () => {}, error: () => {} };

/** Client ports of the replicas of a scripted cluster. */
class Ports {
  readonly cluster: FakeCluster;
  readonly addresses: string[] = [];
  /** Connections that ever came up, of all replicas. */
  connections = 0;
  readonly #listeners: TcpListener[] = [];

  constructor(cluster: FakeCluster) {
    this.cluster = cluster;
  }

  async listen(): Promise<void> {
    const scheduler = new SystemScheduler();
    for (const self of replicas) {
      const listener = new TcpListener({
        scheduler,
        events,
        self,
        clusterId: "00000000000000aa",
        listen: { host: "127.0.0.1", port: 0 },
      });
      await new Promise<void>((resolve, reject) => {
        listener.listen((error) => (error === null ? resolve() : reject(error)));
      });
      assert.ok(listener.address !== null);
      this.addresses.push(listener.address);
      this.#listeners.push(listener);
    }
    this.#listeners.forEach((listener, i) => this.#serve(listener, replicas[i]!));
  }

  async close(): Promise<void> {
    await Promise.all(this.#listeners.map((listener) => new Promise<void>((resolve) => listener.close(resolve))));
  }

  #serve(listener: TcpListener, replica: number): void {
    const send = (link: number, kind: number, body: Uint8Array): void => {
      const writer = listener.begin(link, kind);
      if (writer === null) return;
      writer.copy(body, 0, body.length);
      listener.end();
      listener.flush();
    };
    listener.start({
      onLink: (link, up) => {
        if (!up) return;
        this.connections++;
        const list = JSON.stringify(this.addresses.map((client, i) => ({ id: replicas[i], client })));
        const { kind, body } = this.cluster.welcome(replica, list);
        send(link, kind, body);
      },
      onFrame: (link, kind, bytes, _view, start, end) => {
        for (const frame of this.cluster.receive(replica, kind, bytes.slice(start, end))) {
          send(link, frame.kind, frame.body);
        }
      },
      onDrain: () => {},
    });
  }
}

describe("connect", () => {
  const ports = new Ports(kvCluster(3));
  before(() => ports.listen());
  after(() => ports.close());

  test("finds the leader and the other replicas from one address, by whatever name", async () => {
    for (const given of [
      ports.addresses,
      ports.addresses.slice(0, 1),
      [ports.addresses[1]!.replace("127.0.0.1", "localhost")],
    ]) {
      const store = await connect({ addresses: given });
      assert.equal(await store.set("a", "1"), true);
      assert.equal(await store.get("a"), "1");
      assert.equal(await store.delete("a"), 1);
      await store.close();
    }
    assert.equal(ports.cluster.malformed, 0);
  });

  test("a load over sockets has no errors", async () => {
    const scheduler = new SystemScheduler();
    const result = await runLoad({
      scheduler,
      open: (handlers) => connectBlockClient({ addresses: ports.addresses, scheduler, handlers }),
      commands: kvLoadCommands({ keys: 1000, valueSize: 8, unique: 7 }),
      options: loadOptions({ clients: 2, workload: "mixed", keys: 1000, seconds: 0.3, warmupSeconds: 0.1 }),
    });
    assert.equal(result.errors, 0);
    assert.ok(result.commands > 0);
  });

  test("a load whose clients share a connection has one to each replica, and no errors", async () => {
    const scheduler = new SystemScheduler();
    const before = ports.connections;
    const connection = await connectCluster({ addresses: ports.addresses, scheduler });
    const result = await runLoad({
      scheduler,
      open: (handlers) => connection.openClient({ handlers }),
      commands: kvLoadCommands({ keys: 1000, valueSize: 8, unique: 7 }),
      options: loadOptions({ clients: 8, workload: "mixed", keys: 1000, seconds: 0.3, warmupSeconds: 0.1 }),
    });
    assert.equal(result.errors, 0);
    assert.ok(result.commands > 0);
    assert.equal(ports.connections - before, replicas.length);
    assert.equal(ports.cluster.malformed, 0);
  });

  test("a client refused for its configuration leaves no connection behind", async () => {
    const connection = await connectCluster({ addresses: ports.addresses });
    const handlers = { resolve: () => {}, fail: () => {}, opened: () => {} };
    assert.throws(() => connection.openClient({ handlers, session: { blocksMax: 0 } }), ConfigError);
    // It closed with its last client, so nothing keeps this process alive.
    assert.throws(() => connection.openClient({ handlers }), /last client/);
  });

  test("rejects when nobody answers, and for what is no address", async () => {
    const server = createServer((socket) => socket.on("error", () => {}).resume()).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    await assert.rejects(connect({ addresses: [`127.0.0.1:${port}`], deadlineMs: 50 }), NoAnswerError);
    server.close();
    await once(server, "close");
    await assert.rejects(connect({ addresses: [] }), ConfigError);
    await assert.rejects(connect({ addresses: ["nowhere"] }), ConfigError);
  });
});
