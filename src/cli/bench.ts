import { randomInt } from "node:crypto";
import { availableParallelism } from "node:os";
import {
  type ClusterConfig,
  ConfigError,
  ExitCode,
  isOptimistic,
  parseAddress,
  type ReplicaId,
} from "../model/index.js";
import { lockHolder } from "../platform/index.js";
import {
  btreeLoadBounds,
  btreeLoadCommands,
  builtNames,
  directorySecurity,
  GROUPS_DEFAULTS,
  kvLoadCommands,
  loadCluster,
  loadOptions,
  checkLoad,
  type LoadCommands,
  type LoadOptions,
  type LoadPhase,
  type LoadProgress,
  type LoadResult,
  type OptimisticFigures,
  replicaDirectory,
  RESUBMIT_DEFAULT,
} from "../runtime/index.js";
import type { BenchFlags } from "./bench-command.js";
import { givenSecurity, securityOver } from "./client-security-option.js";
import { type ClusterStanding, commandsOf, digestsEqual, discover, standingOf } from "./cluster-status.js";
import { type LoadTarget, runLoadOn } from "./cluster-load.js";
import { createOutput, grouped, type Output, painted } from "./output.js";
import { cpuSeconds } from "./process-time.js";
import { onStopSignal } from "./stop-signal.js";
import { ThrowawayCluster } from "./throwaway-cluster.js";

/** The loads there are, by service. */
const loads = { btree: btreeLoadCommands, kv: kvLoadCommands } as const;

/** The cluster under load. */
interface Target extends LoadTarget {
  pidOf(id: ReplicaId): number | null;
}

/** Readings taken when the measured time begins and when it ends. */
interface Reading {
  readonly replicaCpuSeconds: number | null;
  readonly clientCpuSeconds: number;
  /** Commands that each replica has executed since its start; null for one that did not answer. */
  readonly executed: Promise<readonly (number | null)[]>;
}

/** What `synod bench --json` prints. */
interface BenchReport extends Omit<LoadResult, "histogram" | "behindMs" | "optimistic"> {
  /** Of a cluster of opt-PSMR with several groups. */
  readonly optimistic?: OptimisticFigures;
  readonly cpu_s_per_million: { readonly replicas: number | null; readonly client: number };
  readonly executed: readonly (number | null)[];
  readonly digests_equal: boolean;
  readonly config: Readonly<Record<string, string | number | null>>;
}

/** Runs a load and prints what came of it. Exit code 1 if a command failed or states differ. */
export async function runBench(flags: BenchFlags): Promise<number> {
  const output = createOutput(flags.json === true);
  if (flags.data !== undefined && flags.address !== undefined) {
    throw new ConfigError("--data and --address exclude each other");
  }
  if (flags.address !== undefined || flags.data !== undefined) {
    return measure(flags, await runningTarget(flags), output);
  }
  const service = flags.service ?? (builtNames("service").includes("btree") ? "btree" : "kv");
  // What can't work is refused before a cluster is started for it.
  loadOf(flags, service);
  const cluster = new ThrowawayCluster({ ...flags, service, ...boundsFor(flags, service) }, flags.logLevel ?? "warn");
  const interrupted = (): never => {
    output.progress("");
    process.exit(ExitCode.interrupted);
  };
  onStopSignal(
    () => void cluster.close().finally(interrupted),
    () => {
      cluster.abandon();
      interrupted();
    },
  );
  output.progress("starting a cluster");
  try {
    const { config, supervisor } = await cluster.start();
    const pidOf = (id: ReplicaId): number | null => supervisor.replica(id).pid;
    return await measure(flags, { replicas: config.replicas, service, config, security: {}, pidOf }, output);
  } finally {
    await cluster.close();
  }
}

/** The keys of the load in equal parts, unless something else is asked for: a thread for each part has the same to do. */
function boundsFor(flags: BenchFlags, service: string): Pick<BenchFlags, "bounds"> {
  const { execution = "", groups = 1, keys, bounds } = flags;
  if (bounds !== undefined || service !== "btree" || !isOptimistic({ execution, groups }) || keys < groups) return {};
  return { bounds: btreeLoadBounds(keys, groups) };
}

