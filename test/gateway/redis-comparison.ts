/** The same chunks of requests to two servers: each reply has to be the same, as far as it can be. */
import assert from "node:assert/strict";
import type { Chunk } from "./redis-commands.js";
import type { RespReply } from "./resp-reply.js";
import { request } from "./resp-world.js";

/** A server as a client sees it: what one of its connections answers to so many requests sent at once. */
export type Exchange = (connection: number, input: string, count: number) => Promise<RespReply[]> | RespReply[];

/** Two servers resolve durations against their clocks at different moments of a test on a busy machine. */
const TOLERANCE_S = 30;

export async function compareServers(
  chunks: readonly Chunk[],
  redis: Exchange,
  ours: Exchange,
  seed: string,
): Promise<void> {
  // What a connection has queued: the replies to EXEC are compared by the commands they answer.
  const queued = new Map<number, string[][]>();
  for (const [index, { connection, requests }] of chunks.entries()) {
    const input = requests.map((args) => request(...args)).join("");
    const [theirs, own] = await Promise.all([
      redis(connection, input, requests.length),
      ours(connection, input, requests.length),
    ]);
    assert.equal(own.length, theirs.length);
    requests.forEach((args, i) => {
      const where = `seed ${seed}, chunk ${index} of connection ${connection}, request ${i}: ${JSON.stringify(args)}`;
      const [expected, actual] = [theirs[i] as RespReply, own[i] as RespReply];
      const name = (args[0] ?? "").toUpperCase();
      const queue = queued.get(connection) ?? [];
      if (name === "EXEC" && Array.isArray(expected.value) && Array.isArray(actual.value)) {
        assert.equal(actual.value.length, expected.value.length, where);
        const items = expected.value as readonly RespReply[];
        items.forEach((item, k) => {
          const inner = queue[k] ?? [];
          same(
            inner,
            item,
            (actual.value as readonly RespReply[])[k] as RespReply,
            `${where}, ${JSON.stringify(inner)}`,
          );
        });
      } else {
        same(args, expected, actual, where);
      }
      if (expected.value === "QUEUED") queue.push([...args]);
      else if (["MULTI", "EXEC", "DISCARD", "RESET"].includes(name) && expected.mark !== "-") queue.length = 0;
      else if (name === "EXEC") queue.length = 0;
      queued.set(connection, queue);
    });
  }
}

function same(args: readonly string[], expected: RespReply, actual: RespReply, where: string): void {
  const name = (args[0] ?? "").toUpperCase();
  const isArray = Array.isArray(expected.value) && Array.isArray(actual.value);
  if (/^P?(?:TTL|EXPIRETIME)$/.test(name) && expected.mark === ":" && Number(expected.value) > 0) {
    const unit = name.startsWith("P") ? 1000 : 1;
    const [theirs, own] = [Number(expected.value), Number(actual.value)];
    // Expiries beyond 2^53 ms are cut off (docs/redis.md).
    if (actual.mark === ":" && (theirs * 1000) / unit > 2 ** 52) return;
    assert.ok(actual.mark === ":" && Math.abs(theirs - own) <= TOLERANCE_S * unit, `${where}: ${own}, not ${theirs}`);
  } else if (name === "KEYS" && isArray) {
    assert.deepEqual(sorted(actual.value), sorted(expected.value), where);
  } else if (name === "SCAN" && isArray) {
    // Cursors and steps are each server's own; a step that brings everything can be compared.
    const [end, keys] = expected.value as readonly RespReply[];
    const [ownEnd, ownKeys] = actual.value as readonly RespReply[];
    const large = args.some((arg, i) => arg.toUpperCase() === "COUNT" && Number(args[i + 1]) >= 1000);
    const small = args.some((arg, i) => arg.toUpperCase() === "COUNT" && Number(args[i + 1]) < 1000);
    if (args[1] !== "0" || !large || small || end?.value !== "0") return;
    assert.equal(ownEnd?.value, "0", where);
    assert.deepEqual(sorted(ownKeys?.value), sorted(keys?.value), where);
  } else if (name === "RANDOMKEY" && expected.value !== null) {
    assert.equal(actual.mark, expected.mark, where);
  } else {
    assert.deepEqual(actual, expected, where);
  }
}

function sorted(value: RespReply["value"] | undefined): string[] {
  return Array.isArray(value) ? (value as readonly RespReply[]).map((item) => JSON.stringify(item.value)).sort() : [];
}
