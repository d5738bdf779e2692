/** MULTI, EXEC and WATCH through the gateway, where it is more than passing commands on. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { replies, request, type RespWorld, worldsOf } from "./resp-world.js";

const EXECABORT = "-EXECABORT Transaction discarded because of previous errors.\r\n";

/** Whether something changes a state that no command changes: what is watched shows in the digest. */
function digestOf(world: RespWorld): string {
  const digest = new Uint32Array(4);
  world.cluster.service.digest(digest);
  return digest.join(" ");
}

/** What holds for a cluster of so many groups. */
export function respTransactionSuite(groups: number): void {
  const newWorld = worldsOf(groups);

  describe("a transaction", () => {
    test("mixes commands of the store with the gateway's own, which come into force with it", () => {
      const world = newWorld();
      const client = world.connect();
      assert.equal(
        world
          .ask(
            client,
            "MULTI\r\nSET a 1\r\nHELLO 3\r\nGET none\r\nCLIENT SETNAME ana\r\nEXEC\r\nGET none\r\nCLIENT GETNAME\r\n",
          )
          .replace(/%7\r\n[^]*modules\r\n\*0\r\n/, "(hello)\r\n"),
        "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*4\r\n+OK\r\n(hello)\r\n_\r\n+OK\r\n_\r\n$3\r\nana\r\n",
      );
    });

    test("is one command of the log", () => {
      const world = newWorld({ mode: "manual" });
      const client = world.connect();
      world.ask(client, "MULTI\r\nSET a 1\r\nINCR a\r\nGET a\r\nEXEC\r\n");
      assert.deepEqual(
        world.cluster.blocks.map(({ read, commands }) => [read, commands]),
        [[false, 1]],
      );
    });

    test("does not begin before it is complete, and sends nothing when it is discarded", () => {
      const world = newWorld({ mode: "manual" });
      const client = world.connect();
      assert.equal(
        world.ask(client, "MULTI\r\nSET a 1\r\nDISCARD\r\nMULTI\r\nPING\r\n"),
        "+OK\r\n+QUEUED\r\n+OK\r\n+OK\r\n+QUEUED\r\n",
      );
      assert.equal(world.cluster.blocks.length, 0);
    });

    test("whose outcome is unknown says so as one reply", () => {
      const world = newWorld({ mode: "manual" });
      const client = world.connect();
      world.ask(client, "MULTI\r\nSET a 1\r\nPING\r\nEXEC\r\n");
      world.cluster.fail(world.cluster.blocks[0]!, "indeterminate");
      world.settle();
      assert.match(world.ask(client, "PING\r\n"), /^-INDETERMINATE [^\r]*\r\n\+PONG\r\n$/);
    });

    test("too long for one command is refused when it is queued", () => {
      const world = newWorld();
      const client = world.connect();
      const half = request("SET", "a", "x".repeat(600_000));
      assert.match(
        world.ask(client, `MULTI\r\n${half}${half}GET a\r\nEXEC\r\nGET a\r\n`),
        /^\+OK\r\n\+QUEUED\r\n-ERR the commands of a transaction exceed \d+ bytes\r\n\+QUEUED\r\n-EXECABORT [^\r]*\r\n\$-1\r\n$/,
      );
    });

    test("gives back what it held in memory, however it ends", () => {
      const limits = {
        inputBytesTotalMax: 64 * 1024,
        requestBytesMax: 64 * 1024,
        bulkBytesMax: 32 * 1024,
        inlineBytesMax: 1024,
      };
      const world = newWorld({ limits });
      const long = request("SET", "a", "x".repeat(30_000));
      for (const end of ["EXEC\r\n", "DISCARD\r\n", "RESET\r\n", "EXEC x\r\n", "NOSUCH\r\nEXEC\r\n", ""]) {
        for (let i = 0; i < 5; i++) {
          const client = world.connect();
          assert.doesNotMatch(world.ask(client, `MULTI\r\n${long}${end}`), /too many bytes/, end);
          client.end();
          world.settle();
        }
      }
      const clients = Array.from({ length: 4 }, () => world.connect());
      assert.match(
        clients.map((client) => world.ask(client, `MULTI\r\n${long}`)).join(""),
        /too many bytes are queued/,
      );
    });

    test("has replies of any length", () => {
      const world = newWorld();
      const client = world.connect();
      world.ask(client, request("SET", "a", "x".repeat(1024 * 1024)));
      const gets = "GET a\r\n".repeat(10);
      const text = world.ask(client, `MULTI\r\n${gets}EXEC\r\n`);
      assert.equal(text.length, 5 + 10 * 9 + 5 + 10 * (1024 * 1024 + 12));
    });
  });

  describe("WATCH", () => {
    test("holds over connections and gateways, and is over with EXEC", () => {
      const world = newWorld();
      const [ana, bea] = [world.connect(), world.connect()];
      assert.equal(world.ask(ana, "WATCH a\r\nGET a\r\n"), "+OK\r\n$-1\r\n");
      world.ask(bea, "SET a 1\r\n");
      assert.equal(
        world.ask(ana, "MULTI\r\nSET a 2\r\nEXEC\r\nMULTI\r\nGET a\r\nEXEC\r\n"),
        "+OK\r\n+QUEUED\r\n*-1\r\n+OK\r\n+QUEUED\r\n*1\r\n$1\r\n1\r\n",
      );
      world.ask(ana, "HELLO 3\r\nWATCH a\r\n");
      world.cluster.put("a", "3");
      assert.equal(world.ask(ana, "MULTI\r\nPING\r\nEXEC\r\n"), "+OK\r\n+QUEUED\r\n_\r\n");
    });

    for (const [how, input] of [
      ["EXEC", "MULTI\r\nEXEC\r\n"],
      ["an EXEC that is refused", "MULTI\r\nNOSUCH\r\nEXEC\r\n"],
      ["an EXEC with arguments", "EXEC x\r\n"],
      ["DISCARD", "MULTI\r\nDISCARD\r\n"],
      ["UNWATCH", "UNWATCH\r\n"],
      ["RESET", "RESET\r\n"],
      ["QUIT", "QUIT\r\n"],
      ["the end of the connection", null],
    ] as const) {
      test(`leaves nothing behind in the state after ${how}`, () => {
        const world = newWorld();
        // One watch has been, and ids go on from it.
        const other = world.connect();
        const client = world.connect();
        world.ask(client, "WATCH a b\r\nWATCH c\r\n");
        const watched = digestOf(world);
        if (input === null) client.end();
        else world.ask(client, input);
        world.settle();
        const left = digestOf(world);
        assert.notEqual(left, watched);
        world.ask(other, "SET a 1\r\nSET b 1\r\nSET c 1\r\nDEL a b c\r\n");
        assert.equal(digestOf(world), left, "a watch was there to be broken");
      });
    }

    test("of a connection that ends before the reply comes is given up too", () => {
      const world = newWorld({ mode: "manual" });
      const client = world.connect();
      world.ask(client, "WATCH a\r\n");
      client.end();
      world.settle();
      const [first] = world.cluster.blocks;
      world.cluster.execute(first!);
      world.cluster.answer(first!);
      world.settle();
      const second = world.cluster.blocks[1];
      assert.ok(second !== undefined && second.commands === 1);
      const watched = digestOf(world);
      world.cluster.execute(second);
      assert.notEqual(digestOf(world), watched);
    });

    test("that may not have been heard lets the next EXEC fail, and UNWATCH ends that", () => {
      const world = newWorld({ mode: "manual" });
      const client = world.connect();
      world.ask(client, "WATCH a\r\n");
      world.cluster.fail(world.cluster.blocks[0]!, "indeterminate");
      world.settle();
      assert.match(replies(client), /^-INDETERMINATE/);
      assert.equal(world.ask(client, "MULTI\r\nSET a 1\r\nEXEC\r\n"), "+OK\r\n+QUEUED\r\n*-1\r\n");
      assert.equal(world.cluster.blocks.length, 1);
      world.ask(client, "WATCH a\r\n");
      world.cluster.fail(world.cluster.blocks[1]!, "try-again");
      world.settle();
      assert.match(replies(client), /^-TRYAGAIN/);
      assert.equal(world.ask(client, "UNWATCH\r\nMULTI\r\nEXEC\r\n"), "+OK\r\n+OK\r\n*0\r\n");
    });

    test("in one pipeline with the transaction waits for its id", () => {
      const world = newWorld({ mode: "random", seed: 5 });
      const client = world.connect();
      client.write(Buffer.from("WATCH a\r\nGET a\r\nMULTI\r\nSET a 1\r\nEXEC\r\nGET a\r\n"));
      world.pass(1000);
      assert.equal(replies(client), "+OK\r\n$-1\r\n+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n$1\r\n1\r\n");
    });
  });

  test("a queued command that is wrong in itself answers in its place", () => {
    const world = newWorld();
    const client = world.connect();
    assert.equal(
      world.ask(
        client,
        "MULTI\r\nSET a 1 FOO\r\nDECRBY a -9223372036854775808\r\nEXPIRE a 1 BAR\r\nSCAN x\r\nEXEC\r\nMULTI\r\nGET\r\nEXEC\r\n",
      ),
      `+OK\r\n${"+QUEUED\r\n".repeat(4)}*4\r\n-ERR syntax error\r\n-ERR decrement would overflow\r\n-ERR Unsupported option BAR\r\n` +
        `-ERR invalid cursor\r\n+OK\r\n-ERR wrong number of arguments for 'get' command\r\n${EXECABORT}`,
    );
  });

  test("SCAN visits every key once and more, whatever is added and removed meanwhile, and its steps are bounded", () => {
    const world = newWorld();
    const client = world.connect();
    for (let i = 0; i < 500; i++) world.cluster.put(`key:${i}`, "v");
    const seen = new Set<string>();
    let cursor = "0";
    let steps = 0;
    do {
      const text = world.ask(client, `SCAN ${cursor} COUNT 20 MATCH key:*\r\n`);
      const [, next = "", list = ""] = /^\*2\r\n\$\d+\r\n(\d+)\r\n\*\d+\r\n([^]*)$/.exec(text) ?? [];
      for (const [, key = ""] of list.matchAll(/\$\d+\r\n([^\r]*)\r\n/g)) seen.add(key);
      cursor = next;
      for (let i = 0; i < 10; i++) world.cluster.put(`new:${steps}:${i}`, "v");
      assert.ok(++steps < 500, "the walk ends");
    } while (cursor !== "0");
    for (let i = 0; i < 500; i++) assert.ok(seen.has(`key:${i}`), `key:${i}`);
    assert.ok(steps > 10);
  });

  test("RANGE, RANGECOUNT and DELRANGE go by the order of keys", () => {
    const world = newWorld();
    const client = world.connect();
    world.ask(client, "MSET a 1 b 2 ba 3 c 4\r\n");
    const list = (...items: string[]): string =>
      `*${items.length}\r\n${items.map((item) => `$${item.length}\r\n${item}\r\n`).join("")}`;
    assert.equal(world.ask(client, "RANGE a b\r\n"), list("a", "1", "b", "2"));
    assert.equal(world.ask(client, "RANGE b c REV LIMIT 2\r\n"), list("c", "4", "ba", "3"));
    assert.equal(world.ask(client, 'RANGE b ""\r\n'), list("b", "2", "ba", "3", "c", "4"));
    assert.equal(world.ask(client, "RANGE c b\r\n"), list());
    assert.equal(world.ask(client, "RANGE bb bz\r\n"), list());
    assert.equal(world.ask(client, "RANGECOUNT a ba\r\n"), ":3\r\n");
    assert.equal(world.ask(client, "RANGE a b LIMIT -1\r\n"), "-ERR value is out of range, must be positive\r\n");
    assert.equal(world.ask(client, "RANGE a b LIMIT\r\n"), "-ERR syntax error\r\n");
    assert.equal(world.ask(client, "DELRANGE a ba LIMIT 2\r\nKEYS *\r\n"), `:2\r\n${list("ba", "c")}`);
    for (let i = 0; i < 10_001; i++) world.cluster.put(`k${i}`, "v");
    assert.match(world.ask(client, 'DELRANGE a ""\r\n'), /^-ERR the range holds more than 10000 keys/);
    assert.equal(world.ask(client, "DBSIZE\r\n"), ":10003\r\n");
  });
}
