import { Command } from "commander";
import { type ClusterConfig, ConfigError, ExitCode, isOptimistic, parseAddress } from "../model/index.js";
import {
  assertContinues,
  assertProtected,
  checkCombination,
  type ClusterRequest,
  completed,
  GROUPS_DEFAULTS,
  RESUBMIT_DEFAULT,
  holdsCluster,
  loadCluster,
  loadClusterFile,
} from "../runtime/index.js";
import { addClusterOptions } from "./cluster-option.js";
import { configNewCommand, configPasswordCommand } from "./config-new-command.js";
import { addConfigOption, option } from "./option.js";
import { createOutput, type Output } from "./output.js";
import type { UpFlags } from "./up-command.js";

interface ConfigFlags extends UpFlags {
  readonly config?: string;
  /** A file that describes a cluster of several machines: then it is that file which is checked or printed. */
  readonly cluster?: string;
}

/** `synod config check|print`: what `synod up` would run with, and where each value comes from. */
export function configCommand(): Command {
  const config = new Command("config").description("Makes, validates and prints the configuration of a cluster.");
  config.addCommand(
    shaped("check", "Says whether flags, environment and file make a cluster that can run.").action(
      async (flags: ConfigFlags, command: Command) => {
        const output = createOutput(flags.json === true);
        if (flags.cluster !== undefined) return checkFile(flags.cluster, output);
        const recorded = await recordedIn(flags.data);
        // Before values of both are combined: what does not fit together then would be blamed on options that nobody gave.
        if (recorded !== null) assertContinues(flags.data, recorded, flags);
        const { values } = effective(flags, command, recorded);
        output.event({ valid: true, config: values });
        output.line("the configuration is valid");
        process.exitCode = ExitCode.ok;
      },
    ),
  );
  config.addCommand(
    shaped("print", "Prints every value and where it comes from.").action(
      async (flags: ConfigFlags, command: Command) => {
        const output = createOutput(flags.json === true);
        if (flags.cluster !== undefined) return printFile(flags.cluster, output);
        const { values, sources } = effective(flags, command, await recordedIn(flags.data));
        output.event({ config: values, sources });
        for (const [name, value] of Object.entries(values)) {
          output.line(`${name.padEnd(12)} ${String(value).padEnd(20)} ${sources[name]}`);
        }
      },
    ),
  );
  config.addCommand(configNewCommand());
  config.addCommand(configPasswordCommand());
  return config;
}

async function checkFile(file: string, output: Output): Promise<void> {
  const cluster = await loadClusterFile(file);
  assertProtected(cluster);
  output.event({ valid: true, config: shown(cluster) });
  output.line(`${file} is valid: cluster ${cluster.clusterId} of ${cluster.replicas.length} replicas`);
}

async function printFile(file: string, output: Output): Promise<void> {
  const cluster = shown(await loadClusterFile(file));
  output.event({ config: cluster });
  output.line(JSON.stringify(cluster, null, 2));
}

/** Without what nobody needs to see on a terminal. */
function shown(cluster: ClusterConfig): ClusterConfig {
  const { security } = cluster;
  if (security === undefined) return cluster;
  const { secret, passwords, ...files } = security;
  return {
    ...cluster,
    security: {
      ...files,
      ...(secret === undefined ? {} : { secret: "(hidden)" }),
      ...(passwords === undefined
        ? {}
        : { passwords: Object.fromEntries(Object.keys(passwords).map((user) => [user, "(hidden)"])) }),
    },
  };
}

function shaped(name: string, description: string): Command {
  const command = new Command(name)
    .description(description)
    .addOption(option("--data <dir>", "the cluster's directory").default("./synod-data"))
    .addOption(option("--cluster <file>", "a file of `config new` instead of the flags and the directory"));
  return addConfigOption(addClusterOptions(command)).option("--json", "one JSON object a line on stdout");
}

type Value = string | number | readonly string[];

interface Effective {
  readonly values: Record<string, Value>;
  readonly sources: Record<string, string>;
}

/** The cluster that `up` would continue; null if it would create one. */
async function recordedIn(directory: string): Promise<ClusterConfig | null> {
  return holdsCluster(directory) ? loadCluster(directory) : null;
}

function effective(flags: ConfigFlags, command: Command, recorded: ClusterConfig | null): Effective {
  const there = recorded === null ? {} : recordedValues(recorded);
  const values: Record<string, Value> = { data: flags.data };
  const sources: Record<string, string> = { data: sourceOf(command, "data") };
  const given = flags as unknown as Readonly<Record<string, Value | undefined>>;
  const wanted = completed({ ...there, ...askedOf(flags) });
  for (const [name, value] of Object.entries(wanted)) {
    if (value === undefined) continue;
    values[name] = value;
    sources[name] = given[name] === undefined && name in there ? "cluster.json" : sourceOf(command, name);
  }
  checkCombination(wanted);
  const { port, replicas } = wanted;
  if (replicas + port > 65_536) {
    throw new ConfigError(`port ${port} and the ${replicas} from there on go beyond 65535`);
  }
  return { values, sources };
}

/** What the flags, and where these come from otherwise, say of a cluster. */
function askedOf(flags: ConfigFlags): ClusterRequest {
  const { service, replicas, groups, ordering, execution, reads, merge, barrier, resubmit, bounds } = flags;
  const { durability, port } = flags;
  const all = {
    service,
    replicas,
    groups,
    ordering,
    execution,
    reads,
    merge,
    barrier,
    resubmit,
    bounds,
    durability,
    port,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

function recordedValues(config: ClusterConfig): ClusterRequest {
  const { service, groups, ordering, execution, reads, merge, barrier, durability, replicas, bounds } = config;
  const resp = replicas[0]?.resp ?? null;
  const port = resp === null ? {} : { port: parseAddress(resp).port };
  const several =
    groups === 1 ? {} : { merge: merge ?? GROUPS_DEFAULTS.merge, barrier: barrier ?? GROUPS_DEFAULTS.barrier };
  const optimism = isOptimistic(config)
    ? { resubmit: config.resubmit ?? RESUBMIT_DEFAULT, ...(bounds === undefined ? {} : { bounds }) }
    : {};
  const facts = { service, replicas: replicas.length, groups, ordering, execution, reads };
  return { ...facts, ...several, ...optimism, durability, ...port };
}

function sourceOf(command: Command, name: string): string {
  const source = command.getOptionValueSource(name);
  if (source === "cli") return "flag";
  if (source === "env") return `SYNOD_${name.toUpperCase()}`;
  return source === "config" ? command.opts<{ config: string }>().config : "default";
}
