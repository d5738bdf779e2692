/**
 * Connections to a cluster of processes with two groups, each writing to keys of both in pipelines, while others read all of
 * these keys at once: what is read at one moment is what each writer had written up to some command of its own.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Prng } from "#src/base/index.js";
import { RespConnection } from "../gateway/redis-server.js";
import type { RespReply } from "../gateway/resp-reply.js";
import { request } from "../gateway/resp-world.js";
import { synod, temporaryDirectory } from "./synod-process.js";

const SEED = process.env["SYNOD_GROUPS_SEED"] ?? "moments 1";
const WRITERS = 3;
const KEYS = 6;
const WRITES = 300;

/** What one connection writes, in its order: command n sets `keys[key]` to n. */
interface Write {
  readonly key: number;
  readonly n: number;
}

/** Why these values of a writer's keys are not those behind any of its commands, or null. */
function unlike(writes: readonly Write[], values: readonly number[]): string | null {
  const latest = Math.max(...values);
  const expected = values.map((_, key) => writes.findLast((write) => write.key === key && write.n <= latest)?.n ?? 0);
  return expected.join() === values.join() ? null : `[${values.join()}] although [${expected.join()}] behind ${latest}`;
}

test("the values of keys between two commands of their writer are told from others", () => {
  const writes = [0, 1, 0, 2].map((key, i) => ({ key, n: i + 1 }));
  for (const values of [
    [0, 0, 0],
    [1, 0, 0],
    [1, 2, 0],
    [3, 2, 0],
    [3, 2, 4],
  ]) {
    assert.equal(unlike(writes, values), null, values.join());
  }
  for (const values of [
    // The second command before the first; the third without the second; a key as it was before, as if read on its own.
    [0, 2, 0],
    [3, 0, 0],
    [1, 2, 4],
  ]) {
    assert.notEqual(unlike(writes, values), null, values.join());
  }
});

describe("a cluster with two groups", () => {
  test("shows the commands of each connection in their order, whichever groups they concern", async (t) => {
    const up = synod(t, [
      "up",
      "--data",
      temporaryDirectory(t),
      "--port",
      "0",
      "--json",
      "--groups",
      "2",
      "--execution",
      "psmr",
    ]);
    const replicas = await up.ready();
    const connections: RespConnection[] = [];
    t.after(() => {
      for (const connection of connections) connection.end();
    });
    const open = async (index: number): Promise<RespConnection> => {
      const [host = "", port = ""] = (replicas[index % replicas.length]?.resp ?? "").split(":");
      const connection = await RespConnection.open(host, Number(port));
      connections.push(connection);
      return connection;
    };
    const keysOf = (writer: number): string[] => Array.from({ length: KEYS }, (_, key) => `w${writer}:${key}`);
    const written: Write[][] = [];
    let writing = WRITERS;

    const write = async (writer: number): Promise<void> => {
      const prng = new Prng(`${SEED}, writer ${writer}`);
      const keys = keysOf(writer);
      const writes: Write[] = [];
      written[writer] = writes;
      const connection = await open(writer);
      for (let n = 1; n <= WRITES;) {
        // Some pipelines stay with one key, and so in its group.
        const only = prng.below(3) === 0 ? prng.below(KEYS) : -1;
        const count = Math.min(1 + prng.below(12), WRITES + 1 - n);
        let input = "";
        for (let i = 0; i < count; i++, n++) {
          const key = only >= 0 ? only : prng.below(KEYS);
          writes.push({ key, n });
          input += request("SET", keys[key] as string, String(n));
        }
        const replies = await connection.exchange(input, count);
        for (const { mark, value } of replies) assert.equal(`${mark}${String(value as string)}`, "+OK");
      }
      writing--;
    };
    const read = async (reader: number): Promise<number> => {
      const connection = await open(WRITERS + reader);
      let moments = 0;
      for (let last = false; !last;) {
        last = writing === 0;
        const writer = moments++ % WRITERS;
        const [reply] = await connection.exchange(request("MGET", ...keysOf(writer)), 1);
        assert.ok(Array.isArray(reply?.value), JSON.stringify(reply));
        const values = (reply.value as readonly RespReply[]).map(({ value }) => Number((value ?? "0") as string));
        assert.equal(unlike(written[writer] ?? [], values), null, `seed ${SEED}, writer ${writer}`);
      }
      return moments;
    };
    const [moments, others] = await Promise.all([
      read(0),
      read(1),
      ...Array.from({ length: WRITERS }, (_, i) => write(i)),
    ]);
    t.diagnostic(`${Number(moments) + Number(others)} moments were read`);
    up.kill("SIGTERM");
    assert.equal(await up.exit(), 0);
  });
});
