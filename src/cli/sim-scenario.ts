import { readFile, stat, writeFile } from "node:fs/promises";
import { ConfigError, ExitCode } from "../model/index.js";
import {
  type Bug,
  readScenario,
  runScenario,
  type SeedResult,
  SHRINK_RUNS_MAX,
  shrinkOnThread,
  type SimArguments,
} from "../sim/index.js";
import { sourceCommit } from "./commit.js";
import { type Output, painted } from "./output.js";
import { programName } from "./program-name.js";

/** Lines of what happened last that a failure shows. */
export const LAST_EVENTS = 15;
const SCENARIO_BYTES_MAX = 1024 * 1024;

/** Replays a scenario file. Exit 5 if an invariant breaks, expected or not; throws `ConfigError` for a bad file. */
export async function replayScenario(output: Output, file: string, bugNamed: (name: string) => Bug): Promise<number> {
  const { scenario, bug, expected } = readScenario(await textOf(file));
  const planted = bug === null ? null : bugNamed(bug);
  const result = runScenario(scenario, planted?.plant());
  const { passed, invariant, message } = result;
  const commit = passed ? null : await sourceCommit();
  output.event({
    event: "scenario",
    file,
    bug,
    passed,
    expected: expected ?? "pass",
    as_expected: invariant === expected,
    trace_digest: result.traceDigest,
    operations: result.operations,
    virtual_ms: result.virtualMs,
    strikes: result.schedule.length,
    ...(passed ? {} : { invariant, message, commit, last_events: result.notes.slice(-LAST_EVENTS) }),
  });
  if (passed) output.line(`${painted(output, "green", "✔")} ${file}: no invariant breaks`);
  else {
    output.line(`${painted(output, "red", "✖")} ${file}: ${invariant}: ${message}`);
    for (const line of lastEvents(result)) output.line(line);
    if (commit !== null) output.line(`  commit: ${commit}`);
  }
  const verdict = invariant === expected ? "as the file expects" : `the file expects ${expected ?? "pass"}`;
  output.line(`  ${verdict}${bug === null ? "" : `, with the bug ${bug}`}`);
  return passed ? ExitCode.ok : ExitCode.verdict;
}

/** Shrinks a seed that fails and writes the scenario to `file`. Exit 5 if the seed fails, 0 if it passes. */
export async function shrinkToFile(
  output: Output,
  wanted: SimArguments,
  bug: string | null,
  file: string,
): Promise<number> {
  const request = { wanted, bug, runsMax: SHRINK_RUNS_MAX };
  const shrunk = await shrinkOnThread(request, (runs) => {
    output.progress(`shrinking seed ${wanted.seed}: ${runs} of at most ${SHRINK_RUNS_MAX} runs`);
  });
  output.progress("");
  if (shrunk === null) {
    output.event({ event: "shrunk", seed: wanted.seed, passed: true });
    output.line(`${painted(output, "green", "✔")} seed ${wanted.seed} passes: there is nothing to shrink`);
    return ExitCode.ok;
  }
  const { first, result, runs, complete } = shrunk;
  await writeFile(file, shrunk.text);
  const size = (of: SeedResult): Record<string, number> => ({
    strikes: of.schedule.length,
    operations: of.operations,
    virtual_ms: of.virtualMs,
  });
  const replay = `${programName()} sim --scenario ${file}`;
  const { invariant } = result;
  output.event({
    event: "shrunk",
    seed: wanted.seed,
    invariant,
    runs,
    complete,
    before: size(first),
    after: size(result),
    file,
    replay,
  });
  const words = (of: SeedResult): string =>
    `${of.schedule.length} strikes, ${of.operations} operations, ${of.virtualMs} ms`;
  output.line(`${painted(output, "red", "✖")} seed ${wanted.seed}: ${invariant}: ${result.message}`);
  output.line(`  was: ${words(first)}`);
  output.line(`  is:  ${words(result)}, after ${runs} runs${complete ? "" : ", which is the most it takes"}`);
  for (const line of lastEvents(result)) output.line(line);
  output.line(`  replay: ${replay}`);
  return ExitCode.verdict;
}

/** What happened last in the world of a seed that failed, one line each. */
export function lastEvents(result: SeedResult): string[] {
  return result.notes.slice(-LAST_EVENTS).map((note) => `  ${note}`);
}

async function textOf(file: string): Promise<string> {
  try {
    if ((await stat(file)).size > SCENARIO_BYTES_MAX) {
      throw new ConfigError(`${file} is larger than ${SCENARIO_BYTES_MAX} bytes: no scenario is`);
    }
    return await readFile(file, "utf8");
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(`${file} can't be read: ${(error as Error).message}`);
  }
}
