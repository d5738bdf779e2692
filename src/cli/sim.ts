import { availableParallelism } from "node:os";
import { ConfigError, ExitCode } from "../model/index.js";
import { isServiceModule } from "../runtime/index.js";
import {
  type Bug,
  bugs,
  drawScenario,
  parseFaults,
  replayCommand,
  runSeeds,
  RunTally,
  type SeedResult,
} from "../sim/index.js";
import { sourceCommit } from "./commit.js";
import { createOutput, grouped, type Output, painted } from "./output.js";
import { programName } from "./program-name.js";
import type { SimFlags } from "./sim-command.js";
import { LAST_EVENTS, lastEvents, replayScenario, shrinkToFile } from "./sim-scenario.js";
import { summaryFields, summaryLines } from "./sim-summary.js";
import { onStopSignal } from "./stop-signal.js";

const SEEDS_DEFAULT: readonly [number, number] = [1, 100];

/** Runs the simulator as the flags say; the exit code says whether an invariant was broken. Throws `ConfigError`. */
export async function runSim(flags: SimFlags): Promise<number> {
  const output = createOutput(flags.json === true);
  if (flags.listBugs === true) return listBugs(output);
  if (flags.scenario !== undefined) {
    if (flags.seed !== undefined || flags.seeds !== undefined || flags.bug !== undefined || flags.shrink === true) {
      throw new ConfigError(
        "--scenario says everything itself: it goes with none of --seed, --seeds, --bug and --shrink",
      );
    }
    return replayScenario(output, flags.scenario, bugNamed);
  }
  const bug = flags.bug === undefined ? null : bugNamed(flags.bug);
  if (flags.seed !== undefined && flags.seeds !== undefined)
    throw new ConfigError("--seed and --seeds exclude each other");
  const seeds =
    flags.seed === undefined ? (flags.seeds ?? bug?.seeds ?? SEEDS_DEFAULT) : ([flags.seed, flags.seed] as const);
  const wanted = bug?.arguments ?? argumentsOf(flags);
  // A scenario that can't be is refused before any thread starts.
  drawScenario({ ...wanted, seed: seeds[0] });
  if (flags.shrink === true) {
    if (flags.seed === undefined) throw new ConfigError("--shrink goes with --seed, the seed that fails");
    const file = flags.out ?? `seed-${flags.seed}.scenario.txt`;
    if (wanted.service !== undefined && isServiceModule(wanted.service)) {
      throw new ConfigError("--shrink goes with the built-in services only, and not with a module");
    }
    return shrinkToFile(output, { ...wanted, seed: flags.seed }, bug?.name ?? null, file);
  }
  if (flags.out !== undefined) throw new ConfigError("--out says where --shrink writes its scenario");
  const commit = await sourceCommit();
  const startMs = performance.now();
  const tally = new RunTally();
  const onResult = (result: SeedResult): boolean => {
    tally.add(result);
    const replay = replayCommand({ ...wanted, seed: result.seed }, bug?.name ?? null, programName());
    report(output, result, { replay, commit }, flags.verbose === true);
    output.progress(`${tally.seeds} of ${seeds[1] - seeds[0] + 1} seeds, ${tally.failed.length} failed`);
    // A planted bug needs to be found once.
    return bug === null || result.passed;
  };
  const jobs = flags.jobs ?? availableParallelism();
  const running = runSeeds({ seeds, jobs, arguments: wanted, bug: bug?.name ?? null, onResult }).then(() => false);
  const stopped = new Promise<true>((resolve) => {
    onStopSignal(
      () => resolve(true),
      () => process.exit(ExitCode.interrupted),
    );
  });
  const interrupted = await Promise.race([running, stopped]);
  output.progress("");
  const seconds = (performance.now() - startMs) / 1000;
  const found = tally.failed.length > 0;
  output.event({
    event: "summary",
    ...summaryFields(tally),
    seconds: Number(seconds.toFixed(3)),
    ...(bug === null ? {} : { bug: bug.name, found }),
  });
  if (interrupted) output.line("interrupted");
  if (bug === null) summarise(output, tally, seconds);
  else output.line(`the bug ${bug.name} was ${found ? "found" : "not found"}`);
  if (interrupted) return ExitCode.interrupted;
  if (found) return ExitCode.verdict;
  return bug === null ? ExitCode.ok : ExitCode.failed;
}

