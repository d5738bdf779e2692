import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Check, type Experiment, experiments, renderReport, type Result, runExperiment } from "../lab/index.js";
import { ConfigError, ExitCode } from "../model/index.js";
import { ExitError, messageOf } from "./exit.js";
import { LabClusters } from "./lab-cluster.js";
import type { LabRunFlags } from "./lab-command.js";
import { createOutput, grouped, type Output, painted } from "./output.js";
import { onStopSignal } from "./stop-signal.js";

export async function listExperiments(json: boolean): Promise<number> {
  const output = createOutput(json);
  for (const { name, paper, shows, modes } of experiments) {
    output.event({ name, paper, shows, modes });
    output.line(`${name.padEnd(18)} ${shows}`);
    output.line(`${"".padEnd(18)} ${painted(output, "dim", paper)}`);
  }
  return Promise.resolve(ExitCode.ok);
}

/** Runs an experiment; the exit code says whether its checks hold. Throws `ConfigError` for a name that there is not. */
export async function runLab(name: string, flags: LabRunFlags): Promise<number> {
  const experiment = experimentNamed(name);
  const output = createOutput(flags.json === true);
  if (flags.mode !== undefined && !experiment.modes.includes(flags.mode)) {
    throw new ConfigError(`--mode: ${name} runs in ${experiment.modes.join(" and ")} mode only`);
  }
  const modes = new Set(flags.mode === undefined ? experiment.modes : [flags.mode]);
  const finished: string[] = [];
  const clusters = new LabClusters();
  const interrupted = (): never => {
    output.progress("");
    const done = finished.length === 0 ? "nothing was finished" : `finished: ${finished.join("; ")}`;
    process.stderr.write(`synod: ${name} was interrupted; ${done}\n`);
    process.exit(ExitCode.interrupted);
  };
  onStopSignal(
    () => void clusters.close().finally(interrupted),
    () => {
      clusters.abandon();
      interrupted();
    },
  );
  if (flags.out !== undefined) await makeDirectory(flags.out);
  const { result, findings } = await runExperiment(experiment, {
    modes,
    quick: flags.quick === true,
    seed: flags.seed,
    progress: (text) => output.progress(`${name}: ${text}`),
    finished: (text) => void finished.push(text),
    cluster: async (wanted) => clusters.measure(wanted),
  });
  output.progress("");
  if (flags.out !== undefined) {
    await writeResult(flags.out, `${name}.json`, `${JSON.stringify(result, null, 2)}\n`);
    await writeResult(flags.out, `${name}.html`, renderReport(experiment, result, findings));
  }
  output.event(result);
  describe(output, experiment, result);
  if (flags.out !== undefined) output.line(`report: ${join(flags.out, `${name}.html`)}`);
  return result.checks.some(({ holds }) => holds === false) ? ExitCode.verdict : ExitCode.ok;
}

function experimentNamed(name: string): Experiment {
  const found = experiments.find((candidate) => candidate.name === name);
  if (found !== undefined) return found;
  throw new ConfigError(
    `there is no experiment "${name}"; there is ${experiments.map((each) => each.name).join(", ")}`,
  );
}

async function makeDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true });
  } catch (error) {
    throw new ConfigError(`--out: ${messageOf(error)}`);
  }
}

async function writeResult(directory: string, file: string, text: string): Promise<void> {
  try {
    await writeFile(join(directory, file), text);
  } catch (error) {
    throw new ExitError(ExitCode.failed, messageOf(error));
  }
}

/** What a row is of, and what it brings besides its throughput. */
const NAMES = [
  "mode",
  "system",
  "execution",
  "threads",
  "barrier",
  "workload",
  "dependent_percent",
  "skew",
  "mapping",
  "waiting",
  "scenario",
  "merge",
  "resubmit",
] as const;

/** The result for people: what was measured, and each check with its verdict. */
function describe(output: Output, { shows }: Experiment, { rows, checks, machine }: Result): void {
  output.line(shows);
  output.line(
    painted(
      output,
      "dim",
      `${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, load ${machine.load_per_core} a core`,
    ),
  );
  for (const row of rows) {
    const { throughput, ...others } = row;
    if (typeof throughput !== "number") continue;
    const words = NAMES.filter((name) => others[name] !== undefined).map((name) =>
      name === "dependent_percent" ? `${String(others[name])} %` : String(others[name]),
    );
    output.line(`  ${words.join(" ").padEnd(52)} ${grouped(throughput).padStart(12)}/s`);
  }
  for (const check of checks) describeCheck(output, check);
}

function describeCheck(output: Output, { name, expected, measured, holds, deviation }: Check): void {
  const mark =
    holds === null
      ? painted(output, "yellow", "–")
      : holds
        ? painted(output, "green", "✔")
        : painted(output, "red", "✖");
  output.line(`${mark} ${name}: ${expected}`);
  if (measured !== null) output.line(`    measured: ${measured}`);
  if (deviation !== undefined) output.line(`    ${holds === null ? "" : "deviation: "}${deviation}`);
}
