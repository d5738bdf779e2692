// Whole clusters under the load of `synod bench`, each configuration several times and interleaved, so that a machine whose
// speed drifts hits all of them alike: `npm run bench -- cluster [--runs 5] [--seconds 5] [--service btree] [name…]`.
// Prints medians with minimum and maximum.
import { parseArgs } from "node:util";
import { figure, median, printTable, spread, summary } from "./rig/statistics.mjs";
import { synodBench } from "./rig/synod.mjs";

const workloads = [
  "mixed",
  "put",
  "get",
  "insert-delete",
  ...["a", "b", "c", "d", "e", "f"].map((name) => `ycsb-${name}`),
];
const saturated = { clients: 8, window: 256, keys: 100_000 };
const single = { clients: 1, window: 1, keys: 100_000, workload: "put" };

/** Each workload with 2048 outstanding, and puts one at a time; in memory and with fsync. */
const configurations = Object.fromEntries(
  ["memory", "fsync"].flatMap((durability) => [
    ...workloads.map((workload) => [`${workload}-${durability}`, { ...saturated, workload, durability }]),
    [`single-${durability}`, { ...single, durability }],
  ]),
);

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: "string", default: "5" },
    seconds: { type: "string", default: "5" },
    service: { type: "string", default: "btree" },
  },
});
const names = positionals.length === 0 ? Object.keys(configurations) : positionals;
for (const name of names) {
  if (!(name in configurations)) {
    console.error(`no configuration "${name}"; there is ${Object.keys(configurations).join(", ")}`);
    process.exit(4);
  }
}

const results = Object.fromEntries(names.map((name) => [name, []]));
for (let run = 0; run < Number(values.runs); run++) {
  for (const name of names) {
    const { service, seconds } = values;
    results[name].push(await synodBench({ ...configurations[name], service, seconds }));
  }
}

printTable(
  ["configuration", "commands/s, median (min..max)", "p50 ms", "p99 ms", "CPU s per million, replicas + client"],
  names.map((name) => {
    const of = (pick) => results[name].map(pick);
    const cpu = (who) => figure(median(of((run) => run.cpu_s_per_million[who])));
    return [
      name,
      spread(summary(of((run) => run.throughput))),
      figure(median(of((run) => run.latency_ms.p50))),
      figure(median(of((run) => run.latency_ms.p99))),
      `${cpu("replicas")} + ${cpu("client")}`,
    ];
  }),
);
