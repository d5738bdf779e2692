/** BytePort: one suite for TCP and memory, and what only TCP has. */
import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { describe, test } from "node:test";
import { decodeUtf8, encodeUtf8, KiB } from "#src/base/index.js";
import {
  MemoryBytePort,
  SystemScheduler,
  TcpBytePort,
  type ByteHandlers,
  type BytePort,
  type TcpBytePortOptions,
} from "#src/platform/index.js";
import { Lines } from "./frame-port.suite.js";

const scheduler = new SystemScheduler();

interface Client {
  write(text: string): void;
  /** All output so far. */
  output(): string;
  stopReading(): void;
  startReading(): void;
  end(): void;
  readonly closed: boolean;
}

/** Remembers, answers with `reply` if there is one, and wakes whoever waits. */
class Host implements ByteHandlers {
  readonly input = new Map<number, string>();
  readonly open: number[] = [];
  readonly closed: number[] = [];
  drains = 0;
  insideCall = false;
  reply: ((connection: number, text: string) => void) | null = null;
  readonly #waiting: (() => void)[] = [];

  onOpen(connection: number, remote: string): void {
    assert.ok(remote.length > 0);
    this.open.push(connection);
    this.input.set(connection, "");
    this.told();
  }

  onBytes(connection: number, bytes: Uint8Array, start: number, end: number): void {
    assert.equal(Object.getPrototypeOf(bytes), Uint8Array.prototype);
    const text = decodeUtf8(bytes, start, end);
    this.input.set(connection, (this.input.get(connection) as string) + text);
    this.reply?.(connection, text);
    this.told();
  }

  onClose(connection: number): void {
    this.closed.push(connection);
    this.told();
  }

  onDrain(): void {
    this.drains++;
    this.told();
  }

