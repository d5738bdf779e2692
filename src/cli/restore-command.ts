import { Command } from "commander";
import { addClusterOptions } from "./cluster-option.js";
import { addConfigOption, option } from "./option.js";
import type { ClusterFlags } from "./up-command.js";

export interface RestoreFlags extends ClusterFlags {
  readonly data: string;
  readonly json?: boolean;
}

export function restoreCommand(): Command {
  const command = new Command("restore")
    .description(
      "Makes a new cluster that begins with the state of a backup. Absent options are those of the old cluster.",
    )
    .argument("<file>", "what synod backup has written")
    .addOption(option("--data <dir>", "the new cluster's directory").default("./synod-data"));
  addClusterOptions(command).option("--json", "one JSON object on stdout");
  return addConfigOption(command).action(async (file: string, flags: RestoreFlags) => {
    const { runRestore } = await import("./restore.js");
    process.exit(await runRestore(file, flags));
  });
}
