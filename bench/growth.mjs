// How the store grows: keys, clients, length of values, replicas; one thing at a time, the others as in the first budget row.
// `npm run bench -- growth [keys clients values replicas] [--runs 3] [--seconds 3] [--keys-max 10000000] [--json]`
import { parseArgs } from "node:util";
import { figure, median, printTable, spread, summary } from "./rig/statistics.mjs";
import { synodBench } from "./rig/synod.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: "string", default: "3" },
    seconds: { type: "string", default: "3" },
    "keys-max": { type: "string", default: "10000000" },
    json: { type: "boolean", default: false },
  },
});

const base = { service: "btree", workload: "mixed", clients: 8, window: 256, keys: 100_000, durability: "memory" };
/** What bounds the bytes outstanding in the curve of values: sixteen clients' worth of the default limits would not fit. */
const OUTSTANDING_BYTES_MAX = 8 * 1024 * 1024;

const powers = (first, last) => {
  const steps = [];
  for (let value = first; value <= last; value *= 10) steps.push(value);
  return steps;
};

/** Each curve: what its points are called, and the flags of each. */
const curves = {
  keys: ["keys", powers(1000, Number(values["keys-max"])).map((keys) => [keys, { keys }])],
  clients: [
    "clients × outstanding",
    [
      [1, 1],
      [1, 16],
      [1, 256],
      [8, 32],
      [8, 256],
      [64, 32],
      [64, 256],
    ].map(([clients, window]) => [`${clients} × ${window}`, { clients, window }]),
  ],
  values: [
    "bytes a value (kv, fsync)",
    [8, 64, 512, 4096, 32_768, 65_536].map((bytes) => {
      const window = Math.max(1, Math.min(256, Math.floor(OUTSTANDING_BYTES_MAX / (8 * bytes))));
      // No more keys than 256 MiB of values.
      const keys = Math.min(100_000, Math.floor(2 ** 28 / bytes));
      return [bytes, { service: "kv", durability: "fsync", "value-size": bytes, window, keys }];
    }),
  ],
  replicas: ["replicas", [3, 5, 7].map((replicas) => [replicas, { replicas }])],
};

const names = positionals.length === 0 ? Object.keys(curves) : positionals;
for (const name of names) {
  if (name in curves) continue;
  console.error(`no curve "${name}"; there is ${Object.keys(curves).join(", ")}`);
  process.exit(4);
}

for (const name of names) {
  const [label, points] = curves[name];
  const results = points.map(() => []);
  for (let run = 0; run < Number(values.runs); run++) {
    for (const [index, [, flags]] of points.entries()) {
      results[index].push(await synodBench({ ...base, ...flags, seconds: values.seconds }));
    }
  }
  const rows = points.map(([point, flags], index) => {
    const of = (pick) => results[index].map(pick);
    return {
      curve: name,
      point,
      outstanding: (flags.clients ?? base.clients) * (flags.window ?? base.window),
      throughput: summary(of((each) => each.throughput)),
      p50_ms: median(of((each) => each.latency_ms.p50)),
      p99_ms: median(of((each) => each.latency_ms.p99)),
      cpu_s_per_million: median(of((each) => each.cpu_s_per_million.replicas)),
    };
  });
  if (values.json) for (const row of rows) console.log(JSON.stringify(row));
  else {
    console.log("");
    printTable(
      [label, "outstanding", "commands/s", "p50 ms", "p99 ms", "replicas' CPU s per million"],
      rows.map((row) => [
        typeof row.point === "number" ? figure(row.point) : row.point,
        row.outstanding,
        spread(row.throughput),
        figure(row.p50_ms),
        figure(row.p99_ms),
        figure(row.cpu_s_per_million),
      ]),
    );
  }
}
