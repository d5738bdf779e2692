/** The Redis protocol over groups: what holds for any number of them, and through which stream a command goes. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ANY_GROUP, type GroupMapping } from "#src/model/index.js";
import { kvMapping, partitionOf } from "#src/service/index.js";
import { respOrderSuite } from "./resp-order.suite.js";
import { respReplySuite } from "./resp-replies.suite.js";
import { respTransactionSuite } from "./resp-transactions.suite.js";
import { bytesOf, type FakeBlock, replies, RespWorld, type WorldOptions } from "./resp-world.js";

for (const groups of [2, 3]) {
  describe(`with ${groups} groups`, () => {
    respOrderSuite(groups, 100);
    respReplySuite(groups);
    respTransactionSuite(groups);
  });
}

const GROUPS = 3;

/** Keys of g_1, g_2 and g_3. */
const [a = [], b = [], c = []] = [0, 1, 2].map((group) => {
  const names = Array.from({ length: 200 }, (_, i) => `k${i}`);
  return names.filter((name) => partitionOf(bytesOf(name), 0, name.length, GROUPS) === group).slice(0, 20);
});

function newWorld(options: WorldOptions = {}): RespWorld {
  return new RespWorld({ mapping: kvMapping(GROUPS), ...options });
}

/** The blocks as `stream: commands`. */
function shape(world: RespWorld): string[] {
  return world.cluster.blocks.map(({ stream, commands }) => `${stream === 0 ? "all" : `g${stream}`}: ${commands}`);
}

/** Has blocks executed and answered, in this order. */
function carryOut(world: RespWorld, ...blocks: readonly (FakeBlock | undefined)[]): void {
  for (const block of blocks) {
    assert.ok(block !== undefined);
    world.cluster.execute(block);
    world.cluster.answer(block);
    world.settle();
  }
}

