// The budgets of whole clusters: each figure beside its goal, medians of several runs, everything on this one machine.
// `npm run bench -- budgets [throughput single etcd redis failover size] [--runs 5] [--seconds 5] [--keys-max 10000000] [--json]`
// What is compared runs interleaved, ratios are taken pair by pair. Exit code 5 if a goal is missed, 0 otherwise.
import { join } from "node:path";
import { parseArgs } from "node:util";
import { compareWithEtcd } from "./etcd.mjs";
import { compareWithRedis } from "./redis.mjs";
import { findProgram, root, run } from "./rig/process.mjs";
import { redisPackages } from "./rig/redis.mjs";
import { figure, printTable, summary } from "./rig/statistics.mjs";
import { synodBench } from "./rig/synod.mjs";
import { measureSize } from "./size.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: "string", default: "5" },
    seconds: { type: "string", default: "5" },
    "keys-max": { type: "string", default: "10000000" },
    json: { type: "boolean", default: false },
  },
});
const [runs, seconds, keysMax] = [values.runs, values.seconds, values["keys-max"]].map(Number);

const saturated = { service: "btree", workload: "mixed", clients: 8, window: 256, seconds };
const single = { service: "btree", workload: "put", clients: 1, window: 1, keys: 20_000, seconds };

/** A measured figure and what its median has to be. */
function result(what, goal, unit, measured) {
  const met = goal.atLeast === undefined ? measured.median <= goal.atMost : measured.median >= goal.atLeast;
  return { what, unit, goal, met, measured };
}

const atLeast = (value) => ({ atLeast: value });
const atMost = (value) => ({ atMost: value });

/** Runs each of several configurations in turn, and again; the reports by name. */
async function interleaved(configurations) {
  const reports = Object.fromEntries(Object.keys(configurations).map((name) => [name, []]));
  for (let i = 0; i < runs; i++) {
    for (const [name, flags] of Object.entries(configurations)) reports[name].push(await synodBench(flags));
  }
  return (name, pick) => reports[name].map(pick);
}

const throughputOf = (report) => report.throughput;
const p50Of = (report) => report.latency_ms.p50;

const parts = {
  async throughput() {
    const of = await interleaved({
      million: { ...saturated, keys: 1_000_000, durability: "memory" },
      millionSynced: { ...saturated, keys: 1_000_000, durability: "fsync" },
      small: { ...saturated, keys: 20_000, durability: "memory" },
      smallSynced: { ...saturated, keys: 20_000, durability: "fsync" },
    });
    const ratios = (synced, plain) => {
      const memory = of(plain, throughputOf);
      return summary(of(synced, throughputOf).map((throughput, i) => throughput / memory[i]));
    };
    return [
      result("mixed, 1 M keys, 2048 outstanding, memory", atLeast(750_000), "/s", summary(of("million", throughputOf))),
      result("its latency, p50", atMost(4), "ms", summary(of("million", p50Of))),
      result(
        "mixed, 20 k keys, 2048 outstanding, memory",
        atLeast(2_000_000),
        "/s",
        summary(of("small", throughputOf)),
      ),
      result("fsync over memory, 1 M keys", atLeast(0.8), "×", ratios("millionSynced", "million")),
      result("fsync over memory, 20 k keys", atLeast(0.8), "×", ratios("smallSynced", "small")),
    ];
  },

  async single() {
    const of = await interleaved({
      memory: { ...single, durability: "memory" },
      fsync: { ...single, durability: "fsync" },
    });
    const us = (name) => summary(of(name, (report) => p50Of(report) * 1000));
    return [
      result("one command at a time, memory, p50", atMost(120), "µs", us("memory")),
      result("one command at a time, fsync, p50", atMost(350), "µs", us("fsync")),
    ];
  },

  async etcd() {
    if (findProgram("etcd") === null) return skipped("etcd", "etcd-server");
    const goals = { 1024: 40, 64: 10 };
    const rows = await compareWithEtcd({ runs, seconds, processes: 1, outstanding: [1024, 64] });
    return rows.map((row) =>
      result(
        `puts over etcd's, ${row.outstanding} outstanding, fsync`,
        atLeast(goals[row.outstanding]),
        "×",
        row.ratio,
      ),
    );
  },

  async redis() {
    for (const [name, wanted] of Object.entries(redisPackages)) {
      if (findProgram(name) === null) return skipped(name, wanted);
    }
    const goals = { 64: 0.5, 1: 0.4 };
    const rows = await compareWithRedis({ runs, seconds, pipelines: [64, 1] });
    return rows.map((row) =>
      result(`SET over Redis that syncs, -P ${row.pipeline} -c 50`, atLeast(goals[row.pipeline]), "×", row.ratio),
    );
  },

  async failover() {
    const soak = join(root, "dist", "test", "soak", "index.js");
    // It exits 5 when a goal is missed, and prints its figures all the same.
    const output = await run(process.execPath, [soak, "failover-kill", "--rounds", String(runs)], [0, 5]);
    const report = JSON.parse(output.at(-1));
    return [
      result("leader killed -9 to next success", atMost(300), "ms", summary(report.allMs)),
      result("acknowledged writes lost", atMost(0), "", summary([report.lostWrites])),
    ];
  },

  /** One run, since it takes minutes: memory and pauses with many keys, after checkpoints under load. */
  async size() {
    const { rows } = await measureSize({ keys: keysMax, durability: "fsync", seconds });
    const budget = (25 * keysMax) / 2 ** 20 + 150;
    const of = (name) => summary(rows.map((row) => row[name]));
    return [
      result(`memory of a replica, ${figure(keysMax)} keys, fsync`, atMost(budget), "MiB", of("idleMiB")),
      result("its highest, checkpoints included", atMost(budget * 1.3), "MiB", of("highestMiB")),
      result("longest piece of work for a checkpoint", atMost(30), "ms", of("checkpointWorkMaxMs")),
    ];
  },
};

function skipped(program, wanted) {
  console.error(`not installed: ${program} (Debian: apt-get install ${wanted}); its rows are left out`);
  return [];
}

const names = positionals.length === 0 ? Object.keys(parts) : positionals;
for (const name of names) {
  if (name in parts) continue;
  console.error(`no part "${name}"; there is ${Object.keys(parts).join(", ")}`);
  process.exit(4);
}

const rows = [];
for (const name of names) {
  for (const row of await parts[name]()) {
    rows.push(row);
    if (values.json) console.log(JSON.stringify(row));
  }
}
if (!values.json) {
  printTable(
    ["budget", "goal", "measured, median", "min..max", "runs", ""],
    rows.map(({ what, unit, goal, met, measured }) => [
      what,
      goal.atLeast === undefined ? `≤ ${figure(goal.atMost)} ${unit}` : `≥ ${figure(goal.atLeast)} ${unit}`,
      `${figure(measured.median)} ${unit}`,
      `${figure(measured.min)}..${figure(measured.max)}`,
      measured.runs,
      met ? "met" : "missed",
    ]),
  );
}
process.exit(rows.every((row) => row.met) ? 0 : 5);
