/**
 * Long runs against real processes, outside CI: `npm run soak -- SCENARIO [--minutes M] [--seed S]`. Each prints one JSON
 * object with its figures and exits 5 if a verdict failed. The figures are recorded in docs/reliability.md.
 */
import { parseArgs } from "node:util";
import { type LeaderFault, runFailover } from "./failover.js";
import { runNemesis } from "./nemesis.js";
import { runSaturated } from "./saturated.js";
import { runStraggler } from "./straggler.js";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: "string", default: "5" },
    seed: { type: "string", default: "1" },
    rounds: { type: "string", default: "9" },
    flags: { type: "string", default: "" },
    service: { type: "string", default: "kv" },
  },
});

const log = (line: string): void => console.error(`${new Date().toISOString()} ${line}`);
const seconds = Number(values.minutes) * 60;
const seed = Number(values.seed);
const flags = values.flags === "" ? [] : values.flags.split(" ");

async function nemesis(): Promise<boolean> {
  const report = await runNemesis({ seconds, seed, service: values.service, flags, log });
  console.log(JSON.stringify(report));
  const equal = new Set(report.digests).size === 1 && !report.digests.includes(null);
  return report.verdict.verdict === "linearizable" && equal;
}

/** Goals of the failover runs, in ms: the median, and the worst. */
const goals: Readonly<Record<LeaderFault, readonly [number, number]>> = {
  kill: [300, 3000],
  stop: [1000, 3000],
  cut: [1000, 3000],
};

async function failover(fault: LeaderFault): Promise<boolean> {
  const report = await runFailover(fault, Number(values.rounds), log);
  console.log(JSON.stringify(report));
  const [medianMs, maxMs] = goals[fault];
  return report.lostWrites === 0 && report.medianMs <= medianMs && report.maxMs <= maxMs;
}

async function straggler(how: "stopped" | "emptied"): Promise<boolean> {
  const report = await runStraggler(how, seconds, log);
  console.log(JSON.stringify(report));
  return (
    report.errors === 0 && report.caughtUpMs < 80_000 && Object.values(report.residentMaxMiB).every((mib) => mib < 1500)
  );
}

async function saturated(): Promise<boolean> {
  const report = await runSaturated(seconds, log);
  console.log(JSON.stringify(report));
  return report.elections === 0 && report.bench?.errors === 0 && new Set(report.digests).size === 1;
}

const scenarios: Readonly<Record<string, () => Promise<boolean>>> = {
  nemesis,
  "failover-kill": () => failover("kill"),
  "failover-stop": () => failover("stop"),
  "failover-cut": () => failover("cut"),
  stopped: () => straggler("stopped"),
  emptied: () => straggler("emptied"),
  saturated,
};
const name = positionals[0] ?? "nemesis";
const scenario = scenarios[name];
if (scenario === undefined) {
  console.error(`no soak scenario "${name}"; there is ${Object.keys(scenarios).join(", ")}`);
  process.exit(4);
}
process.exit((await scenario()) ? 0 : 5);
