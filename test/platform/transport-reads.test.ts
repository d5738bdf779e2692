/** How plain sockets are read: without memory of their own, on the accepting and on the dialling side. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type AddressInfo, type Socket } from "node:net";
import { describe, test } from "node:test";
import { SystemScheduler, TcpBytePort, TcpDialler, TcpListener } from "#src/platform/index.js";
import { Lines } from "./frame-port.suite.js";

const scheduler = new SystemScheduler();
const KIND = 200;

/** What a side of a connection was given: the memory each frame stood in. */
class Reader {
  readonly buffers: unknown[] = [];
  readonly links: number[] = [];
  #told: () => void = () => undefined;

  readonly handlers = {
    onLink: (link: number, up: boolean): void => {
      if (up) this.links.push(link);
      this.#told();
    },
    onFrame: (_link: number, _kind: number, bytes: Uint8Array): void => {
      this.buffers.push(bytes.buffer);
      this.#told();
    },
    onDrain: (): void => undefined,
  };

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => (this.#told = resolve));
  }
}

function send(port: TcpListener | TcpDialler, link: number): void {
  const writer = port.begin(link, KIND);
  assert.ok(writer !== null);
  writer.u32(1);
  port.end();
  port.flush();
}

describe("plain sockets", () => {
  test("are read into one memory, dialled and accepted ones: this version of Node lets them", async () => {
    const events = new Lines();
    const components = { scheduler, events };
    const listener = new TcpListener({
      ...components,
      self: 1,
      clusterId: "00000000000000aa",
      listen: { host: "127.0.0.1", port: 0 },
    });
    await new Promise<void>((resolve, reject) => {
      listener.listen((error) => (error === null ? resolve() : reject(error)));
    });
    const addresses = [listener.address as string];
    const diallers = [1, 2].map((seed) => new TcpDialler({ ...components, clusterId: null, addresses, seed }));
    const accepted = new Reader();
    listener.start(accepted.handlers);
    const dialled = diallers.map((dialler) => {
      const reader = new Reader();
      dialler.start(reader.handlers);
      return reader;
    });
    await accepted.until(() => accepted.links.length === 2);
    await Promise.all(dialled.map((reader) => reader.until(() => reader.links.length === 1)));
    for (let round = 1; round <= 3; round++) {
      for (const dialler of diallers) send(dialler, 0);
      for (const link of accepted.links) send(listener, link);
      await accepted.until(() => accepted.buffers.length === 2 * round);
      await Promise.all(dialled.map((reader) => reader.until(() => reader.buffers.length === round)));
    }
    const buffers = [...accepted.buffers, ...dialled.flatMap((reader) => reader.buffers)];
    assert.equal(buffers.length, 12);
    assert.equal(new Set(buffers).size, 1, "some read had memory of its own");
    await Promise.all([listener, ...diallers].map((port) => new Promise<void>((done) => port.close(done))));
  });

  test("that a version of Node keeps otherwise are read as streams, and nothing else changes", async () => {
    const port = new TcpBytePort({ scheduler, events: new Lines(), listen: { host: "127.0.0.1", port: 0 } });
    await new Promise<void>((resolve, reject) => {
      port.listen((error) => (error === null ? resolve() : reject(error)));
    });
    let input = "";
    const closed = new Promise<void>((resolve) => {
      port.start({
        onOpen: () => undefined,
        onBytes: (connection, bytes, start, end) => {
          assert.equal(Object.getPrototypeOf(bytes), Uint8Array.prototype);
          input += Buffer.from(bytes.slice(start, end)).toString();
          if (input !== "ping") return;
          port.writer(connection)?.latin1("pong");
          port.flush();
        },
        onClose: () => resolve(),
        onDrain: () => undefined,
      });
    });
    // Sockets accepted from here on hide where their handle can be read into memory of ours.
    const hidden = hideHandles();
    try {
      const { port: number } = addressOf(port.address as string);
      const client = connect({ host: "127.0.0.1", port: number });
      client.write("ping");
      const [reply] = (await once(client, "data")) as [Buffer];
      assert.equal(reply.toString(), "pong");
      client.end();
      await closed;
      assert.ok(hidden.asked > 0, "the port did not look at the handle");
    } finally {
      hidden.restore();
    }
    await new Promise<void>((done) => port.close(done));
  });
});

function addressOf(address: string): AddressInfo {
  const [host, port] = address.split(":");
  return { address: host as string, port: Number(port), family: "IPv4" };
}

/** Takes `useUserBuffer` away from the handles of TCP sockets. */
function hideHandles(): { readonly asked: number; restore(): void } {
  const probe = connect({ host: "127.0.0.1", port: 1 }) as Socket & { _handle: object };
  probe.on("error", () => undefined);
  let prototype = Object.getPrototypeOf(probe._handle) as object | null;
  while (prototype !== null && !Object.hasOwn(prototype, "useUserBuffer")) prototype = Object.getPrototypeOf(prototype);
  assert.ok(prototype !== null, "handles of this version have no useUserBuffer at all");
  const found = Object.getOwnPropertyDescriptor(prototype, "useUserBuffer") as PropertyDescriptor;
  const owner = prototype;
  let asked = 0;
  Object.defineProperty(owner, "useUserBuffer", {
    configurable: true,
    get() {
      asked++;
      return undefined;
    },
  });
  return {
    get asked() {
      return asked;
    },
    restore: () => Object.defineProperty(owner, "useUserBuffer", found),
  };
}
