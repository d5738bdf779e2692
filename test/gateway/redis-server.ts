/** A private redis-server for comparisons, and connections that speak RESP to it or to anything else. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bytesOf } from "./resp-world.js";
import { readReplies, type RespReply } from "./resp-reply.js";

const version = spawnSync("redis-server", ["--version"], { encoding: "utf8" });

/** Why there is nothing to compare with, or false. */
export const redisMissing: string | false =
  version.status !== 0
    ? "redis-server is not installed"
    : / v=7\.0\./.test(version.stdout)
      ? false
      : "redis-server is not a 7.0, whose words these are";

export class RedisServer {
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

  connect(): Promise<RespConnection> {
    return RespConnection.open("127.0.0.1", this.#port);
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

export class RespConnection {
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

  static async open(host: string, port: number): Promise<RespConnection> {
    const socket = connect(port, host);
    await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    return new RespConnection(socket);
  }

  /** Sends, and waits for the text that ends in `marker`, or for the end of the connection. */
  async ask(input: string, marker: string): Promise<string> {
    this.#socket.write(bytesOf(input));
    while (!this.closed && !this.#text.endsWith(marker)) await this.#more();
    const text = this.#text;
    this.#text = "";
    return text;
  }

  /** Sends, and waits for so many replies, or for the end of the connection. */
  async exchange(input: string, count: number): Promise<RespReply[]> {
    this.#socket.write(bytesOf(input));
    for (;;) {
      const replies = readReplies(this.#text, count);
      if (replies !== null || this.closed) {
        this.#text = "";
        return replies ?? [];
      }
      await this.#more();
    }
  }

  #more(): Promise<void> {
    return new Promise<void>((resolve) => {
      this.#changed = resolve;
    });
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
