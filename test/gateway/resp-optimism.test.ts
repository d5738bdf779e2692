/**
 * The Redis protocol over groups some of whose commands fail opt-PSMR's safety check: a view of `kv` that fails by a hash of key
 * and position, behind the real session clients of the gateway. The commands of a connection take effect in the order sent, each
 * once, and are answered as by a store in which nothing fails.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ByteWriter, Prng } from "#src/base/index.js";
import { createRespGateway } from "#src/gateway/index.js";
import { BlockKind, emptyRun, FrameKind, type ReplicaId } from "#src/model/index.js";
import {
  type EventLog,
  type FrameHandlers,
  MemoryBytePort,
  type MemoryByteClient,
  SimKernel,
  type SimProcess,
} from "#src/platform/index.js";
import {
  type BlockClientHandlers,
  type ClientPort,
  createGroupsClient,
  type GroupsClient,
} from "#src/runtime/index.js";
import { kv, kvMapping, partitionOf } from "#src/service/index.js";
import { type FakeCluster, fakeStreams, type Frame } from "../client/fake-cluster.js";
import { bytesOf, replies, request, RespWorld, textOf } from "./resp-world.js";

const replicas = [1, 2, 3] as const;
const GROUPS = 2;
const KEYS = Array.from({ length: 8 }, (_, i) => `key${i}`);
const quiet: EventLog = { info: () => undefined, warn: () => undefined, error: () => undefined };

interface Options {
  readonly resubmit: "replicas" | "client";
  readonly strict: boolean;
  /** Of 256 commands of a group so many fail. */
  readonly failing: number;
}

/** A gateway, its session clients, and the streams of a cluster. */
class World {
  readonly kernel: SimKernel;
  readonly executed: string[] = [];
  readonly clusters: readonly FakeCluster[];
  /** Commands that failed by themselves. */
  failed = 0;
  readonly #prng: Prng;
  readonly #process: SimProcess;
  readonly #port: MemoryBytePort;
  readonly #lanes: readonly Lane[];
  #position = 0;

  constructor(seed: number, { resubmit, strict, failing }: Options) {
    this.kernel = new SimKernel(seed);
    this.#prng = new Prng(`world ${seed}`);
    this.#process = this.kernel.spawn("gateway");
    this.#port = new MemoryBytePort(this.#process, { events: quiet });
    this.clusters = fakeStreams(
      replicas,
      GROUPS,
      () => (command, _read, writer) => this.#execute(command, writer),
      () => true,
      {
        resubmit,
        // A strict session asks for no keys.
        keyOf: (command) => command.at(-1)!,
        fails: (command) => this.#fails(command, failing),
        again: (block) => this.kernel.after(this.#delay(), () => this.clusters[0]!.executeConservative(block)),
        reply: (stream, body) => this.#lanes[stream]!.deliver(this.#leader(stream), { kind: FrameKind.reply, body }),
      },
    );
    this.#lanes = this.clusters.map((cluster) => new Lane(cluster, this.#process, () => this.#delay()));
    let client: GroupsClient | null = null;
    const handlers: BlockClientHandlers[] = [];
    const open = (): GroupsClient => {
      return createGroupsClient({
        scheduler: this.#process,
        ports: this.#lanes,
        replicas,
        nonce: new Uint8Array(16).fill(seed),
        events: quiet,
        resubmit,
        strict,
        handlersOf: (stream) => ({
          resolve: (token, span) => handlers[stream]!.resolve(token, span),
          fail: (token, failure) => handlers[stream]!.fail(token, failure),
          opened: () => handlers[stream]!.opened(),
        }),
      });
    };
    const gateway = createRespGateway({
      port: this.#port,
      mapping: kvMapping(GROUPS),
      client: (own, stream) => {
        handlers[stream] = own;
        client ??= open();
        return client.streams[stream]!;
      },
      scheduler: this.#process,
      info: () => ({}),
      events: quiet,
      limits: { blockCommands: 1 + this.#prng.below(12), deadlineMs: 1_000_000 },
    });
    gateway.start();
  }

  /** Sends a connection's requests in chunks that end anywhere, with pauses in which it is answered. */
  send(requests: readonly string[]): MemoryByteClient {
    const client = this.#port.connect();
    const input = bytesOf(requests.join(""));
    let time = 0;
    for (let at = 0; at < input.length;) {
      const piece = input.slice(at, at + 1 + this.#prng.below(this.#prng.below(3) === 0 ? 30 : 300));
      time += this.#prng.below(3) === 0 ? this.#prng.below(100) : this.#prng.below(4) / 2;
      this.#process.at(time, () => client.write(piece));
      at += piece.length;
    }
    return client;
  }

  run(ms: number): void {
    const end = this.kernel.now + ms;
    this.kernel.at(end, () => undefined);
    this.kernel.run(end);
  }

  #leader(stream: number): ReplicaId {
    return this.clusters[stream]!.leader;
  }

  #delay(): number {
    return this.#prng.below(10) / 2;
  }

  readonly #service = kv.create();
  readonly #run = emptyRun();

  #execute(command: Uint8Array, writer: ByteWriter): void {
    this.executed.push(textOf(command));
    const run = this.#run;
    run.bytes = command.slice();
    run.view = new DataView(run.bytes.buffer);
    run.offsets[0] = 0;
    run.count = 1;
    run.answered = 1;
    run.time = 1000;
    run.seed = this.#position++;
    this.#service.advance(run.time, null);
    this.#service.execute(run, writer, null);
  }

