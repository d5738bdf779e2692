/**
 * A real redis-server and the gateway get the same requests, byte by byte, and have to give the same replies, byte by byte.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Prng } from "#src/base/index.js";
import { bytesOf, request, RespWorld } from "./resp-world.js";

const version = spawnSync("redis-server", ["--version"], { encoding: "utf8" });
const skip =
  version.status !== 0
    ? "redis-server is not installed"
    : / v=7\.0\./.test(version.stdout)
      ? false
      : "redis-server is not a 7.0, whose words these are";

/** A private redis-server, and one connection to it. */
class RedisServer {
  readonly #folder = mkdtempSync(join(tmpdir(), "synod-redis-"));
  #process: ChildProcess | null = null;
  #port = 0;

  async start(): Promise<void> {
    this.#port = await freePort();
    this.#process = spawn(
      "redis-server",
      ["--port", String(this.#port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", this.#folder],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    const output = this.#process.stdout;
    assert.ok(output !== null);
    await new Promise<void>((resolve, reject) => {
      let text = "";
      output.on("data", (chunk: Buffer) => {
        text += chunk.toString("latin1");
        if (text.includes("Ready to accept connections")) resolve();
      });
      this.#process?.once("exit", () => reject(new Error(`redis-server ended: ${text}`)));
    });
    output.resume();
  }

  async connect(): Promise<RedisConnection> {
    const socket = connect(this.#port, "127.0.0.1");
    await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    return new RedisConnection(socket);
  }

  async stop(): Promise<void> {
    const child = this.#process;
    if (child !== null && child.exitCode === null) {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await ended;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

class RedisConnection {
  readonly #socket: Socket;
  #text = "";
  #changed: (() => void) | null = null;
  closed = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk) => {
      this.#text += chunk.toString("latin1");
      this.#changed?.();
    });
    socket.on("close", () => {
      this.closed = true;
      this.#changed?.();
    });
    socket.on("error", () => undefined);
  }

  /** Sends, and waits for the text that ends in `marker`, or for the end of the connection. */
  async ask(input: string, marker: string): Promise<string> {
    this.#socket.write(bytesOf(input));
    while (!this.closed && !this.#text.endsWith(marker)) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
    const text = this.#text;
    this.#text = "";
    return text;
  }

  end(): void {
    this.#socket.destroy();
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  await new Promise((resolve) => server.close(resolve));
  return address.port;
}

describe("the same requests to Redis and to the gateway", { skip }, () => {
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

  const NUMBERS = [
    "0",
    "1",
    "-1",
    "7",
    "-0",
    "007",
    "+1",
    " 1",
    "1 ",
    "1.5",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "-9223372036854775809",
    "99999999999999999999999",
    "",
    "-",
    "abc",
    "-9223372036854775807",
  ];
  const SET_OPTIONS = ["NX", "XX", "GET", "nx", "xx", "Get", "FOO", ""];

  function someRequest(prng: Prng): string[] {
    const pick = <T>(list: readonly T[]): T => list[prng.below(list.length)] as T;
    const key = (): string => pick(["a", "b", "c", "d", "e", "key:1", "", "k\r\n\0\xff"]);
    const value = (): string =>
      prng.below(3) === 0
        ? pick(NUMBERS)
        : pick(["", "x", "hello", "\r\n", "\0\x01\xff", "v".repeat(prng.below(100)), "w".repeat(prng.below(3000))]);
    const number = (): string => (prng.below(2) === 0 ? String(prng.below(1000) - 500) : pick(NUMBERS));
    const some = (most: number, make: () => string): string[] => Array.from({ length: prng.below(most + 1) }, make);
    const shapes: (() => string[])[] = [
      () => ["GET", key()],
      () => ["SET", key(), value()],
      () => ["SET", key(), value(), ...some(3, () => pick(SET_OPTIONS))],
      () => ["SETNX", key(), value()],
      () => ["GETSET", key(), value()],
      () => ["DEL", key(), ...some(3, key)],
      () => ["UNLINK", key(), ...some(2, key)],
      () => ["EXISTS", key(), ...some(3, key)],
      () => ["INCR", key()],
      () => ["DECR", key()],
      () => ["INCRBY", key(), number()],
      () => ["DECRBY", key(), number()],
      () => ["MGET", key(), ...some(4, key)],
      () => ["MSET", key(), value(), ...some(5, value)],
      () => ["APPEND", key(), value()],
      () => ["STRLEN", key()],
      () => ["DBSIZE"],
      () => ["PING", ...some(2, value)],
      () => ["ECHO", value()],
      () => ["SELECT", pick(["0", "-1", "16", "x", "99999999999"])],
      () => ["AUTH", ...some(3, () => pick(["default", "x", "y"]))],
      () => [
        "CLIENT",
        pick(["GETNAME", "SETNAME", "FOO", "NO-EVICT", "ID x"]),
        ...some(2, () => pick(["on", "off", "a b", ""])),
      ],
      () => ["HELLO", pick(["1", "4", "x", "2 ", "99999999999999999999"])],
      () => ["COMMAND", "FOO"],
      () => ["CONFIG", pick(["GET", "FOO"]), ...some(1, () => "nosuch")],
      () => ["RESET"],
      // Any number of arguments for any command: errors of arity and of names we don't have.
      () => [
        pick([
          "GET",
          "SET",
          "DEL",
          "EXISTS",
          "INCR",
          "INCRBY",
          "MGET",
          "MSET",
          "APPEND",
          "STRLEN",
          "DBSIZE",
          "ECHO",
          "SETNX",
          "GETSET",
          "DECRBY",
          "CLIENT",
          "SELECT",
          "NOSUCH",
          "nosuch\r\nx",
          "",
          "n\0x",
        ]),
        ...some(4, value),
      ],
    ];
    const [name = "", ...rest] = pick(shapes)();
    const cased = [name, name.toLowerCase(), name.charAt(0).toUpperCase() + name.slice(1).toLowerCase()];
    return [pick(cased), ...rest];
  }

  test("2000 random commands, one at a time and in pipelines", async () => {
    const seed = "differential 1";
    const prng = new Prng(seed);
    const inputs: string[] = [];
    for (let commands = 0; commands < 2000;) {
      const count = prng.below(2) === 0 ? 1 : 1 + prng.below(30);
      inputs.push(Array.from({ length: count }, () => request(...someRequest(prng))).join(""));
      commands += count;
    }
    await compare(inputs, seed);
  });

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
