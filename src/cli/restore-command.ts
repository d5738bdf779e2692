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
      "Makes a new cluster that begins with the state of a backup. Absent options but the port are those of the old cluster.",
    )
    .argument("<file>", "what synod backup has written")
    .addOption(option("--data <dir>", "the new cluster's directory").default("./synod-data"));
  addClusterOptions(command).option("--json", "one JSON object on stdout");
  // What a fresh cluster would have is not what a restored one gets; only the port does not come from the old one.
  for (const each of command.options) {
    if (each.long !== "--port") each.description = each.description.replace(/ \(default: [^)]*\)$/, "");
  }
  return addConfigOption(command).action(async (file: string, flags: RestoreFlags) => {
    const { runRestore } = await import("./restore.js");
    process.exit(await runRestore(file, flags));
  });
}
