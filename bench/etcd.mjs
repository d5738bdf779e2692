// etcd beside us: three servers each, fsync on both, the same number of client processes and of outstanding puts, each put
// acknowledged on its own, 8-byte keys and values, 10,000 keys that exist. Interleaved, every leg on servers freshly started.
// `npm run bench -- etcd [--runs 5] [--seconds 5] [--processes 1] [--outstanding 64,1024] [--service kv] [--json]`
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { startEtcd } from "./rig/etcd.mjs";
import { requirePrograms, run } from "./rig/process.mjs";
import { figure, median, printTable, spread, summary } from "./rig/statistics.mjs";
import { synodBench, synodUp } from "./rig/synod.mjs";

const KEYS = 10_000;
const loadProgram = fileURLToPath(new URL("rig/etcd-load.mjs", import.meta.url));

/** The figures of several client processes as those of one: the sum of what they did, the worst of what they saw. */
function together(parts) {
  const sum = (of) => parts.reduce((total, part) => total + of(part), 0);
  const worst = (of) => Math.max(...parts.map(of));
  return {
    throughput: sum((part) => part.throughput),
    p50: worst((part) => part.latency_ms.p50),
    p99: worst((part) => part.latency_ms.p99),
    client: sum((part) => part.cpu_s_per_million.client * part.commands) / sum((part) => part.commands),
    errors: sum((part) => part.errors),
  };
}

async function etcdLeg({ outstanding, processes, seconds }) {
  const cluster = await startEtcd();
  try {
    const args = [loadProgram, cluster.leader, outstanding / processes, KEYS, seconds].map(String);
    const outputs = await Promise.all(Array.from({ length: processes }, () => run(process.execPath, args)));
    return together(outputs.map(([line]) => JSON.parse(line)));
  } finally {
    await cluster.stop();
  }
}

async function synodLeg({ outstanding, processes, seconds, service }) {
  const cluster = await synodUp({ service, durability: "fsync" });
  try {
    const flags = { data: cluster.data, workload: "put", window: outstanding / processes, keys: KEYS, seconds };
    return together(await Promise.all(Array.from({ length: processes }, () => synodBench(flags))));
  } finally {
    await cluster.stop();
  }
}

/** Runs both beside each other. Resolves with a row for each number of outstanding puts. */
export async function compareWithEtcd({ runs, seconds, processes, outstanding, service = "kv" }) {
  const rows = [];
  for (const count of outstanding) {
    const legs = { etcd: [], synod: [] };
    for (let i = 0; i < runs; i++) {
      const options = { outstanding: count, processes, seconds, service };
      legs.etcd.push(await etcdLeg(options));
      legs.synod.push(await synodLeg(options));
    }
    const of = (leg, name) => legs[leg].map((each) => each[name]);
    const row = (leg) => ({
      throughput: summary(of(leg, "throughput")),
      p50_ms: median(of(leg, "p50")),
      p99_ms: median(of(leg, "p99")),
      client_cpu_s_per_million: median(of(leg, "client")),
      errors: of(leg, "errors").reduce((a, b) => a + b),
    });
    const ratios = legs.synod.map((each, i) => each.throughput / legs.etcd[i].throughput);
    rows.push({ outstanding: count, processes, ratio: summary(ratios), etcd: row("etcd"), synod: row("synod") });
  }
  return rows;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      runs: { type: "string", default: "5" },
      seconds: { type: "string", default: "5" },
      processes: { type: "string", default: "1" },
      outstanding: { type: "string", default: "64,1024" },
      service: { type: "string", default: "kv" },
      json: { type: "boolean", default: false },
    },
  });
  const outstanding = values.outstanding.split(",").map(Number);
  const [runs, seconds, processes] = [values.runs, values.seconds, values.processes].map(Number);
  if (outstanding.some((count) => !Number.isInteger(count / processes) || count < 1)) {
    console.error("every number of outstanding puts must divide evenly among the processes");
    process.exit(4);
  }
  requirePrograms({ etcd: "etcd-server" });
  const rows = await compareWithEtcd({ runs, seconds, processes, outstanding, service: values.service });
  if (values.json) for (const row of rows) console.log(JSON.stringify(row));
  else {
    printTable(
      ["outstanding", "store", "puts/s", "p50 ms", "p99 ms", "client CPU s per million", "errors"],
      rows.flatMap((row) =>
        ["etcd", "synod"].map((store) => [
          row.outstanding,
          store,
          spread(row[store].throughput),
          figure(row[store].p50_ms),
          figure(row[store].p99_ms),
          figure(row[store].client_cpu_s_per_million),
          row[store].errors,
        ]),
      ),
    );
    for (const row of rows) {
      console.log(`\n${row.outstanding} outstanding: ${spread(row.ratio)} times etcd, pair by pair`);
    }
  }
}
