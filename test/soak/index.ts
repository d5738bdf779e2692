/**
 * Long runs against real processes, outside CI: `npm run soak -- SCENARIO [--minutes M] [--seed S] [--groups K [--execution psmr|opt-psmr]
 * [--resubmit replicas|client] [--merge points|skips] [--barrier run|command]]`. Each prints one JSON
 * object with its figures and exits 5 if a verdict failed. The figures are recorded in docs/reliability.md.
 */
import { parseArgs } from "node:util";
import { type LeaderFault, runFailover } from "./failover.js";
import { faultKinds, type FaultKind } from "./fault.js";
import { passed, runNemesis } from "./nemesis.js";
import { runInSandbox, sandboxDirectory, sandboxRefusal } from "./sandbox.js";
import { runSaturated } from "./saturated.js";
import { runStraggler } from "./straggler.js";
import { loadKind } from "./workload/index.js";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: "string", default: "5" },
    seed: { type: "string", default: "1" },
    rounds: { type: "string", default: "9" },
    service: { type: "string", default: "kv" },
    // Groups of threads; 1 has none. The others are options of `up`, which refuses what does not go together.
    groups: { type: "string", default: "1" },
    execution: { type: "string" },
    resubmit: { type: "string" },
    merge: { type: "string" },
    barrier: { type: "string" },
    // Faults by name, separated by commas.
    only: { type: "string", default: "" },
    without: { type: "string", default: "" },
  },
});

const log = (line: string): void => console.error(`${new Date().toISOString()} ${line}`);
const seconds = Number(values.minutes) * 60;
const seed = Number(values.seed);

function chosenFaults(): FaultKind[] {
  const named = (text: string): string[] => (text === "" ? [] : text.split(","));
  const [only, without] = [named(values.only), named(values.without)];
  const unknown = [...only, ...without].filter((name) => !faultKinds.some((kind) => kind === name));
  if (unknown.length > 0 || loadKind(values.service) === undefined) {
    console.error(`no fault or service ${unknown[0] ?? values.service}; faults are ${faultKinds.join(", ")}`);
    process.exit(4);
  }
  return faultKinds.filter((kind) => (only.length === 0 || only.includes(kind)) && !without.includes(kind));
}

function sharing(): Record<string, string> {
  const { execution, resubmit, merge, barrier } = values;
  const given = Object.entries({ execution, resubmit, merge, barrier }).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as Record<string, string>;
}

async function nemesis(): Promise<boolean> {
  const faults = chosenFaults();
  if (sandboxDirectory() === null) {
    const refusal = sandboxRefusal();
    if (refusal === null) process.exit(await runInSandbox());
    log(`no sandbox: ${refusal}`);
  } else log(`sandbox ${sandboxDirectory()}`);
  const report = await runNemesis({
    seconds,
    seed,
    service: values.service,
    groups: Number(values.groups),
    sharing: sharing(),
    faults,
    log,
  });
  console.log(JSON.stringify(report));
  return passed(report);
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
