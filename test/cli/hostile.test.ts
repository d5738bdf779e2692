/**
 * Strangers at every port of a real cluster while others are served: each is told off in the log or bounded, and nobody else
 * notices. The time limit of an introduction is 5 s.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { Redis } from "ioredis";
import { ByteWriter, Prng } from "#src/base/index.js";
import { beginBlock, BlockKind, endBlock, FrameKind } from "#src/model/index.js";
import {
  clusterKey,
  type ClusterKey,
  closeFrame,
  FRAME_HEADER_BYTES,
  HelloRole,
  NO_CLUSTER,
  openFrame,
  writeHello,
} from "#src/platform/index.js";
import { beginCommand, endCommand, KvOperation, writeArgumentLatin1 } from "#src/service/index.js";
import { request } from "./raw-resp.js";
import { residentPeakMiB } from "./resident-memory.js";
import {
  finished,
  type JsonLine,
  type ReplicaEntry,
  synod,
  type SynodProcess,
  temporaryDirectory,
} from "./synod-process.js";

/** About twice what a replica under this load needs, and far below what the strangers ask for. */
const RESIDENT_MIB_MAX = 256;
const SEED = 0x5e0d;
const LONG_VALUE = "v".repeat(256 * 1024);

const prng = new Prng(SEED);
const noise = (length: number): Uint8Array => Uint8Array.from({ length }, () => prng.below(256));

/** A connection that sends what it is told, says nothing else and is over when the other side says so. */
class Stranger {
  readonly socket: Socket;
  readonly over: Promise<void>;
  received = Buffer.alloc(0);
  constructor(address: string) {
    const [host = "", port = ""] = address.split(":");
    this.socket = connect({ host, port: Number(port), allowHalfOpen: true });
    this.socket.on("data", (chunk: Buffer) => {
      if (this.received.length < 65_536) this.received = Buffer.concat([this.received, chunk]);
    });
    this.over = new Promise((resolve) => {
      // Reset or closed, with or without unread bytes of ours: the stranger is out.
      this.socket.on("error", () => resolve());
      this.socket.on("end", () => resolve());
      this.socket.on("close", () => resolve());
    });
  }

  send(...parts: readonly (Uint8Array | string)[]): this {
    for (const part of parts) this.socket.write(part);
    return this;
  }

  close(): void {
    this.socket.destroy();
  }
}

const bytesOf = (write: (writer: ByteWriter) => void): Uint8Array => {
  const writer = new ByteWriter();
  write(writer);
  return writer.toBytes();
};

const frame = (cluster: ClusterKey, kind: number, body: Uint8Array): Uint8Array =>
  bytesOf((writer) => {
    const start = openFrame(writer);
    writer.copy(body, 0, body.length);
    closeFrame(writer, start, kind, cluster);
  });

const changed = (bytes: Uint8Array, change: (view: DataView) => void): Uint8Array => {
  const copy = bytes.slice();
  change(new DataView(copy.buffer));
  return copy;
};

const hello = (cluster: ClusterKey, role: HelloRole, replica = 0): Uint8Array =>
  bytesOf((writer) => writeHello(writer, { cluster, role, replica, checksum: 0, incarnation: 1 }));

const HTTP = "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n";
/** How a TLS client begins: a handshake record of version 3.1 with a ClientHello in it. */
const TLS = Uint8Array.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, ...noise(500)]);

/** What goes wrong on a port of frames, and what the log says of it. */
function framePortAttacks(cluster: ClusterKey, role: HelloRole): readonly (readonly [string, Uint8Array[], RegExp])[] {
  const good = hello(cluster, role);
  // Random bytes whose first four are no length of any frame.
  const garbage = changed(noise(4096), (view) => view.setUint32(0, 0xfedcba98, true));
  return [
    ["garbage", [garbage], /got 4275878552/],
    ["huge length", [changed(good, (view) => view.setUint32(0, 0x7fffffff, true))], /got 2147483647/],
    ["magic", [changed(good, (view) => view.setUint16(8, 0x4142, true))], /magic 4142/],
    ["version", [changed(good, (view) => view.setUint8(10, 77))], /version 77/],
    ["cluster", [hello(clusterKey("00000000000000aa"), role)], /cluster 00000000000000aa/],
    ["checksum", [changed(good, (view) => view.setUint8(40, 9))], /its header says/],
    ["HTTP", [Buffer.from(HTTP)], /an HTTP request/],
    ["TLS", [TLS], /a TLS handshake/],
    ["role", [hello(cluster, role === HelloRole.client ? HelloRole.peer : HelloRole.client)], /port/],
    ["kind", [frame(cluster, FrameKind.block, new Uint8Array(24))], /no valid HELLO/],
  ];
}

