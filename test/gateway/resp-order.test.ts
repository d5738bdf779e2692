/** Which block a command joins where there is one group, and what holds for it as for any number. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { respOrderSuite } from "./resp-order.suite.js";
import { replies, request, RespWorld } from "./resp-world.js";

describe("which block a command joins", () => {
  const shape = (world: RespWorld): string[] =>
    world.cluster.blocks.map(({ read, commands }) => `${read ? "reads" : "writes"} ${commands}`);

  test("a read alone is unordered", () => {
    const world = new RespWorld();
    const client = world.connect();
    assert.equal(world.ask(client, "GET a\r\nMGET a b\r\nEXISTS a\r\nSTRLEN a\r\nDBSIZE\r\n").split("\r\n").length, 8);
    assert.deepEqual(shape(world), ["reads 5"]);
  });

  test("reads behind unanswered writes are ordered with them", () => {
    const world = new RespWorld({ mode: "manual" });
    const client = world.connect();
    world.ask(client, "SET a 1\r\n");
    world.ask(client, "MGET a b\r\n");
    assert.deepEqual(shape(world), ["writes 1", "writes 1"]);
  });

  test("a pipeline which mixes reads and writes is ordered as a whole, also when reads come first", () => {
    const world = new RespWorld();
    const client = world.connect();
    assert.equal(world.ask(client, "SET a 1\r\nMGET a b\r\n"), "+OK\r\n*2\r\n$1\r\n1\r\n$-1\r\n");
    assert.equal(world.ask(client, "GET a\r\nPING\r\nSET a 2\r\nGET a\r\n"), "$1\r\n1\r\n+PONG\r\n+OK\r\n$1\r\n2\r\n");
    assert.deepEqual(shape(world), ["writes 2", "writes 3"]);
  });

  test("reads that move to the ordered block leave those of other connections where they are", () => {
    const world = new RespWorld();
    const [first, second] = [world.connect(), world.connect()];
    first.write("ECHO x\r\nGET a\r\nPING\r\n");
    second.write("GET b\r\nPING b\r\nGET b\r\nSET b 1\r\nGET b\r\n");
    world.settle();
    assert.deepEqual(shape(world), ["writes 4", "reads 1"]);
    assert.equal(replies(first), "$1\r\nx\r\n$-1\r\n+PONG\r\n");
    assert.equal(replies(second), "$-1\r\n$1\r\nb\r\n$-1\r\n+OK\r\n$1\r\n1\r\n");
  });

  test("nobody's reads move along when a connection that watches something is gone", () => {
    const world = new RespWorld();
    const [gone, other] = [world.connect(), world.connect()];
    world.ask(gone, "WATCH a\r\n");
    world.cluster.open = false;
    world.ask(gone, "GET b\r\n");
    world.ask(other, "GET c\r\n");
    gone.vanish();
    world.settle();
    world.cluster.reopen();
    world.settle();
    assert.equal(replies(other), "$-1\r\n");
    assert.deepEqual(shape(world), ["writes 1", "reads 2", "writes 1"]);
  });

  test("a write waits for the unanswered reads of its connection, and for nobody else's", () => {
    const world = new RespWorld({ mode: "manual" });
    const [client, other] = [world.connect(), world.connect()];
    const { cluster } = world;
    world.ask(client, "GET a\r\n");
    world.ask(client, "SET a 2\r\nGET a\r\n");
    assert.deepEqual(shape(world), ["reads 1"]);
    world.ask(other, "SET a 1\r\n");
    assert.deepEqual(shape(world), ["reads 1", "writes 1"]);
    cluster.execute(cluster.blocks[0]!);
    cluster.answer(cluster.blocks[0]!);
    world.settle();
    assert.deepEqual(shape(world), ["reads 1", "writes 1", "writes 2"]);
    for (const block of cluster.blocks.slice(1)) {
      cluster.execute(block);
      cluster.answer(block);
    }
    world.settle();
    assert.equal(replies(client), "$-1\r\n+OK\r\n$1\r\n2\r\n");
  });

  test("a read waits for the unanswered reads of its connection that are in another block", () => {
    const world = new RespWorld({ mode: "manual" });
    const client = world.connect();
    world.ask(client, "GET a\r\n");
    world.ask(client, "GET a\r\n");
    assert.deepEqual(shape(world), ["reads 1"]);
    world.cluster.execute(world.cluster.blocks[0]!);
    world.cluster.answer(world.cluster.blocks[0]!);
    world.settle();
    assert.deepEqual(shape(world), ["reads 1", "reads 1"]);
  });

  test("all connections of a turn share one block of writes and one of reads", () => {
    const world = new RespWorld();
    const clients = Array.from({ length: 20 }, () => world.connect());
    for (const [index, client] of clients.entries()) client.write(index % 2 === 0 ? "INCR n\r\n" : "GET n\r\n");
    world.settle();
    assert.deepEqual(shape(world), ["writes 10", "reads 10"]);
    assert.deepEqual(
      clients
        .filter((_, index) => index % 2 === 0)
        .map(replies)
        .sort().length,
      10,
    );
  });

  test("a block leaves within the turn when it is full", () => {
    const world = new RespWorld({ limits: { blockCommands: 4, blockBytes: 1000 } });
    const client = world.connect();
    assert.equal(
      world.ask(client, "INCR a\r\n".repeat(10)),
      Array.from({ length: 10 }, (_, i) => `:${i + 1}\r\n`).join(""),
    );
    assert.deepEqual(shape(world), ["writes 4", "writes 4", "writes 2"]);
    assert.equal(world.ask(client, "GET a\r\n".repeat(6)), "$2\r\n10\r\n".repeat(6));
    assert.deepEqual(shape(world).slice(3), ["reads 4", "reads 2"]);
    world.ask(client, request("SET", "b", "x".repeat(600)).repeat(3));
    assert.deepEqual(shape(world).slice(5), ["writes 2", "writes 1"]);
  });
});

test("commands that the cluster does not take are answered -TRYAGAIN at their deadline", () => {
  const world = new RespWorld({ limits: { deadlineMs: 100 } });
  const [client, other] = [world.connect(), world.connect()];
  world.cluster.open = false;
  world.ask(client, "INCR a\r\n");
  world.pass(60);
  assert.equal(world.ask(other, "GET a\r\n"), "");
  world.pass(39);
  assert.equal(replies(client), "");
  world.pass(1);
  world.settle();
  assert.match(replies(client), /^-TRYAGAIN .*\r\n$/);
  assert.equal(replies(other), "");
  world.pass(30);
  world.cluster.reopen();
  world.settle();
  assert.equal(replies(other), "$-1\r\n");
  assert.equal(world.ask(client, "INCR a\r\n"), ":1\r\n");
  assert.equal(world.cluster.blocks.length, 2);
});

respOrderSuite(1, 300);
