/**
 * Connections that pipeline over both groups while replicas, and so leaders of streams, are killed and come back: whatever a
 * pipeline was told that it had written is what its later commands read, in whichever groups they are.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import { RespConnection } from "../gateway/redis-server.js";
import type { RespReply } from "../gateway/resp-reply.js";
import { request } from "../gateway/resp-world.js";
import { type ReplicaEntry, synod, temporaryDirectory } from "./synod-process.js";

const KEYS = 4;
/** Whole pipelines that each other replica's connection has to get through while a replica is away, and behind its return. */
const PIPELINES = 5;

/** Why the replies to a pipeline of writes, each with a read of all keys behind it, are in no order; null if they are. */
function disorder(replies: readonly RespReply[], n: number): string | null {
  const done: number[] = [];
  for (let key = 0; key < KEYS; key++) {
    const written = replies[2 * key];
    const read = replies[2 * key + 1];
    if (written?.mark === "+") done.push(key);
    if (!Array.isArray(read?.value)) continue;
    const values = (read.value as readonly RespReply[]).map(({ value }) => Number((value ?? "0") as string));
    const missed = done.find((each) => values[each] !== n);
    if (missed !== undefined) return `${n} was written to key ${missed}, then ${values.join()} read`;
    const early = values.findIndex((value, other) => other > key && value >= n);
    if (early >= 0) return `${values.join()} read before ${n} was written to key ${early}`;
  }
  return null;
}

test("a pipeline whose replies are in no order is told from others", () => {
  const ok: RespReply = { mark: "+", value: "OK" };
  const error: RespReply = { mark: "-", value: "TRYAGAIN" };
  const values = (...numbers: readonly number[]): RespReply => {
    return { mark: "*", value: numbers.map((value) => ({ mark: "$", value: String(value) })) };
  };
  const good = [ok, values(2, 1, 1, 1), error, values(2, 1, 1, 1), ok, values(2, 1, 2, 1), ok, values(2, 1, 2, 2)];
  assert.equal(disorder(good, 2), null);
  assert.equal(disorder(good.slice(0, 3), 2), null);
  // A write that is not there for the read behind it, one that is lost later, and one that comes too early.
  assert.match(disorder([ok, values(1, 1, 1, 1)], 2) ?? "", /written to key 0/);
  assert.match(disorder([ok, values(2, 1, 1, 1), ok, values(1, 2, 1, 1)], 2) ?? "", /written to key 0/);
  assert.match(disorder([ok, values(2, 1, 2, 1)], 2) ?? "", /before 2 was written to key 2/);
});

describe("a cluster with two groups whose replicas are killed", () => {
  test("keeps the order of each connection over both groups, and goes on", async (t) => {
    const data = join(temporaryDirectory(t), "data");
    const up = synod(t, ["up", "--data", data, "--port", "0", "--json", "--groups", "2", "--execution", "psmr"]);
    const replicas = await up.ready();
    const whole = new Map(replicas.map(({ id }) => [id, 0]));
    let stopping = false;
    let progress: () => void = () => undefined;

    const write = async ({ id, resp }: ReplicaEntry): Promise<void> => {
      const keys = Array.from({ length: KEYS }, (_, key) => `r${id}:${key}`);
      const [host = "", port = ""] = resp.split(":");
      let connection: RespConnection | null = null;
      for (let n = 1; !stopping; n++) {
        if (connection === null || connection.closed) {
          connection = await RespConnection.open(host, Number(port)).catch(() => null);
          // Its replica is away.
          if (connection === null) await new Promise((resolve) => setTimeout(resolve, 20));
        }
        if (connection === null) continue;
        const input = keys.map((key) => request("SET", key, String(n)) + request("MGET", ...keys)).join("");
        const replies: readonly RespReply[] = await connection.exchange(input, 2 * KEYS);
        assert.equal(disorder(replies, n), null, `connection to r${id}`);
        if (replies.length < 2 * KEYS || replies.some(({ mark }) => mark === "-")) continue;
        whole.set(id, (whole.get(id) ?? 0) + 1);
        progress();
      }
      connection?.end();
    };
    const writers = Promise.all(replicas.map(write));
    /** Resolves when each of these connections has got through so many more pipelines. */
    const goOn = async (ids: readonly number[]): Promise<void> => {
      const goals = ids.map((id) => [id, (whole.get(id) ?? 0) + PIPELINES] as const);
      while (goals.some(([id, goal]) => (whole.get(id) ?? 0) < goal)) {
        await Promise.race([writers, new Promise<void>((resolve) => (progress = resolve))]);
      }
    };
    const all = replicas.map(({ id }) => id);
    await goOn(all);
    for (const { id, pid } of replicas.slice(0, 2)) {
      process.kill(pid, "SIGKILL");
      await up.line((line) => line["event"] === "died" && line["id"] === id);
      await goOn(all.filter((other) => other !== id));
      const back = synod(t, ["replica", String(id), "--data", data, "--json"]);
      await Promise.race([back.ready(), writers]);
      await goOn(all);
    }
    stopping = true;
    await writers;
  });
});
