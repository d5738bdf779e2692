// Whole clusters under the load of `synod bench`, each configuration several times and interleaved, so that a machine whose
// speed drifts hits all of them alike: `node bench/cluster.mjs [--runs 5] [--seconds 5] [name…]`.
// Prints medians with minimum and maximum, and the fsync-to-memory ratio pair by pair.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const program = fileURLToPath(new URL("../bin/synod", import.meta.url));
const saturated = ["--clients", "8", "--window", "256", "--keys", "20000"];
const single = ["--clients", "1", "--window", "1", "--keys", "20000", "--workload", "put"];

const configurations = {
  "mixed-memory": [...saturated, "--durability", "memory"],
  "mixed-fsync": [...saturated, "--durability", "fsync"],
  "put-memory": [...saturated, "--durability", "memory", "--workload", "put"],
  "put-fsync": [...saturated, "--durability", "fsync", "--workload", "put"],
  "get-memory": [...saturated, "--durability", "memory", "--workload", "get"],
  "sequential-fsync": [...saturated, "--durability", "fsync", "--execution", "sequential"],
  "single-memory": [...single, "--durability", "memory"],
  "single-fsync": [...single, "--durability", "fsync"],
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { runs: { type: "string", default: "5" }, seconds: { type: "string", default: "5" } },
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
    const flags = ["bench", ...configurations[name], "--seconds", values.seconds, "--json"];
    const line = execFileSync(process.execPath, [program, ...flags], { encoding: "utf8" });
    results[name].push(JSON.parse(line));
  }
}

const sorted = (numbers) => [...numbers].sort((a, b) => a - b);
const median = (numbers) => sorted(numbers)[Math.floor(numbers.length / 2)];

console.log(
  "| configuration | commands/s, median (min..max) | p50 ms | p99 ms | CPU s per million, replicas + client |",
);
console.log("|---|---|---|---|---|");
for (const name of names) {
  const runs = results[name];
  const throughputs = runs.map((run) => run.throughput);
  const cells = [
    `${Math.round(median(throughputs))} (${Math.round(Math.min(...throughputs))}..${Math.round(Math.max(...throughputs))})`,
    median(runs.map((run) => run.latency_ms.p50)).toFixed(3),
    median(runs.map((run) => run.latency_ms.p99)).toFixed(3),
    `${median(runs.map((run) => run.cpu_s_per_million.replicas)).toFixed(2)} + ${median(runs.map((run) => run.cpu_s_per_million.client)).toFixed(2)}`,
  ];
  console.log(`| ${name} | ${cells.join(" | ")} |`);
}
for (const workload of ["mixed", "put"]) {
  const [memory, fsync] = [results[`${workload}-memory`], results[`${workload}-fsync`]];
  if (memory === undefined || fsync === undefined) continue;
  const ratios = fsync.map((run, index) => run.throughput / memory[index].throughput);
  console.log(`\n${workload}: fsync / memory, pair by pair: median ${median(ratios).toFixed(2)}`);
}
