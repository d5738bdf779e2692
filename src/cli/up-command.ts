import { Command } from "commander";
import { LOG_LEVELS, type LogLevel } from "./log-level.js";
import { addClusterOptions } from "./cluster-option.js";
import { addConfigOption, oneOf, option } from "./option.js";

/** What a cluster is asked to be, as flags. Absent ones take what the directory records. */
export interface ClusterFlags {
  readonly replicas?: number;
  readonly port?: number;
  readonly service?: string;
  readonly groups?: number;
  readonly merge?: "points" | "skips";
  readonly barrier?: "run" | "command";
  readonly resubmit?: "replicas" | "client";
  readonly bounds?: readonly string[];
  readonly ordering?: string;
  readonly execution?: string;
  readonly reads?: "quorum" | "ordered";
  readonly durability?: "fsync" | "os" | "memory";
}

export interface UpFlags extends ClusterFlags {
  readonly data: string;
  readonly json?: boolean;
  readonly logLevel?: LogLevel;
}

export function upCommand(): Command {
  const command = new Command("up")
    .description(
      "Starts a local cluster, each replica its own process, and continues from its directory if it holds one.",
    )
    .addOption(option("--data <dir>", "the cluster's directory").default("./synod-data"));
  addClusterOptions(command)
    .option("--json", "one JSON object a line on stdout")
    .addOption(option("--log-level <level>", `what is logged on stderr: ${LOG_LEVELS.join("|")}`, oneOf(LOG_LEVELS)));
  return addConfigOption(command).action(async (flags: UpFlags) => {
    const { runUp } = await import("./up.js");
    process.exit(await runUp(flags));
  });
}
