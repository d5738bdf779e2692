/**
 * Pipelines of several connections over streams that are each late in their own way: the commands of a connection take effect
 * in the order sent, and what is read from several groups at once was there at once.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { Prng } from "#src/base/index.js";
import type { MemoryByteClient } from "#src/platform/index.js";
import { kvMapping } from "#src/service/index.js";
import { readReplies, type RespReply } from "./resp-reply.js";
import { bytesOf, replies, request, RespWorld, textOf } from "./resp-world.js";

const KEYS = Array.from({ length: 12 }, (_, i) => `key${i}`);

function someWorld(prng: Prng, seed: number): RespWorld {
  const world = new RespWorld({
    seed,
    mapping: kvMapping(2 + prng.below(3)),
    mode: "random",
    openMax: 1 + prng.below(4),
    limits: {
      blockCommands: 1 + prng.below(20),
      blockBytes: 200 + prng.below(2000),
      waitingBytesMax: 500 + prng.below(4000),
      inputBytesMax: 100 + prng.below(2000),
      deadlineMs: 1_000_000,
    },
  });
  for (const stream of world.cluster.streams) stream.slowness = prng.pick([1, 1, 3, 10]);
  return world;
}

/** Sends requests in order, in chunks that end anywhere, now and then with a pause. */
function send(world: RespWorld, prng: Prng, client: MemoryByteClient, requests: readonly string[]): void {
  const input = bytesOf(requests.join(""));
  let time = 0;
  for (let at = 0; at < input.length;) {
    const end = Math.min(input.length, at + 1 + prng.below(prng.below(3) === 0 ? 30 : 600));
    const piece = input.slice(at, end);
    time += prng.below(5) === 0 ? prng.below(60) : prng.below(4) / 2;
    world.process.at(time, () => client.write(piece));
    at = end;
  }
}

/** The commands of one connection carry its name and the number of each: `(2.17)`. */
const TAG = /\((\d+)\.(\d+)\)/g;

/** What each connection's commands were when they took effect, by their tags; null if that is the order sent. */
function disorder(executed: readonly string[]): string | null {
  const latest = new Map<string, number>();
  for (const block of executed) {
    for (const [tag, connection = "", number = ""] of block.matchAll(TAG)) {
      const before = latest.get(connection) ?? -1;
      if (Number(number) !== before + 1) return `${tag} behind (${connection}.${before})`;
      latest.set(connection, Number(number));
    }
  }
  return null;
}

function orderOfEffects(seed: number, plant: (world: RespWorld) => void = () => undefined): string | null {
  const prng = new Prng(`effects ${seed}`);
  const world = someWorld(prng, seed);
  plant(world);
  const executed: string[] = [];
  world.cluster.onExecute = ({ bytes, at }) => executed.push(textOf(bytes.subarray(at)));
  const key = (): string => prng.pick(KEYS);
  const sent: number[] = [];
  const clients = Array.from({ length: 4 }, (_, connection) => {
    const requests: string[] = [];
    const count = 20 + prng.below(60);
    let [current, left] = [key(), 0];
    for (let n = 0; n < count; n++) {
      // Runs on one key among keys of all groups: some stay in a group and some do not.
      if (left-- <= 0) [current, left] = [key(), prng.below(3) === 0 ? prng.below(12) : 0];
      const tag = `(${connection}.${n})`;
      const kind = prng.below(12);
      if (kind === 0) requests.push(request("MSET", key(), tag, key(), "-"));
      else if (kind === 1)
        requests.push(request("MULTI"), request("SET", current, tag), request("GET", key()), request("EXEC"));
      else if (kind === 2) requests.push(request("EXISTS", key(), tag));
      else if (kind === 3) requests.push(request("PING"), request("APPEND", current, tag));
      else requests.push(request("SET", current, tag));
    }
    sent.push(count);
    const client = world.connect();
    send(world, prng, client, requests);
    return client;
  });
  world.pass(100_000);
  const found = disorder(executed);
  if (found !== null) return found;
  const seen = [...executed.join("").matchAll(TAG)].length;
  assert.equal(
    seen,
    sent.reduce((sum, count) => sum + count, 0),
    "everything sent took effect",
  );
  for (const client of clients) assert.doesNotMatch(replies(client), /-(?:TRYAGAIN|INDETERMINATE|ERR)/);
  return null;
}

describe("the order in which the commands of a connection take effect", () => {
  test("is the order sent, over any streams and delays", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0 }), (seed) => assert.equal(orderOfEffects(seed), null)),
      { numRuns: 150 },
    );
  });

  test("is found broken if a stream answers before it executes", () => {
    const seeds = Array.from({ length: 20 }, (_, seed) => seed);
    const found = seeds.filter((seed) => {
      const plant = (world: RespWorld): void => {
        world.cluster.streams[1]!.answersEarly = true;
      };
      return orderOfEffects(seed, plant) !== null;
    });
    assert.ok(found.length > 0);
  });
});

function shuffled(prng: Prng, keys: readonly string[]): string[] {
  return keys
    .map((key) => ({ key, place: prng.float() }))
    .sort((x, y) => x.place - y.place)
    .map(({ key }) => key);
}

/** Writers set keys of all groups to one number, readers read them. Returns a reply in which they differ, or null. */
function tornRead(seed: number, plant: (world: RespWorld) => void = () => undefined): string | null {
  const prng = new Prng(`moments ${seed}`);
  const world = someWorld(prng, seed);
  plant(world);
  const keys = shuffled(prng, KEYS).slice(0, 2 + prng.below(4));
  let number = 100_000;
  const value = (): string => String(number++);
  world.ask(world.connect(), request("MSET", ...keys.flatMap((key) => [key, "100000"])));
  world.pass(1000);
  for (let i = 0; i < 2; i++) {
    const requests = Array.from({ length: 40 }, () => {
      const next = value();
      if (prng.below(3) > 0) return request("MSET", ...keys.flatMap((key) => [key, next]));
      return ["MULTI", ...keys.map((key) => `SET ${key} ${next}`), "EXEC"]
        .map((line) => request(...line.split(" ")))
        .join("");
    });
    send(world, prng, world.connect(), requests);
  }
  const readers = Array.from({ length: 2 }, () => {
    const client = world.connect();
    const requests = Array.from({ length: 40 }, () => {
      if (prng.below(4) > 0) return request("MGET", ...shuffled(prng, keys));
      return prng.below(2) === 0 ? request("GET", prng.pick(keys)) : request("SET", "other", "x");
    });
    send(world, prng, client, requests);
    return client;
  });
  world.pass(100_000);
  let reads = 0;
  for (const client of readers) {
    for (const { value } of readReplies(replies(client), 40) ?? []) {
      if (!Array.isArray(value)) continue;
      reads++;
      const seen = (value as readonly RespReply[]).map((item) => JSON.stringify(item.value));
      if (new Set(seen).size > 1) return seen.join(" ");
    }
  }
  assert.ok(reads > 10, `${reads} reads`);
  return null;
}

describe("values read from several groups by one command", () => {
  test("are of one moment", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0 }), (seed) => assert.equal(tornRead(seed), null)),
      { numRuns: 150 },
    );
  });

  test("are found out if the reply is put together from reads of each group", () => {
    const found = Array.from({ length: 20 }, (_, seed) => seed).filter((seed) => {
      const plant = (world: RespWorld): void => {
        world.cluster.streams[0]!.assembles = true;
      };
      return tornRead(seed, plant) !== null;
    });
    assert.ok(found.length > 0);
  });
});
