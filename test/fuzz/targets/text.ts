/** What is read as text: requests and replies of the Redis protocol, configuration, histories, questions in JSON. */
import { strict as assert } from "node:assert";
import { encodeUtf8 } from "#src/base/index.js";
import { parseReply } from "#src/cli/resp-connection.js";
import { respLimitDefaults } from "#src/gateway/index.js";
import { ParseOutcome, ParseProgress, RequestParser } from "#src/gateway/resp/request.js";
import { ConfigError, FormatVersionError, SynodError } from "#src/model/index.js";
import { clientMappingOf, type ClusterRequest, describeCluster, parseClusterText } from "#src/runtime/index.js";
import { parseBackupOffer } from "#src/runtime/replica/backup-serving.js";
import { checkHistory, formatHistoryLine, HistoryError, type HistoryEvent, readHistory } from "#src/sim/check/index.js";
import type { FuzzTarget } from "../target.js";

const latin = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0) & 255);
const JSON_TOKENS = [
  "{",
  "}",
  "[",
  "]",
  ":",
  ",",
  "null",
  "true",
  "false",
  '""',
  "\\u0000",
  "\\ud800",
  "1e400",
  '"__proto__":',
];

// Requests of Redis clients.

const limits = {
  ...respLimitDefaults,
  requestBytesMax: 8192,
  bulkBytesMax: 4096,
  inlineBytesMax: 1024,
  argumentsMax: 512,
};
const parser = new RequestParser(limits);
const twin = new RequestParser(limits);

const respRequest: FuzzTarget = {
  name: "resp-request",
  what: "requests of Redis clients, cut anywhere",
  corpus: [
    "*1\r\n$4\r\nPING\r\n",
    "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n",
    "PING\r\nSET a \"b c\\x41\\n\" 'd'\r\n",
    "*0\r\n*-1\r\n*2\r\n$0\r\n\r\n$10\r\n0123456789\r\n",
    `*${40}\r\n${"$1\r\na\r\n".repeat(40)}`,
  ].map(latin),
  tokens: [
    "\r\n",
    "\r",
    "\n",
    "*",
    "$",
    "-",
    '"',
    "'",
    "\\x",
    " ",
    "*1\r\n",
    "$-1\r\n",
    "$0\r\n\r\n",
    "*2147483648\r\n",
  ],
  decode: ({ bytes, start, end, prng }) => {
    const progress = new ParseProgress();
    let requests = 0;
    for (let at = start; at < end;) {
      // As the gateway does, more comes bit by bit, and reading goes on where it stopped.
      progress.clear();
      let known = Math.min(end, at + 1 + prng.below(end - at));
      let outcome = parser.parse(bytes, at, known, progress);
      while (outcome === ParseOutcome.incomplete && known < end) {
        assert.ok(progress.at >= 0 && at + progress.at <= known + 2, "it has read what is not there");
        known = Math.min(end, known + 1 + prng.below(64));
        outcome = parser.resume(bytes, at, known, progress);
      }
      if (outcome !== ParseOutcome.request) {
        if (outcome === ParseOutcome.error) assert.ok(parser.error.length > 0 && parser.error.length < 200);
        return requests > 0;
      }
      assert.ok(parser.next > at && parser.next <= known, "a request has bytes, and they have come");
      assert.ok(parser.count <= limits.argumentsMax);
      for (let i = 0; i < parser.count; i++) {
        const [from, to] = [parser.spans[2 * i] as number, parser.spans[2 * i + 1] as number];
        assert.ok(from <= to && to <= parser.bytes.length);
      }
      // However it was cut, it is the same request.
      assert.equal(twin.parse(bytes, at, end, new ParseProgress()), ParseOutcome.request);
      assert.equal(twin.count, parser.count);
      assert.equal(twin.next, parser.next);
      requests++;
      at = parser.next;
    }
    return true;
  },
};

const respReply: FuzzTarget = {
  name: "resp-reply",
  what: "replies as the command line's own Redis client reads them",
  corpus: ["+OK\r\n", "-ERR no\r\n", ":17\r\n", "$3\r\nabc\r\n$-1\r\n", "*3\r\n:1\r\n*1\r\n$1\r\na\r\n*-1\r\n"].map(
    latin,
  ),
  tokens: ["\r\n", "*", "$", ":", "+", "-1\r\n", "*1\r\n", "*99999999\r\n", "$99999999\r\n"],
  decode: ({ bytes, start, end }) => {
    const own = Buffer.from(bytes.buffer, start, end - start);
    try {
      const parsed = parseReply(own, 0, 0);
      if (parsed !== null) assert.ok(parsed.end > 0 && parsed.end <= own.length, "a reply ends beyond what came");
      return parsed !== null;
    } catch (error) {
      if (error instanceof SynodError && error.code === "SYNOD_CONNECTION") return false;
      throw error;
    }
  },
};

