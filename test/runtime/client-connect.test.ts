/** `connect` over real sockets, the cluster behind them scripted. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { after, before, describe, test } from "node:test";
import { BlockKind, ConfigError } from "#src/model/index.js";
import { SystemScheduler, TcpListener } from "#src/platform/index.js";
import {
  connect,
  kvLoadCommands,
  connectBlockClient,
  connectCluster,
  loadOptions,
  KvClient,
  NoAnswerError,
  PromiseClient,
  runLoad,
} from "#src/runtime/index.js";
import type { FakeCluster } from "../client/fake-cluster.js";
import { kvCluster, kvStreams, replicas } from "./client-world.js";

const events = { info: () => {}, warn: () => {}, error: () => {} };

/** Client ports of the replicas of a scripted cluster, and of their members if there are groups. */
class Ports {
  readonly cluster: FakeCluster;
  readonly addresses: string[] = [];
  /** The addresses of the members of groups, by group. */
  readonly members: string[][];
  readonly #streams: readonly FakeCluster[];
  /** Connections that ever came up, of all replicas. */
  connections = 0;
  readonly #listeners: TcpListener[] = [];

  constructor(cluster: FakeCluster, ...groups: readonly FakeCluster[]) {
    this.cluster = cluster;
    this.#streams = [cluster, ...groups];
    this.members = groups.map(() => []);
  }

  async listen(): Promise<void> {
    const scheduler = new SystemScheduler();
    for (const [stream, self] of this.#streams.flatMap((_, each) =>
      replicas.map((replica) => [each, replica] as const),
    )) {
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
      const addresses = stream === 0 ? this.addresses : (this.members[stream - 1] as string[]);
      addresses.push(listener.address);
      this.#listeners.push(listener);
    }
    this.#listeners.forEach((listener, i) => {
      this.#serve(listener, this.#streams[Math.floor(i / replicas.length)]!, replicas[i % replicas.length]!);
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.#listeners.map((listener) => new Promise<void>((resolve) => listener.close(resolve))));
  }

  /** What a welcome says of a replica. */
  #entry(client: string, i: number): object {
    const members = this.members.map((addresses) => ({ client: addresses[i] }));
    return { id: replicas[i], client, ...(members.length === 0 ? {} : { members }) };
  }

  #serve(listener: TcpListener, cluster: FakeCluster, replica: number): void {
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
        const list = JSON.stringify(this.addresses.map((client, i) => this.#entry(client, i)));
        const { kind, body } = cluster.welcome(replica, list);
        send(link, kind, body);
      },
      onFrame: (link, kind, bytes, _view, start, end) => {
        for (const frame of cluster.receive(replica, kind, bytes.slice(start, end))) {
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

describe("connect to a cluster with groups", () => {
  const { clusters } = kvStreams(2);
  const ports = new Ports(...(clusters as [FakeCluster, ...FakeCluster[]]));
  before(() => ports.listen());
  after(() => ports.close());

  const commandsIn = (): number[] => {
    return clusters.map(({ received }) => received.filter(({ kind }) => kind === BlockKind.commands).length);
  };
  const keys = Array.from({ length: 20 }, (_, i) => `key ${i}`);

  test("reaches all members from the address of any of them, and sends commands to those of their groups", async () => {
    for (const given of [ports.addresses, ports.addresses.slice(1, 2), ports.members[1]!.slice(0, 1)]) {
      const before = commandsIn();
      const store = await connect({ addresses: given });
      assert.ok((await Promise.all(keys.map((key) => store.set(key, "1")))).every((done) => done));
      assert.deepEqual(
        commandsIn().map((count, stream) => count > (before[stream] as number)),
        [false, true, true],
      );
      assert.ok((await store.getMany(keys)).every((value) => value === "1"));
      assert.equal(await store.delete(...keys), keys.length);
      await store.close();
    }
    for (const { malformed, astray, misrouted } of clusters)
      assert.deepEqual([malformed, astray, misrouted], [0, 0, 0]);
  });

  test("without knowing the service sends everything through g_all, with it keeps the order of blocks", async () => {
    for (const service of [undefined, "kv"]) {
      const before = commandsIn();
      const calls = new PromiseClient({ scheduler: new SystemScheduler() });
      const { handlers } = calls;
      calls.attach(await connectBlockClient({ addresses: ports.addresses, handlers, ...(service ? { service } : {}) }));
      const store = new KvClient(calls);
      for (const key of keys.slice(0, 6)) assert.equal(await store.incrementBy(key), 1n);
      assert.equal(await store.exists(...keys), 6);
      assert.equal(await store.delete(...keys), 6);
      const more = commandsIn().map((count, stream) => count - (before[stream] as number));
      assert.equal(more[0], service === undefined ? 8 : 2);
      await store.close();
    }
  });

  test("a connection whose clients of groups have closed takes others", async () => {
    const connection = await connectCluster({ addresses: ports.addresses });
    assert.equal(connection.groups, 2);
    const handlers = { resolve: () => {}, fail: () => {}, opened: () => {} };
    const stays = connection.openClient({ handlers });
    for (let i = 0; i < 2; i++) {
      const streams = connection.openStreams({ handlersOf: () => handlers });
      await new Promise<void>((closed) => streams.close(closed));
    }
    await new Promise<void>((closed) => stays.close(closed));
  });
});
