/** What only real connections have: strangers, wrong clusters, restarts, slow readers, limits, handles. */
import assert from "node:assert/strict";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import { ByteWriter, KiB } from "#src/base/index.js";
import { ListenError } from "#src/model/index.js";
import {
  clusterKey,
  HelloRole,
  SystemScheduler,
  TcpDialler,
  TcpListener,
  TcpPeers,
  writeHello,
  type FramePort,
  type Hello,
  type ListenDone,
  type TcpListenerOptions,
} from "#src/platform/index.js";
import { Lines, patterned, Recorder, send, untilRecorded } from "./frame-port.suite.js";

const scheduler = new SystemScheduler();
const clusterId = "0123456789abcdef";
const otherClusterId = "fedcba9876543210";

function bound(port: { listen(done: ListenDone): void }): Promise<string> {
  return new Promise((resolve, reject) =>
    port.listen((error, address) => (error === null ? resolve(address) : reject(error))),
  );
}
const closed = (...ports: FramePort[]): Promise<unknown> =>
  Promise.all(ports.map((port) => new Promise<void>((resolve) => port.close(resolve))));

function portOf(address: string): { host: string; port: number } {
  const [host, port] = address.split(":") as [string, string];
  return { host, port: Number(port) };
}

async function listening(
  options: Partial<TcpListenerOptions> = {},
): Promise<{ listener: TcpListener; address: string; recorder: Recorder; lines: Lines }> {
  const lines = new Lines();
  const listener = new TcpListener({ scheduler, events: lines, self: 1, clusterId, listen: "127.0.0.1:0", options });
  const address = await bound(listener);
  const recorder = new Recorder();
  listener.start(recorder);
  return { listener, address, recorder, lines };
}

/** A stranger: a bare socket that collects until it is closed. */
function stranger(address: string, bytes: Uint8Array | string): { socket: Socket; over: Promise<Buffer> } {
  const socket = connect(portOf(address));
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.on("error", () => {});
  const over = new Promise<Buffer>((resolve) => socket.on("close", () => resolve(Buffer.concat(chunks))));
  socket.write(bytes);
  return { socket, over };
}

function helloBytes(hello: Partial<Hello>, id = clusterId): Uint8Array {
  const writer = new ByteWriter();
  const full = { role: HelloRole.client, replica: 0, checksum: 0, incarnation: 1, ...hello };
  writeHello(writer, { ...full, cluster: clusterKey(id) });
  return writer.toBytes();
}

describe("a TCP listener turns strangers away with one line that says why", () => {
  for (const [name, bytes, reason, detail] of [
    ["an HTTP request", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "length", /HTTP request/],
    ["a Redis command", "*1\r\n$4\r\nPING\r\n", "length", /Redis command/],
    ["garbage", patterned(5000, 3), "length", /bytes/],
    ["another cluster", helloBytes({}, otherClusterId), "cluster", new RegExp(`${otherClusterId}.*${clusterId}`)],
    ["a replica", helloBytes({ role: HelloRole.peer, replica: 4 }), "hello", /a replica \(id 4\)/],
    ["a frame longer than HELLO", Uint8Array.of(0, 4, 0, 0), "length", /24 to 628 bytes, got 1024/],
    ["two HELLOs", new Uint8Array([...helloBytes({}), ...helloBytes({})]), "hello", /second HELLO/],
  ] as const) {
    test(name, async () => {
      const { listener, address, recorder, lines } = await listening();
      await stranger(address, bytes).over;
      const refusals = lines.of("connection-refused");
      assert.equal(refusals.length, 1);
      assert.equal(refusals[0]?.["reason"], reason);
      assert.match(String(refusals[0]?.["detail"]), detail);
      assert.equal(recorder.frames.length, 0);
      await closed(listener);
    });
  }

  test("a version of the future", async () => {
    const { listener, address, lines } = await listening();
    const bytes = helloBytes({});
    bytes[10] = 2;
    await stranger(address, bytes).over;
    assert.match(String(lines.of("connection-refused")[0]?.["detail"]), /version 2, ours is 1/);
    await closed(listener);
  });

  test("a checksum that is wrong, after a good HELLO", async () => {
    const { listener, address, recorder, lines } = await listening();
    const second = helloBytes({});
    second[30] = 0xff;
    const { over } = stranger(address, new Uint8Array([...helloBytes({}), ...second]));
    await over;
    await untilRecorded(() => recorder.count("down") === 1, [recorder]);
    assert.equal(lines.of("connection-refused")[0]?.["reason"], "checksum");
    await closed(listener);
  });

  test("a flood of garbage makes five lines, not a flood", async () => {
    const { listener, address, lines } = await listening();
    for (let i = 0; i < 40; i++) await stranger(address, "GET / HTTP/1.1\r\n\r\n").over;
    assert.equal(lines.of("connection-refused").length, 5);
    await closed(listener);
  });

  test("silence, after its time", async () => {
    const { listener, address, lines } = await listening({ helloTimeoutMs: 20 });
    await stranger(address, helloBytes({}).subarray(0, 30)).over;
    assert.match(String(lines.of("connection-refused")[0]?.["detail"]), /no HELLO within 20 ms/);
    await closed(listener);
  });

  test("one connection too many", async () => {
    const { listener, address, recorder, lines } = await listening({ connectionsMax: 2 });
    const first = stranger(address, helloBytes({}));
    const second = stranger(address, helloBytes({}));
    await untilRecorded(() => recorder.count("up") === 2, [recorder]);
    await stranger(address, helloBytes({})).over;
    assert.match(String(lines.of("connection-refused")[0]?.["detail"]), /there are 2 connections, the maximum is 2/);
    first.socket.destroy();
    await untilRecorded(() => recorder.count("down") === 1, [recorder]);
    second.socket.destroy();
    await closed(listener);
  });

  test("half a frame is completed by its other half, and a huge length allocates nothing", async () => {
    const { listener, address, recorder } = await listening();
    const { socket, over } = stranger(address, helloBytes({}).subarray(0, 20));
    const written = helloBytes({}).subarray(20);
    socket.write(written);
    await untilRecorded(() => recorder.count("up") === 1, [recorder]);
    const before = process.memoryUsage().arrayBuffers;
    socket.write(Uint8Array.of(0xff, 0xff, 0xff, 0xff));
    await over;
    assert.ok(process.memoryUsage().arrayBuffers - before < 4 * 1024 * KiB);
    await closed(listener);
  });
});