// Configuration.

/** Described, but with nothing drawn: inputs of one seed are the same everywhere. */
const describedAs = (request: ClusterRequest) => ({
  ...describeCluster(["10.0.0.1", "10.0.0.2", "10.0.0.3"], request, { clients: { authentication: "none" } } as never),
  clusterId: "53594e4f44303031",
  security: undefined,
});
const described = describedAs({});
const optimistic = describedAs({
  groups: 3,
  execution: "opt-psmr",
  service: "btree",
  bounds: ["7", "18446744073709551615"],
});

const config: FuzzTarget = {
  name: "config",
  what: "cluster.json",
  corpus: [described, { ...described, service: "btree", reads: "ordered" }, optimistic].map((each) =>
    encodeUtf8(JSON.stringify(each)),
  ),
  tokens: [
    ...JSON_TOKENS,
    '"replicas"',
    '"id":1',
    '"127.0.0.1:1"',
    '"service":"',
    "memory",
    "[::1]:70000",
    '"bounds":["',
    '"resubmit":"',
  ],
  decode: async ({ bytes, start, end }) => {
    try {
      const text = Buffer.from(bytes.buffer, start, end - start).toString("utf8");
      const found = await parseClusterText("cluster.json", text);
      assert.ok(found.replicas.length >= 1 && found.replicas.length <= 31);
      // Replicas and gateways make their mappings of it without another look.
      if (found.bounds !== undefined) clientMappingOf(found);
      return true;
    } catch (error) {
      if (error instanceof ConfigError || error instanceof FormatVersionError) return false;
      throw error;
    }
  },
};

// Histories.

const events: readonly HistoryEvent[] = [
  { process: "a", type: "invoke", op: "set", args: ["k", "1"], result: null, tNs: 10 },
  { process: "b", type: "invoke", op: "get", args: ["k"], result: null, tNs: 11 },
  { process: "a", type: "ok", op: "set", args: ["k", "1"], result: "OK", tNs: 12 },
  { process: "b", type: "ok", op: "get", args: ["k"], result: "1", tNs: 13 },
  { process: "b", type: "invoke", op: "incr", args: ["n"], result: null, tNs: 14 },
  { process: "b", type: "info", op: "incr", args: ["n"], result: null, tNs: 15 },
  { process: 3, type: "invoke", op: "mset", args: ["k", "2", "n", "5"], result: null, tNs: 16 },
  { process: 3, type: "fail", op: "mset", args: ["k", "2", "n", "5"], result: null, tNs: 17 },
];

const history: FuzzTarget = {
  name: "history",
  what: "histories as `synod check` reads and judges them",
  corpus: [events.slice(0, 4), events].map((part) => encodeUtf8(part.map(formatHistoryLine).join("\n") + "\n")),
  tokens: [...JSON_TOKENS, "\n", '"op":"', "mget", "del", "info", "invoke", '"t_ns":', '"args":[', '"result":'],
  decode: async ({ bytes, start, end, prng }) => {
    const cut = start + prng.below(end - start + 1);
    async function* chunks(): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(start, cut);
      yield bytes.subarray(cut, end);
      await Promise.resolve();
    }
    try {
      const operations = await readHistory(chunks());
      checkHistory(operations, { stepsMax: 2000 });
      return true;
    } catch (error) {
      if (error instanceof HistoryError) return false;
      throw error;
    }
  },
};

const offer = {
  clusterId: described.clusterId,
  service: "kv",
  ordering: "multi-paxos",
  execution: "pipelined",
  reads: "quorum",
  durability: "fsync",
  transfer: 1,
  replica: 2,
  replicas: 3,
  groups: 1,
  through: 42,
  digest: "0123456789abcdef0123456789abcdef",
  bytes: 100,
};

const backupOffer: FuzzTarget = {
  name: "backup-offer",
  what: "what a replica says of the checkpoint it is about to send to a backup",
  corpus: [encodeUtf8(JSON.stringify(offer))],
  tokens: JSON_TOKENS,
  decode: ({ bytes, start, end }) => parseBackupOffer(bytes, start, end) !== null,
};

export const textTargets: readonly FuzzTarget[] = [respRequest, respReply, config, history, backupOffer];
