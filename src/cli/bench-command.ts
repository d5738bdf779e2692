import { Command } from "commander";
import { ConfigError } from "../model/index.js";
import { LOAD_ARRIVALS, LOAD_WORKLOADS, type LoadArrivals, type LoadWorkload } from "../runtime/index.js";
import { LOG_LEVELS, type LogLevel } from "./log-level.js";
import { addClusterOptions } from "./cluster-option.js";
import { addClientSecurityOptions, type ClientSecurityFlags } from "./client-security-option.js";
import { addConfigOption, oneOf, option, positive, whole } from "./option.js";
import type { ClusterFlags } from "./up-command.js";

export interface BenchFlags extends ClusterFlags, ClientSecurityFlags {
  readonly data?: string;
  readonly address?: string;
  readonly workload: LoadWorkload;
  readonly clients: number;
  readonly window: number;
  readonly keys: number;
  readonly valueSize: number;
  readonly seconds: number;
  readonly rate?: number;
  readonly arrivals?: LoadArrivals;
  readonly json?: boolean;
  readonly logLevel?: LogLevel;
}

export function benchCommand(): Command {
  const command = new Command("bench")
    .description("Puts load on a cluster through the native client; on its own throw-away cluster unless told which.")
    .addOption(option("--data <dir>", "directory of a running cluster"))
    .addOption(option("--address <host:port>", "client address of any replica of a running cluster"))
    .addOption(
      option("--workload <name>", `what is asked: ${LOAD_WORKLOADS.join("|")}`, oneOf(LOAD_WORKLOADS)).default("mixed"),
    )
    .addOption(option("--clients <n>", "number of clients", whole(1, 1024)).default(1))
    .addOption(option("--window <w>", "commands that each client has outstanding", whole(1, 65_536)).default(64))
    .addOption(option("--keys <n>", "number of keys", whole(1, 100_000_000)).default(100_000))
    .addOption(option("--value-size <bytes>", "bytes of a value", whole(1, 1024 * 1024)).default(8))
    .addOption(option("--seconds <s>", "how long is measured", positive(86_400)).default(10))
    .addOption(
      option("--rate <r>", "commands per second, each due at its time (default: as fast as possible)", positive(1e8)),
    )
    .addOption(
      option(
        "--arrivals <kind>",
        `when commands are due with --rate: ${LOAD_ARRIVALS.join("|")} (default: constant)`,
        oneOf(LOAD_ARRIVALS),
      ),
    );
  addClusterOptions(command, "btree; kv with --address")
    .option("--json", "one JSON object on stdout")
    .addOption(option("--log-level <level>", `what is logged on stderr: ${LOG_LEVELS.join("|")}`, oneOf(LOG_LEVELS)));
  return addConfigOption(addClientSecurityOptions(command)).action(async (flags: BenchFlags) => {
    refuseClusterFlags(command, flags);
    const { runBench } = await import("./bench.js");
    process.exit(await runBench(flags));
  });
}

/** A running cluster is as it is: flags that say how another should be would have no effect. Throws `ConfigError`. */
function refuseClusterFlags(command: Command, flags: BenchFlags): void {
  const target = flags.data !== undefined ? "--data" : flags.address !== undefined ? "--address" : null;
  if (target === null) return;
  const ours = addClusterOptions(new Command()).options.map((each) => each.attributeName());
  // By an address alone nobody knows which service is there.
  const without = target === "--address" ? ["service"] : [];
  const given = command.options.filter((each) => {
    const name = each.attributeName();
    return ours.includes(name) && !without.includes(name) && command.getOptionValueSource(name) === "cli";
  });
  if (given.length === 0) return;
  const names = given.map((each) => each.long).join(", ");
  throw new ConfigError(`${target} names a running cluster, on which ${names} would have no effect`);
}
