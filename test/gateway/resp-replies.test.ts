/** How long values are read where there is one group, in parts, and what holds for it as for any number. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { respReplySuite } from "./resp-replies.suite.js";
import { RespWorld, textOf } from "./resp-world.js";

describe("long values", () => {
  const value = "v".repeat(256 * 1024);
  const bulk = `$${value.length}\r\n${value}\r\n`;

  /** A store full of long values, of which the gateway knows nothing. */
  function fullWorld(mode: "instant" | "random", seed = 1): RespWorld {
    const world = new RespWorld({ mode, seed });
    for (let i = 0; i < 8; i++) world.cluster.put(`k${i}`, value);
    return world;
  }

  test("of a pipeline of reads come in parts, and the next part when the client has read the last", () => {
    const world = fullWorld("instant");
    const client = world.connect();
    const other = world.connect();
    let text = "";
    client.onData = (bytes) => {
      text += textOf(bytes);
    };
    client.stopReading();
    client.write(`${"PING\r\n"}${Array.from({ length: 200 }, (_, i) => `GET k${i % 8}\r\nPING\r\n`).join("")}`);
    world.settle();
    assert.ok(world.port.inFlightBytes(client.connection) < 7 * 1024 * 1024);
    assert.equal(world.cluster.parts, 2, "three parts, and no more while they are unread");
    assert.equal(world.ask(other, "GET k1\r\n"), bulk);
    client.startReading();
    world.pass(5000);
    assert.equal(text, `+PONG\r\n${`${bulk}+PONG\r\n`.repeat(200)}`);
    const { parts } = world.cluster;
    assert.equal(parts, 28, "seven values a part");
    // Now it knows: blocks are short enough to be answered whole.
    text = "";
    client.write(`${Array.from({ length: 200 }, (_, i) => `GET k${i % 8}\r\n`).join("")}`);
    world.pass(100);
    assert.equal(text, bulk.repeat(200));
    assert.equal(world.cluster.parts, parts);
  });

  test("do not keep a gateway from closing", () => {
    const world = fullWorld("instant");
    const client = world.connect();
    client.stopReading();
    client.write("GET k1\r\n".repeat(100));
    world.settle();
    let closed = false;
    world.gateway.close(() => (closed = true));
    world.pass(1000);
    assert.ok(closed);
    assert.equal(world.cluster.parts, 2);
  });

  test("of a client that is gone are asked for no further, and of too many that do not read neither", () => {
    const world = fullWorld("instant");
    const gone = world.connect();
    gone.write("GET k1\r\n".repeat(100));
    gone.stopReading();
    world.settle();
    const { parts } = world.cluster;
    gone.vanish();
    world.pass(5000);
    assert.equal(world.cluster.parts, parts);
    const slow = Array.from({ length: 20 }, () => {
      // A block each, of which the gateway has forgotten by then how long replies are.
      const client = world.connect();
      client.stopReading();
      for (let i = 0; i < 200; i++) world.ask(client, "PING\r\n");
      return client;
    });
    const quiet = world.connect();
    for (const client of slow) {
      for (let i = 0; i < 150; i++) world.ask(quiet, "GET nothing\r\n");
      client.write("GET k1\r\n".repeat(100));
      world.settle();
    }
    world.pass(5000);
    assert.equal(slow.filter(({ closed }) => closed).length, 4);
    assert.equal(world.ask(quiet, "GET k2\r\n"), bulk);
  });
});

respReplySuite(1);