describe("listening", () => {
  test("an address in use is a typed error that says so", async () => {
    const { listener, address } = await listening();
    const second = new TcpListener({ scheduler, events: new Lines(), self: 2, clusterId, listen: address });
    await assert.rejects(bound(second), (error: Error) => {
      assert.ok(error instanceof ListenError);
      assert.match(error.message, new RegExp(`${address} is in use`));
      return true;
    });
    await closed(listener, second);
  });

  test("clients that connect before start wait for it", async () => {
    const lines = new Lines();
    const listener = new TcpListener({ scheduler, events: lines, self: 1, clusterId, listen: "127.0.0.1:0" });
    const address = await bound(listener);
    const dialler = new TcpDialler({ scheduler, events: lines, clusterId, addresses: [address], seed: 1 });
    const [client, server] = [new Recorder(), new Recorder()];
    dialler.start(client);
    const waiting = connect(portOf(address));
    await new Promise((resolve) => waiting.on("connect", resolve));
    listener.start(server);
    await untilRecorded(() => client.link === 0 && server.link === 1, [client, server]);
    waiting.destroy();
    await closed(dialler, listener);
  });
});

describe("a dialler", () => {
  test("learns the cluster, then holds to it; knows the replica behind a link", async () => {
    const { listener, address } = await listening();
    const lines = new Lines();
    const dialler = new TcpDialler({ scheduler, events: lines, clusterId: null, addresses: [address], seed: 1 });
    const recorder = new Recorder();
    dialler.start(recorder);
    await untilRecorded(() => recorder.link === 0, [recorder]);
    assert.equal(dialler.clusterId, clusterId);
    assert.equal(dialler.replicaOf(0), 1);
    const foreign = new TcpListener({
      scheduler,
      events: new Lines(),
      self: 2,
      clusterId: otherClusterId,
      listen: "127.0.0.1:0",
    });
    foreign.start(new Recorder());
    dialler.setAddresses([address, await bound(foreign)]);
    while (lines.of("connection-refused").length === 0) await new Promise((resolve) => setImmediate(resolve));
    assert.match(String(lines.of("connection-refused")[0]?.["detail"]), new RegExp(`${otherClusterId}.*${clusterId}`));
    assert.equal(recorder.count("up"), 1);
    await closed(dialler, listener, foreign);
  });

  test("that knows no cluster joins whichever answers first, and only that", async () => {
    const one = await listening();
    const lines = new Lines();
    const foreign = new TcpListener({
      scheduler,
      events: lines,
      self: 2,
      clusterId: otherClusterId,
      listen: "127.0.0.1:0",
    });
    const addresses = [one.address, await bound(foreign)];
    foreign.start(new Recorder());
    // Both are dialled before either has answered.
    const dialler = new TcpDialler({ scheduler, events: lines, clusterId: null, addresses, seed: 1 });
    const recorder = new Recorder();
    dialler.start(recorder);
    while (lines.of("connection-refused").length === 0) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(recorder.count("up"), 1);
    const refusal = String(lines.of("connection-refused")[0]?.["detail"]);
    assert.ok(refusal.includes(clusterId) && refusal.includes(otherClusterId), refusal);
    await closed(dialler, one.listener, foreign);
  });

  test("follows a change of addresses and leaves the others alone", async () => {
    const [one, two, three] = [await listening(), await listening(), await listening()];
    const dialler = new TcpDialler({
      scheduler,
      events: new Lines(),
      clusterId,
      addresses: [one.address, two.address],
      seed: 1,
    });
    const recorder = new Recorder();
    dialler.start(recorder);
    await untilRecorded(() => recorder.count("up") === 2, [recorder]);
    dialler.setAddresses([one.address, three.address]);
    await untilRecorded(() => recorder.count("up") === 3 && recorder.count("down") === 1, [recorder]);
    assert.equal(recorder.told.find((told) => told.what === "down")?.link, 1);
    dialler.setAddresses([one.address]);
    await untilRecorded(() => recorder.count("down") === 2, [recorder]);
    assert.ok(send(dialler, 0, 1, patterned(10, 1)));
    dialler.flush();
    await untilRecorded(() => one.recorder.frames.length === 1, [one.recorder]);
    assert.equal(dialler.begin(1, 1), null);
    await closed(dialler, one.listener, two.listener, three.listener);
  });
});