  /** By a hash of the command, the key of which is in it, and how many have executed: the same on every replica. */
  #fails(command: Uint8Array, failing: number): boolean {
    let hash = this.#position;
    for (const byte of command) hash = Math.imul(hash ^ byte, 0x9e3779b1) >>> 7;
    const fails = (hash & 255) < failing;
    if (fails) this.failed++;
    return fails;
  }
}

/** The gateway's way to the replicas of a stream. Frames keep their order on each link. */
class Lane implements ClientPort {
  readonly #cluster: FakeCluster;
  readonly #process: SimProcess;
  readonly #delay: () => number;
  readonly #clear = new Map<string, number>();
  readonly #writer = new ByteWriter();
  #handlers: FrameHandlers | null = null;
  #link: ReplicaId = 0;
  #kind = 0;

  constructor(cluster: FakeCluster, process: SimProcess, delay: () => number) {
    this.#cluster = cluster;
    this.#process = process;
    this.#delay = delay;
  }

  start(handlers: FrameHandlers): void {
    this.#handlers = handlers;
    this.#process.after(0, () => {
      for (const replica of replicas) handlers.onLink(replica, true);
    });
  }

  begin(link: ReplicaId, kind: number): ByteWriter {
    this.#link = link;
    this.#kind = kind;
    this.#writer.clear();
    return this.#writer;
  }

  end(): void {
    const link = this.#link;
    const kind = this.#kind;
    const body = this.#writer.toBytes();
    this.#carry(`to ${link}`, () => {
      for (const frame of this.#cluster.receive(link, kind, body)) this.deliver(link, frame);
    });
  }

  flush(): void {}

  close(done: () => void): void {
    this.#handlers = null;
    this.#process.after(0, done);
  }

  deliver(link: ReplicaId, { kind, body }: Frame): void {
    this.#carry(`from ${link}`, () => {
      const copy = body.slice();
      this.#handlers?.onFrame(link, kind, copy, new DataView(copy.buffer), 0, copy.length);
    });
  }

  #carry(way: string, arrive: () => void): void {
    const now = this.#process.clock.monotonicMs();
    const at = Math.max(now + this.#delay(), this.#clear.get(way) ?? 0);
    this.#clear.set(way, at);
    this.#process.at(at, arrive);
  }
}

/** The commands of one connection carry its name and the number of each: `(2.17)`. */
const TAG = /\((\d+)\.(\d+)\)/g;

/** Whether the commands of a connection took effect in another order than sent, by their tags; null if not. */
function disorder(executed: readonly string[]): string | null {
  const latest = new Map<string, number>();
  for (const command of executed) {
    for (const [tag, connection = "", number = ""] of command.matchAll(TAG)) {
      const before = latest.get(connection) ?? -1;
      if (Number(number) !== before + 1) return `${tag} behind (${connection}.${before})`;
      latest.set(connection, Number(number));
    }
  }
  return null;
}

/** Picks of these keys: runs of one group's, without which everything would go through g_all, and now and then any. */
function keysInRuns(prng: Prng, keys: readonly string[]): () => string {
  const groups = Array.from({ length: GROUPS }, (_, group) => {
    return keys.filter((key) => partitionOf(bytesOf(key), 0, key.length, GROUPS) === group);
  });
  let [current, left] = [keys, 0];
  return () => {
    if (left-- <= 0) [current, left] = [prng.below(8) === 0 ? keys : prng.pick(groups), prng.below(30)];
    return prng.pick(current);
  };
}

/** Requests on keys that all connections use, each with its tag. */
function taggedRequests(prng: Prng, connection: number): string[] {
  const key = keysInRuns(prng, KEYS);
  return Array.from({ length: 30 + prng.below(30) }, (_, n) => {
    const current = key();
    const tag = `(${connection}.${n})`;
    const kind = prng.below(10);
    if (kind === 0) return request("MSET", key(), tag, key(), "-");
    if (kind === 1) return ["MULTI", `SET ${current} ${tag}`, `GET ${current}`, "EXEC"].map(lineOf).join("");
    if (kind === 2) return request("EXISTS", current, tag);
    if (kind === 3) return request("PING") + request("APPEND", current, tag);
    return request("SET", current, tag);
  });
}

