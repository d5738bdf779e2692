import { Command } from "commander";
import { addConfigOption, option, whole } from "./option.js";

export interface InitFlags {
  readonly cluster: string;
  readonly data: string;
  readonly rejoin?: boolean;
  readonly insecureNetwork?: boolean;
}

export function initCommand(): Command {
  const command = new Command("init")
    .description(
      "Makes one replica of a cluster on this machine: once, when the cluster is created or a machine replaced.",
    )
    .argument("<id>", "number of the replica", whole(1, 63))
    .addOption(option("--cluster <file>", "the file that describes the cluster").default("./cluster.json"))
    .addOption(option("--data <dir>", "the directory to make").default("./synod-data"))
    .option(
      "--rejoin",
      "the cluster runs already: the replica has lost what it knew, and first learns it from the others",
    )
    .addOption(
      option("--insecure-network", "allow addresses beyond this machine, without encryption or authentication"),
    );
  return addConfigOption(command).action(async (id: number, flags: InitFlags) => {
    const { runInit } = await import("./init.js");
    process.exit(await runInit(id, flags));
  });
}