describe("peers", () => {
  const make = (
    self: number,
    peers: ReadonlyMap<number, string>,
    change: { listen?: string; clusterChecksum?: number; incarnation?: number; lines?: Lines } = {},
  ): TcpPeers =>
    new TcpPeers({
      scheduler,
      events: change.lines ?? new Lines(),
      self,
      clusterId,
      clusterChecksum: change.clusterChecksum ?? 7,
      incarnation: change.incarnation ?? self,
      listen: change.listen ?? "127.0.0.1:0",
      peers,
      seed: self,
    });

  test("three replicas make one link per pair", async () => {
    const addresses = new Map<number, string>();
    const ports = [1, 2, 3].map((self) => make(self, addresses));
    for (const [index, port] of ports.entries()) addresses.set(index + 1, await bound(port));
    const recorders = ports.map(() => new Recorder());
    for (const [index, port] of ports.entries()) port.start(recorders[index] as Recorder);
    await untilRecorded(() => recorders.every((recorder) => recorder.count("up") >= 2), recorders);
    for (const [from, port] of ports.entries()) {
      for (const to of [1, 2, 3]) if (to !== from + 1) assert.ok(send(port, to, from + 1, patterned(100, to)));
      port.flush();
    }
    await untilRecorded(() => recorders.every((recorder) => recorder.frames.length === 2), recorders);
    for (const [index, recorder] of recorders.entries()) {
      for (const { link, kind, body } of recorder.frames) {
        assert.equal(link, kind);
        assert.deepEqual(body, patterned(100, index + 1));
      }
      assert.equal(recorder.count("down"), 0, "no connection was replaced by another");
    }
    await closed(...ports);
  });

  for (const restarted of [1, 2]) {
    test(`replica ${restarted} of two comes back: its death is noticed, its return too`, async () => {
      const addresses = new Map<number, string>();
      const staying = make(3 - restarted, addresses);
      let leaving = make(restarted, addresses);
      addresses.set(3 - restarted, await bound(staying));
      addresses.set(restarted, await bound(leaving));
      const recorder = new Recorder();
      staying.start(recorder);
      for (let round = 1; round <= 3; round++) {
        const other = new Recorder();
        leaving.start(other);
        await untilRecorded(() => recorder.count("up") === round && other.count("up") === 1, [recorder, other]);
        assert.ok(send(leaving, 3 - restarted, 1, patterned(round, round)));
        leaving.flush();
        await untilRecorded(() => recorder.frames.length === round, [recorder]);
        await closed(leaving);
        await untilRecorded(() => recorder.count("down") === round, [recorder]);
        const listen = addresses.get(restarted) as string;
        leaving = make(restarted, addresses, { listen, incarnation: 100 + round });
        await bound(leaving);
      }
      await closed(staying, leaving);
    });
  }

  test("other configurations are refused, both checksums named", async () => {
    const addresses = new Map<number, string>();
    const lines = new Lines();
    const [one, two] = [make(1, addresses, { lines }), make(2, addresses, { clusterChecksum: 0xabc })];
    addresses.set(1, await bound(one)).set(2, await bound(two));
    one.start(new Recorder());
    const recorder = new Recorder();
    two.start(recorder);
    while (lines.of("connection-refused").length === 0) await new Promise((resolve) => setImmediate(resolve));
    assert.match(String(lines.of("connection-refused")[0]?.["detail"]), /replica 2 .* abc, ours is 7/);
    assert.equal(recorder.count("up"), 0);
    await closed(one, two);
  });

  test("a process started anew is not taken for the one before it", async () => {
    const addresses = new Map<number, string>();
    const two = make(2, addresses);
    // Replica 1 is played by hand: a server that two dials, and a knock.
    const sockets: Socket[] = [];
    let arrived: () => void = () => {};
    const server = createServer((socket) => {
      sockets.push(socket);
      socket.on("error", () => {});
      socket.resume();
      const incarnation = sockets.length;
      socket.write(helloBytes({ role: HelloRole.peer, replica: 1, checksum: 7, incarnation }));
      arrived();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    addresses.set(1, `127.0.0.1:${(server.address() as AddressInfo).port}`).set(2, await bound(two));
    const recorder = new Recorder();
    two.start(recorder);
    await untilRecorded(() => recorder.count("up") === 1, [recorder]);
    const knock = (incarnation: number): Promise<Buffer> =>
      stranger(addresses.get(2) as string, helloBytes({ role: HelloRole.knock, replica: 1, checksum: 7, incarnation }))
        .over;
    await knock(1);
    assert.equal(recorder.count("down"), 0, "the same process knocked: its connection stays");
    const dialledAnew = new Promise<void>((resolve) => (arrived = resolve));
    await knock(2);
    await dialledAnew;
    await untilRecorded(() => recorder.count("up") === 2, [recorder]);
    assert.equal(recorder.count("down"), 1);
    await closed(two);
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
});

describe("slow readers", () => {
  test("a client that reads nothing costs a bounded amount of memory and is then disconnected", async () => {
    const inFlightBytesMax = 256 * KiB;
    const { listener, address, recorder, lines } = await listening({ inFlightBytesMax, slowReaderMs: 30 });
    const socket = connect(portOf(address));
    socket.on("error", () => {});
    socket.pause();
    socket.write(helloBytes({}));
    await untilRecorded(() => recorder.count("up") === 1, [recorder]);
    const body = patterned(8 * KiB, 1);
    let sent = 0;
    while (recorder.count("down") === 0) {
      while (send(listener, 1, 1, body)) sent++;
      assert.ok(listener.inFlightBytes(1) <= inFlightBytesMax + body.length + 24);
      listener.flush();
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.ok(sent * body.length > inFlightBytesMax);
    assert.equal(lines.of("slow-reader-disconnected").length, 1);
    assert.match(String(lines.of("slow-reader-disconnected")[0]?.["detail"]), /the maximum is 262144/);
    socket.destroy();
    await closed(listener);
  });
});

test("ports leave no handle behind: a thread that closed its ports ends by itself", async () => {
  const source = `
    const { parentPort, workerData } = require("node:worker_threads");
    import(workerData).then(({ SystemScheduler, TcpListener, TcpDialler, TcpPeers, TcpBytePort }) => {
      const scheduler = new SystemScheduler();
      const events = { info() {}, warn() {}, error() {} };
      const clusterId = "${clusterId}";
      const none = { onLink() {}, onFrame() {}, onDrain() {}, onOpen() {}, onBytes() {}, onClose() {} };
      const listener = new TcpListener({ scheduler, events, self: 1, clusterId, listen: "127.0.0.1:0" });
      const bytes = new TcpBytePort({ scheduler, events, listen: "127.0.0.1:0" });
      // Nobody answers at port 1: the backoff's timer must not outlive the port either.
      const peers = new TcpPeers({ scheduler, events, self: 2, clusterId, clusterChecksum: 1, incarnation: 1,
        listen: "127.0.0.1:0", peers: new Map([[1, "127.0.0.1:1"], [3, "127.0.0.1:1"]]), seed: 1 });
      bytes.listen(() => peers.listen(() => listener.listen((error, address) => {
        const dialler = new TcpDialler({ scheduler, events, clusterId, addresses: [address, "127.0.0.1:1"], seed: 1 });
        bytes.start(none);
        peers.start(none);
        listener.start(none);
        dialler.start({ ...none, onLink() {
          for (const port of [dialler, listener, peers, bytes]) port.close(() => parentPort.postMessage("closed"));
        } });
      })));
    });`;
  const worker = new Worker(source, {
    eval: true,
    workerData: new URL("../../platform/index.js", import.meta.url).href,
  });
  let messages = 0;
  worker.on("message", () => messages++);
  const code = await new Promise((resolve, reject) => {
    worker.on("exit", resolve);
    worker.on("error", reject);
  });
  assert.equal(code, 0);
  assert.equal(messages, 4);
});
