// Redis beside us: redis-benchmark against one unreplicated redis-server that syncs every command (appendonly yes, appendfsync
// always), and against the leader's port of three replicas of ours with fsync. Interleaved, servers freshly started each time.
// `npm run bench -- redis [--runs 5] [--seconds 5] [--pipeline 64,1] [--json]`; `--seconds` is about what a leg takes Redis.
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { requirePrograms } from "./rig/process.mjs";
import { redisBenchmark, redisPackages, startRedis } from "./rig/redis.mjs";
import { figure, median, printTable, spread, summary } from "./rig/statistics.mjs";
import { synodUp } from "./rig/synod.mjs";

/** A first, uncounted run: compiles and connects what the counted one uses. Fraction of the counted requests. */
const WARM_UP = 0.2;
/** Requests per second that Redis is known to make at each depth, to choose how many to ask for. */
const knownRate = (pipeline) => (pipeline === 1 ? 60_000 : 10_000 * pipeline);

async function leg(open, { pipeline, seconds }) {
  const server = await open();
  try {
    const requests = Math.round(knownRate(pipeline) * seconds);
    await redisBenchmark({ port: server.port, pipeline, requests: Math.round(requests * WARM_UP) });
    return await redisBenchmark({ port: server.port, pipeline, requests });
  } finally {
    await server.stop();
  }
}

async function openSynod() {
  const cluster = await synodUp({ service: "kv", durability: "fsync" });
  const { resp } = await cluster.leader();
  return { port: Number(resp.split(":").at(-1)), stop: () => cluster.stop() };
}

/** Runs both beside each other. Resolves with a row for each depth of pipelining. */
export async function compareWithRedis({ runs, seconds, pipelines }) {
  const rows = [];
  for (const pipeline of pipelines) {
    const legs = { redis: [], synod: [] };
    for (let i = 0; i < runs; i++) {
      legs.redis.push(await leg(startRedis, { pipeline, seconds }));
      legs.synod.push(await leg(openSynod, { pipeline, seconds }));
    }
    const row = (name) => ({
      throughput: summary(legs[name].map((each) => each.throughput)),
      p50_ms: median(legs[name].map((each) => each.p50)),
      p99_ms: median(legs[name].map((each) => each.p99)),
    });
    const ratios = legs.synod.map((each, i) => each.throughput / legs.redis[i].throughput);
    rows.push({ pipeline, ratio: summary(ratios), redis: row("redis"), synod: row("synod") });
  }
  return rows;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      runs: { type: "string", default: "5" },
      seconds: { type: "string", default: "5" },
      pipeline: { type: "string", default: "64,1" },
      json: { type: "boolean", default: false },
    },
  });
  requirePrograms(redisPackages);
  const pipelines = values.pipeline.split(",").map(Number);
  const rows = await compareWithRedis({ runs: Number(values.runs), seconds: Number(values.seconds), pipelines });
  if (values.json) for (const row of rows) console.log(JSON.stringify(row));
  else {
    printTable(
      ["redis-benchmark", "server", "SET/s", "p50 ms", "p99 ms"],
      rows.flatMap((row) =>
        ["redis", "synod"].map((server) => [
          `-P ${row.pipeline} -c 50`,
          server,
          spread(row[server].throughput),
          figure(row[server].p50_ms),
          figure(row[server].p99_ms),
        ]),
      ),
    );
    for (const row of rows) console.log(`\n-P ${row.pipeline}: ${spread(row.ratio)} times Redis, pair by pair`);
  }
}