const lineOf = (line: string): string => request(...line.split(" "));

/** Requests on keys of the connection's own, whose replies nobody else changes. */
function ownRequests(prng: Prng, connection: number): string[] {
  const key = keysInRuns(
    prng,
    Array.from({ length: 12 }, (_, i) => `own${connection}-${i}`),
  );
  return Array.from({ length: 40 + prng.below(40) }, (_, n) => {
    const one = key();
    const lines = prng.pick([
      [`SET ${one} ${n}`],
      [`SET ${one} ${n}`, `GET ${one}`],
      [`INCR ${one}`],
      [`APPEND ${one} ${n}`, `STRLEN ${one}`],
      [`GET ${key()}`],
      [`DEL ${one}`, `EXISTS ${one}`],
      [`MGET ${key()} ${key()}`],
      [`MSET ${key()} ${n} ${key()} ${n}`],
      ["MULTI", `SET ${one} ${n}`, `GET ${one}`, "EXEC"],
      ["MULTI", `SET ${one} ${n}`, `GET ${key()}`, "DISCARD"],
      [`WATCH ${one}`, "MULTI", `SET ${one} seen${n}`, `GET ${one}`, "EXEC"],
      [`WATCH ${one}`, `SET ${one} changed`, "MULTI", `SET ${one} unseen${n}`, "EXEC", `GET ${one}`],
    ]);
    return lines.map(lineOf).join("");
  });
}

function optionsOf(seed: number): Options {
  return { resubmit: seed % 2 === 0 ? "replicas" : "client", strict: true, failing: [10, 60, 160][seed % 3]! };
}

function orderOfEffects(seed: number, options: Options): { found: string | null; failed: number } {
  const prng = new Prng(`effects ${seed}`);
  const world = new World(seed, options);
  const requests = Array.from({ length: 4 }, (_, connection) => taggedRequests(prng, connection));
  const clients = requests.map((each) => world.send(each));
  world.run(60_000);
  const found = disorder(world.executed);
  if (found === null) {
    const seen = [...world.executed.join("").matchAll(TAG)].length;
    assert.equal(seen, requests.flat().length, "everything sent took effect once");
    for (const client of clients) assert.doesNotMatch(replies(client), /-(?:TRYAGAIN|INDETERMINATE|ERR)/);
  }
  for (const { malformed, astray, acknowledgedPending, forged } of world.clusters) {
    assert.deepEqual([malformed, astray, acknowledgedPending, forged], [0, 0, 0, 0]);
  }
  return { found, failed: world.failed };
}

describe("Redis commands that fail their safety check", () => {
  test("take effect in the order of their connection, once", () => {
    let failed = 0;
    fc.assert(
      fc.property(fc.integer({ min: 0 }), (seed) => {
        const outcome = orderOfEffects(seed, optionsOf(seed));
        assert.equal(outcome.found, null);
        failed += outcome.failed;
      }),
      { numRuns: 40 },
    );
    assert.ok(failed > 20, `too tame: ${failed} failed`);
  });

  test("are found to overtake each other in sessions that are not strict", () => {
    const found = Array.from({ length: 10 }, (_, seed) => seed).filter((seed) => {
      return orderOfEffects(seed, { ...optionsOf(seed), strict: false }).found !== null;
    });
    assert.ok(found.length > 0);
  });

  test("are answered as by a store in which none fails, transactions and what they watch included", () => {
    let failed = 0;
    fc.assert(
      fc.property(fc.integer({ min: 0 }), (seed) => {
        const prng = new Prng(`answers ${seed}`);
        const world = new World(seed, optionsOf(seed));
        const requests = Array.from({ length: 3 }, (_, connection) => ownRequests(prng, connection));
        const clients = requests.map((each) => world.send(each));
        world.run(60_000);
        const plain = new RespWorld();
        for (const [i, client] of clients.entries()) {
          assert.equal(replies(client), plain.ask(plain.connect(), requests[i]!.join("")));
        }
        failed += world.failed;
      }),
      { numRuns: 40 },
    );
    assert.ok(failed > 20, `too tame: ${failed} failed`);
  });

  test("go through g_all by blocks of the client where clients multicast again, and not where replicas do", () => {
    for (const resubmit of ["replicas", "client"] as const) {
      const world = new World(5, { resubmit, strict: true, failing: 256 });
      const all = world.clusters[0]!;
      const client = world.send([request("SET", "a", "1"), request("GET", "a")]);
      world.run(1000);
      assert.equal(replies(client), "+OK\r\n$1\r\n1\r\n");
      const copies = all.received.filter(({ kind }) => kind === BlockKind.conservative);
      assert.equal(copies.length > 0, resubmit === "client");
    }
  });
});
