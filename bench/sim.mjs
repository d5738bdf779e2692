// The simulator alone: simulated seconds per second of CPU, for clusters of three replicas asked 200 commands a second, without
// faults and under every fault there is at the rates that seeds draw, with all checkers. One thread, so that a second of CPU is a
// second of one core; the engine is told what the threads of `synod sim` are told. Run after the build:
// `node bench/sim.mjs [--seeds A..B] [--seconds S] [--json]`.

import { drawScenario, faultNames, runScenario, tuneEngine } from "../dist/sim/index.js";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1..24" },
    /** Virtual seconds of faults in each seed; what comes after them (healing, the last reads) counts as it takes. */
    seconds: { type: "string", default: "20" },
    json: { type: "boolean", default: false },
  },
});
const [first, last] = values.seeds.split("..").map(Number);
const safetyMs = Number(values.seconds) * 1000;

/** Eight lanes, each with one command open, that pause so long that a cluster without faults is asked 200 commands a second. */
const load = { clients: 4, lanes: 2, thinkMs: 48, blockCommandsMax: 1, keys: 20, connections: 0 };

const rows = [
  ["no faults", []],
  ["all faults", faultNames],
];

/** As the seed draws it, but for what this benchmark fixes. */
function scenarioOf(seed, faults, safetyMs) {
  const drawn = drawScenario({ seed, service: "kv", durability: "fsync", replicas: 3, faults });
  return { ...drawn, safetyMs, workload: { ...drawn.workload, ...load } };
}

function measure(faults, from, to, safetyMs) {
  const sum = { virtualMs: 0, cpuMs: 0, operations: 0, events: 0, elections: 0, failed: [] };
  for (let seed = from; seed <= to; seed++) {
    const scenario = scenarioOf(seed, faults, safetyMs);
    const before = process.cpuUsage();
    const result = runScenario(scenario);
    const { user, system } = process.cpuUsage(before);
    sum.cpuMs += (user + system) / 1000;
    sum.virtualMs += result.virtualMs;
    sum.operations += result.operations;
    sum.events += result.events;
    sum.elections += result.elections;
    if (!result.passed) sum.failed.push(`${seed}: ${result.invariant}`);
  }
  return sum;
}

// Code is compiled while it first runs, which costs seconds however long the run is: nobody runs a few seeds only.
tuneEngine();
for (const [, faults] of rows) measure(faults, 1001, faults.length === 0 ? 1004 : 1032, Math.max(safetyMs, 20_000));

for (const [name, faults] of rows) {
  const sum = measure(faults, first, last, safetyMs);
  const row = {
    name,
    simulated_s_per_cpu_s: Number((sum.virtualMs / sum.cpuMs).toFixed(1)),
    commands_per_simulated_s: Math.round((sum.operations * 1000) / sum.virtualMs),
    events_per_simulated_s: Math.round((sum.events * 1000) / sum.virtualMs),
    us_per_event: Number(((sum.cpuMs * 1000) / sum.events).toFixed(2)),
    simulated_s: Math.round(sum.virtualMs / 1000),
    elections: sum.elections,
    failed: sum.failed,
  };
  if (values.json) console.log(JSON.stringify(row));
  else
    console.log(
      Object.entries(row)
        .map(([key, value]) => `${key} ${String(value)}`)
        .join(" · "),
    );
}