function argumentsOf(flags: SimFlags): Bug["arguments"] {
  const { ordering, execution, service, durability, replicas, groups, merge, barrier, resubmit } = flags;
  const faults = flags.faults === undefined ? undefined : parseFaults(flags.faults);
  return { ordering, execution, service, durability, replicas, faults, groups, merge, barrier, resubmit };
}

function bugNamed(name: string): Bug {
  const bug = bugs.find((candidate) => candidate.name === name);
  if (bug === undefined) {
    throw new ConfigError(`there is no bug "${name}"; there is ${bugs.map((each) => each.name).join(", ")}`);
  }
  return bug;
}

function listBugs(output: Output): number {
  output.event({
    event: "bugs",
    bugs: bugs.map(({ name, invariant, description }) => ({ name, invariant, description })),
  });
  for (const { name, invariant, description } of bugs) output.line(`${name.padEnd(24)} ${description} (${invariant})`);
  return ExitCode.ok;
}

/** How somebody else gets the same run. */
interface Origin {
  readonly replay: string;
  readonly commit: string | null;
}

function report(output: Output, result: SeedResult, { replay, commit }: Origin, verbose: boolean): void {
  const { seed, passed, invariant, message, scenario } = result;
  output.event({
    event: "seed",
    seed,
    passed,
    trace_digest: result.traceDigest,
    ordering: scenario.ordering,
    execution: scenario.execution,
    service: scenario.service,
    durability: scenario.durability,
    replicas: scenario.replicas,
    ...(scenario.groups === undefined
      ? {}
      : { groups: scenario.groups.count, merge: scenario.groups.merge, barrier: scenario.groups.barrier }),
    ...(result.optimism === null ? {} : { resubmit: scenario.groups?.resubmit, optimism: result.optimism }),
    faults: [...scenario.faults.keys()],
    fault_counts: Object.fromEntries(result.faultCounts),
    operations: result.operations,
    virtual_ms: result.virtualMs,
    events: result.events,
    elections: result.elections,
    rejoins: result.rejoins,
    installs: result.installs,
    checkpoints: result.checkpoints,
    sessions_expired: result.sessionsExpired,
    connection_replies: result.connectionReplies,
    searched: result.searched,
    progress_ms: result.progressMs === null ? null : Math.round(result.progressMs),
    healed_ms: result.healedMs === null ? null : Math.round(result.healedMs),
    ...(passed ? {} : { invariant, message, replay, commit, last_events: result.notes.slice(-LAST_EVENTS) }),
  });
  if (passed) return;
  output.line(`${painted(output, "red", "✖")} seed ${seed}: ${invariant}: ${message}`);
  const shown = verbose ? result.notes.map((note) => `  ${note}`) : lastEvents(result);
  for (const line of shown) output.line(line);
  if (commit !== null) output.line(`  commit: ${commit}`);
  output.line(`  replay: ${replay}`);
}

function summarise(output: Output, tally: RunTally, seconds: number): void {
  const { seeds, operations } = tally;
  const failed = tally.failed.length;
  const mark = failed === 0 ? painted(output, "green", "✔") : painted(output, "red", "✖");
  const rate = (seeds / Math.max(seconds, 0.001)).toFixed(1);
  const what = `${grouped(seeds)} seeds, ${failed} failed, ${grouped(operations)} operations checked`;
  output.line(`${mark} ${what} in ${seconds.toFixed(1)} s (${rate} seeds/s)`);
  for (const line of summaryLines(tally)) output.line(line);
}