async function runningTarget(flags: BenchFlags): Promise<Target> {
  if (flags.address !== undefined) {
    parseAddress(flags.address);
    const service = flags.service ?? "kv";
    const security = givenSecurity(flags) ?? {};
    return { replicas: await discover(flags.address, security), service, config: null, security, pidOf: () => null };
  }
  const directory = flags.data as string;
  const config = await loadCluster(directory);
  const pidOf = (id: ReplicaId): number | null => lockHolder(replicaDirectory(directory, id));
  const security = securityOver(directorySecurity(directory, config), flags);
  return { replicas: config.replicas, service: config.service, config, security, pidOf };
}

/** The load that the flags ask for. Throws `ConfigError` if the service has none such. */
function loadOf(flags: BenchFlags, service: string): { options: LoadOptions; commands: LoadCommands } {
  const { workload, clients, window, keys, seconds, valueSize } = flags;
  if (!Object.hasOwn(loads, service)) {
    throw new ConfigError(`there is no load for service ${service}; there is for ${Object.keys(loads).join(", ")}`);
  }
  if (flags.arrivals !== undefined && flags.rate === undefined) throw new ConfigError("--arrivals needs --rate");
  const options = loadOptions({
    workload,
    clients,
    window,
    keys,
    seconds,
    rate: flags.rate ?? null,
    arrivals: flags.arrivals ?? "constant",
    seed: randomInt(2 ** 32),
  });
  const commands = loads[service as keyof typeof loads]({ keys, valueSize, unique: randomInt(2 ** 32) });
  checkLoad(options, commands);
  return { options, commands };
}

async function measure(flags: BenchFlags, target: Target, output: Output): Promise<number> {
  const { options, commands } = loadOf(flags, target.service);
  const readings = new Map<LoadPhase, Reading>();
  const result = await runLoadOn(target, options, commands, {
    onPhase: (phase) => readings.set(phase, read(target)),
    onProgress: (progress) => output.progress(progressLine(progress)),
  });
  output.progress("");
  const standing = await standingOf(target.replicas, (id) => target.pidOf(id), target.security);
  const report = await reportOf(flags, target, result, readings, standing);
  warnIfBehind(flags, result);
  output.event(report);
  sayReport(output, report);
  return report.errors === 0 && report.digests_equal && standing.quorum ? ExitCode.ok : ExitCode.failed;
}

function read(target: Target): Reading {
  const pids = target.replicas.map(({ id }) => target.pidOf(id));
  const seconds = pids.map((pid) => (pid === null ? null : cpuSeconds(pid)));
  const known = seconds.every((each) => each !== null);
  const { user, system } = process.cpuUsage();
  return {
    replicaCpuSeconds: known ? seconds.reduce((sum, each) => sum + each, 0) : null,
    clientCpuSeconds: (user + system) / 1e6,
    executed: commandsOf(target.replicas, target.security),
  };
}

async function reportOf(
  flags: BenchFlags,
  target: Target,
  result: LoadResult,
  readings: ReadonlyMap<LoadPhase, Reading>,
  standing: ClusterStanding,
): Promise<BenchReport> {
  const before = readings.get("measure") as Reading;
  const after = readings.get("drain") as Reading;
  const millions = result.commands / 1e6;
  const perMillion = (seconds: number): number => (millions === 0 ? 0 : seconds / millions);
  const [from, to] = await Promise.all([before.executed, after.executed]);
  const { histogram: _histogram, behindMs: _behindMs, optimistic, ...figures } = result;
  const { config } = target;
  return {
    ...figures,
    ...(optimistic === null ? {} : { optimistic }),
    cpu_s_per_million: {
      replicas:
        before.replicaCpuSeconds === null || after.replicaCpuSeconds === null
          ? null
          : perMillion(after.replicaCpuSeconds - before.replicaCpuSeconds),
      client: perMillion(after.clientCpuSeconds - before.clientCpuSeconds),
    },
    executed: to.map((count, index) => {
      const start = from[index] ?? null;
      return count === null || start === null ? null : count - start;
    }),
    digests_equal: digestsEqual(standing),
    config: {
      workload: flags.workload,
      clients: flags.clients,
      window: flags.window,
      keys: flags.keys,
      value_size: flags.valueSize,
      seconds: flags.seconds,
      rate: flags.rate ?? null,
      replicas: target.replicas.length,
      service: target.service,
      ordering: config?.ordering ?? null,
      execution: config?.execution ?? null,
      reads: config?.reads ?? null,
      durability: config?.durability ?? null,
      groups: config?.groups ?? null,
      ...(config === null || config.groups === 1 ? {} : mergeOf(config)),
      ...(config === null || !isOptimistic(config) ? {} : optimismOf(config)),
      node: process.versions.node,
      cpus: availableParallelism(),
    },
  };
}