describe("which stream a command goes through", () => {
  test("that of its keys' group, reads and writes alike", () => {
    const world = newWorld();
    const client = world.connect();
    for (const input of [
      `SET ${a[0]} 1`,
      `GET ${b[0]}`,
      `INCR ${c[0]}`,
      `MSET ${b[0]} 1 ${b[1]} 2`,
      `MGET ${a[0]} ${a[1]}`,
    ]) {
      world.ask(client, `${input}\r\n`);
    }
    assert.deepEqual(shape(world), ["g1: 1", "g2: 1", "g3: 1", "g2: 1", "g1: 1"]);
  });

  test("that of all groups for what concerns several, or keys that it does not name", () => {
    const world = newWorld();
    const client = world.connect();
    const inputs = [
      `MGET ${a[0]} ${b[0]}`,
      `DEL ${a[0]} ${c[0]}`,
      "DBSIZE",
      "KEYS *",
      "SCAN 0",
      "RANGE a z",
      "RANDOMKEY",
      `WATCH ${a[0]}`,
      "UNWATCH",
      `MULTI\r\nSET ${a[0]} 1\r\nGET ${b[0]}\r\nEXEC`,
    ];
    for (const input of inputs) assert.doesNotMatch(world.ask(client, `${input}\r\n`), /^-/, input);
    assert.deepEqual(
      shape(world),
      inputs.map(() => "all: 1"),
    );
  });

  test("of a pipeline over one group that group's, as one block", () => {
    const world = newWorld();
    const client = world.connect();
    world.ask(client, `SET ${a[0]} 1\r\nPING\r\nGET ${a[1]}\r\nMGET ${a[0]} ${a[2]}\r\nINCR ${a[0]}\r\n`);
    assert.deepEqual(shape(world), ["g1: 4"]);
  });

  test("of a pipeline over several groups that of all, as one block and in its order", () => {
    const world = newWorld();
    const client = world.connect();
    assert.equal(
      world.ask(
        client,
        `SET ${a[0]} 1\r\nPING 1\r\nINCR ${a[0]}\r\nGET ${b[0]}\r\nPING 2\r\nGET ${a[0]}\r\nSET ${c[0]} 7\r\nGET ${c[0]}\r\n`,
      ),
      "+OK\r\n$1\r\n1\r\n:2\r\n$-1\r\n$1\r\n2\r\n$1\r\n2\r\n+OK\r\n$1\r\n7\r\n",
    );
    assert.deepEqual(shape(world), ["all: 6"]);
  });

  test("commands that move to the block of all leave those of other connections where they are", () => {
    const world = newWorld();
    const [first, second, third] = [world.connect(), world.connect(), world.connect()];
    first.write(`ECHO x\r\nSET ${a[0]} 1\r\nPING\r\n`);
    second.write(`GET ${a[1]}\r\nPING b\r\nGET ${a[1]}\r\nSET ${b[0]} 1\r\nGET ${b[0]}\r\n`);
    third.write(`SET ${b[1]} 1\r\nGET ${b[1]}\r\n`);
    first.write(`GET ${a[0]}\r\n`);
    world.settle();
    assert.deepEqual(shape(world), ["all: 4", "g1: 2", "g2: 2"]);
    assert.equal(replies(first), "$1\r\nx\r\n+OK\r\n+PONG\r\n$1\r\n1\r\n");
    assert.equal(replies(second), "$-1\r\n$1\r\nb\r\n$-1\r\n+OK\r\n$1\r\n1\r\n");
    assert.equal(replies(third), "+OK\r\n$1\r\n1\r\n");
  });

  test("a command of another group waits for those in flight, with all behind it and nobody else", () => {
    const world = newWorld({ mode: "manual" });
    const [client, other] = [world.connect(), world.connect()];
    world.ask(client, `SET ${a[0]} 1\r\n`);
    world.ask(client, `SET ${b[0]} 1\r\nGET ${a[0]}\r\n`);
    world.ask(other, `GET ${b[0]}\r\n`);
    assert.deepEqual(shape(world), ["g1: 1", "g2: 1"]);
    carryOut(world, world.cluster.blocks[0]);
    assert.deepEqual(shape(world), ["g1: 1", "g2: 1", "all: 2"]);
    carryOut(world, ...world.cluster.blocks.slice(1));
    assert.equal(replies(client), "+OK\r\n+OK\r\n$1\r\n1\r\n");
    assert.equal(replies(other), "$-1\r\n");
  });

  test("a command of the same group follows those in flight", () => {
    const world = newWorld({ mode: "manual" });
    const client = world.connect();
    world.ask(client, `SET ${a[0]} 1\r\n`);
    world.ask(client, `GET ${a[1]}\r\n`);
    assert.deepEqual(shape(world), ["g1: 1", "g1: 1"]);
  });

  test("that of all as long as something there is unanswered, then that of its group again", () => {
    const world = newWorld({ mode: "manual" });
    const client = world.connect();
    world.ask(client, `MGET ${a[0]} ${b[0]}\r\n`);
    world.ask(client, `SET ${a[0]} 1\r\n`);
    world.ask(client, `SET ${b[0]} 1\r\n`);
    assert.deepEqual(shape(world), ["all: 1", "all: 1", "all: 1"]);
    carryOut(world, ...world.cluster.blocks);
    world.ask(client, `SET ${b[0]} 2\r\n`);
    assert.deepEqual(shape(world).slice(3), ["g2: 1"]);
  });

  test("what is in a full block already does not move, and is waited for", () => {
    const world = newWorld({ mode: "manual", limits: { blockCommands: 3 } });
    const client = world.connect();
    world.ask(client, `SET ${a[0]} 1\r\n`.repeat(4) + `SET ${b[0]} 1\r\n`);
    assert.deepEqual(shape(world), ["g1: 3", "g1: 1"]);
    carryOut(world, ...world.cluster.blocks);
    assert.deepEqual(shape(world), ["g1: 3", "g1: 1", "g2: 1"]);
    assert.equal(replies(client), "+OK\r\n".repeat(4));
  });

  test("what concerns no particular group goes along with what is in flight, else through any", () => {
    const anywhere: GroupMapping = { groups: GROUPS, masks: ({ count }, masks) => masks.fill(ANY_GROUP, 0, count) };
    const world = newWorld({ mapping: anywhere, mode: "manual" });
    const clients = Array.from({ length: GROUPS }, () => world.connect());
    for (const client of clients) world.ask(client, "GET a\r\n");
    assert.deepEqual(shape(world).sort(), ["g1: 1", "g2: 1", "g3: 1"]);
    world.ask(clients[0]!, "GET b\r\n");
    assert.equal(shape(world)[3], shape(world)[0]);
    carryOut(world, ...world.cluster.blocks);
    world.ask(clients[0]!, "MULTI\r\nGET a\r\nEXEC\r\nGET a\r\n");
    assert.deepEqual(shape(world).slice(4), ["all: 2"]);
  });

  test("values of a moved pipeline count in the block of all", () => {
    // Long values are known, so that a block returns 15 at most.
    const world = newWorld({ mode: "manual" });
    const client = world.connect();
    world.ask(client, `SET ${a[0]} ${"x".repeat(5000)}\r\n`);
    carryOut(world, world.cluster.blocks[0]);
    replies(client);
    world.ask(client, `GET ${a[0]}\r\n`.repeat(12) + `MGET ${b.slice(0, 4).join(" ")}\r\n`);
    assert.deepEqual(shape(world).slice(1), ["g1: 12"]);
    carryOut(world, world.cluster.blocks[1]);
    assert.deepEqual(shape(world).slice(2), ["g2: 1"]);
    carryOut(world, world.cluster.blocks[2]);
    replies(client);
    world.ask(client, `GET ${a[0]}\r\n`.repeat(11) + `MGET ${b.slice(0, 4).join(" ")}\r\n`);
    assert.deepEqual(shape(world).slice(3), ["all: 12"]);
  });
});