  told(): void {
    assert.ok(!this.insideCall, "told inside a call of the port");
    for (const wake of this.#waiting.splice(0)) wake();
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}

interface World {
  readonly port: BytePort;
  readonly host: Host;
  readonly lines: Lines;
  readonly connect: () => Promise<Client>;
}
type MakeWorld = (options: Partial<TcpBytePortOptions>) => Promise<World>;

const put = (port: BytePort, connection: number, text: string): boolean => {
  const writer = port.writer(connection);
  if (writer === null) return false;
  const bytes = encodeUtf8(text);
  writer.copy(bytes, 0, bytes.length);
  return true;
};
const closed = (port: BytePort): Promise<void> => new Promise((resolve) => port.close(resolve));

const tcp: MakeWorld = async (options) => {
  const [host, lines] = [new Host(), new Lines()];
  const port = new TcpBytePort({ scheduler, events: lines, listen: { host: "127.0.0.1", port: 0 }, options });
  const address = await new Promise<string>((resolve, reject) =>
    port.listen((error, at) => (error === null ? resolve(at) : reject(error))),
  );
  assert.equal(port.address, address);
  port.start(host);
  return {
    port,
    host,
    lines,
    connect: async () => {
      const socket: Socket = connect(Number(address.split(":")[1]), "127.0.0.1");
      const client = { text: "", closed: false };
      socket.on("data", (chunk: Buffer) => {
        client.text += chunk.toString();
        host.told();
      });
      socket.on("error", () => {});
      socket.on("close", () => {
        client.closed = true;
        host.told();
      });
      await new Promise((resolve) => socket.on("connect", resolve));
      return {
        write: (text) => void socket.write(text),
        output: () => client.text,
        stopReading: () => socket.pause(),
        startReading: () => socket.resume(),
        end: () => socket.end(),
        get closed() {
          return client.closed;
        },
      };
    },
  };
};

const memory: MakeWorld = (options) => {
  const [host, lines] = [new Host(), new Lines()];
  const inFlightBytesMax = options.inFlightBytesMax ?? 1024 * KiB;
  const port = new MemoryBytePort(scheduler, { inFlightBytesMax, events: lines });
  port.start(host);
  return Promise.resolve({
    port,
    host,
    lines,
    connect: () => {
      const client = port.connect();
      let text = "";
      client.onData = (bytes) => {
        text += decodeUtf8(bytes);
        host.told();
      };
      client.onClose = () => host.told();
      return Promise.resolve({
        write: (data) => client.write(data),
        output: () => text,
        stopReading: () => client.stopReading(),
        startReading: () => client.startReading(),
        end: () => client.end(),
        get closed() {
          return client.closed;
        },
      });
    },
  });
};

for (const [name, make] of [
  ["TCP", tcp],
  ["memory", memory],
] as const) {
  describe(`BytePort: ${name}`, () => {
    test("bytes in and out, per connection, once per flush", async () => {
      const { port, host, connect } = await make({});
      const clients = [await connect(), await connect(), await connect()];
      for (const [index, client] of clients.entries()) client.write(`hello ${index}`);
      await host.until(() => host.open.length === 3 && [...host.input.values()].every((text) => text.length === 7));
      assert.deepEqual([...host.input.values()].sort(), ["hello 0", "hello 1", "hello 2"]);
      for (const [connection, text] of host.input) assert.ok(put(port, connection, `${text} back`));
      assert.ok(host.open.every((connection) => port.inFlightBytes(connection) > 0));
      port.flush();
      await host.until(() => clients.every((client) => client.output().length === 12));
      for (const [index, client] of clients.entries()) assert.equal(client.output(), `hello ${index} back`);
      await closed(port);
    });

    test("a quiet end delivers what was written, a loud one drops the connection with a line", async () => {
      const { port, host, lines, connect } = await make({});
      const [quiet, loud] = [await connect(), await connect()];
      quiet.write("q");
      loud.write("l");
      await host.until(() => [...host.input.values()].sort().join("") === "lq");
      const numberOf = (text: string): number => [...host.input].find((entry) => entry[1] === text)?.[0] as number;
      const large = "x".repeat(300 * KiB);
      put(port, numberOf("q"), large);
      host.insideCall = true;
      port.disconnect(numberOf("q"), null);
      port.disconnect(numberOf("l"), "a test");
      host.insideCall = false;
      assert.equal(port.writer(numberOf("q")), null);
      await host.until(() => quiet.closed && loud.closed && host.closed.length === 2);
      assert.equal(quiet.output(), large);
      assert.equal(lines.of("client-disconnected").length, 1);
      await closed(port);
    });

    test("the client ends: the host is told, and its number is not used again", async () => {
      const { port, host, connect } = await make({});
      const first = await connect();
      first.write("a");
      await host.until(() => host.input.get(1) === "a");
      first.end();
      await host.until(() => host.closed.length === 1);
      assert.equal(port.writer(1), null);
      port.disconnect(1, "gone already");
      const second = await connect();
      second.write("b");
      await host.until(() => host.input.get(2) === "b");
      await closed(port);
    });

    test("a client that has ended its side gets what it is owed, if the host has a use for that", async () => {
      const { port, host, connect } = await make({});
      const ended: number[] = [];
      Object.assign(host, {
        onEnd: (connection: number) => {
          ended.push(connection);
          host.told();
        },
      });
      const client = await connect();
      client.write("question");
      client.end();
      await host.until(() => ended.length === 1);
      assert.equal(host.input.get(1), "question", "the end comes behind the input");
      assert.equal(host.closed.length, 0);
      const large = "x".repeat(600 * KiB);
      assert.ok(put(port, 1, large));
      port.flush();
      put(port, 1, "end");
      port.disconnect(1, null);
      await host.until(() => client.closed && host.closed.length === 1);
      assert.equal(client.output().length, large.length + 3);
      assert.deepEqual(ended, [1]);
      await closed(port);
    });

    test("a paused connection delivers nothing until it is resumed", async () => {
      const { port, host, connect } = await make({});
      const [paused, other] = [await connect(), await connect()];
      paused.write("1");
      await host.until(() => host.open.length === 2 && [...host.input.values()].includes("1"));
      const number = [...host.input].find((entry) => entry[1] === "1")?.[0] as number;
      port.pause(number);
      paused.write("2");
      for (let i = 0; i < 5; i++) {
        other.write(".");
        await host.until(() => [...host.input.values()].some((text) => text === ".".repeat(i + 1)));
      }
      assert.equal(host.input.get(number), "1");
      port.resume(number);
      await host.until(() => host.input.get(number) === "12");
      await closed(port);
    });

    test("a slow reader is told to the host by inFlightBytes and drains", async () => {
      const { port, host, connect } = await make({ inFlightBytesMax: 8 * 1024 * KiB });
      const client = await connect();
      client.write("x");
      await host.until(() => host.input.get(1) === "x");
      client.stopReading();
      let written = 0;
      while (port.inFlightBytes(1) < 6 * 1024 * KiB) {
        put(port, 1, "y".repeat(512 * KiB));
        written += 512 * KiB;
        port.flush();
        await new Promise((resolve) => setImmediate(resolve));
      }
      client.startReading();
      await host.until(() => host.drains === 1 && client.output().length === written);
      await closed(port);
    });

    test("a client that never reads is disconnected at the bound, with a line", async () => {
      const inFlightBytesMax = 256 * KiB;
      const { port, host, lines, connect } = await make({ inFlightBytesMax });
      const client = await connect();
      client.write("x");
      await host.until(() => host.input.get(1) === "x");
      client.stopReading();
      while (host.closed.length === 0) {
        put(port, 1, "z".repeat(128 * KiB));
        port.flush();
        assert.ok(port.inFlightBytes(1) <= 2 * inFlightBytesMax + 128 * KiB);
        await new Promise((resolve) => setImmediate(resolve));
      }
      assert.equal(lines.of("slow-reader-disconnected").length, 1);
      client.startReading();
      await closed(port);
    });

    test("close ends every connection and is silent afterwards", async () => {
      const { port, host, connect } = await make({});
      const client = await connect();
      client.write("x");
      await host.until(() => host.input.get(1) === "x");
      put(port, 1, "bye");
      let done = false;
      const ended = new Promise<void>((resolve) =>
        port.close(() => {
          done = true;
          resolve();
        }),
      );
      assert.equal(done, false);
      await ended;
      await host.until(() => client.closed);
      assert.equal(client.output(), "bye");
      assert.equal(host.closed.length, 0);
    });
  });
}

test("a client that has ended its side and does not read is dropped with a line", async () => {
  const { port, host, lines, connect } = await tcp({ halfOpenMs: 50 });
  Object.assign(host, { onEnd: () => undefined });
  const client = await connect();
  client.write("x");
  client.stopReading();
  client.end();
  await host.until(() => host.closed.length === 1);
  assert.match(String(lines.of("half-closed-disconnected")[0]?.["detail"]), /no progress for 50 ms/);
  client.startReading();
  await closed(port);
});

test("a client above the limit is told so", async () => {
  const { port, host, lines, connect } = await tcp({ connectionsMax: 1 });
  const first = await connect();
  first.write("x");
  await host.until(() => host.open.length === 1);
  const second = await connect();
  second.write("PING\r\n");
  await host.until(() => second.closed);
  assert.equal(second.output(), "-ERR max number of clients reached\r\n");
  assert.match(String(lines.of("connection-refused")[0]?.["detail"]), /the maximum is 1/);
  await closed(port);
});

test("a quiet end loses no reply although the client has sent more than was read", async () => {
  const { port, host, connect } = await tcp({});
  const client = await connect();
  client.write("x");
  await host.until(() => host.input.get(1) === "x");
  port.pause(1);
  for (let i = 0; i < 64; i++) client.write("more ".repeat(2000));
  await new Promise((resolve) => setImmediate(resolve));
  const reply = "r".repeat(300 * KiB);
  put(port, 1, reply);
  port.disconnect(1, null);
  await host.until(() => client.closed);
  assert.equal(client.output().length, reply.length);
  await closed(port);
});
