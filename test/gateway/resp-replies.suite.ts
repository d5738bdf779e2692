import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { commandRows } from "#src/gateway/index.js";
import { replies, request, type RespWorld, worldsOf } from "./resp-world.js";

/** What clients of a cluster of so many groups are answered. */
export function respReplySuite(groups: number): void {
  const newWorld = worldsOf(groups);

  /** Each line is sent inline; what comes back has to be the text below it. */
  function dialogue(lines: readonly (readonly [sent: string, expected: string])[], world = newWorld()): void {
    const client = world.connect();
    for (const [sent, expected] of lines) assert.equal(world.ask(client, `${sent}\r\n`), expected, sent);
  }

  describe("long values", () => {
    const value = "v".repeat(256 * 1024);
    const bulk = `$${value.length}\r\n${value}\r\n`;

    /** A store full of long values, of which the gateway knows nothing. */
    function fullWorld(mode: "instant" | "random", seed = 1): RespWorld {
      const world = newWorld({ mode, seed });
      for (let i = 0; i < 8; i++) world.cluster.put(`k${i}`, value);
      return world;
    }

    test("a client that does not read does not hold up those it shares a block with", () => {
      const world = fullWorld("instant");
      const slow = world.connect();
      const other = world.connect();
      slow.stopReading();
      slow.write(`GET k1\r\n`.repeat(200));
      other.write("GET k2\r\n");
      world.pass(3000);
      assert.equal(replies(other), bulk);
      assert.ok(!slow.closed);
    });

    test("in ordered blocks come without an error, whichever connections share them", () => {
      for (let seed = 1; seed <= 3; seed++) {
        const world = fullWorld("random", seed);
        const clients = Array.from({ length: 4 }, () => world.connect());
        world.ask(clients[0]!, "GET k0\r\n");
        // Long enough for it to believe that replies are short again, and to remember that values may be long.
        for (let i = 0; i < 200; i++) {
          world.ask(clients[0]!, "GET nothing\r\n");
          world.pass(10);
        }
        replies(clients[0]!);
        for (const client of clients) {
          client.write(Array.from({ length: 40 }, (_, i) => `SET x ${i}\r\nGET k${i % 8}\r\n`).join(""));
          client.write("MGET k0 k1 k2 k3 k4 k5 k6 k7 k0 k1 k2 k3 k4 k5 k6 k7 k0 k1 k2 k3\r\n");
        }
        world.pass(10_000);
        for (const client of clients) {
          assert.equal(
            replies(client) === `${`+OK\r\n${bulk}`.repeat(40)}*20\r\n${bulk.repeat(20)}`,
            true,
            `seed ${seed}`,
          );
        }
      }
    });
  });

  describe("the store's commands", () => {
    test("answer as Redis does, in RESP2", () => {
      dialogue([
        ["GET a", "$-1\r\n"],
        ["set a 1", "+OK\r\n"],
        ["GeT a", "$1\r\n1\r\n"],
        ["SET a 2 NX", "$-1\r\n"],
        ["SET b 2 XX", "$-1\r\n"],
        ["SET a 2 xx get", "$1\r\n1\r\n"],
        ["SET n 2 NX GET", "$-1\r\n"],
        ["SETNX a 3", ":0\r\n"],
        ["SETNX b 3", ":1\r\n"],
        ["GETSET b 4", "$1\r\n3\r\n"],
        ["INCR a", ":3\r\n"],
        ["DECR a", ":2\r\n"],
        ["INCRBY a 40", ":42\r\n"],
        ["DECRBY a 2", ":40\r\n"],
        ["DECRBY a -2", ":42\r\n"],
        ["DECRBY a 0", ":42\r\n"],
        ["MGET a x b", "*3\r\n$2\r\n42\r\n$-1\r\n$1\r\n4\r\n"],
        ["MSET c 1 d 2", "+OK\r\n"],
        ["APPEND c 23", ":3\r\n"],
        ["STRLEN c", ":3\r\n"],
        ["EXISTS a b x a", ":3\r\n"],
        ["DBSIZE", ":5\r\n"],
        ["DEL a x", ":1\r\n"],
        ["UNLINK b c", ":2\r\n"],
        ["DBSIZE", ":2\r\n"],
        ['SET e ""', "+OK\r\n"],
        ["GET e", "$0\r\n\r\n"],
      ]);
    });

    test("say what is wrong with them as Redis does", () => {
      dialogue([
        ["GET", "-ERR wrong number of arguments for 'get' command\r\n"],
        ["GET a b", "-ERR wrong number of arguments for 'get' command\r\n"],
        ["Set a", "-ERR wrong number of arguments for 'set' command\r\n"],
        ["MSET a 1 b", "-ERR wrong number of arguments for 'mset' command\r\n"],
        ["SET a b c", "-ERR syntax error\r\n"],
        ["SET a b NX XX", "-ERR syntax error\r\n"],
        ["SET a b EX 10 PX 10", "-ERR syntax error\r\n"],
        ["SET a b", "+OK\r\n"],
        ["INCR a", "-ERR value is not an integer or out of range\r\n"],
        ["SET a 9223372036854775807", "+OK\r\n"],
        ["INCR a", "-ERR increment or decrement would overflow\r\n"],
        ["DECRBY a -9223372036854775808", "-ERR decrement would overflow\r\n"],
        ["DECRBY n 9223372036854775807", ":-9223372036854775807\r\n"],
        ["DECRBY a 9223372036854775808", "-ERR value is not an integer or out of range\r\n"],
        ["DECRBY a --1", "-ERR value is not an integer or out of range\r\n"],
        ["DECRBY a -0", "-ERR value is not an integer or out of range\r\n"],
        ["DECRBY a 01", "-ERR value is not an integer or out of range\r\n"],
        ["FOO", "-ERR unknown command 'FOO', with args beginning with: \r\n"],
        ["foo a b", "-ERR unknown command 'foo', with args beginning with: 'a' 'b' \r\n"],
        ['foo "a\\r\\nb"', "-ERR unknown command 'foo', with args beginning with: 'a  b' \r\n"],
        ['""', "-ERR unknown command '', with args beginning with: \r\n"],
        ["GETS", "-ERR unknown command 'GETS', with args beginning with: \r\n"],
      ]);
    });

    test("show at most 128 bytes of an unknown command and of its arguments", () => {
      const world = newWorld();
      const client = world.connect();
      const long = "x".repeat(200);
      const shown = `'${"x".repeat(128)}'`;
      assert.equal(world.ask(client, request(long)), `-ERR unknown command ${shown}, with args beginning with: \r\n`);
      assert.equal(
        world.ask(client, request("foo", "y".repeat(100), long, long)),
        `-ERR unknown command 'foo', with args beginning with: '${"y".repeat(100)}' '${"x".repeat(25)}' \r\n`,
      );
    });

    test("answer in RESP3 from HELLO 3 on, and in RESP2 before it, within one pipeline", () => {
      const world = newWorld();
      const client = world.connect();
      const hello = world.ask(client, "SET a 1\r\nGET x\r\nHELLO 3\r\nGET x\r\nMGET a x\r\nRESET\r\nGET x\r\n");
      const map =
        "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:1\r\n" +
        "$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n";
      assert.equal(hello, `+OK\r\n$-1\r\n${map}_\r\n*2\r\n$1\r\n1\r\n_\r\n+RESET\r\n$-1\r\n`);
    });

    test("take keys and values up to their limits, and say so beyond them", () => {
      const world = newWorld();
      const client = world.connect();
      const value = "v".repeat(1024 * 1024);
      assert.equal(world.ask(client, request("SET", "a", value)), "+OK\r\n");
      assert.equal(world.ask(client, request("GET", "a")), `$${value.length}\r\n${value}\r\n`);
      assert.match(world.ask(client, request("SET", "a", `${value}v`)), /^-ERR .*exceeds/);
      assert.match(world.ask(client, request("SET", "k".repeat(64 * 1024 + 1), "v")), /^-ERR key exceeds/);
      assert.equal(
        world.ask(client, request("SET", "k".repeat(64 * 1024), value)),
        "-ERR string exceeds maximum allowed size (1 MiB)\r\n",
      );
      assert.equal(world.ask(client, request("STRLEN", "a")), `:${value.length}\r\n`);
    });
  });

  describe("what the gateway answers itself", () => {
    test("PING, ECHO, SELECT, AUTH, HELLO", () => {
      dialogue([
        ["PING", "+PONG\r\n"],
        ["PING x", "$1\r\nx\r\n"],
        ["PING a b", "-ERR wrong number of arguments for 'ping' command\r\n"],
        ["ECHO hello", "$5\r\nhello\r\n"],
        ["SELECT 0", "+OK\r\n"],
        ["SELECT 99", "-ERR DB index is out of range\r\n"],
        ["SELECT -1", "-ERR DB index is out of range\r\n"],
        ["SELECT x", "-ERR value is not an integer or out of range\r\n"],
        ["SELECT 99999999999999999999", "-ERR value is not an integer or out of range\r\n"],
        [
          "AUTH x",
          "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?\r\n",
        ],
        ["AUTH default y", "+OK\r\n"],
        ["AUTH a b", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"],
        ["AUTH a b c", "-ERR syntax error\r\n"],
        ["HELLO 4", "-NOPROTO unsupported protocol version\r\n"],
        ["HELLO x", "-ERR Protocol version is not an integer or out of range\r\n"],
        ["HELLO 2 FOO", "-ERR Syntax error in HELLO option 'FOO'\r\n"],
        ["HELLO 3 AUTH a", "-ERR Syntax error in HELLO option 'AUTH'\r\n"],
        ["HELLO 3 AUTH a b", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"],
        ["GET x", "$-1\r\n"],
      ]);
    });

    test("CLIENT", () => {
      const world = newWorld();
      dialogue(
        [
          ["CLIENT", "-ERR wrong number of arguments for 'client' command\r\n"],
          ["CLIENT GETNAME", "$-1\r\n"],
          ["CLIENT SETNAME", "-ERR wrong number of arguments for 'client|setname' command\r\n"],
          ["CLIENT SETNAME ana", "+OK\r\n"],
          ['CLIENT SETNAME "a b"', "-ERR Client names cannot contain spaces, newlines or special characters.\r\n"],
          ["client getname", "$3\r\nana\r\n"],
          ["CLIENT ID", ":1\r\n"],
          ["CLIENT SETINFO LIB-NAME x", "+OK\r\n"],
          ["CLIENT SETINFO FOO x", "-ERR Unrecognized option 'FOO'\r\n"],
          ["CLIENT NO-EVICT on", "+OK\r\n"],
          ["CLIENT NO-EVICT x", "-ERR syntax error\r\n"],
          ["CLIENT NO-TOUCH off", "+OK\r\n"],
          ["CLIENT MAINT_NOTIFICATIONS ON", "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.\r\n"],
          ["CLIENT __proto__", "-ERR unknown subcommand '__proto__'. Try CLIENT HELP.\r\n"],
          ["CLIENT LIST ID 7", "$0\r\n\r\n"],
        ],
        world,
      );
      const second = world.connect();
      const list = world.ask(second, "CLIENT LIST\r\n");
      assert.match(
        list,
        /^\$\d+\r\nid=1 addr=memory name=ana .* lib-name=x lib-ver=\nid=2 .*cmd=client\|list .*\n\r\n$/,
      );
      assert.match(world.ask(second, "HELLO 3\r\nCLIENT INFO\r\n"), /=\d+\r\ntxt:id=2 .*resp=3 /);
    });

    test("INFO shows the host's sections among its own", () => {
      const world = newWorld({ info: { server: { synod_version: "1" }, Keyspace: { db0: "keys=1\r\nx:2" } } });
      const client = world.connect();
      const all = world.ask(client, "INFO\r\n");
      assert.match(all, /^\$\d+\r\n# Server\r\nredis_version:7\.[^]*synod_version:1\r\n\r\n# Clients\r\n/);
      assert.match(all, /loading:0\r\n/);
      assert.equal(world.ask(client, "INFO keyspace\r\n"), "$28\r\n# Keyspace\r\ndb0:keys=1 x:2\r\n\r\n");
      assert.equal(world.ask(client, "INFO nosuch\r\n"), "$0\r\n\r\n");
      assert.match(world.ask(client, "HELLO 3\r\nINFO keyspace\r\n"), /=32\r\ntxt:# Keyspace/);
    });

    test("CONFIG GET and COMMAND", () => {
      dialogue([
        ["CONFIG GET save appendonly", "*4\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n$4\r\nsave\r\n$0\r\n\r\n"],
        ["CONFIG GET nosuch", "*0\r\n"],
        ["CONFIG GET MAXMEM*cy", "*2\r\n$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n"],
        ["CONFIG GET", "-ERR wrong number of arguments for 'config|get' command\r\n"],
        ["CONFIG SET a b", "-ERR unknown subcommand 'SET'. Try CONFIG HELP.\r\n"],
        ["COMMAND COUNT", `:${commandRows.length}\r\n`],
        [
          "COMMAND INFO get nosuch",
          "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*3\r\n+@read\r\n+@string\r\n+@fast\r\n*0\r\n*0\r\n*0\r\n*-1\r\n",
        ],
        [
          "COMMAND DOCS nosuch strlen",
          "*2\r\n$6\r\nstrlen\r\n*6\r\n$7\r\nsummary\r\n$33\r\nThe length of the value of a key\r\n".replace(
            "$33",
            "$32",
          ) + "$5\r\nsince\r\n$5\r\n2.2.0\r\n$5\r\ngroup\r\n$6\r\nstring\r\n",
        ],
        ["COMMAND FOO", "-ERR unknown subcommand 'FOO'. Try COMMAND HELP.\r\n"],
      ]);
      const world = newWorld();
      const client = world.connect();
      for (const bare of ["COMMAND", "COMMAND INFO", "COMMAND DOCS", "COMMAND LIST"]) {
        const text = world.ask(client, `${bare}\r\n`);
        for (const { name } of commandRows)
          assert.ok(text.includes(`$${name.length}\r\n${name}\r\n`), `${bare}: ${name}`);
      }
    });

    test("QUIT answers and ends the connection, and what follows is not executed", () => {
      const world = newWorld();
      const client = world.connect();
      assert.equal(world.ask(client, "SET a 1\r\nQUIT\r\nSET a 2\r\n"), "+OK\r\n+OK\r\n");
      assert.ok(client.closed);
      assert.equal(world.ask(world.connect(), "GET a\r\n"), "$1\r\n1\r\n");
    });
  });

  describe("the end of a connection", () => {
    const cases: readonly (readonly [sent: string, error: string])[] = [
      ["*2\r\n$3\r\nGET\r\nx\r\n", "expected '$', got 'x'"],
      ["*1\r\n\n\r\n", "expected '$', got ' '"],
      ["*-0\r\n", "invalid multibulk length"],
      ["*99999999999\r\n", "invalid multibulk length"],
      ["*16385\r\n", "invalid multibulk length"],
      ["*01\r\n", "invalid multibulk length"],
      ["*x\r\n", "invalid multibulk length"],
      ["*\r\n", "invalid multibulk length"],
      ["*-9223372036854775809\r\n", "invalid multibulk length"],
      ["*1\r\n$-1\r\n", "invalid bulk length"],
      ["*1\r\n$\r\n", "invalid bulk length"],
      ["*1\r\n$2000000\r\n", "invalid bulk length, an argument has at most 1052672 bytes"],
      ["*1\r\n$4 \r\nPING\r\n", "invalid bulk length"],
      ['PING "a\r\n', "unbalanced quotes in request"],
      ["PING 'a'b\r\n", "unbalanced quotes in request"],
      ["x".repeat(64 * 1024 + 1), "too big inline request"],
      [`${"x".repeat(64 * 1024 + 1)}\r\n`, "too big inline request"],
      [`*${"1".repeat(64 * 1024)}`, "too big mbulk count string"],
      [`*1\r\n$${"1".repeat(64 * 1024 + 1)}`, "too big bulk count string"],
    ];
    for (const [sent, error] of cases) {
      test(`by a protocol error: ${error} (${JSON.stringify(sent.slice(0, 24))})`, () => {
        const world = newWorld();
        const client = world.connect();
        assert.equal(
          world.ask(client, `SET a 1\r\nPING\r\n${sent}`),
          `+OK\r\n+PONG\r\n-ERR Protocol error: ${error}\r\n`,
        );
        assert.ok(client.closed);
        assert.ok(world.log.some(({ event }) => event === "resp.protocol-error"));
        assert.equal(world.gateway.status().connections, 0);
      });
    }

    test("is no request: empty arrays and lines are skipped", () => {
      const world = newWorld();
      assert.equal(world.ask(world.connect(), "*0\r\n\r\n*-5\r\n   \r\nPING\r\n"), "+PONG\r\n");
    });

    for (const sent of ["POST / HTTP/1.1\r\n", "get / HTTP/1.1\r\nHost: x\r\n", "hOsT:\r\n"]) {
      test(`when it speaks HTTP: ${JSON.stringify(sent)}`, () => {
        const world = newWorld();
        const client = world.connect();
        client.write(`${sent}SET a 1\r\n`);
        world.settle();
        assert.ok(client.closed);
        assert.ok(world.log.some(({ event }) => event === "resp.http-request"));
        assert.equal(world.cluster.service.size().entries, 0);
      });
    }

    test("above the maximum of connections", () => {
      const world = newWorld({ limits: { connectionsMax: 1 } });
      const first = world.connect();
      const second = world.connect();
      assert.equal(replies(second), "-ERR max number of clients reached\r\n");
      assert.ok(second.closed);
      assert.equal(world.ask(first, "PING\r\n"), "+PONG\r\n");
      first.end();
      world.settle();
      assert.equal(world.ask(world.connect(), "PING\r\n"), "+PONG\r\n");
      assert.equal(world.gateway.status().connectionsRefused, 1);
    });
  });
}