function readFrame(cluster: ClusterKey, ticket: number, keys: readonly string[]): Uint8Array {
  const block = bytesOf((writer) => {
    const at = beginBlock(writer, BlockKind.read, 0, ticket, 0);
    for (const key of keys) {
      const command = beginCommand(writer, KvOperation.get, 0, 1);
      writeArgumentLatin1(writer, key);
      endCommand(writer, command);
    }
    endBlock(writer, at, keys.length);
  });
  return frame(cluster, FrameKind.read, block);
}

/** Lines of the replicas' log, as they come. */
class OperationLog {
  readonly #process: SynodProcess;

  constructor(process: SynodProcess) {
    this.#process = process;
  }

  get lines(): readonly JsonLine[] {
    const complete = this.#process.stderr.slice(0, this.#process.stderr.lastIndexOf("\n") + 1);
    return complete
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line) as JsonLine);
  }

  /** The first line that fits, now or later; the test's time limit bounds the wait. */
  async line(fits: (line: JsonLine) => boolean): Promise<JsonLine> {
    for (;;) {
      const found = this.lines.find(fits);
      if (found !== undefined) return found;
      await once(this.#process.child.stderr, "data");
    }
  }
}

/**
 * Whether this machine lets a process wait for so long that a leader may be deposed whatever anybody does. Elections are
 * about time: where this process, which does little, is late, they say nothing about strangers.
 */
class Starvation {
  readonly #timer: NodeJS.Timeout;
  lateMsMax = 0;

  constructor() {
    let last = performance.now();
    this.#timer = setInterval(() => {
      const now = performance.now();
      this.lateMsMax = Math.max(this.lateMsMax, now - last - 10);
      last = now;
    }, 10);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

/** Clients as everybody likes them: each counts, and each count and value has to come back right. */
class GoodClient {
  readonly #client: Redis;
  readonly #key: string;
  #stopping = false;
  readonly #running: Promise<void>;
  rounds = 0;

