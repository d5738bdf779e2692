// Memory and pauses of replicas with many keys: resident memory idle and at its highest, what the log takes of it, and the longest
// piece of work for a checkpoint.
// `npm run bench -- size [--keys 10000000] [--durability fsync] [--seconds 20] [--json]`
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { memoryMiB } from "./rig/process.mjs";
import { figure, printTable } from "./rig/statistics.mjs";
import { synodBench, synodUp } from "./rig/synod.mjs";

/** How often memory is looked at, in ms. */
const SAMPLE_MS = 250;
const MIB = 2 ** 20;

/** Loads a cluster with keys, then puts on all of them for so many seconds. Figures of each replica. */
export async function measureSize({ keys, durability = "fsync", seconds = 20 }) {
  const cluster = await synodUp({ service: "btree", durability });
  try {
    const load = { data: cluster.data, workload: "put", clients: 8, window: 256 };
    const empty = cluster.replicas.map(({ pid }) => memoryMiB(pid));
    const highest = cluster.replicas.map(() => ({ stateMiB: 0, logMemoryMiB: 0 }));
    const sampler = setInterval(() => {
      for (const [i, replica] of cluster.replicas.entries()) {
        void metricsOf(replica.admin).then((of) => {
          highest[i].stateMiB = Math.max(highest[i].stateMiB, of("synod_state_bytes") / MIB || 0);
          highest[i].logMemoryMiB = Math.max(highest[i].logMemoryMiB, of("synod_log_memory_bytes") / MIB || 0);
        });
      }
    }, SAMPLE_MS);
    try {
      const { throughput } = await synodBench({ ...load, keys, seconds });
      const rows = [];
      for (const [i, { id, pid, admin }] of cluster.replicas.entries()) {
        const of = await metricsOf(admin);
        rows.push({
          replica: id,
          emptyMiB: empty[i],
          idleMiB: memoryMiB(pid),
          highestMiB: memoryMiB(pid, "VmHWM"),
          stateMiB: of("synod_state_bytes") / MIB,
          stateHighestMiB: highest[i].stateMiB,
          logMiB: of("synod_log_bytes") / MIB,
          logMemoryHighestMiB: highest[i].logMemoryMiB,
          checkpoints: of("synod_checkpoints_total"),
          checkpointWorkMaxMs: of("synod_checkpoint_work_max_seconds") * 1000,
        });
      }
      return { keys, durability, throughput, rows };
    } finally {
      clearInterval(sampler);
    }
  } finally {
    await cluster.stop();
  }
}

/** Reads a replica's metrics; the function returned gives the sum of a metric's samples, NaN if it has none. */
async function metricsOf(admin) {
  const text = await fetch(`http://${admin.replace(/^https?:\/\//, "")}/metrics`, { signal: AbortSignal.timeout(5000) })
    .then((response) => response.text())
    .catch(() => "");
  return (name) => {
    const samples = [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"))].map((match) =>
      Number(match[1]),
    );
    return samples.length === 0 ? Number.NaN : samples.reduce((sum, value) => sum + value, 0);
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      keys: { type: "string", default: "10000000" },
      durability: { type: "string", default: "fsync" },
      seconds: { type: "string", default: "20" },
      json: { type: "boolean", default: false },
    },
  });
  const { durability } = values;
  const report = await measureSize({ keys: Number(values.keys), durability, seconds: Number(values.seconds) });
  if (values.json) console.log(JSON.stringify(report));
  else {
    console.log(`${figure(report.keys)} keys, ${durability}, ${figure(report.throughput)} puts/s; memory in MiB`);
    printTable(
      [
        "replica",
        "empty",
        "idle",
        "highest",
        "state",
        "highest",
        "log",
        "of it in memory",
        "checkpoints",
        "longest piece, ms",
      ],
      report.rows.map((row) => Object.values(row).map((value) => figure(value))),
    );
  }
}
