/** Values so long that the replies to a pipeline fill many frames, through a real cluster; and clients that end their side early. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { connect } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { request } from "./raw-resp.js";
import { residentPeakMiB } from "./resident-memory.js";
import { synod, temporaryDirectory } from "./synod-process.js";

const VALUES = 200;
const VALUE_BYTES = 256 * 1024;
/**
 * The values, 50 MiB, stand in the state, and as they were written in the log's memory and in remembered batches; 100 MiB
 * of replies, held as a whole by anybody, would stand out.
 */
const RESIDENT_MIB_MAX = 512;

const keyOf = (i: number): string => `long:${i % VALUES}`;
const valueOf = (i: number): string => String(i % VALUES).padEnd(VALUE_BYTES, "v");
const bulkOf = (i: number): string => `$${VALUE_BYTES}\r\n${valueOf(i)}\r\n`;
const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** Sends everything, ends its side, and resolves with the digest and length of what has come when the other side ends too. */
function converse(address: string, input: string): Promise<{ bytes: number; digest: string; head: string }> {
  const [host = "", port = ""] = address.split(":");
  return new Promise((resolve, reject) => {
    const hash = createHash("sha256");
    let bytes = 0;
    let head = "";
    const socket = connect({ host, port: Number(port), allowHalfOpen: true }, () => socket.end(input));
    socket.on("data", (chunk: Buffer) => {
      hash.update(chunk);
      bytes += chunk.length;
      // Values are digits and one letter, so what follows a minus at the beginning of a line is an error.
      const error = chunk.indexOf("\n-");
      if (error >= 0 && head.length < 200) head += chunk.toString("latin1", error + 1, error + 100);
    });
    socket.on("end", () => resolve({ bytes, digest: hash.digest("hex"), head: head }));
    socket.on("error", reject);
  });
}

async function expectReplies(address: string, input: string, replies: readonly string[]): Promise<void> {
  const hash = createHash("sha256");
  let bytes = 0;
  for (const reply of replies) {
    hash.update(reply);
    bytes += reply.length;
  }
  const got = await converse(address, input);
  assert.deepEqual({ bytes: got.bytes, digest: got.digest }, { bytes, digest: hash.digest("hex") }, got.head);
}

test("long values come right in pipelines, MGETs and mixtures, to clients that have ended their side", async (t) => {
  const up = synod(t, ["up", "--data", join(temporaryDirectory(t), "data"), "--port", "0", "--json"]);
  const [first, second, third] = await up.ready();
  assert.ok(first !== undefined && second !== undefined && third !== undefined);
  for (let from = 0; from < VALUES; from += 50) {
    const part = range(50).map((i) => request("SET", keyOf(from + i), valueOf(from + i)));
    await expectReplies(
      first.resp,
      part.join(""),
      range(50).map(() => "+OK\r\n"),
    );
  }
  // The other gateways know nothing of long values yet.
  const gets = range(400).map((i) => request("GET", keyOf(i)));
  await expectReplies(second.resp, gets.join(""), range(400).map(bulkOf));
  const mget = request("MGET", ...range(40).map(keyOf));
  await expectReplies(third.resp, mget, ["*40\r\n", ...range(40).map(bulkOf)]);
  await expectReplies(
    second.resp,
    mget.repeat(5),
    range(5).flatMap(() => ["*40\r\n", ...range(40).map(bulkOf)]),
  );
  // Reads behind a write are ordered with it; connections share the blocks. One after the other, so that a slow machine
  // answers within the deadline of the commands.
  for (const [index, replica] of [first, second, third].entries()) {
    const mixed = (key: string): string =>
      range(20)
        .map((i) => `${request("SET", key, String(i + 10))}${request("GET", keyOf(i))}`)
        .join("");
    const replies = range(20).flatMap((i) => ["+OK\r\n", bulkOf(i)]);
    await Promise.all([
      expectReplies(replica.resp, `${mixed(`a${index}`)}${mget}${request("GET", `a${index}`)}`, [
        ...replies,
        "*40\r\n",
        ...range(40).map(bulkOf),
        "$2\r\n29\r\n",
      ]),
      expectReplies(replica.resp, mixed(`b${index}`), replies),
    ]);
  }
  // 17 MiB at once is more than one reply may hold, whatever the pipeline around it.
  const tooLong = request("MGET", ...range(68).map(keyOf));
  const around = await converse(third.resp, `${request("GET", keyOf(0))}${tooLong}${request("GET", keyOf(1))}`);
  assert.ok(around.bytes > 2 * VALUE_BYTES && around.bytes < 2 * VALUE_BYTES + 300, `${around.bytes} bytes`);
  for (const { id, pid } of [first, second, third]) {
    const peak = residentPeakMiB(pid);
    t.diagnostic(`replica ${id} had ${Math.round(peak)} MiB resident at most`);
    assert.ok(
      peak < RESIDENT_MIB_MAX,
      `replica ${id} had ${Math.round(peak)} MiB resident, the bound is ${RESIDENT_MIB_MAX}`,
    );
  }
});
