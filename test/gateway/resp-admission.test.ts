/** Strangers at a gateway: what they may ask, how many there may be and for how long. In simulated time. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createRespGateway, type RespLimits } from "#src/gateway/index.js";
import { type Authenticator, MemoryBytePort, type MemoryByteClient, SimKernel } from "#src/platform/index.js";
import type { BlockClient } from "#src/runtime/index.js";
import { Lines } from "../platform/frame-port.suite.js";

/** A cluster that nothing must reach. */
const nobody: BlockClient = {
  open: true,
  session: 1,
  leader: 1,
  submit: () => assert.fail("a command of a stranger reached the cluster"),
  more: () => assert.fail("a command of a stranger reached the cluster"),
  close: (done) => done(),
};

interface World {
  /** Verdicts that have been asked for and not given. */
  readonly asked: { readonly user: string; readonly password: string; readonly decide: (accepted: boolean) => void }[];
  readonly connect: () => MemoryByteClient;
  readonly lines: Lines;
  /** Lets everything happen that happens within these ms. */
  readonly pass: (ms: number) => void;
}

function world(limits: Partial<RespLimits> = {}): World {
  const kernel = new SimKernel(1);
  const scheduler = kernel.spawn("gateway");
  const port = new MemoryBytePort(scheduler);
  const asked: World["asked"] = [];
  const authenticator: Authenticator = {
    verify(user, password, _remote, done) {
      asked.push({ user, password: new TextDecoder().decode(password), decide: done });
    },
  };
  const client = (): BlockClient => nobody;
  const lines = new Lines();
  createRespGateway({ port, client, scheduler, events: lines, info: () => ({}), limits, authenticator }).start();
  const pass = (ms: number): void => {
    const until = kernel.now + ms;
    if (!kernel.run(until)) kernel.now = until;
  };
  return { asked, lines, pass, connect: () => port.connect() };
}

const text = (client: MemoryByteClient): string => new TextDecoder().decode(client.take());

describe("a stranger", () => {
  test("is answered NOAUTH, whatever it asks, and nothing reaches the cluster", () => {
    const { connect, pass } = world();
    const stranger = connect();
    stranger.write("SET a 1\r\nGET a\r\nINFO\r\nCONFIG GET *\r\nSELECT 0\r\nCLIENT LIST\r\nMGET a b\r\nDBSIZE\r\n");
    pass(10);
    assert.equal(text(stranger), "-NOAUTH Authentication required.\r\n".repeat(8));
  });

  test("waits for its verdict with everything it sent behind it", () => {
    const { connect, pass, asked } = world();
    const stranger = connect();
    stranger.write("PING\r\nAUTH ana secret\r\nPING\r\n");
    pass(100);
    assert.equal(text(stranger), "-NOAUTH Authentication required.\r\n");
    assert.deepEqual(
      asked.map(({ user, password }) => [user, password]),
      [["ana", "secret"]],
    );
    stranger.write("PING again\r\nAUTH other\r\n");
    pass(100);
    assert.equal(text(stranger), "");
    asked[0]?.decide(true);
    pass(100);
    assert.equal(text(stranger), "+OK\r\n+PONG\r\n$5\r\nagain\r\n");
    asked[1]?.decide(false);
    stranger.write("PING\r\n");
    pass(100);
    assert.equal(
      text(stranger),
      "-WRONGPASS invalid username-password pair or user is disabled.\r\n+PONG\r\n",
      "who is in stays in when a later password is wrong",
    );
  });

  test("has a verdict on one request, however that is answered", () => {
    const { connect, pass, asked } = world();
    const stranger = connect();
    // The version is refused, after the password was right.
    stranger.write("HELLO 9 AUTH ana secret\r\nAUTH ana wrong\r\n");
    pass(100);
    asked[0]?.decide(true);
    pass(100);
    assert.equal(text(stranger), "-NOPROTO unsupported protocol version\r\n");
    assert.equal(asked.length, 2, "the second password is asked about too");
    asked[1]?.decide(false);
    pass(100);
    assert.equal(text(stranger), "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
  });

  test("does not fill the log with what it sends", () => {
    const { connect, pass, lines } = world();
    for (let i = 0; i < 20; i++) {
      connect().write("*nonsense\r\n");
      connect().write("POST / HTTP/1.1\r\n");
      pass(10);
    }
    assert.equal(lines.of("resp.protocol-error").length, 5);
    assert.equal(lines.of("resp.http-request").length, 5);
  });

  test("is closed when it has not authenticated in time, and not before", () => {
    const { connect, pass } = world({ strangerMs: 1000 });
    const [early, late] = [connect(), connect()];
    pass(999);
    assert.equal(early.closed, false);
    early.write("PING\r\n");
    pass(2);
    assert.equal(early.closed, true, "asking does not help");
    assert.equal(late.closed, true);
  });

  test("is not closed for that once it is in", () => {
    const { connect, pass, asked } = world({ strangerMs: 1000 });
    const client = connect();
    client.write("AUTH secret\r\n");
    pass(10);
    asked[0]?.decide(true);
    pass(5000);
    assert.equal(client.closed, false);
    assert.equal(text(client), "+OK\r\n");
  });

  test("is closed when it is the oldest of too many, unless its password is being checked", () => {
    const { connect, pass } = world({ strangersMax: 2 });
    const [checked, idle, third] = [connect(), connect(), connect()];
    void third;
    pass(1);
    assert.equal(checked.closed, true, "the oldest goes");
    idle.write("AUTH secret\r\n");
    pass(1);
    const fourth = connect();
    pass(1);
    assert.deepEqual([idle.closed, third.closed, fourth.closed], [false, true, false]);
  });

  test("is closed when its request is too long, and a client that is in is not", () => {
    const { connect, pass, asked } = world({ strangerInputBytesMax: 1000 });
    const stranger = connect();
    stranger.write(`*2\r\n$4\r\nAUTH\r\n$5000\r\n${"x".repeat(2000)}`);
    pass(1);
    assert.equal(stranger.closed, true);
    const client = connect();
    client.write("AUTH secret\r\n");
    pass(1);
    asked[0]?.decide(true);
    pass(1);
    client.write(`*2\r\n$4\r\nECHO\r\n$5000\r\n${"x".repeat(2000)}`);
    client.write(`${"x".repeat(3000)}\r\n`);
    pass(1);
    assert.equal(client.closed, false);
    assert.equal(text(client), `+OK\r\n$5000\r\n${"x".repeat(5000)}\r\n`);
  });

  test("is one again after RESET", () => {
    const { connect, pass, asked } = world();
    const client = connect();
    client.write("AUTH secret\r\n");
    pass(1);
    asked[0]?.decide(true);
    client.write("RESET\r\nPING\r\n");
    pass(1);
    assert.equal(text(client), "+OK\r\n+RESET\r\n-NOAUTH Authentication required.\r\n");
  });

  test("that closes while its password is checked is forgotten", () => {
    const { connect, pass, asked } = world();
    const stranger = connect();
    stranger.write("AUTH secret\r\n");
    pass(1);
    stranger.vanish();
    pass(1);
    asked[0]?.decide(true);
    pass(1);
    assert.equal(text(stranger), "");
  });
});
