/**
 * DESIGN safety rule 4: the commands of one connection take effect, and are answered, in the order sent, however its bytes
 * arrive, its commands are shared out among blocks and streams, and the cluster takes its time.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { Prng } from "#src/base/index.js";
import type { MemoryByteClient } from "#src/platform/index.js";
import { bytesOf, replies, request, type RespWorld, worldsOf } from "./resp-world.js";

/** What holds for a cluster of so many groups; `runs` random worlds. */
export function respOrderSuite(groups: number, runs: number): void {
  const newWorld = worldsOf(groups);

  describe("replies", () => {
    test("of ordered blocks are passed on in their order, even if the cluster's come in another", () => {
      const world = newWorld({ mode: "manual" });
      const client = world.connect();
      const { cluster } = world;
      world.ask(client, "INCR a\r\nPING 1\r\n");
      world.ask(client, "INCR a\r\nPING 2\r\n");
      world.ask(client, "INCR a\r\nPING 3\r\n");
      for (const block of cluster.blocks) cluster.execute(block);
      cluster.answer(cluster.blocks[2]!);
      cluster.answer(cluster.blocks[1]!);
      world.settle();
      assert.equal(replies(client), "");
      cluster.answer(cluster.blocks[0]!);
      world.settle();
      assert.equal(replies(client), ":1\r\n$1\r\n1\r\n:2\r\n$1\r\n2\r\n:3\r\n$1\r\n3\r\n");
    });

    test("made by the gateway wait for those of the store before them, errors and the end included", () => {
      const world = newWorld({ mode: "manual" });
      const client = world.connect();
      world.ask(client, "PING\r\nINCR a\r\nPING\r\nFOO\r\nGET\r\nHELLO 3\r\n*x\r\nPING\r\n");
      assert.equal(replies(client), "");
      const block = world.cluster.blocks[0]!;
      world.cluster.execute(block);
      world.cluster.answer(block);
      world.settle();
      const text = replies(client);
      assert.match(
        text,
        /^:1\r\n\+PONG\r\n-ERR unknown command 'FOO'.*\r\n-ERR wrong number.*\r\n%7\r\n[^]*-ERR Protocol error: invalid multibulk length\r\n$/,
      );
      assert.ok(client.closed);
    });

    test("go out to a client that has ended its side, and then the connection ends", () => {
      const world = newWorld({ mode: "manual" });
      const client = world.connect();
      client.write("SET a 1\r\nGET a\r\nGET");
      client.end();
      world.settle();
      assert.ok(!client.closed);
      assert.equal(world.gateway.status().connections, 1);
      const [block] = world.cluster.blocks;
      world.cluster.execute(block!);
      world.cluster.answer(block!);
      world.settle();
      assert.equal(replies(client), "+OK\r\n$1\r\n1\r\n");
      assert.ok(client.closed);
      assert.equal(world.gateway.status().connections, 0);
    });

    test("go out to a client that has ended its side although later commands had to wait for earlier ones", () => {
      for (let seed = 1; seed <= 20; seed++) {
        const world = newWorld({ mode: "random", seed, limits: { blocksMax: 2, inputBytesMax: 64 } });
        const client = world.connect();
        let expected = "";
        for (let i = 0; i < 50; i++) {
          client.write(`GET a\r\nSET a ${i + 10}\r\nPING\r\n`);
          expected += `${i === 0 ? "$-1" : `$2\r\n${i + 9}`}\r\n+OK\r\n+PONG\r\n`;
        }
        client.end();
        world.pass(10_000);
        assert.equal(replies(client), expected, `seed ${seed}`);
        assert.ok(client.closed, `seed ${seed}`);
      }
    });

    test("an idle connection whose client has ended its side ends at once", () => {
      const world = newWorld();
      const client = world.connect();
      world.ask(client, "PING\r\n");
      client.end();
      world.settle();
      assert.ok(client.closed);
      assert.equal(world.gateway.status().connections, 0);
    });

    test("of a connection that is gone are dropped, and its commands executed", () => {
      const world = newWorld({ mode: "manual" });
      const [client, other] = [world.connect(), world.connect()];
      client.write("INCR a\r\n");
      other.write("INCR a\r\n");
      world.settle();
      client.vanish();
      world.settle();
      const block = world.cluster.blocks[0]!;
      world.cluster.execute(block);
      world.cluster.answer(block);
      world.settle();
      assert.equal(replies(client), "");
      assert.equal(replies(other), ":2\r\n");
    });
  });

  describe("failures", () => {
    test("are told apart: certainly not applied, or perhaps", () => {
      const world = newWorld({ mode: "manual" });
      const client = world.connect();
      const { cluster } = world;
      for (const failure of ["try-again", "indeterminate", "session-expired", "closed"] as const) {
        world.ask(client, "INCR a\r\nGET a\r\nPING\r\n");
        cluster.fail(cluster.blocks.at(-1)!, failure);
        world.settle();
        const code = failure === "try-again" ? "TRYAGAIN" : "INDETERMINATE";
        // A read has no effect to be in doubt about.
        assert.match(replies(client), new RegExp(`^-${code} .*\r\n-TRYAGAIN .*\r\n\\+PONG\r\n$`), failure);
        world.ask(client, "GET a\r\n");
        cluster.fail(cluster.blocks.at(-1)!, failure);
        world.settle();
        assert.match(replies(client), /^-TRYAGAIN .*\r\n$/, failure);
      }
    });

    test("a block has its deadline from its oldest command, also one that was moved to it from the reads", () => {
      const world = newWorld({ limits: { deadlineMs: 100 } });
      const client = world.connect();
      // The block is used, idle for longer than the deadline, and used again.
      for (const input of ["INCR a\r\n", "GET a\r\nINCR a\r\n", "GET a\r\nGET a\r\nDEL a\r\n"]) {
        const { now } = world.kernel;
        world.ask(client, input);
        assert.equal(world.cluster.blocks.at(-1)?.deadline, now + 100, input);
        world.pass(1000);
        world.settle();
      }
    });

    test("the deadline of a block is counted from its first command", () => {
      const world = newWorld({ limits: { deadlineMs: 100 } });
      world.pass(7);
      const client = world.connect();
      world.cluster.open = false;
      world.ask(client, "INCR a\r\n");
      world.pass(50);
      world.cluster.reopen();
      world.settle();
      assert.equal(replies(client), ":1\r\n");
      assert.equal(world.cluster.blocks[0]!.deadline, 107);
    });

    test("what waits for the cluster is bounded; connections beyond it are not read", () => {
      const world = newWorld({
        limits: { waitingBytesMax: 4000, blockBytes: 1000, inputBytesMax: 1000, deadlineMs: 100_000 },
      });
      const clients = Array.from({ length: 10 }, () => world.connect());
      world.cluster.open = false;
      const input = request("INCR", "x".repeat(100)).repeat(100);
      for (const client of clients) client.write(input);
      for (const client of clients) client.write(input);
      world.settle();
      assert.equal(world.cluster.blocks.length, 0);
      world.cluster.reopen();
      world.settle();
      const seen = clients.map((client) => replies(client).split("\r\n").length - 1);
      assert.deepEqual(
        seen,
        clients.map(() => 200),
      );
      assert.equal(world.ask(clients[0]!, request("GET", "x".repeat(100))), "$4\r\n2000\r\n");
    });
  });

  describe("output", () => {
    test("a client that does not read is not served on, and nothing is lost when it reads again", () => {
      const world = newWorld({ limits: { outputBytesMax: 10_000, inputBytesMax: 1000 } });
      const client = world.connect();
      world.ask(client, request("SET", "a", "x".repeat(5000)));
      client.stopReading();
      for (let i = 0; i < 100; i++) world.ask(client, "GET a\r\n");
      world.pass(200);
      const executed = world.gateway.status().requests;
      assert.ok(executed < 10, `${executed} requests were executed`);
      client.startReading();
      world.pass(10_000);
      assert.equal(replies(client).length, 100 * "$5000\r\n\r\n".length + 100 * 5000);
    });

    test("replies made by the gateway are bounded too", () => {
      const world = newWorld({ mode: "manual", limits: { outputBytesMax: 10_000, localBytesMax: 10_000 } });
      const client = world.connect();
      client.write("COMMAND\r\n".repeat(100));
      client.stopReading();
      world.pass(100);
      assert.ok(world.gateway.status().requests < 20);
      client.startReading();
      world.pass(10_000);
      assert.equal(replies(client).split("$6\r\ngetset\r\n").length, 101);
      // Behind an unanswered command of the store they wait as bytes, also bounded.
      client.write(`INCR a\r\n${"COMMAND\r\n".repeat(100)}`);
      world.settle();
      assert.ok(world.gateway.status().requests < 120);
      world.cluster.execute(world.cluster.blocks[0]!);
      world.cluster.answer(world.cluster.blocks[0]!);
      world.pass(10_000);
      assert.equal(replies(client).split("$6\r\ngetset\r\n").length, 101);
    });
  });

  describe("any pipelines, cut anywhere, over any timing", () => {
    const NAMES = ["GET", "SET", "GET", "APPEND", "DEL", "EXISTS", "MGET", "ECHO", "NONE"];

    function someRequest(prng: Prng, own: string): string[] {
      const key = (): string => `${own}${prng.below(3)}`;
      const name = NAMES[prng.below(NAMES.length)]!;
      if (name === "NONE") return [name];
      if (name === "MGET") return [name, key(), key()];
      if (name === "SET" || name === "APPEND")
        return [name, key(), "v".repeat(prng.below(prng.below(20) === 0 ? 700 : 6))];
      return [name, key()];
    }

    test("each connection gets what it would get alone, and reads of a common counter never go back", () => {
      fc.assert(
        fc.property(fc.integer({ min: 0 }), (seed) => {
          const prng = new Prng(`orders ${seed}`);
          const world = newWorld({
            seed,
            mode: "random",
            openMax: 1 + prng.below(4),
            limits: {
              blockCommands: 1 + prng.below(20),
              blockBytes: 200 + prng.below(2000),
              waitingBytesMax: 500 + prng.below(4000),
              inputBytesMax: 100 + prng.below(2000),
              localBytesMax: 50 + prng.below(500),
            },
          });
          const expected: string[] = [];
          const got: string[] = [];
          const clients: MemoryByteClient[] = [];
          for (let i = 0; i < 4; i++) {
            const client = world.connect();
            clients.push(client);
            const model = new Model();
            let input = "";
            expected[i] = "";
            got[i] = "";
            for (let n = prng.below(60); n > 0; n--) {
              const args = someRequest(prng, `k${i}`);
              // Now and then inline.
              input += prng.below(4) === 0 && !args.includes("") ? `${args.join(" ")}\r\n` : request(...args);
              expected[i] += model.reply(args);
            }
            cut(world, prng, client, input);
          }
          const [counter, watcher] = [world.connect(), world.connect()];
          for (let n = 0; n < 30; n++) {
            world.process.at(prng.below(60) / 2, () => counter.write("INCR common\r\n"));
          }
          cut(world, prng, watcher, request("GET", "common").repeat(40));
          world.pass(20_000);
          for (const [i, client] of clients.entries()) got[i] += replies(client);
          assert.deepEqual(got, expected);
          const seen = [...replies(watcher).matchAll(/\$(?:-1|\d+\r\n(\d+))\r\n/g)].map(([, digits]) =>
            Number(digits ?? 0),
          );
          assert.equal(seen.length, 40);
          assert.deepEqual(
            seen,
            seen.toSorted((a, b) => a - b),
          );
        }),
        { numRuns: runs },
      );
    });

    /** Sends input in pieces of random length at random times, in order. */
    function cut(world: RespWorld, prng: Prng, client: MemoryByteClient, input: string): void {
      const bytes = bytesOf(input);
      let at = 0;
      let time = world.kernel.now;
      while (at < bytes.length) {
        const end = Math.min(bytes.length, at + 1 + prng.below(prng.below(3) === 0 ? 10 : 400));
        const piece = bytes.slice(at, end);
        time += prng.below(6) / 2;
        world.process.at(time, () => client.write(piece));
        at = end;
      }
    }
  });
}

/** What one connection alone would get, by a model of its own. */
class Model {
  readonly #values = new Map<string, string>();

  reply(args: readonly string[]): string {
    const [name, key = "", value = ""] = args;
    const values = this.#values;
    const bulk = (text: string | undefined): string =>
      text === undefined ? "$-1\r\n" : `$${text.length}\r\n${text}\r\n`;
    switch (name) {
      case "GET":
        return bulk(values.get(key));
      case "SET":
        values.set(key, value);
        return "+OK\r\n";
      case "APPEND":
        values.set(key, (values.get(key) ?? "") + value);
        return `:${values.get(key)?.length}\r\n`;
      case "DEL": {
        const had = values.delete(key);
        return `:${had ? 1 : 0}\r\n`;
      }
      case "EXISTS":
        return `:${values.has(key) ? 1 : 0}\r\n`;
      case "MGET":
        return `*${args.length - 1}\r\n${args
          .slice(1)
          .map((one) => bulk(values.get(one)))
          .join("")}`;
      case "ECHO":
        return bulk(key);
      default:
        return `-ERR unknown command '${name}', with args beginning with: \r\n`;
    }
  }
}
