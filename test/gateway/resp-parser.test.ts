/** The parser behind the port: the same requests however the bytes are cut, and a bounded end to everything else. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { bytesOf, replies, request, RespWorld, textOf } from "./resp-world.js";

const argument = fc.oneof(
  fc.constantFrom("", "a", "\r\n", "$3", "*1\r\n", "0", "nine nine"),
  fc.uint8Array({ maxLength: 40 }).map(textOf),
  fc.integer({ min: 90, max: 5000 }).map((length) => "x".repeat(length)),
);

/** A word of an inline request in one of the ways to write it, and what it means. */
const word = fc.oneof(
  fc.stringMatching(/^[a-z]{1,8}$/).map((text) => ({ written: text, text })),
  fc.stringMatching(/^[a-z ]{0,8}$/).map((text) => ({ written: `"${text}"`, text })),
  fc.uint8Array({ maxLength: 8 }).map((bytes) => ({
    written: `"${[...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")}"`,
    text: textOf(bytes),
  })),
  fc.constantFrom(
    { written: "'it\\'s \"so\"'", text: 'it\'s "so"' },
    { written: "'\\n'", text: "\\n" },
    { written: '"\\n\\r\\t\\b\\a\\q\\"\\xzz"', text: '\n\r\t\b\x07q"xzz' },
    { written: 'a"b c"', text: "ab c" },
  ),
);

/** A request that is answered by its own argument, and that answer. */
const exchange = fc.oneof(
  argument.map((text) => ({ sent: request("ECHO", text), text })),
  word.map(({ written, text }) => ({ sent: `ECHO ${written}\r\n`, text })),
  word.map(({ written, text }) => ({ sent: `  echo\t${written} \n`, text })),
  argument.map((text) => ({ sent: `*0\r\n\r\n${request("ECHO", text)}`, text })),
);

const cuts = fc.array(fc.nat(), { maxLength: 30 });

/** Sends the bytes cut at the given places (taken modulo their number), each piece an event of its own. */
function sendCut(world: RespWorld, bytes: Uint8Array, places: readonly number[]): ReturnType<RespWorld["connect"]> {
  const client = world.connect();
  const offsets = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  let at = 0;
  for (const end of [...offsets, bytes.length]) {
    client.write(bytes.slice(at, end));
    if (end % 3 > 0) world.settle();
    at = end;
  }
  world.settle();
  return client;
}

describe("requests", () => {
  test("are the same however their bytes are cut", () => {
    fc.assert(
      fc.property(fc.array(exchange, { maxLength: 12 }), cuts, (exchanges, places) => {
        const world = new RespWorld();
        const client = sendCut(world, bytesOf(exchanges.map(({ sent }) => sent).join("")), places);
        assert.equal(replies(client), exchanges.map(({ text }) => `$${text.length}\r\n${text}\r\n`).join(""));
        assert.equal(world.gateway.status().requests, exchanges.length);
      }),
      { numRuns: 500 },
    );
  });

  test("may come byte by byte", () => {
    const world = new RespWorld();
    const bytes = bytesOf(`${request("ECHO", "a\r\nb")}ECHO "c d"\r\n*0\r\n${request("ECHO", "")}PING\n`);
    const client = sendCut(
      world,
      bytes,
      Array.from(bytes, (_, index) => index),
    );
    assert.equal(replies(client), "$4\r\na\r\nb\r\n$3\r\nc d\r\n$0\r\n\r\n+PONG\r\n");
  });

  test("of very many arguments come in small pieces without being read again and again", () => {
    const world = new RespWorld();
    const keys = Array.from({ length: 16_383 }, (_, index) => `k${index % 3}`);
    const bytes = bytesOf(request("EXISTS", ...keys));
    const client = world.connect();
    world.ask(client, "SET k1 x\r\n");
    for (let at = 0; at < bytes.length; at += 60) client.write(bytes.slice(at, at + 60));
    world.settle();
    assert.equal(replies(client), ":5461\r\n");
    assert.match(world.ask(client, request("EXISTS", ...keys, "x")), /invalid multibulk length/);
  });

  test("are bounded as a whole", () => {
    const world = new RespWorld();
    const bulk = "x".repeat(1000 * 1000);
    assert.equal(
      world.ask(world.connect(), request("ECHO", bulk, bulk, bulk)),
      "-ERR Protocol error: invalid bulk length, a request has at most 2097152 bytes\r\n",
    );
  });
});

describe("anything else", () => {
  const nearly = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc
      .array(
        fc.constantFrom(
          "*",
          "$",
          "1",
          "2",
          "-",
          "0",
          "99999999",
          "\r",
          "\n",
          "\r\n",
          "PING",
          '"',
          "'",
          "\\x",
          " ",
          "\0",
          ":",
        ),
        { maxLength: 60 },
      )
      .map((parts) => bytesOf(parts.join(""))),
    fc.tuple(exchange, fc.nat(), fc.nat({ max: 255 })).map(([{ sent }, place, byte]) => {
      const bytes = bytesOf(sent);
      bytes[place % bytes.length] = byte;
      return bytes;
    }),
  );

  test("ends in the same replies however it is cut, and harms nobody", () => {
    fc.assert(
      fc.property(fc.array(nearly, { maxLength: 4 }), cuts, (parts, places) => {
        const world = new RespWorld();
        const bytes = Uint8Array.from(parts.flatMap((part) => [...part]));
        const bystander = world.connect();
        const whole = sendCut(world, bytes, []);
        const pieces = sendCut(world, bytes, places);
        // What they say of themselves (HELLO, CLIENT) can't differ: those words are not in the alphabet.
        assert.equal(replies(pieces), replies(whole));
        assert.equal(pieces.closed, whole.closed);
        assert.equal(world.ask(bystander, "PING\r\n"), "+PONG\r\n");
      }),
      { numRuns: 1000 },
    );
  });

  test("is not kept beyond the maximum of all connections", () => {
    const world = new RespWorld({
      limits: { inputBytesTotalMax: 10_000, requestBytesMax: 10_000, bulkBytesMax: 9000, inlineBytesMax: 5000 },
    });
    const clients = Array.from({ length: 4 }, () => world.connect());
    for (const client of clients) client.write(bytesOf(`*2\r\n$4\r\nECHO\r\n$4000\r\n${"x".repeat(3900)}`));
    world.settle();
    assert.deepEqual(
      clients.map((client) => client.closed),
      [false, false, true, true],
    );
    assert.equal(world.ask(clients[0]!, `${"x".repeat(100)}\r\n`).length, "$4000\r\n\r\n".length + 4000);
    assert.equal(world.ask(clients[1]!, `${"x".repeat(100)}\r\n`).length, "$4000\r\n\r\n".length + 4000);
    // Nothing is counted that is not held any more.
    assert.equal(world.ask(world.connect(), request("ECHO", "y".repeat(9000))).length, "$9000\r\n\r\n".length + 9000);
  });
});
