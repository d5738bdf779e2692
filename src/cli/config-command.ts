import { Command } from "commander";
import { type ClusterConfig, ConfigError, ExitCode, parseAddress } from "../model/index.js";
import { assertContinues, checkCombination, CLUSTER_DEFAULTS, holdsCluster, loadCluster } from "../runtime/index.js";
import { addClusterOptions } from "./cluster-option.js";
import { addConfigOption, option } from "./option.js";
import { createOutput } from "./output.js";
import type { UpFlags } from "./up-command.js";

interface ConfigFlags extends UpFlags {
  readonly config?: string;
}

/** `synod config check|print`: what `synod up` would run with, and where each value comes from. */
export function configCommand(): Command {
  const config = new Command("config").description("Validates and prints the configuration.");
  config.addCommand(
    shaped("check", "Says whether flags, environment and file make a cluster that can run.").action(
      async (flags: ConfigFlags, command: Command) => {
        const output = createOutput(flags.json === true);
        const { values, recorded } = await effective(flags, command);
        if (recorded !== null) assertContinues(flags.data, recorded, flags);
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
        const { values, sources } = await effective(flags, command);
        output.event({ config: values, sources });
        for (const [name, value] of Object.entries(values)) {
          output.line(`${name.padEnd(12)} ${String(value).padEnd(20)} ${sources[name]}`);
        }
      },
    ),
  );
  return config;
}

function shaped(name: string, description: string): Command {
  const command = new Command(name)
    .description(description)
    .addOption(option("--data <dir>", "the cluster's directory").default("./synod-data"));
  return addConfigOption(addClusterOptions(command)).option("--json", "one JSON object a line on stdout");
}

interface Effective {
  readonly values: Record<string, string | number>;
  readonly sources: Record<string, string>;
  /** The cluster that `up` would continue; null if it would create one. */
  readonly recorded: ClusterConfig | null;
}

async function effective(flags: ConfigFlags, command: Command): Promise<Effective> {
  const recorded = holdsCluster(flags.data) ? await loadCluster(flags.data) : null;
  const there = recorded === null ? {} : recordedValues(recorded);
  const values: Record<string, string | number> = { data: flags.data };
  const sources: Record<string, string> = { data: sourceOf(command, "data") };
  const given = flags as unknown as Readonly<Record<string, string | number | undefined>>;
  for (const [name, fallback] of Object.entries(CLUSTER_DEFAULTS)) {
    values[name] = given[name] ?? there[name] ?? fallback;
    sources[name] = given[name] === undefined && name in there ? "cluster.json" : sourceOf(command, name);
  }
  checkCombination({ ...CLUSTER_DEFAULTS, ...there, ...flags, groups: CLUSTER_DEFAULTS.groups });
  if (Number(values["replicas"]) + Number(values["port"]) > 65_536) {
    throw new ConfigError(`port ${values["port"]} and the ${values["replicas"]} from there on go beyond 65535`);
  }
  return { values, sources, recorded };
}

function recordedValues(config: ClusterConfig): Record<string, string | number> {
  const { service, groups, ordering, execution, reads, durability, replicas } = config;
  const resp = replicas[0]?.resp ?? null;
  const port = resp === null ? {} : { port: parseAddress(resp).port };
  return { service, replicas: replicas.length, groups, ordering, execution, reads, durability, ...port };
}

function sourceOf(command: Command, name: string): string {
  const source = command.getOptionValueSource(name);
  if (source === "cli") return "flag";
  if (source === "env") return `SYNOD_${name.toUpperCase()}`;
  return source === "config" ? command.opts<{ config: string }>().config : "default";
}
