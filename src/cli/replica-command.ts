import { Command, Option } from "commander";
import { LOG_LEVELS } from "./log-level.js";
import { addConfigOption, oneOf, option, whole } from "./option.js";

export interface ReplicaFlags {
  readonly data: string;
  readonly json?: boolean;
  readonly supervised?: boolean;
  readonly insecureNetwork?: boolean;
  readonly logLevel?: (typeof LOG_LEVELS)[number];
}

export function replicaCommand(): Command {
  const command = new Command("replica")
    .description("Runs one replica of a cluster in the foreground: how a killed one comes back.")
    .argument("<id>", "number of the replica", whole(1, 63))
    .addOption(option("--data <dir>", "the cluster's directory").default("./synod-data"))
    .option("--json", "one JSON object a line on stdout")
    .addOption(option("--log-level <level>", `what is logged on stderr: ${LOG_LEVELS.join("|")}`, oneOf(LOG_LEVELS)))
    .addOption(
      option("--insecure-network", "allow addresses beyond this machine, without encryption or authentication"),
    )
    // Set by `synod up` for its children: they report over the channel to it and end when it does.
    .addOption(new Option("--supervised").hideHelp());
  return addConfigOption(command).action(async (id: number, flags: ReplicaFlags) => {
    const { runReplica } = await import("./replica.js");
    process.exit(await runReplica(id, flags));
  });
}