/** What opt-PSMR has besides; bounds are null where they cut the key space into equal parts. */
function optimismOf({ resubmit = RESUBMIT_DEFAULT, bounds }: ClusterConfig): Record<string, string | null> {
  return { resubmit, bounds: bounds?.join(",") ?? null };
}

/** How the streams of several groups become one order, and where their threads meet. */
function mergeOf({ merge, barrier }: ClusterConfig): Record<string, string> {
  return { merge: merge ?? GROUPS_DEFAULTS.merge, barrier: barrier ?? GROUPS_DEFAULTS.barrier };
}

/** Below this fraction of the rate the load was not what was asked for, whatever its latency. */
const KEPT_RATE_MIN = 0.98;
/** Commands that wait this long to be submitted find the windows full. */
const BEHIND_MS_MAX = 100;

/** Says on stderr that an open loop was none: its windows were full, or its process too slow. */
function warnIfBehind({ rate, clients, window }: BenchFlags, { throughput, behindMs }: LoadResult): void {
  if (rate === undefined || (throughput >= rate * KEPT_RATE_MIN && behindMs <= BEHIND_MS_MAX)) return;
  process.stderr.write(
    `synod: ${grouped(rate)} commands/s is more than was kept up with: ${grouped(throughput)}/s were answered, and at the end ` +
      `the next command to be sent was ${Math.round(behindMs)} ms late (outstanding at most ${grouped(clients * window)})\n`,
  );
}

function progressLine({ phase, fraction, throughput, errors }: LoadProgress): string {
  const width = 30;
  const full = Math.round(fraction * width);
  const bar = "█".repeat(full) + "░".repeat(width - full);
  const failed = errors === 0 ? "" : `  ${grouped(errors)} errors`;
  return `${phase.padEnd(8)} ${bar} ${String(Math.round(fraction * 100)).padStart(3)} %  ${grouped(throughput)}/s${failed}`;
}

function sayReport(output: Output, report: BenchReport): void {
  const { latency_ms: latency, cpu_s_per_million: cpu } = report;
  const ms = (value: number): string => `${value.toFixed(value < 10 ? 2 : 0)} ms`;
  const good = report.errors === 0 && report.digests_equal;
  output.line(`${painted(output, good ? "green" : "red", good ? "✔" : "✖")} ${grouped(report.throughput)} commands/s`);
  output.line(
    `  latency   p50 ${ms(latency.p50)}  p95 ${ms(latency.p95)}  p99 ${ms(latency.p99)}  p99.9 ${ms(latency.p999)}  max ${ms(latency.max)}`,
  );
  if (report.optimistic !== undefined) {
    const { failed, fail_rate: rate, latency_ms_passed: passes, latency_ms_failed: fails } = report.optimistic;
    output.line(
      `  optimism  ${grouped(failed)} failed (${(rate * 100).toFixed(2)} %), p50 ${ms(fails.p50)}; those that passed p50 ${ms(passes.p50)}`,
    );
  }
  output.line(
    `  commands  ${grouped(report.commands)} in ${report.seconds.toFixed(2)} s, ${grouped(report.errors)} errors`,
  );
  const replicas = cpu.replicas === null ? "unknown" : `${cpu.replicas.toFixed(2)} s`;
  output.line(`  CPU per million commands  replicas ${replicas}, client ${cpu.client.toFixed(2)} s`);
  output.line(`  state digests ${report.digests_equal ? "equal" : "DIFFER OR ARE MISSING"}`);
}