  constructor(replica: ReplicaEntry) {
    const [host = "", port = ""] = replica.resp.split(":");
    this.#key = `good:${replica.id}`;
    // No second try behind our back: a connection that ends, or a reply that does not come, fails the test.
    this.#client = new Redis({ host, port: Number(port), maxRetriesPerRequest: 0, retryStrategy: () => null });
    this.#client.on("error", () => undefined);
    this.#running = this.#run();
    // Whoever stops the client learns of it.
    this.#running.catch(() => undefined);
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      const value = `${this.#key}=${this.rounds}`;
      const replies = await this.#client
        .pipeline()
        .incr(`${this.#key}:count`)
        .set(this.#key, value)
        .get(this.#key)
        .mget(`${this.#key}:count`, "nothing")
        .exec();
      this.rounds++;
      assert.deepEqual(replies, [
        [null, this.rounds],
        [null, "OK"],
        [null, value],
        [null, [String(this.rounds), null]],
      ]);
    }
  }

  /** Resolves when so many more rounds were right; rejects when one was not. */
  async served(rounds: number): Promise<void> {
    const until = this.rounds + rounds;
    const turn = async (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));
    while (this.rounds < until) await Promise.race([this.#running, turn()]);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
    this.#client.disconnect();
  }
}

interface Cluster {
  readonly up: SynodProcess;
  readonly data: string;
  readonly key: ClusterKey;
  readonly log: OperationLog;
  readonly replicas: readonly ReplicaEntry[];
  readonly peers: readonly string[];
}

async function cluster(t: TestContext): Promise<Cluster> {
  const data = join(temporaryDirectory(t), "data");
  const up = synod(t, ["up", "--data", data, "--port", "0", "--json"]);
  const replicas = await up.ready();
  const config = JSON.parse(readFileSync(join(data, "cluster.json"), "utf8")) as {
    clusterId: string;
    replicas: readonly { peer: string }[];
  };
  const peers = config.replicas.map(({ peer }) => peer);
  return { up, data, key: clusterKey(config.clusterId), log: new OperationLog(up), replicas, peers };
}

interface Standing {
  readonly ballots: readonly unknown[];
  readonly pids: readonly unknown[];
  readonly roles: readonly unknown[];
  readonly digests: readonly unknown[];
}

async function standing(t: TestContext, data: string): Promise<Standing> {
  const { code, lines, stderr } = await finished(t, ["status", "--data", data, "--json"]);
  assert.equal(code, 0, stderr);
  const replicas = lines[0]?.["replicas"] as readonly JsonLine[];
  const column = (field: string): readonly unknown[] => replicas.map((replica) => replica[field]);
  return { ballots: column("ballot"), pids: column("pid"), roles: column("role"), digests: column("digest") };
}

async function frameStrangers(attacked: Cluster, addresses: readonly string[], role: HelloRole): Promise<void> {
  // One address gets one of each at once; the log has five lines of a kind in ten seconds, which is enough for them.
  for (const address of addresses) {
    const attacks = framePortAttacks(attacked.key, role).map(([name, bytes, said]) => {
      const stranger = new Stranger(address);
      stranger.send(...bytes);
      return { name, stranger, said };
    });
    for (const { name, stranger, said } of attacks) {
      await stranger.over;
      stranger.close();
      const line = await attacked.log.line(
        ({ msg, detail }) => msg === "connection-refused" && said.test(String(detail)),
      );
      assert.equal(line["level"], "warn", name);
    }
  }
}

/** Many that connect to a port of frames and say nothing, or half of what they have to say: out when their time is over. */
async function silentStrangers(attacked: Cluster, address: string, count: number, role: HelloRole): Promise<void> {
  const half = hello(attacked.key, role).subarray(0, FRAME_HEADER_BYTES + 5);
  const strangers = Array.from({ length: count }, (_, i) => {
    const stranger = new Stranger(address);
    return i % 2 === 0 ? stranger : stranger.send(half);
  });
  await Promise.all(strangers.map(({ over }) => over));
  for (const stranger of strangers) stranger.close();
}

/** Well-formed, and something that clients of an optimistic cluster with several groups may send alone. */
function conservativeBlock(): Uint8Array {
  return bytesOf((writer) => {
    const at = beginBlock(writer, BlockKind.conservative, 1, 1, 0, 1);
    writer.u32(4);
    endBlock(writer, at, 1);
  });
}

async function clientStrangers(attacked: Cluster, address: string): Promise<void> {
  const { key, log } = attacked;
  const introduced = (): Stranger => new Stranger(address).send(hello(NO_CLUSTER, HelloRole.client));
  const attempts: readonly (readonly [Uint8Array, RegExp])[] = [
    [frame(key, FrameKind.block, noise(500)), /malformed block/],
    [frame(key, FrameKind.read, noise(40)), /malformed block/],
    [frame(key, FrameKind.block, conservativeBlock()), /block of a kind not for clients/],
    [frame(key, 999, noise(10)), /kind 999/],
    [frame(key, FrameKind.admin, noise(70_000)), /kind 131/],
    [
      changed(frame(key, FrameKind.block, noise(64)), (view) => view.setUint32(0, 16 * 1024 * 1024, true)),
      /got 16777216/,
    ],
  ];
  for (const [bytes, said] of attempts) {
    const stranger = introduced().send(bytes);
    await stranger.over;
    stranger.close();
    await log.line(({ reason, detail }) => said.test(String(reason)) || said.test(String(detail)));
  }
}

/** Ask for far more than they ever read, by the native protocol: what a replica leaves unsent is bounded, and reads end there. */
function slowNativeReaders(attacked: Cluster): readonly Stranger[] {
  const keys = Array.from({ length: 32 }, () => "long");
  return attacked.replicas.map(({ client }) => {
    const stranger = new Stranger(client).send(hello(NO_CLUSTER, HelloRole.client));
    stranger.socket.pause();
    for (let ticket = 1; ticket <= 500; ticket++) stranger.send(readFrame(attacked.key, ticket, keys));
    return stranger;
  });
}

async function respStrangers(attacked: Cluster, address: string): Promise<void> {
  const { log } = attacked;
  const refused: readonly (readonly [Uint8Array | string, RegExp])[] = [
    ["*3\r\n$3\r\nSET\r\n$1\r\na\r\n$999999999\r\n", /invalid bulk length/],
    ["*2147483647\r\n", /invalid multibulk length/],
    ["*1\r\n:1\r\n", /expected '\$', got ':'/],
    [Buffer.concat([Buffer.from("*"), noise(70_000).map((byte) => byte | 0x80)]), /too big mbulk count string/],
    [Buffer.alloc(70_000, "x"), /too big inline request/],
  ];
  for (const [bytes, said] of refused) {
    const stranger = new Stranger(address).send(bytes);
    await stranger.over;
    assert.match(stranger.received.toString("latin1"), said);
    stranger.close();
    await log.line(({ msg, error }) => msg === "resp.protocol-error" && said.test(String(error)));
  }
  const browser = new Stranger(address).send(HTTP);
  await browser.over;
  browser.close();
  await log.line(({ msg }) => msg === "resp.http-request");
  // Bytes that may be anything, and half a request: the connection stays as long as the stranger does, and no longer.
  for (const bytes of [TLS, noise(10_000), Buffer.from("*3\r\n$3\r\nSET\r\n$5\r\nhal")]) {
    const stranger = new Stranger(address).send(bytes);
    stranger.socket.end();
    await stranger.over;
    stranger.close();
  }
}

/** Pipelines far more than it ever reads: the gateway stops executing for it. Returns when the first replies are there. */
async function slowRespReader(address: string): Promise<Stranger> {
  const stranger = new Stranger(address);
  stranger.send(request("GET", "long").repeat(4000));
  await once(stranger.socket, "data");
  stranger.socket.pause();
  return stranger;
}

test("strangers at every port are told off or bounded, and nobody else notices", async (t) => {
  const attacked = await cluster(t);
  const { replicas, peers, data, log } = attacked;
  const starvation = new Starvation();
  t.after(() => starvation.stop());
  const before = await standing(t, data);
  const leader = replicas[before.roles.indexOf("leader")] as ReplicaEntry;
  const good = replicas.map((replica) => new GoodClient(replica));
  t.after(() => Promise.allSettled(good.map((client) => client.stop())));
  const setter = new Stranger(leader.resp).send(request("SET", "long", LONG_VALUE));
  await once(setter.socket, "data");
  setter.close();
  const clients = replicas.map(({ client }) => client);
  const resps = replicas.map(({ resp }) => resp);

  // 300 that only connect, at each kind of port.
  const idle = resps.map((resp) => Array.from({ length: 100 }, () => new Stranger(resp))).flat();
  const readers = [...slowNativeReaders(attacked), ...(await Promise.all(resps.map(slowRespReader)))];
  // These first: the many that come after them use up the lines that the log has for one kind of trouble in ten seconds.
  await frameStrangers(attacked, clients, HelloRole.client);
  await frameStrangers(attacked, peers, HelloRole.peer);
  for (const client of clients) await clientStrangers(attacked, client);
  await Promise.all([
    silentStrangers(attacked, leader.client, 300, HelloRole.client),
    silentStrangers(attacked, peers[leader.id - 1] as string, 300, HelloRole.peer),
    ...resps.map((resp) => respStrangers(attacked, resp)),
  ]);
  await log.line(({ msg, detail }) => msg === "connection-refused" && /no HELLO within/.test(String(detail)));
  await log.line(({ msg, detail }) => msg === "connection-refused" && /the maximum is/.test(String(detail)));

  for (const client of good) {
    await client.served(10);
    await client.stop();
  }
  t.diagnostic(`the clients had ${good.map((client) => client.rounds).join(", ")} rounds`);
  for (const stranger of [...idle, ...readers]) {
    assert.ok(!stranger.socket.destroyed, "a connection that does no harm stays");
    stranger.close();
  }
  const after = await standing(t, data);
  assert.deepEqual(after.pids, before.pids, "no replica was restarted");
  t.diagnostic(`this process was late by ${Math.round(starvation.lateMsMax)} ms at most`);
  // A leader is deposed when it is not heard for 400 ms or so.
  if (starvation.lateMsMax < 100) assert.deepEqual(after.ballots, before.ballots, "no leader was deposed");
  else t.diagnostic("too busy a machine to tell why a leader would be deposed: not asserted");
  assert.equal(new Set(after.digests.map((digest) => JSON.stringify(digest))).size, 1);
  assert.notEqual(after.digests[0], null);
  for (const { id, pid } of replicas) {
    const peak = residentPeakMiB(pid);
    t.diagnostic(`replica ${id} had ${Math.round(peak)} MiB resident at most`);
    assert.ok(
      peak < RESIDENT_MIB_MAX,
      `replica ${id} had ${Math.round(peak)} MiB resident, the bound is ${RESIDENT_MIB_MAX}`,
    );
  }
  const { lines } = log;
  t.diagnostic(`the log has ${lines.length} lines`);
  assert.ok(lines.length < 400, `more than 1000 strangers made ${lines.length} lines of log`);
  assert.deepEqual(
    lines.filter(({ level }) => level === "error"),
    [],
  );
});
