// Whole clusters with one group and with several, the same load in turn: `npm run bench -- groups [--groups K] [--pairs N]
// [--seconds S] [--keys N] [--service btree|kv] [--execution psmr|opt-psmr] [--against psmr] [--durability fsync|memory]
// [--reads ordered|quorum] [--json]`. Prints the medians of both and of their ratio, for independent commands and for half of them
// dependent. With `--against` the other cluster has as many groups and that execution model. On a machine with fewer cores than
// threads, groups cost what they cost and win nothing.

import { execFileSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    groups: { type: "string", default: "2" },
    pairs: { type: "string", default: "5" },
    // Several groups have more threads, whose code takes some seconds to be compiled.
    seconds: { type: "string", default: "18" },
    keys: { type: "string", default: "20000" },
    // Of the cluster with one group: those of several are ordered.
    reads: { type: "string", default: "ordered" },
    service: { type: "string", default: "btree" },
    execution: { type: "string", default: "psmr" },
    against: { type: "string" },
    durability: { type: "string", default: "memory" },
    json: { type: "boolean", default: false },
  },
});
const program = join(dirname(fileURLToPath(import.meta.url)), "..", "bin", "synod");
const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];

const loads = [
  ["independent (mixed)", "mixed"],
  ["dependent (insert-delete)", "insert-delete"],
];

/** The clusters compared, each by the options that make it. */
const several = (execution) => ["--groups", values.groups, "--execution", execution];
const kinds = {
  one: values.against === undefined ? ["--reads", values.reads] : several(values.against),
  several: several(values.execution),
};

function measure(kind, workload) {
  const { service, durability, keys, seconds } = values;
  const flags = ["--service", service, "--durability", durability, "--keys", keys, "--seconds", seconds];
  const load = ["--workload", workload, "--clients", "4", "--window", "512"];
  const text = execFileSync(process.execPath, [program, "bench", ...kinds[kind], ...flags, ...load, "--json"], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  const report = JSON.parse(text.trim().split("\n").at(-1));
  const cpu = report.cpu_s_per_million;
  return { throughput: report.throughput, p50: report.latency_ms.p50, cpu: cpu.replicas + cpu.client };
}

for (const [name, workload] of loads) {
  const pairs = [];
  for (let i = 0; i < Number(values.pairs); i++) {
    const order = i % 2 === 0 ? ["one", "several"] : ["several", "one"];
    pairs.push(Object.fromEntries(order.map((kind) => [kind, measure(kind, workload)])));
  }
  const of = (kind, key) => median(pairs.map((pair) => pair[kind][key]));
  const ratio = (key) => Number(median(pairs.map(({ one, several }) => several[key] / one[key])).toFixed(3));
  const row = {
    name,
    groups: Number(values.groups),
    execution: values.execution,
    against: values.against ?? null,
    one: { throughput: Math.round(of("one", "throughput")), p50_ms: of("one", "p50") },
    several: { throughput: Math.round(of("several", "throughput")), p50_ms: of("several", "p50") },
    throughput_ratio: ratio("throughput"),
    cpu_per_command_ratio: ratio("cpu"),
  };
  if (values.json) console.log(JSON.stringify(row));
  else {
    const base = values.against === undefined ? "1 group" : values.against;
    console.log(
      `${name.padEnd(28)} ${base} ${row.one.throughput}/s, ${row.groups} groups of ${row.execution} ${row.several.throughput}/s: ` +
        `throughput × ${row.throughput_ratio}, CPU per command × ${row.cpu_per_command_ratio}`,
    );
  }
}