describe("a stream that does not take blocks", () => {
  test("holds up who has commands in it and nobody else, and what waits fails at its deadline", () => {
    const world = newWorld({ limits: { deadlineMs: 100 } });
    const [stuck, other, late] = [world.connect(), world.connect(), world.connect()];
    world.cluster.streams[1]!.open = false;
    assert.equal(world.ask(stuck, `SET ${a[0]} 1\r\n`), "");
    assert.equal(world.ask(stuck, `SET ${b[0]} 2\r\n`), "", "in its order");
    assert.equal(world.ask(other, `SET ${b[1]} 1\r\n`), "+OK\r\n");
    assert.equal(world.ask(other, `MGET ${a[0]} ${b[0]}\r\n`), "*2\r\n$-1\r\n$-1\r\n");
    assert.equal(world.ask(late, `SET ${a[1]} 1\r\nSET ${b[1]} 3\r\n`), "+OK\r\n+OK\r\n", "through all groups");
    world.pass(100);
    world.settle();
    assert.match(replies(stuck), /^-TRYAGAIN [^\r]*\r\n\+OK\r\n$/);
    assert.equal(world.ask(other, `GET ${b[0]}\r\n`), "$1\r\n2\r\n");
    world.cluster.streams[1]!.reopen();
    assert.equal(world.ask(stuck, `GET ${a[0]}\r\n`), "$-1\r\n");
  });

  test("takes up its own bounds only; who waits for room there goes on when there is some", () => {
    const limits = { waitingBytesMax: 500, blockBytes: 200, deadlineMs: 100_000 };
    const world = newWorld({ limits });
    world.cluster.streams[2]!.open = false;
    const many = Array.from({ length: 30 }, () => world.connect());
    for (const client of many) client.write(`APPEND ${b[0]} ${"x".repeat(50)}\r\n`);
    world.settle();
    const other = world.connect();
    for (let i = 1; i <= 30; i++) assert.equal(world.ask(other, `INCR ${a[0]}\r\n`), `:${i}\r\n`);
    assert.equal(world.ask(other, `DEL ${a[0]} ${c[0]}\r\n`), ":1\r\n");
    world.cluster.streams[2]!.reopen();
    world.settle();
    assert.deepEqual(
      many.map(replies).map((text) => Number(text.slice(1))),
      many.map((_, i) => 50 * (i + 1)),
    );
  });

  test("says of what was taken that it may have been applied, and the next command goes on elsewhere", () => {
    const world = newWorld({ mode: "manual" });
    const client = world.connect();
    world.ask(client, `INCR ${a[0]}\r\n`);
    world.ask(client, `GET ${a[0]}\r\nGET ${b[0]}\r\n`);
    const { cluster } = world;
    assert.deepEqual(shape(world), ["g1: 1", "g1: 1"]);
    cluster.fail(cluster.blocks[0]!, "indeterminate");
    cluster.fail(cluster.blocks[1]!, "try-again");
    world.settle();
    assert.match(replies(client), /^-INDETERMINATE [^\r]*\r\n-TRYAGAIN [^\r]*\r\n$/);
    carryOut(world, cluster.blocks[2]);
    assert.equal(replies(client), "$-1\r\n");
  });
});

test("the watch of a connection that is gone is given up once its commands to a group are answered", () => {
  const world = newWorld({ mode: "manual" });
  const client = world.connect();
  world.ask(client, `WATCH ${a[0]}\r\n`);
  carryOut(world, world.cluster.blocks[0]);
  world.ask(client, `SET ${b[0]} 1\r\n`);
  client.vanish();
  world.settle();
  assert.deepEqual(shape(world), ["all: 1", "g2: 1"]);
  carryOut(world, world.cluster.blocks[1]);
  assert.deepEqual(shape(world), ["all: 1", "g2: 1", "all: 1"]);
  const digest = new Uint32Array(4);
  world.cluster.service.digest(digest);
  const watched = digest.join(" ");
  carryOut(world, world.cluster.blocks[2]);
  world.cluster.service.digest(digest);
  assert.notEqual(digest.join(" "), watched);
});

test("INFO counts what went through each stream", () => {
  const world = newWorld();
  const client = world.connect();
  world.ask(client, `SET ${a[0]} 1\r\n`);
  world.ask(client, `GET ${a[0]}\r\nGET ${a[1]}\r\n`);
  world.ask(client, `MGET ${a[0]} ${b[0]}\r\n`);
  const text = world.ask(client, "INFO streams\r\n");
  assert.match(
    text,
    /# Streams\r\ng_all:commands=1,blocks=1,waiting_bytes=0\r\ng_1:commands=3,blocks=2,waiting_bytes=0\r\ng_2:commands=0,/,
  );
});
