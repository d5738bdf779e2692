/**
 * A real redis-server and the gateway get the same requests, byte by byte, and have to give the same replies, byte by byte.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Prng } from "#src/base/index.js";
import { someChunks, someRequest } from "./redis-commands.js";
import { compareServers } from "./redis-comparison.js";
import { redisMissing, RedisServer } from "./redis-server.js";
import { readReplies } from "./resp-reply.js";
import { request, RespWorld } from "./resp-world.js";

/** Random commands of each seed; `SYNOD_DIFFERENTIAL_COMMANDS` asks for more. */
const COMMANDS = Number(process.env["SYNOD_DIFFERENTIAL_COMMANDS"] ?? 4000);
const SEEDS = (process.env["SYNOD_DIFFERENTIAL_SEEDS"] ?? "1,2,3").split(",");

describe("the same requests to Redis and to the gateway", { skip: redisMissing }, () => {
  const redis = new RedisServer();
  before(() => redis.start());
  after(() => redis.stop());

  /** Both get the same bytes; the replies and the end have to be the same. */
  async function compare(inputs: readonly string[], seed: number | string): Promise<void> {
    const world = new RespWorld();
    const client = world.connect();
    const connection = await redis.connect();
    await connection.ask("FLUSHALL\r\n", "+OK\r\n");
    for (const [index, input] of inputs.entries()) {
      const marker = `end of ${index}`;
      const sent = `${input}${request("ECHO", marker)}`;
      const expected = await connection.ask(sent, `${marker}\r\n`);
      assert.equal(world.ask(client, sent), expected, `seed ${seed}, input ${index}: ${JSON.stringify(input)}`);
      assert.equal(client.closed, connection.closed);
    }
    connection.end();
  }

  for (const seed of SEEDS) {
    test(`${COMMANDS} random commands of two connections, in pipelines and transactions, seed ${seed}`, async () => {
      const world = new RespWorld({ time: () => Date.now() });
      const clients = [world.connect(), world.connect()];
      const connections = [await redis.connect(), await redis.connect()];
      await connections[0]?.ask("FLUSHALL\r\n", "+OK\r\n");
      const chunks = someChunks(new Prng(`differential ${seed}`), COMMANDS);
      const compared = compareServers(
        chunks,
        async (connection, input, count) => (await connections[connection]?.exchange(input, count)) ?? [],
        (connection, input, count) => readReplies(world.ask(clients[connection]!, input), count) ?? [],
        seed,
      );
      await compared.finally(() => {
        for (const connection of connections) connection.end();
      });
    });
  }

  test("300 random inline requests", async () => {
    const seed = "differential 2";
    const prng = new Prng(seed);
    const pieces = [
      "ECHO",
      "echo",
      "GET",
      "a",
      "b",
      " ",
      "  ",
      "\t",
      '"',
      "'",
      "\\",
      "\\x4",
      "\\x41",
      "\\n",
      "\v",
      "x",
      '""',
      "''",
    ];
    for (let i = 0; i < 300; i++) {
      const line = Array.from({ length: prng.below(8) }, () => pieces[prng.below(pieces.length)]).join("");
      // Most of them end the connection, so each gets one of its own.
      await compare([`ECHO ${line}\r\n`], `${seed}, ${i}`);
    }
  });

  test("300 random requests with a changed byte", async () => {
    const seed = "differential 3";
    const prng = new Prng(seed);
    const bytes = "$*-019 \r\n\"'aZ\x7f";
    for (let i = 0; i < 300; i++) {
      const args = someRequest(prng);
      // As lines of their own these words describe the server, and no two servers are alike.
      if (args.some((arg) => /^(?:command|hello)$/i.test(arg))) continue;
      // Redis never finds the end of a line behind a NUL; we do.
      if (args.some((arg) => arg.includes("\0"))) continue;
      const text = request(...args);
      // The count, and the length of the name: what those do to the rest is what is looked at.
      const place = prng.below(Math.min(6, text.length));
      const changed = text.slice(0, place) + bytes.charAt(prng.below(bytes.length)) + text.slice(place + 1);
      await compareOnce(changed, `${seed}, ${i}`);
    }
  });

  /** As `compare`, for input that may leave both waiting in the middle of a request. */
  async function compareOnce(input: string, seed: string): Promise<void> {
    const world = new RespWorld();
    const client = world.connect();
    const connection = await redis.connect();
    await connection.ask("FLUSHALL\r\n", "+OK\r\n");
    // Ends whatever argument or line is still open, so that an answer comes in any case: at last, an unknown command.
    const sent = `${input}${"\r\nPING\r\n".repeat(200)}QUIT\r\n`;
    const expected = await connection.ask(sent, "\0never");
    assert.equal(world.ask(client, sent), expected, `seed ${seed}: ${JSON.stringify(input)}`);
  }
});
